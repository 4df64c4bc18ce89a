"""Attributes of a generator's faces: columns, the classifier, what is learnt, its file, and how it is found."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import cli, made_up, tiny
from hostile import reheaded

from facegan.core.errors import FaceganError, UsageError
from facegan.data.columns import _column, read_columns
from facegan.data.folder import read_dataset_json
from facegan.data.writer import DatasetWriter
from facegan.editing.attributes import (
    FILE,
    Attribute,
    Attributes,
    attributes_of,
    load_attributes,
    place_for,
    save_attributes,
)
from facegan.editing.classifier import learn, outputs
from facegan.editing.features import NAME, open_features
from facegan.editing.learning import directions_of, learn_attributes, side_effects
from facegan.models.checkpoint import LoadedGenerator, load_generator, save_generator, weights_sha256
from facegan.models.pretrained import ATTRIBUTES, PATH
from facegan.networks import build_generator

CPU = torch.device("cpu")
COLUMNS = ("Bright", "Red", "level", "race", "camera", "same")


def dataset(path: Path, count: int = 300) -> Path:
    """Photos of one colour each: bright or dark, redder or not, with a table that says so."""
    rng = np.random.default_rng(0)
    level, red = rng.uniform(-1, 1, count), rng.random(count) < 0.5
    images = np.empty((count, 32, 32, 3), np.uint8)
    images[:] = (128 + 80 * level)[:, None, None, None]
    images[..., 0] += (40 * red).astype(np.uint8)[:, None, None]
    images += rng.integers(0, 8, images.shape).astype(np.uint8)
    rows = [
        [str(1 if x > 0 else -1), "yes" if r else "no", f"{50 * x:.1f}", str(n % 5), "abc"[n % 3], "1"]
        for n, (x, r) in enumerate(zip(level, red, strict=True))
    ]
    rows[3][0] = rows[4][2] = ""
    with DatasetWriter(path, 32, columns=COLUMNS) as writer:
        writer.write(images, [f"{n:03d}.png" for n in range(count)], rows)
        writer.finish(source={"name": "synthetic"}, crop={"name": "square"}, filter="none")
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dataset(tmp_path_factory.mktemp("table") / "d")


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedGenerator:
    torch.manual_seed(0)
    path, config = tmp_path_factory.mktemp("generator") / "g.safetensors", tiny("dcgan-r3gan")
    save_generator(path, build_generator(config), config, images_seen=0, weights="raw", provenance={})
    return load_generator(path)


@pytest.fixture(scope="module")
def made(loaded: LoadedGenerator) -> Attributes:
    known = (
        Attribute("Smiling", False, 0.9, 0.7),
        Attribute("Bald", False, 0.9, 0.0, "too few"),
        Attribute("age", True, 0.6, 0.5),
    )
    return made_up(loaded.module, known, keep=("Smiling",))


def test_columns_are_yes_and_no_or_numbers_and_others_are_told(table):
    columns, others = read_columns(read_dataset_json(table))
    assert [(column.name, column.numeric) for column in columns] == [
        ("Bright", False), ("Red", False), ("level", True), ("race", True)
    ]  # fmt: skip
    assert set(columns[0].values[~np.isnan(columns[0].values)]) == {0, 1}
    assert np.isnan(columns[0].values[3]) and np.isnan(columns[2].values[4])
    assert np.nanmean(columns[2].standardised()) == pytest.approx(0, abs=1e-5)
    assert "words" in others["camera"] and "the same value" in others["same"]


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (["1", "2", "1e30"], "too large"),
        (["1", "inf", "2"], "too large"),
        (["5", "nan", "5"], "nearly the same"),
        (["a", "1", "2"], "words"),
        (["", "", ""], "blank"),
    ],
)
def test_columns_that_teach_nothing_are_told_without_a_warning(texts, reason, recwarn):
    assert reason in str(_column("x", texts))
    assert not recwarn.list


def test_a_table_that_does_not_fit_its_dataset_is_refused(tmp_path):
    path = dataset(tmp_path / "d", 30)
    text = (path / "attributes.csv").read_text()
    (path / "attributes.csv").write_text("".join(text.splitlines(keepends=True)[:-1]))
    with pytest.raises(FaceganError, match="does not fit"):
        read_columns(read_dataset_json(path))


def test_the_classifier_learns_what_is_plain_and_repeats_itself(table):
    info = read_dataset_json(table)
    columns, images = read_columns(info)[0][:3], np.load(info.images)
    seen = np.arange(250)
    first, again = (learn(images, columns, seen, seed=5, steps=2) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), again.state_dict().values(), strict=True))
    first = learn(images, columns, seen, seed=5, steps=40)
    found, wanted = outputs(first, images[250:]), np.stack([column.standardised()[250:] for column in columns], 1)
    assert ((found[:, :2] > 0) == (wanted[:, :2] > 0.5)).mean() > 0.9
    assert np.corrcoef(found[:, 2], wanted[:, 2])[0, 1] > 0.9
    assert outputs(first, images[:2].repeat(2, 1).repeat(2, 2)).shape == (2, 3), "of any size"


def test_attributes_are_learnt_and_survive_their_file(table, loaded, tmp_path):
    said: list[str] = []
    found = learn_attributes(loaded, table, faces=600, steps=5, note=said.append)
    assert [attribute.name for attribute in found.known] == ["Bright", "Red", "level"], "race only if it is named"
    assert any("camera" in text for text in said) and any("same" in text for text in said)
    assert found.generator == weights_sha256(loaded.module)
    again = load_attributes(save_attributes(found, tmp_path / FILE))
    assert (again.known, again.keep, again.generator) == (found.known, found.keep, found.generator)
    faces = np.load(table / "images.npy")[:5]
    assert np.array_equal(again.scores(faces), found.scores(faces))
    reused = directions_of(loaded, again.classifier, again.known, faces=600)
    assert np.array_equal(reused.weights, found.weights), "the classifier serves again, without photos"
    assert side_effects(loaded, found, count=4).keys() == {one.name for one in found.known if not one.refused}


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        (["brigt"], "no column 'brigt'"),
        (["camera"], "camera cannot be learnt: it holds words"),
        (["same"], "same value"),
    ],
)
def test_columns_that_cannot_be_learnt_are_answered(table, loaded, columns, sentence):
    with pytest.raises(UsageError, match=sentence):
        learn_attributes(loaded, table, columns=columns)


def test_an_attribute_is_found_by_its_name_in_any_spelling(made):
    assert made.find("smiling") == made.find("SMILING") == made.find(" smi-ling_") == 0
    with pytest.raises(UsageError, match="no attribute 'smilling'") as error:
        made.find("smilling")
    assert error.value.hint == "Known: Smiling."
    with pytest.raises(UsageError, match="Bald cannot be used: too few"):
        made.find("bald")


def test_a_file_from_a_stranger_is_checked(made, tmp_path):
    path = save_attributes(made, tmp_path / FILE)
    honest = path.read_bytes()
    assert load_attributes(path).known == made.known

    def with_content(**changes: object):
        def change(header: dict) -> None:
            content = {**json.loads(header["__metadata__"]["attributes"]), **changes}
            header["__metadata__"]["attributes"] = json.dumps(content)

        return reheaded(change)(honest)

    def with_fact(name: str, value: str):
        return reheaded(lambda header: header["__metadata__"].update({name: value}))(honest)

    one = {"name": "a", "numeric": False, "accuracy": 1.0, "explained": 1.0, "refused": "", "balanced": 1.0}
    nothing = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    bad = {
        "cut off": honest[:-50],
        "no header": b"\xff" * 100,
        "another format": with_fact("format", "facegan-generator"),
        "newer": with_fact("format_version", "2"),
        "not json": with_fact("attributes", "{"),
        "too few": with_content(known=[one]),
        "twice": with_content(known=[one, one, one]),
        "a number for a name": with_content(known=[{**one, "name": 5}, one, one]),
        "unknown entry": with_content(known=[{**one, "x": 5}, one, one]),
        "keeps what is not there": with_content(keep=["x"]),
        "keeps no list": with_content(keep=5),
        "a tensor more": reheaded(lambda header: header.update(z=nothing))(honest),
    }  # fmt: skip
    for name, content in bad.items():
        path.write_bytes(content)
        with pytest.raises(FaceganError, match=r"attributes\.safetensors"):
            load_attributes(path)
            pytest.fail(name)
    for name in ("weights", "std", "step"):
        numbers = np.full_like(getattr(made, name), -1 if name != "weights" else np.nan)
        save_attributes(replace(made, **{name: numbers}), path)
        with pytest.raises(FaceganError, match="damaged"):
            load_attributes(path)


def test_the_attributes_of_a_generator_are_found_beside_it_and_for_what_was_tuned_from_it(
    loaded, made, tmp_path, workdir
):
    with pytest.raises(FaceganError, match="no attributes yet") as error:
        attributes_of(loaded)
    assert "facegan attributes" in error.value.hint
    path = place_for(loaded)
    assert path == loaded.source.parent / FILE
    save_attributes(made, path)
    assert attributes_of(loaded).known == made.known
    changed = build_generator(loaded.config)
    with torch.no_grad():
        changed.to_rgb.bias += 0.1
    tuned = replace(loaded, notes={"tuned_from": made.generator}, module=changed)
    assert attributes_of(tuned).known == made.known
    with pytest.raises(FaceganError, match="exists already"):
        place_for(loaded)
    assert place_for(loaded, None, True) == path
    other = replace(loaded, module=tuned.module)
    assert place_for(other).name.startswith("attributes-"), "that name belongs to another generator"
    with pytest.raises(FaceganError, match="no attributes yet"):
        attributes_of(other)
    damaged = path.read_bytes()[:-50]
    path.write_bytes(damaged)
    with pytest.raises(FaceganError, match="damaged"):
        attributes_of(loaded)
    path.rename(path.with_name("attributes-12345678.safetensors"))
    with pytest.raises(FaceganError, match="no attributes yet"):
        attributes_of(loaded)
    path.with_name("attributes-12345678.safetensors").unlink()


def test_names_that_are_nearly_one_cannot_both_be_learnt(loaded, tmp_path):
    """A file of attributes with both would be refused by the next command."""
    images, count = np.zeros((60, 32, 32, 3), np.uint8), 60
    images[::2] = 200
    rows = [[str(n % 2), str(n % 2), str(n % 7)] for n in range(count)]
    with DatasetWriter(tmp_path / "d", 32, columns=("Big_Hat", "big hat", "level")) as writer:
        writer.write(images, [f"{n}.png" for n in range(count)], rows)
        writer.finish(source={"name": "synthetic"}, crop={"name": "square"}, filter="none")
    said: list[str] = []
    found = learn_attributes(loaded, tmp_path / "d", faces=100, steps=2, note=said.append)
    assert [attribute.name for attribute in found.known] == ["Big_Hat", "level"]
    assert said == ["big hat is left out: its name is nearly that of Big_Hat"]
    again = learn_attributes(loaded, tmp_path / "d", columns=["big hat"], faces=100, steps=2)
    assert [attribute.name for attribute in again.known] == ["Big_Hat"]


def test_the_command_learns_prints_and_writes(table, made, loaded, workdir):
    generator = workdir / "g.safetensors"
    generator.write_bytes(loaded.source.read_bytes())
    old = save_attributes(made, workdir / "old.safetensors")
    words = ["attributes", generator, "--classifier", old, "--faces", "100"]
    code, out, err = cli(*words)
    assert code == 0, err
    assert "Smiling" in out and "refused" in out
    assert load_attributes(workdir / FILE).generator == made.generator
    code, _, err = cli(*words)
    assert code == 1 and "exists already" in err
    assert cli(*words, "--overwrite")[0] == 0
    code, out, _ = cli("info", workdir / FILE)
    assert code == 0 and out.startswith("attributes ")
    code, _, err = cli(*words, "--out", "smiles.safetensors")
    assert code == 0 and "under a name that begins with 'attributes'" in err
    code, _, err = cli(*words, "--data", table)
    assert code == 2 and "--classifier names one" in err
    code, _, err = cli("attributes", generator, "--data", table, "--columns", "nose", "--out", "x.safetensors")
    assert code == 2 and "no column 'nose'" in err


def test_the_package_knows_its_own_faces():
    """Half a second: +2 makes neutral faces smile, as the classifier sees them."""
    from facegan.editing.directions import edit
    from facegan.faces.latents import draw
    from facegan.faces.synthesis import draw_faces

    loaded = load_generator(PATH)
    found = attributes_of(loaded)
    assert ATTRIBUTES.stat().st_size < 1_000_000
    smiling, male = found.find("smiling"), found.find("Male")
    z = draw(1, range(80), 128)
    before = outputs(found.classifier, draw_faces(loaded.module, loaded.config.networks, z))
    neutral = before[:, smiling] < 0
    faces = draw_faces(loaded.module, loaded.config.networks, edit(found, z[neutral], {"Smiling": 2}))
    after = outputs(found.classifier, faces)
    assert (after[:, smiling] > 0).mean() >= 0.9
    assert ((after[:, male] > 0) == (before[neutral, male] > 0)).mean() >= 0.85


def test_the_classifier_of_the_package_measures_faces(table):
    extractor = open_features(NAME, CPU)
    photos = np.load(table / "images.npy")[:3]
    features = extractor(photos)
    assert features.shape == (3, extractor.width) and extractor.library.startswith("facegan's classifier ")
    classifier = load_attributes(ATTRIBUTES).classifier
    expected = classifier.head(torch.from_numpy(features)).numpy()
    assert expected == pytest.approx(outputs(classifier, photos), abs=1e-4)
