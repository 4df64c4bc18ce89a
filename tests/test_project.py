"""A person's own photo: found in a generator, the generator tuned to it, and a face like any other afterwards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import cli, tiny
from PIL import Image
from skimage import data as pictures

import facegan
from facegan.core.errors import FaceganError
from facegan.editing import photos, project, tune
from facegan.editing.likeness import difference, face_error, unlikeness
from facegan.faces import latents
from facegan.faces.synthesis import draw_faces
from facegan.models.pretrained import NAME
from facegan.networks import build_generator
from facegan.presets import PRESETS


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few samples and steps: faces come near, not close."""
    monkeypatch.setattr(project, "_SAMPLES", 100)
    monkeypatch.setattr(project, "TRIALS", ((2, 15),))
    monkeypatch.setattr(project, "FINAL_STEPS", 15)
    monkeypatch.setattr(tune, "OFFSET_STEPS", 20)
    monkeypatch.setattr(tune, "WEIGHT_STEPS", 6)


@pytest.fixture(scope="module")
def model() -> facegan.Model:
    return facegan.load(NAME)


@pytest.fixture
def me(workdir: Path) -> Path:
    """A photo that may be shown: an astronaut's portrait, in the public domain."""
    Image.fromarray(pictures.astronaut()).save(workdir / "me.jpg", quality=95)
    return workdir / "me.jpg"


@pytest.fixture
def friend(workdir: Path, model: facegan.Model) -> Path:
    """A person who does not exist, large enough to be found in the picture."""
    face = Image.fromarray(model.sample(1, seed=5)[0]).resize((256, 256), Image.Resampling.BICUBIC)
    face.save(workdir / "friend.png")
    return workdir / "friend.png"


# The loss.


def test_unlikeness_weighs_a_constant_difference_by_hand():
    """At 8 x 8 there is one scale, and a constant has no differences of neighbours: mean(b |d|) + mean(a |d|) / 2."""
    at = (np.arange(8) + 0.5) / 4 - 1
    x, y = at[None, :], at[:, None] - 0.15
    head = 0.25 + np.exp(-((x / 0.5) ** 2) - (y / 0.6) ** 2)
    inner = 0.05 + np.exp(-(((x / 0.42) ** 2 + (y / 0.5) ** 2) ** 2))
    picture = torch.rand(2, 3, 8, 8)
    found = unlikeness(picture + torch.tensor([0.1, 0.3]).view(2, 1, 1, 1), picture)
    assert found.tolist() == pytest.approx([d * (inner.mean() + head.mean() / 2) for d in (0.1, 0.3)], rel=1e-5)
    assert unlikeness(picture, picture).tolist() == [0, 0] == difference(picture, picture).tolist()


def test_scales_and_differences_of_neighbours_count_by_hand():
    """At 16 x 16 there are two scales; a ramp across has the same difference everywhere, and none down."""
    at = (np.arange(16) + 0.5) / 8 - 1
    x, y = at[None, :], at[:, None] - 0.15
    head = 0.25 + np.exp(-((x / 0.5) ** 2) - (y / 0.6) ** 2)
    inner = 0.05 + np.exp(-(((x / 0.42) ** 2 + (y / 0.5) ** 2) ** 2))
    ramp = np.abs(np.broadcast_to(0.02 * np.arange(16), (16, 16)))

    def halved(a: np.ndarray) -> np.ndarray:
        return a.reshape(8, 2, 8, 2).mean((1, 3))

    by_hand = (inner * ramp).mean() + 2 * 0.02 * inner[:, 1:].mean()
    by_hand += ((head * ramp).mean() + (halved(head) * halved(ramp)).mean()) / 2
    wanted = torch.zeros(1, 3, 16, 16)
    drawn = torch.from_numpy(ramp).float().expand(1, 3, 16, 16)
    assert unlikeness(drawn, wanted).item() == pytest.approx(by_hand, rel=1e-5)
    assert difference(drawn, wanted).item() == pytest.approx(ramp.mean() + halved(ramp).mean(), rel=1e-5)


def test_a_shifted_face_is_more_unlike_than_one_of_another_background():
    rng = np.random.default_rng(0)
    face = torch.from_numpy(rng.uniform(-1, 1, (1, 3, 16, 16)).astype(np.float32)).repeat_interleave(4, 2)
    face = face.repeat_interleave(4, 3)
    other_background = face.clone()
    other_background[..., :8] = 0
    assert unlikeness(face.roll(2, 3), face) > 2 * unlikeness(other_background, face)


def test_face_error_looks_at_the_face_alone():
    black = np.zeros((1, 64, 64, 3), np.uint8)
    corners = black.copy()
    corners[:, :8], corners[:, :, :8] = 255, 255
    assert face_error(corners, black) == 0
    assert face_error(black + 51, black) == pytest.approx(0.2)


# Wide latents.


def test_a_wide_latent_of_equal_parts_is_the_narrow_one(model):
    narrow = model.latents(2, seed=1)
    (wide, _) = latents.alike([narrow, np.zeros((1, model.latent_dim * 5), np.float32)])
    assert wide.shape == (2, 5 * model.latent_dim)
    assert np.abs(model.draw(wide).astype(int) - model.draw(narrow)).max() <= 1
    other = wide.copy()
    other[:, -model.latent_dim :] = model.latents(2, seed=2)  # the last octave alone
    assert np.abs(model.draw(other).astype(int) - model.draw(wide)).mean() > 1


def test_wide_and_narrow_faces_morph_and_add(model, workdir):
    wide = np.concatenate([model.latents(1, seed=seed)[0] for seed in range(5)])
    latents.save_latent(wide, workdir / "wide.npy")
    walk = model.interpolate("wide.npy", 44, steps=3)
    assert walk.shape == (3, 5 * model.latent_dim)
    np.testing.assert_array_equal(walk[0], wide)
    np.testing.assert_array_equal(walk[2], np.tile(model.face(44), 5))
    total = model.arithmetic(plus=[wide, 3], minus=[4])
    assert np.linalg.norm(total) == pytest.approx((5 * model.latent_dim) ** 0.5, rel=1e-5)


def test_a_family_without_modulation_refuses_wide_latents(workdir):
    latents.save_latent(np.zeros((5 * 8), np.float32), workdir / "wide.npy")
    with pytest.raises(FaceganError, match="width 40; this generator takes 8"):
        latents.load_latents(workdir / "wide.npy", 8, rows=1)


# Projecting and tuning.


def test_the_generators_own_face_is_found_again(model, monkeypatch):
    """With fewer than half of the usual steps and samples; the face began as unlike as another person's."""
    monkeypatch.setattr(project, "_SAMPLES", 300)
    monkeypatch.setattr(project, "TRIALS", ((3, 60),))
    monkeypatch.setattr(project, "FINAL_STEPS", 90)
    generator, networks, face = model.loaded.module, model.loaded.config.networks, model.sample(1, seed=1)
    before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    told: list[tuple[int, int]] = []
    z = project.project(generator, networks, face, on_progress=lambda done, total: told.append((done, total)))
    assert z.shape == (1, 5 * model.latent_dim) and z.dtype == np.float32
    assert face_error(draw_faces(generator, networks, z), face) < 0.25 * face_error(model.sample(1, seed=2), face)
    assert told[0] == (0, 150) and told[-1] == (150, 150) and told == sorted(told)
    for name, tensor in generator.state_dict().items():
        assert torch.equal(tensor, before[name]), name


@pytest.mark.parametrize("preset", PRESETS)
def test_every_family_is_tuned_to_faces_that_it_cannot_draw(preset, quick):
    config = tiny(preset)
    generator = build_generator(config).eval().requires_grad_(False)
    random = torch.Generator().manual_seed(0)
    for weight in generator.parameters():  # some contrast, as after training
        weight.add_(0.2 * torch.randn(weight.shape, generator=random))
    rng = np.random.default_rng(0)
    faces = rng.integers(0, 256, (2, 4, 4, 3), np.uint8).repeat(8, 1).repeat(8, 2)
    z = project.project(generator, config.networks, faces)
    tuned, z2 = tune.tune(generator, config.networks, z, faces)
    assert z.shape == z2.shape == (2, config.networks.latent_rows * config.networks.latent_dim)
    before, after = (face_error(draw_faces(g, config.networks, w), faces) for g, w in ((generator, z), (tuned, z2)))
    assert (after < before).all(), (before, after)
    again, _ = tune.tune(generator, config.networks, z, faces)
    for name, tensor in tuned.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), "the same seed gives the same generator"


def test_other_faces_are_held_to_their_pictures(model, monkeypatch):
    """With the weight of the held faces at zero, the second stage changes others more."""
    monkeypatch.setattr(tune, "OFFSET_STEPS", 1)
    monkeypatch.setattr(tune, "WEIGHT_STEPS", 15)
    networks, generator = model.loaded.config.networks, model.loaded.module
    face, z, others = model.sample(1, seed=3), np.tile(model.latents(1, seed=4), 5), model.latents(20, seed=6)
    changes = []
    for keep in (3.0, 0.0):
        monkeypatch.setattr(tune, "_KEEP", keep)
        tuned, _ = tune.tune(generator, networks, z, face)
        changes.append(np.abs(draw_faces(tuned, networks, others).astype(int) - model.draw(others)).mean())
    assert changes[0] < 0.9 * changes[1], changes


def test_the_latents_of_a_face_stay_near_each_other_and_within_the_prior(model, quick, monkeypatch):
    face = model.sample(1, seed=8)[:, ::-1].copy()  # upside down: nothing that the generator draws
    spreads, norms = [], []
    for weight in (0.3, 0.0):
        monkeypatch.setattr(project, "_SPREAD", weight)
        monkeypatch.setattr(project, "_BEYOND", weight)
        rows = project.project(model.loaded.module, model.loaded.config.networks, face).reshape(5, -1)
        spreads.append(float(rows.var(axis=0).mean()))
        norms.append(float(np.linalg.norm(rows, axis=1).max()))
    assert spreads[0] < spreads[1] and norms[0] < norms[1]


def test_offsets_change_what_the_layers_say_of_these_faces_and_little_else(model, monkeypatch):
    """After the first stage alone a layer says W z + o of each face; a random latent is nearly orthogonal to it."""
    monkeypatch.setattr(tune, "OFFSET_STEPS", 30)
    monkeypatch.setattr(tune, "WEIGHT_STEPS", 0)
    networks, generator = model.loaded.config.networks, model.loaded.module
    faces, z = model.sample(2, seed=3), np.tile(model.latents(2, seed=4), 5)
    tuned, moved = tune.tune(generator, networks, z, faces)
    others = model.latents(50, seed=6)
    pairs = zip(generator.latent_layers(), tuned.latent_layers(), strict=True)
    for (row, old), (_, new) in pairs:
        seen = torch.from_numpy(moved).unflatten(1, (5, -1))[:, row]
        change = new.weight - old.weight
        assert np.linalg.matrix_rank(change.numpy(), tol=1e-4) <= 2
        here, elsewhere = (float((x @ change.T).pow(2).mean()) for x in (seen, torch.from_numpy(others)))
        assert elsewhere < 0.1 * here
    apart = np.abs(draw_faces(tuned, networks, others).astype(int) - model.draw(others)).mean()
    assert 0 < apart < 4


# The command, and photos as faces.


def test_project_writes_what_other_commands_take(me, friend, quick):
    code, out, err = cli("project", "me.jpg", "friend.png", "--generator", NAME, "--device", "cpu")
    assert code == 0, err
    written = [line.removeprefix("wrote ") for line in out.splitlines()]
    assert [Path(name).name for name in written] == [
        "project-001.png",
        "project-001-me.npy",
        "project-001-friend.npy",
        "project-001.safetensors",
    ]
    assert err.count("the pixels of the face differ by") == 2
    assert cli("interpolate", written[3], "--through", written[1], "--through", "44", "--steps", "3")[0] == 0
    code, said, err = cli("info", written[3])
    assert code == 0 and "by facegan project to 2 photos; the file holds no photo" in said, err
    code, said, _ = cli("info", written[1])
    assert code == 0 and "latents" in said and "640" in said
    assert cli("project", "me.jpg", "--generator", NAME, "--out", written[0])[0] == 1


def test_a_photo_is_a_face_and_the_second_command_only_reads(me, friend, quick, monkeypatch):
    words = ("--through", "me.jpg", "--through", "friend.png", "--steps", "4", "--gif")
    code, out, err = cli("interpolate", NAME, *words)
    assert code == 0 and "interpolate-001.gif" in out, err
    monkeypatch.setattr(photos, "project", lambda *_, **__: pytest.fail("projected again"))
    code, out, err = cli("interpolate", NAME, *words)
    assert code == 0, err
    assert cli("interpolate", NAME, "--through", "friend.png", "--through", "me.jpg")[0] == 0, "in another order"
    first, second = (Path(f"outputs/interpolate-00{n}.png").read_bytes() for n in (1, 2))
    assert first == second
    for file in Path("outputs/projected").iterdir():
        assert file.suffix in (".npy", ".safetensors")


def test_photos_keep_their_places_whatever_is_named_twice(workdir, model, quick):
    """Four photos, in all orders that a hash may bring, one of them named twice and once by another path."""
    names = [f"{n}.png" for n in range(4)]
    for n, name in enumerate(names):
        Image.fromarray(model.sample(1, seed=n + 10)[0]).save(name)
    asked = [names[0], names[2], f"./{names[2]}", names[3], names[1], names[0]]
    found = model.project(asked, crop="square", memory="m").found
    assert found.names == [Path(name).name for name in asked]
    for n, name in enumerate(asked):
        np.testing.assert_array_equal(found.photos[n], np.asarray(Image.open(name)))
        errors = face_error(
            np.repeat(found.drawn[n : n + 1], 4, 0), np.stack([np.asarray(Image.open(p)) for p in names])
        )
        assert names[int(errors.argmin())] == Path(name).name
    again = model.project(asked[::-1], crop="square", memory="m").found
    np.testing.assert_array_equal(again.drawn, found.drawn[::-1])
    assert len(list(Path("m").iterdir())) == 2
    model.project(names[0], crop="square", memory="m", plain=True)
    model.project(names[0], crop="square", memory="m", plain=True, seed=1)
    assert len(list(Path("m").iterdir())) == 4, "other settings are remembered apart"


def test_equal_photos_count_once(model, quick):
    """A generator of 64 pixels is tuned to at most 32 photos."""
    names = [f"{n}.png" for n in range(33)]
    with pytest.raises(FaceganError, match="33 photos are too many"):
        photos.project_faces(model.loaded, names, model.sample(33), plain=True)
    found = photos.project_faces(model.loaded, names, model.sample(1).repeat(33, 0), plain=True)
    assert found.names == names and (found.latents == found.latents[0]).all()


def test_a_photo_is_never_replaced(me, quick):
    before = me.read_bytes()
    for words in ("project me.jpg --plain", "interpolate pretrained --through me.jpg --through 3 --plain"):
        code, _, err = cli(*words.split(), "--out", "me.jpg", "--overwrite")
        assert code == 2 and "would replace the photo me.jpg" in err
    assert me.read_bytes() == before
    code, _, err = cli("project", NAME, "me.jpg")
    assert code == 2 and "--generator pretrained" in err


def test_a_number_is_a_face_even_where_a_file_has_its_name(workdir):
    Path("3").write_text("no photo")
    assert cli("interpolate", NAME, "--through", "3", "--through", "4")[0] == 0


def test_results_that_cannot_be_remembered_are_a_note(me, quick):
    Path("outputs").write_text("in the way")
    code, _, err = cli("interpolate", NAME, "--through", "me.jpg", "--through", "3", "--out", "x.png")
    assert code == 0 and err.count("could not be remembered") == 1, err


def test_a_photo_in_an_equation_and_projected_only(me, quick, monkeypatch):
    monkeypatch.setattr(photos, "tune", lambda *_, **__: pytest.fail("tuned"))
    code, _, err = cli("arithmetic", NAME, "--plus", "me.jpg", "--minus", "27,30", "--plus", "1", "--plain")
    assert code == 0 and "before tuning" not in err, err
    assert cli("project", "me.jpg", "--generator", NAME, "--plain")[0] == 0
    assert not Path("outputs/project-001.safetensors").exists()


def test_a_damaged_memory_is_made_again(me, quick):
    words = ("interpolate", NAME, "--through", "me.jpg", "--through", "3", "--steps", "3")
    assert cli(*words)[0] == 0
    for file in Path("outputs/projected").iterdir():
        file.write_bytes(b"damaged")
    assert cli(*words)[0] == 0
    kept = {file.suffix: file for file in Path("outputs/projected").iterdir()}
    assert np.load(kept[".npy"]).shape == (2, 640) and cli("info", kept[".safetensors"])[0] == 0


def test_python_gives_a_tuned_model_and_leaves_its_own_alone(me, model, quick):
    faces = model.sample(2)
    mine = model.project([me])
    assert mine.model.draw(mine.latents).shape == (1, 64, 64, 3)
    assert face_error(mine.found.drawn, mine.found.photos) < face_error(mine.found.plain, mine.found.photos)
    np.testing.assert_array_equal(model.sample(2), faces)
    assert mine.model.interpolate(mine.latents[0], 3, steps=2).shape == (2, 5 * model.latent_dim)


REFUSED = {
    "missing.jpg": (None, "does not exist"),
    "cat.png": (pictures.chelsea(), "no face found"),
    "dot.png": (np.zeros((1, 1, 3), np.uint8), "no face found"),
    "text.jpg": (b"not a picture", "cannot be used"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize(
    "command", ["project {} --generator pretrained", "interpolate pretrained --through {} --through 1"]
)
def test_what_is_no_face_is_one_sentence(name, command, workdir):
    content, reason = REFUSED[name]
    if isinstance(content, bytes):
        Path(name).write_bytes(content)
    elif content is not None:
        Image.fromarray(content).save(name)
    code, out, err = cli(*command.format(name).split())
    assert code == 1 and not out
    assert err.count("error: ") == 1 and name in err and reason in err
    assert not Path("outputs").exists() or not list(Path("outputs").iterdir())


@pytest.mark.parametrize(
    "words",
    [
        "interpolate --through me.jpg",
        "arithmetic --plus me.jpg --minus nobody",
        "interpolate --through 3 --through me.jpg,x.npy",
        "interpolate --through 3 --through me.jpg --steps 9999",
    ],
)
def test_a_mistake_is_told_before_faces_are_looked_for(words, me, monkeypatch):
    monkeypatch.setattr(photos, "project", lambda *_, **__: pytest.fail("projected"))
    assert cli(*words.split())[0] in (1, 2)


def test_photos_of_one_name_get_files_of_their_own(workdir, model, quick):
    for folder, index in (("a", 1), ("b", 2)):
        Path(folder).mkdir()
        Image.fromarray(model.sample(1, seed=index)[0]).save(f"{folder}/me.png")
    code, out, err = cli("project", "a/me.png", "b/me.png", "--crop", "square", "--plain", "--generator", NAME)
    assert code == 0 and "project-001-me.npy" in out and "project-001-me-2.npy" in out, err
