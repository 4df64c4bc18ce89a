"""facegan edit: a face along attributes and components."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import cli
from PIL import Image

from facegan.cli.edit import with_overview
from facegan.core.errors import UsageError
from facegan.editing.change import Change, check_changes, far, parse_change
from facegan.editing.edit import changed_latents, edit, overview, resolve
from facegan.faces.latents import Operand, draw, parse_spec
from facegan.faces.synthesis import draw_faces

EDIT = ["edit", "g.safetensors", "--face", "42", "--device", "cpu"]


@pytest.mark.parametrize(
    ("text", "change"),
    [
        ("smiling=+2", ("smiling", 2, 2)),
        ("smiling=2", ("smiling", 2, 2)),
        ("Wavy Hair = -1.5", ("Wavy Hair", -1.5, -1.5)),
        ("young=-3..3", ("young", -3, 3)),
        ("young=3..-0", ("young", 3, 0)),
    ],
)
def test_a_change_is_read_as_it_is_written(text, change):
    found = parse_change(text)
    assert (found.name, found.start, found.end) == change
    assert found.is_range == (found.start != found.end)


@pytest.mark.parametrize(
    "text", ["", "smiling", "smiling=", "=2", "smiling=x", "smiling=1..", "smiling=..2", "a=1=2", "smiling=nan", "s=7"]
)
def test_what_is_no_change_is_a_sentence(text):
    with pytest.raises(UsageError):
        parse_change(text)
    with pytest.raises(UsageError):
        parse_change(text, component=True)


def test_components_are_numbers_from_one():
    assert parse_change("3=-2..2", component=True) == Change("3", -2, 2, component=True)
    for text in ("0=1", "x=1", "-1=1", "1.5=1", "٣=1"):
        with pytest.raises(UsageError, match="component"):
            parse_change(text, component=True)


def test_what_does_not_fit_on_paper_is_refused():
    ranges = [Change(name, -1, 1) for name in "abc"]
    with pytest.raises(UsageError, match="3 ranges"):
        check_changes(ranges, steps=3, film=False)
    with pytest.raises(UsageError, match="one range"):
        check_changes(ranges[:2], steps=3, film=True)
    with pytest.raises(UsageError, match="2,601"):
        check_changes(ranges[:2], steps=51, film=False)
    with pytest.raises(UsageError, match="twice"):
        check_changes([Change("a", 1, 1), Change("A", 2, 2)], steps=3, film=False)
    with pytest.raises(UsageError, match="nothing to change"):
        check_changes([], steps=3, film=False)
    assert check_changes([*ranges[:2], Change("d", 1, 1)], steps=3, film=False) == ranges[:2]


def test_far_changes_are_said():
    assert far([Change("a", -2, 2), Change("3", -4, 4, component=True)]) == ""
    assert "(a)" in far([Change("a", -2, 2.5), Change("b", 0, 1)])


def test_scores_move_as_asked_and_kept_ones_stay(known):
    loaded, attributes = known
    z = draw(3, range(40), 8)
    before = attributes.scores(draw_faces(loaded.module, loaded.config.networks, z))
    after = attributes.scores(
        draw_faces(loaded.module, loaded.config.networks, changed_latents(attributes, z, {"smiling": 1, "glasses": -1}))
    )
    moved = dict(zip([a.name for a in attributes.known], (after - before).mean(0), strict=True))
    assert moved["Smiling"] > 0.5 and moved["Eyeglasses"] < -0.5 and abs(moved["Male"]) < 0.3
    assert resolve(attributes, "man") == ("Male", 1) and resolve(attributes, "woman") == ("Male", -1)
    woman, less_male = (changed_latents(attributes, z, change) for change in ({"woman": 1}, {"Male": -1}))
    assert np.array_equal(woman, less_male)


@pytest.mark.parametrize(
    ("changes", "keep", "says"),
    [
        ({"smilng": 1}, None, "smilng"),
        ({"man": 1, "Male": 1}, None, "named twice"),
        ({"smiling": 99}, None, "too far"),
        ({"smiling": float("nan")}, None, "too far"),
        ({}, None, "nothing to change"),
        ({"smiling": 1}, ["nose"], "nose"),
        ({"smiling": 1}, ["Smiling"], "changed and kept"),
    ],
)
def test_steps_that_cannot_be_made(known, changes, keep, says):
    with pytest.raises(UsageError, match=says):
        changed_latents(known[1], draw(0, [0], 8), changes, keep)


def test_a_pair_a_row_and_a_grid(known):
    loaded, attributes = known
    face = parse_spec("42", 0, 8)
    pair = edit(loaded, attributes, face, [Change("smiling", 2, 2), Change("man", 1, 1)])
    assert pair.labels == ["42", "smiling +2, man +1"] and np.allclose(pair.latents[0], face.latents[0])
    row = edit(loaded, attributes, face, [Change("smiling", -2, 2)], steps=5, film=True)
    assert row.labels == ["-2", "-1", "0", "+1", "+2"] and row.title == "42: smiling" and row.columns == 5
    assert np.allclose(row.latents[2], face.latents[0], atol=1e-5)
    assert np.allclose(row.film[0], row.latents[0]) and np.allclose(row.film[-1], row.latents[-1])
    assert len(list(row.frames())) == row.frame_count == 2 * 17 - 2
    both = [Change("smiling", -1, 1), Change("man", -2, 2), Change("glasses", 1, 1)]
    grid = edit(loaded, attributes, face, both, steps=3)
    assert grid.labels[:4] == ["-1, -2", "0, -2", "+1, -2", "-1, 0"] and grid.columns == 3
    assert grid.title == "42: smiling across, man down; glasses +1" and len(grid.faces) == 9
    norms = np.linalg.norm(grid.latents, axis=1)
    assert np.allclose(norms, np.linalg.norm(face.latents[0]), rtol=1e-5)
    assert len(edit(loaded, attributes, face, [Change("smiling", -1, 1)], steps=30).faces) == 30


def test_a_wide_latent_is_changed_at_every_place(known):
    loaded, attributes = known
    rows = loaded.config.networks.latent_rows
    z = draw(0, range(rows), 8).reshape(1, -1)
    found = edit(loaded, attributes, Operand(z, ("me",), "me"), [Change("smiling", 2, 2)])
    assert found.latents.shape == (2, 8 * rows) and np.linalg.norm(found.latents[1]) == pytest.approx(np.linalg.norm(z))


def test_components_need_no_attributes(known):
    loaded, _ = known
    face = parse_spec("1", 0, 8)
    found = edit(loaded, None, face, [Change("1", -2, 2, component=True)], steps=3)
    assert found.title == "1: component 1" and len(found.faces) == 3
    everything = overview(loaded, face)
    assert len(everything.labels) == 8 * 5 and everything.labels[0] == "1: -4"
    assert with_overview(["--component", "--seed", "1", "--component", "3=1", "--component"]) == [
        *("--component", "all", "--seed", "1", "--component", "3=1", "--component", "all")
    ]


def test_the_command_writes_a_picture_a_film_and_latents(ckpt_with_words):
    code, _, err = cli(*EDIT, "--attr", "smiling=-4..2", "--attr", "man=+1", "--steps", "4", "--gif", "--save")
    assert code == 0, err
    assert "beyond 2 (smiling) faces begin to dissolve" in err
    assert np.load("outputs/edit-001.npy").shape == (4, 8)
    with Image.open("outputs/edit-001.gif") as film:
        assert film.n_frames == 2 * 13 - 2
    code, _, err = cli(*EDIT, "--attr", "smiling=+2", "--save", "--keep", "none")
    assert code == 0, err
    assert np.load("outputs/edit-002.npy").shape == (8,)
    assert cli("interpolate", "g.safetensors", "--through", "42", "--through", "outputs/edit-002.npy")[0] == 0
    assert cli(*EDIT, "--component", "--out", "all.png")[0] == 0 and Path("all.png").is_file()
    assert cli(*EDIT, "--component", "1=2", "--attr", "glasses=1", "--face", "smiling man")[0] == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "nothing to change"),
        (("--attr", "smilng=2"), "smilng"),
        (("--attr", "smiling=7"), "goes too far"),
        (("--attr", "smiling=2", "--steps", "5"), "--steps is for ranges"),
        (("--attr", "smiling=2", "--fps", "5"), "--fps is for the GIF"),
        (("--attr", "smiling=2", "--plain"), "--plain is for photos"),
        (("--component", "--attr", "smiling=2"), "--attr is not for the overview"),
        (("--component", "1=2", "--keep", "Male"), "--keep"),
        (("--component", "9=2"), "no component 9"),
        (("--attr", "smiling=2", "--keep", "nose"), "nose"),
        (("--attr", "a=0..1", "--attr", "b=0..1", "--attr", "c=0..1"), "3 ranges"),
    ],
)
def test_wrong_usage_is_a_sentence(ckpt_with_words, words, says):
    code, _, err = cli(*EDIT, *words)
    assert code in (1, 2) and says in err
    assert not list(Path().glob("outputs/*"))
