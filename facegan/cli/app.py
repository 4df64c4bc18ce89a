"""The Typer application, which turns every exception into a sentence for the user."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Annotated

import typer
from rich.markup import escape

from facegan.cli import console
from facegan.cli.arithmetic import InOrder, arithmetic
from facegan.cli.attributes import attributes
from facegan.cli.bench import bench
from facegan.cli.edit import Overview, edit
from facegan.cli.evaluate import evaluate
from facegan.cli.export import export
from facegan.cli.gif import gif
from facegan.cli.info import info
from facegan.cli.interpolate import interpolate
from facegan.cli.preprocess import preprocess
from facegan.cli.project import project
from facegan.cli.push import push
from facegan.cli.sample import sample
from facegan.cli.signals import Stopped, unwinding
from facegan.cli.studio import studio
from facegan.cli.train import train
from facegan.core.errors import FaceganError, Interrupted, UsageError, is_out_of_memory
from facegan.core.version import __version__
from facegan.core.workers import heed_quota
from facegan.core.world import leave

EXAMPLES: dict[str, tuple[str, ...]] = {
    "": ("preprocess photos", "train", "sample --number"),
    "preprocess": (
        "preprocess photos",
        "preprocess celeba.zip --crop 128 --size 128",
        "preprocess photos --limit 1000 --out data/first",
    ),
    "train": (
        "train --data demo --images 15k --width 16 --critic-width 16",
        "train --data data/photos-64 --augment 0.5",
        "train --resume --epochs 200",
    ),
    "sample": (
        "sample pretrained --count 60 --number",
        "sample runs/00001-photos-64-dcgan-r3gan --seed 7 --truncation 0.8",
        "sample --count 9 --scale 4 --out nine.jpg",
        "sample pretrained --faces 7:44,3,smile.npy --number",
        "sample pretrained --best 25 --of 200",
        "sample --count 1000 --separate --out thousand",
    ),
    "project": (
        "project me.jpg",
        "project me.jpg friend.jpg --generator pretrained --out us.png",
    ),
    "interpolate": (
        "interpolate pretrained --through 42 --through 26",
        "interpolate --through 3 --through 7:44 --steps 12 --loop --gif",
        "interpolate --through 'blond woman' --through 'old man with glasses'",
        "interpolate --through me.jpg --through friend.jpg --gif",
        "interpolate --through 1-10 --through outputs/arithmetic-001.npy",
    ),
    "arithmetic": (
        "arithmetic pretrained --plus 46,64,93 --minus 22,26,57 --plus 61",
        "arithmetic --plus 'smiling woman' --minus woman --plus man",
        "arithmetic --plus 7:1-10 --minus 7:11-20 --plus 44 --steps 8 --save",
        "arithmetic --plus me.jpg --minus 27 --plus 1",
    ),
    "edit": (
        "edit pretrained --face 42 --attr smiling=+2",
        "edit --face me.jpg --attr smiling=-2..2 --gif",
        "edit --face 'old man' --attr young=-2..2 --attr glasses=0..3",
        "edit --face 42 --component 3=-3..3",
    ),
    "gif": (
        "gif",
        "gif pretrained --faces 4 --stops 3 --out walk.gif",
        "gif runs/00001-photos-64-dcgan-r3gan --fps 8 --out progress.mp4",
        "gif anna.jpg ben.jpg clara.jpg --fps 1 --out family.gif",
    ),
    "attributes": (
        "attributes --data data/photos-64",
        "attributes pretrained --data data/mine-64 --columns Smiling,age",
        "attributes new.safetensors --classifier old.safetensors",
    ),
    "studio": ("studio", "studio pretrained --port 9000 --no-browser"),
    "evaluate": (
        "evaluate",
        "evaluate pretrained --data data/photos-64 --count 1000",
        "evaluate --neighbours --out nearest.jpg",
    ),
    "export": ("export pretrained --to html", "export runs/00001-photos-64-dcgan-r3gan --out faces.onnx"),
    "push": ("push pretrained anna/faces --dry-run", "push runs/00001-photos-64-dcgan-r3gan anna/faces --licence mit"),
    "info": (
        "info",
        "info data/photos-64 --verify",
        "info runs/00001-photos-64-dcgan-r3gan/generator.safetensors",
    ),
    "bench": ("bench", "bench --preset dcgan --rounds 3", "bench --only sample --json"),
}
"""Command -> command lines that its --help shows, without `facegan`; short enough for 80 columns."""


def _examples(command: str) -> str:
    """The end of a command's --help. Typer strips each line; the empty style in front keeps its indentation."""
    lines = (f"[none]  facegan {escape(line)}[/none]" for line in EXAMPLES[command])
    return "\n\n".join(["[bold]Examples:[/bold]", *lines])


app = typer.Typer(
    name="facegan",
    help="Photos of faces in, a face generator out.",
    epilog=_examples(""),
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        console.say(f"facegan {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Photos of faces in, a face generator out."""


app.command(epilog=_examples("preprocess"))(preprocess)
app.command(epilog=_examples("train"))(train)
app.command(epilog=_examples("sample"))(sample)
app.command(epilog=_examples("project"))(project)
app.command(epilog=_examples("interpolate"))(interpolate)
app.command(epilog=_examples("arithmetic"), cls=InOrder)(arithmetic)
app.command(epilog=_examples("edit"), cls=Overview)(edit)
app.command(epilog=_examples("gif"))(gif)
app.command(epilog=_examples("attributes"))(attributes)
app.command(epilog=_examples("studio"))(studio)
app.command(epilog=_examples("evaluate"))(evaluate)
app.command(epilog=_examples("export"))(export)
app.command(epilog=_examples("push"))(push)
app.command(epilog=_examples("info"))(info)
app.command(epilog=_examples("bench"))(bench)


def _refuse_empty(words: Sequence[str]) -> None:
    """Raises: UsageError: a word is empty: as a path it would mean the current folder, which nobody meant."""
    for before, word in pairwise(["facegan", *words]):
        if not word or (word.startswith("--") and word.endswith("=")):
            where = f"The argument after {before!r}" if not word else f"{word[:-1]}"
            raise UsageError(f"{where} is empty.", "Leave it out, or fill it; the current folder is '.'")


def options_of(words: Sequence[str]) -> set[str]:
    """The options of the command that a command line names, so that hints offer no others."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    named = next((commands[word] for word in words if word in commands), None)
    return {option for parameter in named.params for option in parameter.opts} if named else set()


def at_home(word: str) -> str:
    """A word of the command line, with `~` replaced by the home folder: most shells leave it in `--out=~/x`.

    In a list with commas each item counts: `--through=~/me.npy,~/you.npy`.
    """
    option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    items = (os.path.expanduser(item) if _HOME.match(item) else item for item in value.split(","))  # noqa: PTH111
    return option + equals + ",".join(items)


_HOME = re.compile(r"~(?:[/\\]|$)")


def main() -> None:
    """Run the command line and exit: 0 done, 1 a FaceganError, 2 wrong usage, 128 + signal when interrupted."""
    heed_quota()
    with console.lasting_streams():
        code = _ended(_command) or _ended(console.check_written)
    leave(code)


def _command() -> None:
    with unwinding():
        sys.argv[1:] = map(at_home, sys.argv[1:])
        _refuse_empty(sys.argv[1:])
        app(prog_name="facegan")


def _ended(work: Callable[[], None]) -> int:
    """Do the work, print what went wrong, and return the exit code."""
    try:
        work()
    except SystemExit as end:  # typer always ends so, after success and after wrong usage
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except (Exception, Stopped) as cause:
        if os.environ.get("FACEGAN_DEBUG") == "1":
            traceback.print_exc()
        error = _in_words(cause)
        console.complain(error)
        if isinstance(error, Interrupted):
            return 128 + error.signum
        return 2 if isinstance(error, UsageError) else 1
    return 0


def _in_words(error: Exception | Stopped) -> FaceganError:
    """The error that ended a command, as a sentence; unforeseen errors too."""
    if isinstance(error, FaceganError):
        return error
    if isinstance(error, Stopped):
        return Interrupted(f"{error}.", signum=error.signum)
    if is_out_of_memory(error):
        has = options_of(sys.argv[1:])
        smaller = " or ".join(name for name in ("--batch-size", "--width", "--count", "--size") if name in has)
        hints = [f"use a smaller {smaller}"] * bool(smaller) + ["use --device cpu"] * ("--device" in has)
        return FaceganError("There is not enough memory for this.", ", or ".join(["End other programs", *hints]) + ".")
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return FaceganError(f"{where}{error.strerror}.", "Check the path, the room on the disk, and your permissions.")
    return FaceganError(
        f"{type(error).__name__}: {error}", "This is a bug in facegan; FACEGAN_DEBUG=1 shows where it happened."
    )
