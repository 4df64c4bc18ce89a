"""A picture says how it was made, so that it can be made again, and says nothing else of the machine."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
import typer
from conftest import cli, tiny
from PIL import Image, ImageSequence
from PIL.PngImagePlugin import PngInfo

from facegan.cli.app import app, options_of
from facegan.core.errors import FaceganError
from facegan.core.version import __version__
from facegan.describe import describe
from facegan.faces.latents import draw, save_latent
from facegan.models.checkpoint import load_generator, save_generator, weights_sha256
from facegan.networks import build_generator
from facegan.pictures.animation import write_animation
from facegan.pictures.origin import Origin, read_origin
from facegan.pictures.sheets import WRITABLE, save_picture

ORIGIN = Origin(("sample", "g.safetensors", "--seed", "7"), 7, "g.safetensors", 64 * "a", "7:44")


@pytest.fixture
def generator(workdir: Path) -> Path:
    config = tiny("dcgan-r3gan")
    (workdir / "private").mkdir()
    return save_generator(
        workdir / "private" / "g.safetensors",
        build_generator(config),
        config,
        images_seen=0,
        weights="raw",
        provenance={},
    )


def facts(path: Path) -> dict[str, str]:
    kind, found = describe(path)
    assert kind == "picture"
    return dict(found)


@pytest.mark.parametrize("suffix", [*WRITABLE, ".JPG"])
def test_every_still_picture_holds_its_origin(tmp_path, suffix):
    image = np.full((20, 30, 3), 200, np.uint8)
    path = save_picture(image, tmp_path / f"a{suffix}", origin=ORIGIN)
    assert read_origin(path) == ((30, 20), ORIGIN)
    assert read_origin(save_picture(image, tmp_path / f"b{suffix}")) == ((30, 20), None)


@pytest.mark.parametrize(("suffix", "expected"), [(".gif", ORIGIN), (".webp", ORIGIN)])
def test_animations_hold_it_too(tmp_path, suffix, expected):
    frames = np.random.default_rng(0).integers(0, 256, (3, 20, 30, 3), np.uint8)
    path = write_animation(iter(frames), tmp_path / f"a{suffix}", origin=ORIGIN)
    assert read_origin(path)[1] == expected
    with Image.open(path) as picture:
        assert picture.n_frames == 3 and picture.info["loop"] == 0


MADE = [
    ("sample", "{g}", "--seed", "7", "--count", "3", "--number", "--truncation", "0.8"),
    ("sample", "{g}", "--faces", "smiling man, 7:3,private/z.npy", "--seed", "2", "--number"),
    ("interpolate", "{g}", "--through", "3", "--through=private/z.npy,7:4", "--steps", "3", "--loop"),
    ("interpolate", "{g}", "--through", "not smiling", "--through", "1", "--steps", "3", "--gif", "--fps", "7.5"),
    ("arithmetic", "{g}", "--plus", "1,2", "--minus", "private/z.npy", "--plus", "4", "--raw", "--scale", "2"),
    ("arithmetic", "{g}", "--minus", "smiling woman", "--plus", "man,3", "--minus=woman", "--steps", "3"),
    ("edit", "{g}", "--attr", "smiling=-2..2", "--attr", "male=+1", "--keep", "none", "--steps", "3", "--gif"),
    ("edit", "{g}", "--face", "private/z.npy,man", "--component", "2=-1..1", "--attr", "smiling=-1..1", "--steps", "2"),
    ("edit", "{g}", "--component", "--scale", "1"),
    ("gif", "{g}", "--faces", "2", "--stops", "2", "--steps", "2", "--seed", "3", "--fps", "5"),
    ("project", "private/me.jpg", "--generator", "{g}", "--crop", "square", "--seed", "4"),
]


def test_every_command_that_says_how_is_tried():
    said = {name for name in typer.main.get_command(app).commands if "--no-metadata" in options_of([name])}
    assert said - {"studio"} == {words[0] for words in MADE}  # test_studio.py tries what the studio saves


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A photo takes a few steps, and is no photo of anybody."""
    monkeypatch.setattr("facegan.editing.project.TRIALS", ((2, 2),))
    monkeypatch.setattr("facegan.editing.project.FINAL_STEPS", 2)
    monkeypatch.setattr("facegan.editing.tune.OFFSET_STEPS", 2)
    monkeypatch.setattr("facegan.editing.tune.WEIGHT_STEPS", 2)


def photo(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.effect_noise((40, 40), 90).convert("RGB").save(path)


@pytest.mark.parametrize("words", MADE, ids=lambda words: words[0])
def test_the_command_makes_the_pictures_again(ckpt_with_words, quick, words, monkeypatch):
    photo(Path("private/me.jpg"))
    generator = ckpt_with_words.rename("private/g.safetensors")
    save_latent(draw(3, [1], 8)[0], Path("private/z.npy"))
    ending = ".gif" if words[0] == "gif" else ".png"
    code, _, err = cli(*(word.format(g=generator) for word in words), "--out", f"private/first{ending}", "--device=cpu")
    assert code == 0, err
    monkeypatch.chdir("private")
    pictures = [path for path in sorted(Path().glob("first*")) if path.suffix in (".png", ".gif")]
    assert len(pictures) == (2 if "--gif" in words or (words[0] == "arithmetic" and "--steps" in words) else 1)
    for first in pictures:
        told = facts(first)
        assert "private" not in str(told) and "first" not in told["command"] and "--device" not in told["command"]
        assert told["made by"] == f"facegan {__version__}"
        assert told["SHA-256 of weights"] == weights_sha256(load_generator(Path("g.safetensors")).module)
    code, _, err = cli(*shlex.split(told["command"])[1:], "--out", f"again{ending}")
    assert code == 0, err
    for first in pictures:
        assert frames(first) == frames(Path(first.name.replace("first", "again")))


def frames(path: Path) -> list[bytes]:
    """The pixels of a picture, or of each frame of an animation."""
    with Image.open(path) as picture:
        return [frame.convert("RGB").tobytes() for frame in ImageSequence.Iterator(picture)]


def test_the_generator_that_was_found_is_named(workdir):
    assert cli("sample", "--count", "1", "--out", "a.png")[0] == 0
    told = facts(Path("a.png"))
    assert told["command"] == "facegan sample pretrained --count 1" and told["generator"] == "pretrained"
    code, out, _ = cli("info", "pretrained")
    assert code == 0 and told["SHA-256 of weights"] in out
    code, out, _ = cli("info", "a.png")
    assert code == 0 and "facegan sample pretrained --count 1" in out


def test_single_files_say_which_face_they_are(generator):
    assert cli("sample", generator, "--separate", "--count", "2", "--seed", "7", "--out", "faces")[0] == 0
    assert facts(Path("faces/seed7-00001.png"))["face"] == "7:1"
    assert facts(Path("faces/seed7-00001.png"))["command"].endswith("--separate")


def test_a_photo_is_named_without_its_folder(generator, quick):
    photo(Path("private, mine/me.jpg"))
    words = ("private, mine/me.jpg", "--generator", generator, "--crop", "square", "--plain", "--out", "a.png")
    code, _, err = cli("project", *words)
    assert code == 0, err
    assert facts(Path("a.png"))["command"] == "facegan project me.jpg --generator g.safetensors --crop square --plain"


def test_a_walk_and_a_morph_say_it_too(generator):
    assert cli("gif", generator, "--faces", "1", "--stops", "2", "--steps", "1", "--out", "w.gif")[0] == 0
    assert facts(Path("w.gif"))["command"] == "facegan gif g.safetensors --faces 1 --stops 2 --steps 1"
    assert cli("interpolate", generator, "--steps", "3", "--gif", "--out", "m.webp")[0] == 0
    assert facts(Path("m.gif")) | {"pixels": "", "on disk": ""} == facts(Path("m.webp")) | {"pixels": "", "on disk": ""}


@pytest.mark.parametrize("command", ["sample", "interpolate", "gif"])
def test_no_metadata_leaves_it_out(generator, command):
    out = "a.gif" if command == "gif" else "a.png"
    small = {"sample": ["--count", "1"], "interpolate": ["--steps", "2"], "gif": ["--faces", "1", "--steps", "1"]}
    assert cli(command, generator, *small[command], "--no-metadata", "--out", out)[0] == 0
    assert facts(Path(out))["made by"].startswith("unknown")
    assert b"facegan" not in Path(out).read_bytes()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".gif"])
def test_a_command_that_no_picture_can_hold_is_left_out(tmp_path, suffix):
    long = Origin(("sample", "g", "--faces", ",".join(map(str, range(20_000)))), 0, "g", "a")
    path = tmp_path / f"a{suffix}"
    frames = np.full((1, 20, 30, 3), 200, np.uint8)
    write_animation(iter(frames), path, origin=long) if suffix == ".gif" else save_picture(frames[0], path, origin=long)
    assert read_origin(path) == ((30, 20), None)


@pytest.mark.parametrize("name", ["walk.mp4", "faces.onnx"])
def test_what_facegan_writes_and_does_not_read_is_no_damaged_checkpoint(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(FaceganError, match="cannot say what"):
        describe(tmp_path / name)


def test_a_stranger_s_picture_cannot_deceive(tmp_path):
    def with_text(text: str) -> Path:
        chunks = PngInfo()
        chunks.add_text("facegan", text)
        Image.new("RGB", (8, 8)).save(tmp_path / "a.png", pnginfo=chunks)
        return tmp_path / "a.png"

    hostile = Origin(("sample", "x; rm -rf ~", "$(reboot)", "\x1b[2J\n"), 0, "g", "a").to_json()
    command = facts(with_text(hostile))["command"]
    assert command.isprintable()
    assert "'x; rm -rf ~' '$(reboot)'" in command
    for damaged in (
        '{"facegan"',
        '{"facegan": 1}',
        ORIGIN.to_json().replace("[", "{}, ["),
        ORIGIN.to_json() + 60_000 * " ",
    ):
        with pytest.raises(FaceganError, match="its metadata"):
            describe(with_text(damaged))
    assert facts(with_text("something else"))["made by"].startswith("unknown")
    (tmp_path / "b.png").write_bytes(b"hello")
    with pytest.raises(FaceganError, match="cannot be read as a picture"):
        describe(tmp_path / "b.png")
