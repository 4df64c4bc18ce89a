"""Option types that several commands share, how each finds its generator, and how a dataset is verified."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from facegan.cli import console
from facegan.core.errors import FaceganError, UsageError, visible

if TYPE_CHECKING:
    from facegan.data.folder import DatasetInfo
    from facegan.models.checkpoint import LoadedGenerator

OptionalPath = Optional[Path]  # noqa: UP045, typer reads it at run time

Source = Annotated[
    OptionalPath,
    typer.Argument(
        metavar="[CKPT]",
        help="A checkpoint (.pt), a generator (.safetensors), a run directory or 'pretrained'. "
        "Default: the newest checkpoint under runs/, else the generator that ships with facegan.",
        show_default=False,
    ),
]
Specs = Optional[list[str]]  # noqa: UP045
SPEC = (
    "a comma-separated list, which is averaged: 44 is a face of a numbered sheet, 1-10 are ten of them, 7:44 is of "
    "seed 7, and .npy files are latents."
)
"""How a face is named, for the help of options that take a SPEC."""


def number(low: float, high: float) -> Callable[[str], float]:
    """A parser of numbers in [low, high]. Typer's own range takes NaN for one that is too large, or for a good one."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise typer.BadParameter(f"{visible(text[:40])} is not a number from {low:g} to {high:g}.")
        return value

    return parse


Seed = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Which contact sheet: faces are numbered per seed.")]
Truncation = Annotated[
    float,
    typer.Option(
        parser=number(0, 2), metavar="0..2", help="Below 1: faces more alike; less than about 0.7 dissolves them."
    ),
]
Scale = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        min=1,
        max=16,
        help="Enlarge faces so many times, smoothly. Default: small ones to 128 pixels.",
        show_default=False,
    ),
]
Device = Annotated[str, typer.Option(metavar="DEVICE", help="auto, cpu, cuda, cuda:1 or mps.")]
Fps = Annotated[float, typer.Option(parser=number(0.1, 100), metavar="0.1..100", help="Frames per second.")]
Out = Annotated[
    OptionalPath,
    typer.Option(
        metavar="PATH",
        help="What to write, a .png, .jpg or .webp. Default: the next free name under outputs/.",
        show_default=False,
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the file that --out names.", show_default=False)]


def refuse(ctx: typer.Context, *names: str, without: str, hint: str = "") -> None:
    """Raises: UsageError: one of these options was typed, where it would do nothing; `without` says why."""
    for parameter in ctx.command.params:
        source = ctx.get_parameter_source(parameter.name or "")
        if parameter.name in names and source is not None and source.name == "COMMANDLINE":
            raise UsageError(f"{parameter.opts[0]} {without}.", hint)


def open_generator(given: Path | None, device: str) -> LoadedGenerator:
    """The generator that the user named or the one that is found, on its device; says which."""
    if given is not None and re.fullmatch(r"[\d,:-]*\d", str(given)) and not given.exists():
        hint = "Faces are named by options, several with commas between: facegan interpolate --through 17,4"
        raise UsageError(f"{given} is no generator.", hint)
    from facegan.core.device import choose_device
    from facegan.runs.find import find_generator
    from facegan.runs.find import open_generator as load

    where = choose_device(device)
    path, reason = find_generator(given)
    try:
        loaded = load(path, where)
    except FaceganError:
        if os.path.exists(path):  # noqa: PTH110, False where it may not be looked at
            raise
        path, reason = find_generator(given)  # a run that trains has just deleted its oldest checkpoint
        loaded = load(path, where)
    console.note(f"generator: {reason} ({loaded.weights} weights, {loaded.images_seen:,} images seen)")
    return loaded


def verify(dataset: DatasetInfo) -> None:
    """Compare a dataset with the hash of its pixels, and say how far it is in the minutes that a large one takes."""
    from facegan.data.folder import verify_pixels

    with console.Progress("bytes", "verifying") as bar:
        verify_pixels(dataset, bar.show)
