"""The commands as people type them."""

from __future__ import annotations

import errno
import inspect
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import cli, tiny, write_dataset
from PIL import Image, ImageOps

from facegan.cli import outputs
from facegan.cli.arithmetic import terms_in_order
from facegan.cli.signals import Stopped
from facegan.cli.train import train
from facegan.core.errors import FaceganError, UsageError
from facegan.faces import compose, latents
from facegan.faces.compose import sample_sheet
from facegan.models.checkpoint import load_generator, save_generator
from facegan.networks import build_generator
from facegan.pictures.sheets import save_png
from facegan.presets import PRESETS
from facegan.runs.flags import FIELDS, to_overrides
from facegan.runs.plan import plan_new

COMMANDS = ("preprocess", "train", "sample", "interpolate", "arithmetic", "gif", "evaluate", "info", "bench")


@pytest.fixture
def ckpt(workdir: Path) -> Path:
    """A tiny untrained generator in an otherwise empty folder; this preset's is not yet flat."""
    config = tiny("keras-faces-64")
    return save_generator(
        workdir / "ckpt.safetensors", build_generator(config), config, images_seen=0, weights="raw", provenance={}
    )


def wrote(out: str) -> list[Path]:
    return [Path(path) for path in re.findall(r"^wrote (.+)$", out, re.MULTILINE)]


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_needs_no_torch(command):
    code = (
        "import sys\nfrom facegan.cli.app import main\n"
        f"sys.argv = ['facegan', *{command.split()!r}, '--help']\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "heavy = {'torch', 'torchvision', 'matplotlib', 'imageio'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


def test_light_commands_need_no_torch(workdir):
    write_dataset(workdir / "data/d", 3)
    Image.new("RGB", (8, 8)).save("a.png")
    code = (
        "import sys\nfrom facegan.cli.app import main\n"
        "for words in ('info data/d', 'gif a.png a.png --out a.gif', 'preprocess a --size 32'):\n"
        "    sys.argv = ['facegan', *words.split()]\n"
        "    try:\n        main()\n    except SystemExit as stop:\n        assert not stop.code, words\n"
        "assert 'torch' not in sys.modules"
    )
    Path("a").mkdir()
    Image.new("RGB", (40, 40)).save("a/a.png")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_python_dash_m_and_version():
    done = subprocess.run([sys.executable, "-m", "facegan", "--version"], capture_output=True, text=True, check=False)
    assert re.fullmatch(r"facegan \d+\.\d+\.\d+\n", done.stdout)


NO_FIELD = {"data", "preset", "start", "resume", "run", "name", "device", "verify", "dry_run", "config", "settings"}
"""Parameters of `train` that are not of the configuration."""


@pytest.mark.parametrize("flag", FIELDS)
def test_every_flag_arrives(flag):
    """Each flag of `train` that sets the configuration changes exactly its field, and no flag has a default."""
    parameters = inspect.signature(train).parameters
    assert parameters[flag].default is None
    assert parameters.keys() - FIELDS.keys() == NO_FIELD, "a flag that sets the configuration needs its row"
    special = {
        "augment": 0.5,
        "depth": 2,
        "critic_depth": 2,
        "precision": "bf16",
        "images": "1.5k",
        "flip": False,
        "tensorboard": True,
        "self_modulation": True,
    }
    special |= {"batch_size": "7", "on_nan": "rollback"}
    value = special.get(flag, 0.125 if flag.endswith(("lr", "decay")) else 7)
    assert FIELDS[flag] in to_overrides({flag: value})
    before = PRESETS["dcgan"]
    after = before.override(to_overrides({flag: value}))
    changed = {path for path, old in _leaves(before.to_dict()).items() if _leaves(after.to_dict())[path] != old}
    assert changed == ({"training.images", "training.epochs"} if flag == "images" else {FIELDS[flag]})


def _leaves(node: dict, prefix: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in node.items():
        path = f"{prefix}{key}"
        found |= _leaves(value, path + ".") if isinstance(value, dict) else {path: value}
    return found


def test_epochs_and_images_exclude_each_other():
    with pytest.raises(UsageError, match="both say how long"):
        to_overrides({"epochs": 1.0, "images": "5k"})


def test_train_then_everything_without_arguments(workdir):
    """The road of a newcomer: the only dataset, the newest run, its newest checkpoint, all found."""
    write_dataset(workdir / "data/d", 10)
    size = ["--width", "4", "--critic-width", "4", "--batch-size", "4", "--device", "cpu"]
    code, out, err = cli("train", *size, "--epochs", "2", "--seed", "5")
    assert code == 0, err
    assert "run: runs/00001-d-dcgan-r3gan" in out.replace("\\", "/")
    assert all(path.exists() for path in wrote(out)) and len(wrote(out)) == 5
    assert "dataset: data/d" in err.replace("\\", "/")

    code, out, err = cli("sample")
    assert code == 0 and "the newest checkpoint" in err
    assert wrote(out) == [Path("outputs/sample-001.png")]
    code, out, _ = cli("sample", "--count", "1", "--number")
    assert wrote(out) == [Path("outputs/sample-002.png")]
    for words in (["interpolate", "--gif"], ["arithmetic", "--plus", "4,5", "--minus", "6"], ["gif"]):
        code, out, err = cli(*words)
        assert code == 0, err
        assert wrote(out) and all(path.stat().st_size > 0 for path in wrote(out))
    for path in ("runs/00001-d-dcgan-r3gan", "runs/00001-d-dcgan-r3gan/generator.safetensors", "data/d"):
        code, out, err = cli("info", path)
        assert code == 0, err
        assert "32" in out
    code, out, _ = cli("info", next(Path("runs/00001-d-dcgan-r3gan/checkpoints").glob("*.pt")))
    assert code == 0 and "averaged weights" in out

    code, _, err = cli("train", "--resume")
    assert code == 1 and "is complete" in err
    code, out, err = cli("train", "--resume", "--epochs", "3", "--device", "cpu")
    assert code == 0, err
    assert "going on with" in err


def test_dry_run_writes_nothing(workdir):
    write_dataset(workdir / "data/d", 10)
    before = sorted(workdir.rglob("*"))
    code, out, err = cli("train", "--width", "4", "--batch-size", "4", "--dry-run", "--device", "cpu")
    assert code == 0, err
    assert '"batch_size": 4' in out
    assert re.search(r"100,000 images to go at [\d,]+ images/s: about .+; memory .+; disk about .+", out)
    assert sorted(workdir.rglob("*")) == before


def test_sample_sheets_and_single_files(ckpt):
    for count in (1, 25, 100):
        code, _, err = cli("sample", ckpt, "--count", count, "--number", "--out", f"s{count}.png")
        assert code == 0, err
    code, _, err = cli("sample", ckpt, "--count", "7", "--seed", "3", "--separate", "--out", "faces")
    assert code == 0, err
    assert sorted(path.name for path in Path("faces").iterdir()) == [f"seed3-{n:05d}.png" for n in range(7)]
    faces = {path.read_bytes() for path in Path("faces").iterdir()}
    assert len(faces) == 7
    code, _, err = cli("sample", ckpt, "--count", "2", "--separate", "--out", "faces", "--overwrite")
    assert code == 2 and "--overwrite is for a sheet" in err
    code, _, err = cli("sample", ckpt, "--count", "2", "--separate", "--out", "faces")
    assert code == 1 and "faces exists already" in err
    cli(
        "sample",
        ckpt,
        "--count",
        "7",
        "--seed",
        "3",
        "--separate",
        "--truncation",
        "0",
        "--out",
        "mean",
        "--no-metadata",
    )
    assert len({path.read_bytes() for path in Path("mean").iterdir()}) == 1


def test_existing_files_are_not_overwritten_unasked(ckpt):
    Path("mine.png").write_bytes(b"precious")
    code, _, err = cli("sample", ckpt, "--out", "mine.png")
    assert code == 1 and "mine.png exists already" in err
    assert Path("mine.png").read_bytes() == b"precious"
    assert cli("sample", ckpt, "--out", "mine.png", "--overwrite")[0] == 0
    code, _, err = cli("sample", ckpt, "--out", "mine.tif")
    assert code == 2 and "must end in .png or .jpg or .jpeg or .webp" in err
    for words in (("sample",), ("interpolate",), ("arithmetic", "--plus", "1"), ("gif",), ("evaluate", "--neighbours")):
        code, _, err = cli(*words, "--overwrite")
        assert code == 2 and "--overwrite replaces the file that --out names, and --out is not given" in err


@pytest.mark.parametrize("links", [True, False])
def test_what_another_command_has_written_meanwhile_is_left(ckpt, monkeypatch, links):
    """With and without hard links, which some file systems do not know."""
    if not links:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(errno.EPERM, "no links here")))
    assert cli("sample", ckpt, "--count", "1", "--out", "first.png")[0] == 0

    def drawn(*args: object, **more: object) -> object:
        Path("mine.png").write_bytes(b"the other's")
        return sample_sheet(*args, **more)

    monkeypatch.setattr(compose, "sample_sheet", drawn)
    code, _, err = cli("sample", ckpt, "--count", "1", "--out", "mine.png")
    assert code == 1 and "mine.png was made by another command in the meantime" in err
    assert Path("mine.png").read_bytes() == b"the other's"
    assert sorted(path.name for path in Path().glob("*.png")) == ["first.png", "mine.png"]
    assert not list(Path().glob(".*.png"))


@pytest.mark.parametrize(
    ("words", "files"),
    [
        ("sample --count 1", ["sample-002.png"]),
        ("interpolate --steps 2 --gif", ["interpolate-002.png", "interpolate-002.gif"]),
        (
            "arithmetic --plus 1 --steps 2 --save",
            ["arithmetic-002.png", "arithmetic-002-way.png", "arithmetic-002.npy"],
        ),
        ("gif --faces 1 --stops 2 --steps 1", ["gif-002.gif"]),
        ("sample --count 1 --separate", ["sample-002"]),
    ],
)
def test_of_two_commands_at_once_each_has_a_number(ckpt, monkeypatch, words, files):
    """Another one takes the next free number while this one draws."""
    command, *rest = words.split()
    others = Path("outputs") / files[0].replace("002", "001")

    def drawn(loaded: object, z: np.ndarray, *_: object) -> np.ndarray:
        if not others.exists():
            others.parent.mkdir(exist_ok=True)
            others.write_bytes(b"the other's")
        return np.zeros((len(z), 32, 32, 3), np.uint8)

    monkeypatch.setattr(compose, "_faces", drawn)
    if "--separate" in words:  # which claims its folder before it draws
        monkeypatch.setattr(outputs, "output_folder", taken_once(outputs.output_folder))
    code, out, err = cli(command, ckpt, *rest)
    assert code == 0, err
    assert wrote(out) == [Path("outputs") / name for name in files]
    assert others.is_dir() or others.read_bytes() == b"the other's"
    assert {path.name for path in Path("outputs").iterdir()} == {others.name, *files}


def taken_once(choose):
    """`output_folder`, whose second answer another command takes at once: the first is only for the checks."""
    answers = []

    def chosen(*given: object) -> Path:
        answers.append(choose(*given))
        if len(answers) == 2:
            answers[-1].mkdir(parents=True)
        return answers[-1]

    return chosen


def test_a_checkpoint_that_has_just_been_thinned_is_not_missed(ckpt, monkeypatch):
    """A run that trains deletes what was its newest checkpoint a moment ago."""
    answers = [(Path("gone.pt"), "the newest"), (Path(ckpt), "the newest now")]
    monkeypatch.setattr("facegan.runs.find.find_generator", lambda given: answers.pop(0))
    code, _, err = cli("sample", "--count", "1")
    assert code == 0 and "the newest now" in err, err


def test_few_photos_get_a_run_that_is_long_enough_and_files_that_are_far_enough_apart(workdir):
    """100 epochs of 20 photos are 2,000 images, before any face, with a grid every second step; what is asked for is
    taken as it is."""
    write_dataset(workdir / "data/d", 20)
    words = ["train", "--dry-run", "--width", "4", "--critic-width", "4", "--device", "cpu"]
    code, out, err = cli(*words)
    assert code == 0 and "20 images are too few for faces: this run takes 5,000 (100,000 images)" in err, err
    assert '"images": 100000' in out and '"sample_every": 100,' in out and '"checkpoint_every": 100,' in out
    code, out, err = cli(*words, "--epochs", "3", "--checkpoint-every", "1", "--sample-every", "0.5")
    assert code == 0 and "too few" not in err, err
    assert '"images": 60' in out and '"sample_every": 0.5,' in out and '"checkpoint_every": 1.0,' in out


def test_any_field_can_be_set(workdir):
    write_dataset(workdir / "data/d", 10)
    asked = ["training.critic.beta1=0.5", "output.log_every=7", "training.penalty=textbook", "networks.max_width=8"]
    words = ["train", "--dry-run", "--device", "cpu", "--width", "4", "--critic-width", "4", "--batch-size", "4"]
    code, out, err = cli(*words, *(word for text in asked for word in ("--set", text)))
    assert code == 0, err
    config, _ = json.JSONDecoder().raw_decode(out)
    assert config["training"]["critic"]["beta1"] == 0.5 and config["training"]["generator"]["beta1"] == 0.0
    assert (config["output"]["log_every"], config["training"]["penalty"]) == (7, "textbook")
    assert config["networks"]["max_width"] == 8


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("training.critic.beta1", "sets nothing"),
        ("training.critic.beta1=2", "--set training.critic.beta1: beta1 must be"),
        ("training.critic.beta1=much", "--set training.critic.beta1: beta1 must be"),
        ("training.critic.bta1=0.5", "training.critic.bta1 does not apply to preset 'dcgan-r3gan'"),
        ("networks.width=8", "networks.width is set twice"),
        ("training.images=5", "has flags of its own"),
        ("training=5", "--set training"),
    ],
)
def test_a_setting_is_checked_like_every_field(workdir, setting, says):
    write_dataset(workdir / "data/d", 10)
    code, _, err = cli("train", "--width", "4", "--device", "cpu", "--set", setting)
    assert code == 2 and says in err, err
    assert not Path("runs").exists()


def test_a_whole_configuration_in_a_file(workdir):
    """A run's config.json, edited, is a preset of one's own."""
    write_dataset(workdir / "data/d", 10)
    words = ["train", "--device", "cpu", "--batch-size", "4", "--images", "8"]
    assert cli(*words, "--width", "4", "--critic-width", "4")[0] == 0
    config = json.loads(next(Path("runs").glob("*/config.json")).read_text())
    config |= {"preset": "mine", "training": {**config["training"], "flip": False}}
    Path("mine.json").write_text(json.dumps(config))
    code, _, err = cli("train", "--config", "mine.json", "--device", "cpu", "--seed", "4")
    assert code == 0 and "configuration: as given" in err, err
    written = json.loads(Path("runs/00002-d-mine/config.json").read_text())
    assert written == {**config, "seed": 4}
    assert cli("train", "--config", "mine.json", "--preset", "dcgan")[0] == 2
    code, _, err = cli("train", "--config", "none.json")
    assert code == 1 and "none.json" in err and "bug" not in err
    Path("mine.json").write_text(json.dumps({**config, "surprise": 1}))
    code, _, err = cli("train", "--config", "mine.json")
    assert code == 1 and "unknown entry 'surprise'" in err


@pytest.mark.parametrize(("preset", "says"), [("human-faces", True), ("dcgan-r3gan", False)])
def test_a_preset_whose_grids_stay_grey_for_long_says_so(workdir, preset, says):
    write_dataset(workdir / "data/d", 4, size=64)
    plan = plan_new(Path("data/d"), preset, {"training.precision": "fp32"}, "cpu")
    assert any("no faces, for the first 30,000 images" in note for note in plan.notes) == says


def test_interpolation_through_faces(ckpt):
    code, out, err = cli("interpolate", ckpt, "--through", "3", "--through", "7:1,2", "--through", "3", "--steps", "4",
                         "--method", "lerp", "--gif", "--out", "m.png")  # fmt: skip
    assert code == 0, err
    assert wrote(out) == [Path("m.png"), Path("m.gif")]
    code, _, err = cli("interpolate", ckpt, "--through", "3")
    assert code == 2 and "needs two faces" in err


def test_arithmetic_keeps_the_order_typed(ckpt):
    words = ["--minus", "1", "--plus", "2,3", "--minus=4", "--plus", "5"]
    assert terms_in_order(words) == [(-1, "1"), (+1, "2,3"), (-1, "4"), (+1, "5")]
    code, out, err = cli("arithmetic", ckpt, *words, "--save", "--steps", "3", "--out", "sum.png")
    assert code == 0, err
    assert wrote(out) == [Path("sum.png"), Path("sum-way.png"), Path("sum.npy")]
    z = latents.draw(0, range(6), 8).astype(np.float64)
    expected = -z[1] + (z[2] + z[3]) / 2 - z[4] + z[5]
    expected *= np.sqrt(8) / np.linalg.norm(expected)
    np.testing.assert_allclose(np.load("sum.npy"), expected, rtol=1e-5, atol=1e-6)
    code, _, err = cli("sample", ckpt, "--count", "1")
    assert code == 0
    assert cli("arithmetic", ckpt, "--plus", "sum.npy", "--minus", "1")[0] == 0


def test_gif_of_pictures_and_of_a_walk(ckpt):
    for n in range(3):
        Image.new("RGB", (20, 20), (80 * n, 0, 0)).save(f"{n}.png")
    assert cli("gif", "0.png", "1.png", "2.png", "--out", "a.gif")[0] == 0
    with Image.open("a.gif") as picture:
        assert picture.n_frames == 3 and picture.info["loop"] == 0
    assert cli("gif", ckpt, "--faces", "2", "--stops", "2", "--steps", "3", "--out", "w.webp")[0] == 0
    with Image.open("w.webp") as picture:
        assert picture.n_frames == 6


def test_a_gif_of_camera_photos_is_scaled_down_unless_asked(workdir, monkeypatch):
    monkeypatch.setattr("facegan.pictures.animation.LONGEST", 40)
    for n, size in enumerate(((80, 60), (60, 80))):
        Image.new("RGB", size, (80 * n, 0, 0)).save(f"{n}.jpg")
    code, _, err = cli("gif", "0.jpg", "1.jpg", "--out", "small.gif")
    assert code == 0 and "scaled down to 40 pixels a side; --full-size keeps them" in err
    code, _, err = cli("gif", "0.jpg", "1.jpg", "--full-size", "--out", "large.gif")
    assert code == 0 and "scaled" not in err
    for name, size in (("small.gif", (40, 30)), ("large.gif", (80, 60))):
        with Image.open(name) as picture:
            assert picture.size == size and picture.n_frames == 2


def test_a_gif_that_cannot_be_so_wide_is_refused_before_it_is_read(workdir, monkeypatch):
    Image.new("RGB", (17_000, 2)).save("wide.png")
    monkeypatch.setattr(ImageOps, "exif_transpose", lambda page: pytest.fail("read"))
    code, _, err = cli("gif", "wide.png", "wide.png", "--full-size", "--out", "a.webp")
    assert code == 1 and "17,000 x 2 pixels, but a side of a .webp can have at most 16,383" in err
    assert "--full-size" in err and not Path("a.webp").exists()


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_stills_of_every_kind(ckpt, suffix):
    words = (("sample", "--count", "2"), ("interpolate", "--steps", "2"), ("arithmetic", "--plus", "1", "--steps", "2"))
    for command, *rest in words:
        code, out, err = cli(command, ckpt, *rest, "--scale", "2", "--out", f"{command}{suffix}")
        assert code == 0, err
        for path in wrote(out):
            with Image.open(path) as picture:
                assert picture.format == {".jpg": "JPEG", ".webp": "WEBP"}[suffix]
    assert wrote(out) == [Path(f"arithmetic{suffix}"), Path(f"arithmetic-way{suffix}")]


def test_too_many_pictures_for_a_gif_are_refused_before_they_are_read(workdir, monkeypatch):
    for n in range(3):
        Image.new("RGB", (20, 20), (80 * n, 0, 0)).save(f"{n}.png")
    monkeypatch.setattr("facegan.pictures.animation.MAX_HELD", 2 * 20 * 20)
    with monkeypatch.context() as patch:
        patch.setattr(ImageOps, "exif_transpose", lambda page: pytest.fail("read"))
        code, _, err = cli("gif", "0.png", "1.png", "2.png", "--out", "a.gif")
    assert code == 1 and "at most 2 frames of 20x20" in err and ".mp4" in err
    assert not Path("a.gif").exists()
    assert cli("gif", "0.png", "1.png", "--out", "a.gif")[0] == 0


@pytest.mark.parametrize(
    "words", [["--faces", "3"], ["--stops=2"], ["--steps", "4"], ["--seed", "0"], ["--device=cpu"]]
)
def test_options_of_a_walk_are_for_a_walk(workdir, words):
    """Even with their own default: who types one means it."""
    Image.new("RGB", (20, 20)).save("a.png")
    name = words[0].partition("=")[0]
    code, _, err = cli("gif", "a.png", *words)
    assert code == 2 and f"{name} is for a walk through faces, and this is pictures" in err
    run = Path("runs/00001-a")
    (run / "samples").mkdir(parents=True)
    (run / "config.json").write_text(PRESETS["dcgan"].to_json())
    Image.new("RGB", (20, 20)).save(run / "samples/epoch-0001.png")
    for command in ("sample", "info", "train --run"):
        code, _, err = cli(*command.split(), "runs")
        assert code == 1 and f"Name one of the runs in it, such as {run}" in err
    for folder, hint in (("runs", f"such as {run}"), (run, f"name it alone: facegan gif {run}")):
        code, _, err = cli("gif", folder, *([] if folder == "runs" else [run / "samples/epoch-0001.png"]))
        assert code == 1 and f"{folder} is a folder, not a picture" in err and hint in err
    for which in ([], [run]):
        code, _, err = cli("gif", *which, *words)
        assert code == 2 and f"{name} is for a walk" in err and f"the progress of {run}" in err
        assert cli("gif", *which)[0] == 0
    assert len(list(Path("outputs").iterdir())) == 2


BAD = [
    ("sample none.pt", 1, "none.pt does not exist"),
    ("sample folder", 1, "folder is a folder, but not a run"),
    ("sample text.pt", 1, "text.pt is not a facegan checkpoint"),
    ("sample --count 0", 2, "--count"),
    ("sample --seed -1", 2, "--seed"),
    ("sample ckpt.safetensors --count 2501", 2, "--separate"),
    ("sample ckpt.safetensors --sort", 1, "has no critic, so there are no scores to sort by"),
    ("sample ckpt.safetensors --best 2", 1, "has no critic, so there are no scores to sort by"),
    ("sample pretrained --best 2 --of 1", 2, "2 faces cannot be the best of 1"),
    ("sample ckpt.safetensors --best 2 --count 9", 2, "--count does not go with --best"),
    ("sample ckpt.safetensors --of 9", 2, "--of says of how many faces --best are chosen"),
    ("sample ckpt.safetensors --sort --separate", 2, "--sort is for a sheet"),
    ("sample ckpt.safetensors --number --separate", 2, "--number is for a sheet"),
    ("sample ckpt.safetensors --separate --out sep.png", 2, "Name a folder, such as sep, or leave out --separate"),
    ("sample ckpt.safetensors --separate --out sep.GIF", 2, "Name a folder, such as sep, or leave out --separate"),
    ("sample ckpt.safetensors --truncation nan", 2, "nan is not a number from 0 to 2"),
    ("sample ckpt.safetensors --scale 0", 2, "--scale"),
    ("sample 1-10", 2, "Faces are named by options"),
    ("gif ckpt.safetensors --fps nan", 2, "nan is not a number from 0.1 to 100"),
    ("gif ckpt.safetensors --full-size", 2, "--full-size is for pictures"),
    ("interpolate ckpt.safetensors --through 9-3 --through 1", 2, "Write it as 3-9"),
    ("interpolate ckpt.safetensors --steps 10000", 2, "Give --steps 2500 or less"),
    ("interpolate ckpt.safetensors --fps 5", 2, "--fps is for the GIF, and --gif is not given"),
    ("sample ckpt.safetensors --device toaster", 2, "'toaster' is not a device"),
    ("sample ckpt.safetensors --device cuda:99", 1, "cuda"),
    ("interpolate ckpt.safetensors --method cubic", 2, "slerp"),
    ("interpolate ckpt.safetensors --through 1 --through x", 2, "'x'"),
    ("interpolate ckpt.safetensors --through 1 --through 4,,5", 2, "an empty item in '4,,5'"),
    ("interpolate ckpt.safetensors --through 1 --through 99999999999999999999999", 2, "is too large"),
    ("interpolate ckpt.safetensors --through 1 --through 9999999999999999999:1", 2, "Seed 9999999999999999999 is too"),
    ("interpolate ckpt.safetensors --steps 1", 2, "--steps"),
    ("arithmetic ckpt.safetensors", 2, "--plus"),
    ("arithmetic ckpt.safetensors --plus none.npy", 1, "none.npy does not exist"),
    ("gif none.png", 1, "none.png"),
    ("gif folder", 1, "Name the pictures in it: facegan gif folder"),
    ("gif text.pt folder", 1, "folder is a folder, not a picture"),
    ("gif ckpt.safetensors --out w.avi", 2, ".gif or .mp4 or .webp"),
    ("info none", 1, "none does not exist"),
    ("info folder", 1, "neither a dataset nor a run"),
    ("train --data folder", 1, "folder"),
    ("train", 1, "facegan preprocess"),
    ("train --resume", 1, "no run"),
    ("train --run folder", 1, "not a run"),
    ("train --run text.pt", 1, "not a run"),
    ("train --run nowhere", 1, "nowhere does not exist"),
    ("interpolate --through 3 17", 2, "several with commas between: facegan interpolate --through 17"),
    (f"sample ckpt.safetensors --out {'a' * 300}.png", 1, "File name too long"),
    ("train --resume --preset dcgan", 2, "--preset belongs to a new run"),
    ("train --data data --images none", 2, "--images: 'none' is not a count"),
    ("train --data data --images 0", 2, "--images: '0' is too few: it must be at least 1"),
    ("train --name a/b", 2, "'a/b' cannot be the end of a folder's name"),
    ("train --name v1.", 2, "'v1.' cannot be the end of a folder's name"),
    ("train --batch-size many", 2, "--batch-size: 'many' is neither a whole number nor 'auto'"),
    ("train --preset keras-faces-64 --batch-size 1", 2, "--batch-size: batch_size must be at least 2"),
    ("sample ckpt.safetensors --device cpu:", 2, "'cpu:' is not a device"),
    ("sample ckpt.safetensors --device cuda:x", 2, "'cuda:x' is not a device"),
    ("sample ckpt.safetensors --separate --overwrite", 2, "--overwrite is for a sheet"),
    ("evaluate ckpt.safetensors --overwrite", 2, "--overwrite is for the picture of --neighbours"),
    ("evaluate ckpt.safetensors --out a.png", 2, "--out is for the picture of --neighbours"),
    ("train --batch-size 0", 2, "--batch-size: batch_size must be at least 1"),
    ("train --resume --batch-size auto", 2, "--batch-size auto belongs to a new run"),
    ("train --preset nonsense --data folder", 2, "no preset 'nonsense'"),
    ("preprocess none", 1, "none"),
    ("preprocess folder --size 63", 2, "63"),
    ("nonsense", 2, "nonsense"),
]


@pytest.mark.parametrize(("words", "code", "says"), BAD, ids=[words for words, _, _ in BAD])
def test_bad_input_is_one_sentence(ckpt, words, code, says):
    Path("folder").mkdir()
    Path("text.pt").write_text("hello")
    found, out, err = cli(*words.split())
    assert found == code, err
    assert says in out + err
    assert "Traceback" not in out + err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("preprocess", "", "--size", "32"), "The argument after 'preprocess' is empty"),
        (("train", "--data", ""), "The argument after '--data' is empty"),
        (("sample", "--out="), "--out is empty"),
        (("gif", "a.png", ""), "The argument after 'a.png' is empty"),
    ],
)
def test_what_is_empty_is_not_the_current_folder(workdir, words, says):
    Image.new("RGB", (40, 40)).save("a.png")
    code, _, err = cli(*words)
    assert code == 2 and says in err and err.count("error:") == 1
    assert [path.name for path in workdir.iterdir()] == ["a.png"]
    assert cli("preprocess", ".", "--size", "32")[0] == 0


@pytest.mark.parametrize("end", [FaceganError("the disk is full."), Stopped(signal.SIGINT)], ids=str)
def test_single_files_that_are_not_all_written_are_counted(ckpt, monkeypatch, end):
    def save(face, path, **options):
        if path.name == "seed0-00002.png":
            raise end
        return save_png(face, path, **options)

    monkeypatch.setattr(compose, "save_png", save)
    code, _, err = cli("sample", ckpt, "--separate", "--count", "5", "--out", "faces")
    assert code == (130 if isinstance(end, Stopped) else 1)
    assert "2 of 5 faces were written to faces" in err
    assert len(list(Path("faces").iterdir())) == 2


def test_a_newer_file_says_to_upgrade(ckpt):
    loaded = load_generator(ckpt)
    assert loaded.weights == "raw"
    raw = ckpt.read_bytes().replace(b'"format_version":"1"', b'"format_version":"9"')
    ckpt.write_bytes(raw)
    code, _, err = cli("sample", ckpt)
    assert code == 1
    assert "pip install --upgrade facegan" in err


@pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no signals that a parent can send and a child can catch"
)
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_saves_and_the_run_goes_on(workdir, name, code):
    write_dataset(workdir / "data/d", 10)
    words = "train --width 4 --critic-width 4 --batch-size 4 --images 100k --sample-every 1000 --checkpoint-every 1000"
    process = subprocess.Popen(
        [sys.executable, "-m", "facegan", *words.split(), "--device", "cpu", "--set", "output.log_every=1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    metrics = workdir / "runs/00001-d-dcgan-r3gan/metrics.jsonl"
    deadline = time.monotonic() + 60
    while not (metrics.exists() and metrics.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(getattr(signal, name))
    said, _ = process.communicate(timeout=60)
    assert process.returncode == code, said
    assert "everything is saved" in said
    assert "Traceback" not in said
    (checkpoint,) = (workdir / "runs/00001-d-dcgan-r3gan/checkpoints").iterdir()
    seen = int(checkpoint.stem)
    assert 0 < seen < 100_000
    found, _, err = cli("train", "--resume", "--images", str(seen + 8), "--device", "cpu")
    assert found == 0, err


def test_tensorboard(workdir, monkeypatch):
    write_dataset(workdir / "data/d", 8)
    words = (
        "train --width 4 --critic-width 4 --batch-size 4 --epochs 1 --device cpu --set output.log_every=1 --tensorboard"
    )
    code, _, err = cli(*words.split())
    assert code == 0, err
    (events,) = (workdir / "runs/00001-d-dcgan-r3gan/tensorboard").iterdir()
    assert b"wasserstein" in events.read_bytes()
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    code, _, err = cli(*words.split())
    assert code == 1 and len(list((workdir / "runs").iterdir())) == 1, "refused before a run is made"
    assert 'pip install "facegan[tensorboard]"' in err
