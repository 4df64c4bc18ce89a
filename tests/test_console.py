"""Terminals as they occur: closed, vanished, with few characters or few columns, or a log file instead of one."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import cli, tiny, write_dataset
from PIL import Image

from facegan.cli import console
from facegan.cli.app import at_home
from facegan.core.quantities import Pace
from facegan.models.checkpoint import save_generator
from facegan.networks import build_generator

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows closes and names its streams otherwise")


@pytest.fixture
def place(workdir: Path) -> Path:
    """A folder with a generator, a dataset and photos, one of which has a name that few encodings know."""
    config = tiny("keras-faces-64")
    network = build_generator(config)
    save_generator(workdir / "g.safetensors", network, config, images_seen=0, weights="raw", provenance={})
    write_dataset(workdir / "data/d", 10)
    (workdir / "写真é").mkdir()
    for n in range(3):
        Image.new("RGB", (40, 40), (80 * n, 9, 9)).save(workdir / f"写真é/{n}.png")
    return workdir


def run_into(*words: object, out: io.TextIOBase, err: io.TextIOBase) -> int:
    """The exit code of a command that writes into these."""
    with redirect_stdout(out), redirect_stderr(err):
        return cli_code(*words)


def cli_code(*words: object) -> int:
    from facegan.cli.app import main

    old = sys.argv
    sys.argv = ["facegan", *map(str, words)]
    try:
        main()
    except SystemExit as stop:
        assert isinstance(stop.code, int)
        return stop.code
    finally:
        sys.argv = old
    return 0


TINY = ["--width", "4", "--critic-width", "4", "--batch-size", "4", "--device", "cpu", "--set", "output.log_every=1"]
LONG = [
    ["preprocess", "写真é", "--size", "32", "--workers", "1"],
    ["train", *TINY, "--images", "16"],
    ["train", *TINY, "--images", "8", "--verify"],
    ["info", "data/d", "--verify"],
    ["sample", "g.safetensors", "--count", "4"],
    ["sample", "g.safetensors", "--count", "4", "--separate"],
    ["interpolate", "g.safetensors", "--gif"],
    ["arithmetic", "g.safetensors", "--plus", "1", "--minus", "2", "--steps", "4"],
    ["gif", "g.safetensors", "--faces", "1", "--stops", "2", "--steps", "2"],
    ["gif", "写真é/0.png", "写真é/1.png", "写真é/2.png"],
]
"""Commands that can take long."""


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--help"], 0, "Usage"),
        *[([name, "--help"], 0, "Usage") for name in ("train", "evaluate", "gif")],
        (["info", "g.safetensors"], 0, "generator g.safetensors"),
        (["info", "写真é"], 1, r"\u5199\u771f"),
        (["preprocess", "写真é", "--size", "32"], 0, r"wrote data"),
        (["nonsense", "☃"], 2, "nonsense"),
    ],
    ids=lambda value: " ".join(value).encode("ascii", "replace").decode() if isinstance(value, list) else None,
)
@pytest.mark.parametrize("debug", ["", "1"])
def test_what_an_encoding_lacks_is_spelled_out(place, monkeypatch, encoding, words, code, says, debug):
    monkeypatch.setenv("FACEGAN_DEBUG", debug)
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict") for _ in range(2))
    assert run_into(*words, out=out, err=err) == code
    said = "".join(stream.buffer.getvalue().decode(encoding) for stream in (out, err))
    assert says in said
    assert ("Traceback" in said) == (debug == "1" and code == 1), said


@posix
@pytest.mark.parametrize("words", [["info", "g.safetensors"], *LONG[:2]], ids=lambda words: words[0])
def test_a_reader_that_leaves_ends_nothing(place, words):
    """stdout and stderr are one pipe, as in `2>&1 | less`, and nobody reads it."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as out, open(os.dup(writer), "w") as err:  # noqa: PTH123
        assert run_into(*words, out=out, err=err) == 0
    assert words[0] != "train" or list(Path("runs").glob("*/progress.gif"))


@posix
def test_a_terminal_that_vanishes_ends_nothing(place):
    terminal, end = os.openpty()
    with open(end, "w") as out, open(os.dup(end), "w") as err:  # noqa: PTH123
        os.close(terminal)
        assert run_into("train", *TINY, "--images", "16", out=out, err=err) == 0
    assert list(Path("runs").glob("*/progress.gif"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is always full")
def test_results_that_a_full_disk_lacks_are_missed(place):
    err = io.StringIO()
    with open("/dev/full", "w") as full:  # noqa: PTH123
        assert run_into("info", "g.safetensors", out=full, err=err) == 1
        assert "stdout could not be written: No space left on device" in err.getvalue()
    with open("/dev/full", "w") as full:  # noqa: PTH123
        assert run_into("info", "g.safetensors", out=io.StringIO(), err=full) == 0


@posix
def test_streams_that_were_closed(workdir):
    """Their numbers are not given to files: what is printed does not end up in a picture."""
    Image.new("RGB", (40, 40)).save("a.png")
    command = f"'{sys.executable}' -m facegan gif a.png a.png --out a.gif <&- >&- 2>&-"
    assert subprocess.run(["sh", "-c", command], check=False).returncode == 0  # noqa: S607
    with Image.open("a.gif") as picture:
        assert picture.size == (40, 40)


def test_a_handler_that_speaks_while_the_stream_waits_ends_nothing():
    class Busy(io.StringIO):
        def write(self, text: str) -> int:
            raise RuntimeError("reentrant call inside <_io.BufferedWriter>")

    with redirect_stderr(Busy()), console.lasting_streams():
        console.note("finishing the step")


@pytest.mark.parametrize("words", LONG, ids=" ".join)
def test_a_log_gets_lines_now_and_then(place, monkeypatch, words):
    """And neither escape codes nor redraws, whatever asks for colours."""
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "CLICOLOR_FORCE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setattr(console, "err", console._Console(stderr=True, soft_wrap=True, highlight=False))
    monkeypatch.setattr(console, "_FIRST_LINE", 0.0)
    code, out, err = cli(*words)
    assert code == 0, err
    assert "\x1b" not in out + err and "\r" not in out + err
    what = r"(?:preprocess|training|epoch [\d.]+|verifying|drawing|writing)"
    lines = re.findall(rf"^{what} \d+%, .*[\d,.]+ (?:photos|images|bytes|kB|faces|frames)\b", err, re.MULTILINE)
    assert 1 <= len(lines) <= 2, err  # a second one for what is verified first


def test_evaluate_and_the_demo_speak_in_a_log_too(place, monkeypatch, tiny_extractor):
    monkeypatch.setattr(console, "_FIRST_LINE", 0.0)
    code, _, err = cli("evaluate", "g.safetensors", "--data", "data/d", "--features", tiny_extractor, "--count", "8")
    assert code == 0, err
    assert "photos 0%, 0 pictures" in err
    monkeypatch.setattr("facegan.faces.demo.COUNT", 8)
    code, _, err = cli("train", "--data", "demo", *TINY, "--images", "8", "--dry-run")
    assert code == 0, err
    assert "drawing 100%, 8 faces" in err


def test_a_quick_command_says_nothing_of_its_progress(place):
    assert "%" not in cli("sample", "g.safetensors", "--count", "4")[2]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("width", [1, 20, 40, 80])
def test_progress_is_a_line_however_narrow_the_terminal(place, monkeypatch, width):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(width))
    with redirect_stderr(Terminal()) as shown:
        monkeypatch.setattr(console, "err", console._Console(stderr=True, soft_wrap=True, highlight=False))
        with console.Progress("images", "training") as bar:
            for done in (0, 1000, 2500):
                bar.show(done, 10_000, f"epoch {done / 1000:.2f}", detail="score gap +1.55   critic +0.35")
            lines = console.err.render_lines(bar._picture(), console.err.options)
    assert [sum(segment.cell_length for segment in line) for line in lines] == [width] * 2
    text = ["".join(segment.text for segment in line) for line in lines]
    assert "…" not in text[0] + text[1], "an encoding that lacks it would make it longer"
    assert width < 80 or ("epoch 2.50 25%" in text[0] and "2,500 images" in text[0] and "score gap" in text[1])
    assert shown.getvalue().endswith("\x1b[2K") and "\x1b[?25h" in shown.getvalue(), "taken away, and a cursor again"


def test_a_pace_does_not_jump():
    """Rows come in bursts, and every minute an evaluation takes a third of it: 300 a second, all in all."""
    pace, now, done, rates = Pace(0, 0.0), 0.0, 0, []
    for step in range(1, 60_000):
        now += 0.0 if step % 10 else 64 * 10 / 450
        done += 64
        if step % 420 == 0:
            now += 30
        pace.at(done, now)
        if now > 600:
            rates.append(pace.rate)
    assert min(rates) > 240 and max(rates) < 360
    assert max(abs(after - before) for before, after in pairwise(rates)) < 60


def test_a_pace_is_exact_where_nothing_changes_and_follows_what_does():
    pace = Pace(500, 100.0)
    assert pace.rate == 0
    for second in range(1, 61):
        pace.at(500 + 7 * second, 100.0 + second)
        assert pace.rate == pytest.approx(7)
    for second in range(1, 121):
        pace.at(920 + 70 * second, 160.0 + second)
    assert pace.rate > 60


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("~", "H"),
        ("~/x", "H/x"),
        ("--out=~/x", "H/x"),
        ("--out=~", "H"),
        ("--through=~/a.npy,44,~/b.npy", "H/a.npy,44,H/b.npy"),
        ("--out=x~", "x~"),
        ("./~", "./~"),
        ("~backup.png", "~backup.png"),
        ("a~/b", "a~/b"),
        ("--out=", ""),
        ("~,1", "H,1"),
    ],
)
def test_a_tilde_is_the_home_folder(monkeypatch, tmp_path, word, expected):
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    option = word.partition("=")[0] + "=" if "=" in word else ""
    assert at_home(word) == option + expected.replace("H", str(tmp_path))


def test_a_tilde_in_options_arguments_and_specs(place, monkeypatch):
    home = place / "home"
    home.mkdir()
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(home))
    (place / "g.safetensors").rename(home / "g.safetensors")
    (place / "写真é").rename(home / "photos")
    for words in (
        "preprocess ~/photos --size 32 --out=~/d",
        "info ~/d",
        "arithmetic ~/g.safetensors --plus 1 --save --out=~/sum.png",
        "interpolate ~/g.safetensors --through=~/sum.npy,3 --through ~/sum.npy --out ~/m.png",
        "gif ~/m.png ~/sum.png --out=~/a.gif",
        "train --data=~/d --width 4 --critic-width 4 --batch-size 4 --device cpu --dry-run",
    ):
        code, _, err = cli(*words.split())
        assert code == 0, f"{words}: {err}"
    made = {path.name for path in home.iterdir()}
    assert made == {"g.safetensors", "photos", "d", "sum.png", "sum.npy", "m.png", "a.gif"}
    assert not (place / "~").exists()
