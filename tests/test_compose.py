"""Sheets, morphs and equations: truncation, the order of the critic's scores, the names of faces, and sizes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import cli, tiny
from PIL import Image

from facegan.core.errors import FaceganError, UsageError
from facegan.faces import latents
from facegan.faces.compose import (
    FRAME_PIXELS,
    MAX_SHEET,
    arithmetic,
    best_faces,
    critic_of,
    interpolate,
    sample_latents,
    sample_separately,
    sample_sheet,
)
from facegan.faces.synthesis import critic_scores, draw_faces
from facegan.models.checkpoint import load_generator, save_checkpoint
from facegan.pictures.animation import check_animation
from facegan.pictures.sheets import MAX_PIXELS, sheet
from facegan.presets import PRESETS
from facegan.training.trainer import Trainer


@pytest.fixture(params=PRESETS)
def loaded(request, tmp_path):
    """A checkpoint of a generator whose faces have some contrast, as after training."""
    trainer = Trainer(tiny(request.param), torch.device("cpu"))
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for network in (trainer.generator, trainer.critic):
            for weight in network.parameters():
                weight.add_(0.2 * torch.randn(weight.shape, generator=rng))
    if trainer.average:
        trainer.average.module.load_state_dict(trainer.generator.state_dict())
    return load_generator(save_checkpoint(tmp_path / "000000004.pt", trainer.config, {}, trainer.state()))


def test_truncation_brings_the_faces_of_every_preset_together(loaded):
    def spread(truncation: float) -> float:
        z = sample_latents(loaded, 0, range(32), truncation)
        return float(draw_faces(loaded.module, loaded.config.networks, z).std(axis=0).mean())

    spreads = [spread(truncation) for truncation in (1.0, 0.7, 0.4, 0.0)]
    assert spreads == sorted(spreads, reverse=True)
    assert spreads[0] > 1.3 * spreads[2] > 0
    assert spreads[3] == 0


def test_a_sorted_sheet_has_the_best_first_and_the_latents_numbers(loaded):
    z = sample_latents(loaded, 3, range(9), 1.0)
    faces = draw_faces(loaded.module, loaded.config.networks, z)
    trainer = Trainer(loaded.config, torch.device("cpu"))
    trainer.critic.load_state_dict(loaded.critic)
    scores = critic_scores(trainer.critic, loaded.config.networks, faces)
    with torch.no_grad():  # one by one, with the critic's own unit
        reals = torch.from_numpy(faces).permute(0, 3, 1, 2).float() / 127.5 - 1
        alone = torch.cat([trainer.critic(trainer._to_network_unit(face[None])) for face in reals])
    np.testing.assert_allclose(scores, alone.numpy(), rtol=1e-4, atol=1e-5)
    best_first = np.argsort(-scores)
    assert best_first.tolist() != list(range(9))
    picture = sample_sheet(loaded, count=9, seed=3, numbers=True, by_score=True)
    np.testing.assert_array_equal(picture, sheet(faces[best_first], [f"3:{n}" for n in best_first]))
    assert not np.array_equal(picture, sheet(faces[best_first], [f"3:{n}" for n in range(9)]))


def test_the_best_faces_are_the_first_of_all_when_sorted(loaded, monkeypatch):
    """Also if there are too many to hold at once."""
    z = sample_latents(loaded, 3, range(9), 0.9)
    faces = draw_faces(loaded.module, loaded.config.networks, z)
    scores = critic_scores(critic_of(loaded), loaded.config.networks, faces)
    best_first = np.argsort(-scores)[:4]
    monkeypatch.setattr("facegan.faces.compose._CHUNK", 4)
    found = best_faces(loaded, 4, of=9, seed=3, truncation=0.9)
    assert found.labels == tuple(f"3:{n}" for n in best_first)
    np.testing.assert_array_equal(found.latents, z[best_first])
    with pytest.raises(UsageError, match="5 faces cannot be the best of 4"):
        best_faces(loaded, 5, of=4, seed=3)


@pytest.fixture
def forbidden(monkeypatch):
    """Drawing any face is an error."""
    monkeypatch.setattr("facegan.faces.compose._faces", lambda *_: pytest.fail("faces were drawn"))


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    trainer = Trainer(tiny("dcgan"), torch.device("cpu"))
    path = tmp_path_factory.mktemp("one") / "000000004.pt"
    return load_generator(save_checkpoint(path, trainer.config, {}, trainer.state()))


MORPH = {"seed": 0, "method": "slerp", "loop": False}


@pytest.mark.parametrize(
    ("draw", "says"),
    [
        (lambda g: sample_sheet(g, count=2501, seed=0), "A sheet holds at most 2,500 faces"),
        (lambda g: sample_sheet(g, count=2500, seed=0, scale=16), "more than memory"),
        (lambda g: sample_sheet(g, count=2500, seed=0, scale=16, out=Path("a.webp")), "at most 16,383"),
        (lambda g: interpolate(g, [*map(str, range(12))], steps=10_000, **MORPH), "at most 2,500 faces, not 109,990"),
        (lambda g: interpolate(g, ["0"] * 2501, steps=2, **MORPH), "at most 2,500 faces, not 2,501"),
        (lambda g: interpolate(g, ["0", "1"], steps=2500, **MORPH, out=Path("a.webp")), "at most 16,383"),
        (
            lambda g: interpolate(g, ["0", "1"], steps=2500, **MORPH, scale=15),
            "6,152 x 123,856 pixels, more than memory",
        ),
        (lambda g: arithmetic(g, [(1, "0-2499"), (-1, "3")], seed=0, raw=False), "at most 2,500 faces, not 2,501"),
        (lambda g: arithmetic(g, [(1, "0")], seed=0, raw=False, steps=2501), "at most 2,500 faces, not 2,501"),
        (lambda g: arithmetic(g, [(1, "0-2499")], seed=0, raw=False, scale=16), "more than memory"),
        (
            lambda g: arithmetic(g, [(1, "0")], seed=0, raw=False, steps=2000, out=Path("a.webp")),
            "at most 16,383",
        ),
    ],
)
def test_what_is_too_large_is_said_before_a_face_is_drawn(generator, forbidden, draw, says):
    with pytest.raises(FaceganError, match=says):
        draw(generator)


def test_what_is_allowed_fits(generator, monkeypatch):
    """The largest sheet and strip are not refused, and there is room for the animation of any strip."""
    monkeypatch.setattr("facegan.faces.compose._faces", lambda g, z, *_: np.zeros((len(z), 1, 1, 3), np.uint8))
    monkeypatch.setattr("facegan.faces.compose.sheet", lambda *_, **__: None)
    sample_sheet(generator, count=MAX_SHEET, seed=0, numbers=True)
    morph = interpolate(generator, ["0", "1"], steps=MAX_SHEET, **MORPH)
    assert len(morph.faces) == MAX_SHEET
    check_animation(Path("a.gif"), len(morph.order()), (FRAME_PIXELS, FRAME_PIXELS))
    check_animation(Path("a.gif"), 2, (MAX_PIXELS // 10_000, 10_000))  # the strip as two frames, there and back


def test_a_morph_names_its_key_faces(generator, monkeypatch, tmp_path):
    """By what can be typed again, whatever --seed was; and a loop returns to its first face."""
    latents.save_latent(latents.draw(1, [2], 8)[0], tmp_path / "smile.npy")
    shown = []
    monkeypatch.setattr("facegan.faces.compose.strip", lambda *given, **_: shown.append(given))
    through = ["44", "7:44", "0:3,1-2", str(tmp_path / "smile.npy")]
    for loop in (False, True):
        morph = interpolate(generator, through, steps=3, seed=5, method="lerp", loop=loop)
        morph.strip()
        faces, shares, names = shown.pop()
        assert names == ["5:44", "7:44", "3,5:1-2", "smile", *["5:44"] * loop]
        assert shares == [0, 0.5] * (3 + loop) + [1]
        assert len(faces) == len(shares)
        if loop:
            assert np.array_equal(faces[0], faces[-1])
            assert len(morph.order()) == len(faces) - 1, "the animation does not stand still at its seam"


def test_an_arithmetic_tells_how_many_faces_are_drawn(generator):
    """The six of the equation (its operands, their means and the result), then those of the way."""
    told = []
    arithmetic(
        generator, [(-1, "3"), (1, "4,5")], seed=7, raw=False, steps=4, on_progress=lambda *given: told.append(given)
    )
    assert told == [(6, 6), (4, 4)]


def test_the_way_of_an_arithmetic_ends_at_its_result(generator):
    outcome, way = arithmetic(generator, [(-1, "3"), (1, "4,5")], seed=7, raw=False, steps=3)
    assert way.names == ["7:4,7:5", "result"]
    np.testing.assert_array_equal(way.faces[-1], outcome.face)


@pytest.mark.parametrize("scale", [None, 2])
def test_scale_enlarges_sheets_single_faces_and_films(generator, tmp_path, scale):
    (path,) = sample_separately(generator, tmp_path, count=1, seed=0, scale=scale)
    with Image.open(path) as face:
        assert face.size == (32 * (scale or 1),) * 2
    assert sample_sheet(generator, count=1, seed=0, scale=scale).shape[1] > 32 * (scale or 4)
    morph = interpolate(generator, ["0", "1"], steps=2, **MORPH, scale=scale)
    assert next(morph.frames()).shape == (32 * (scale or 12), 32 * (scale or 12), 3)


def test_the_command_sorts(loaded, workdir):
    for words in (["--sort"], []):
        code, _, err = cli("sample", loaded.source, "--count", "9", "--number", *words, "--out", f"{len(words)}.png")
        assert code == 0, err
    assert (workdir / "0.png").read_bytes() != (workdir / "1.png").read_bytes()
