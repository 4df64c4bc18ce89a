"""Options that several commands share, how commands find a generator, and how they verify a dataset."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from facegan.cli import console
from facegan.core.errors import FaceganError, UsageError, visible

if TYPE_CHECKING:
    from facegan.cli.outputs import Output
    from facegan.data.folder import DatasetInfo
    from facegan.faces.latents import Operand
    from facegan.models.checkpoint import LoadedGenerator

OptionalPath = Optional[Path]  # noqa: UP045, typer reads these at run time
Text = Optional[str]  # noqa: UP045
Whole = Optional[int]  # noqa: UP045

CKPT = (
    "A checkpoint (.pt), a generator (.safetensors), a run directory, 'pretrained' or hf://user/name. "
    "Default: the newest checkpoint under runs/, else the generator that ships with facegan."
)
"""How a generator is named, for the help of options that take one."""
Source = Annotated[
    OptionalPath,
    typer.Argument(
        metavar="[CKPT]",
        help=CKPT,
        show_default=False,
    ),
]
Specs = Optional[list[str]]  # noqa: UP045
SPEC = (
    "a comma-separated list, which is averaged: 44 is a face of a numbered sheet, 1-10 are ten of them, 7:44 is of "
    "seed 7, .npy files are latents, photos are faces too (the generator is tuned to them), and words such as 'smiling "
    "woman' or 'old man without glasses' are the average of ten faces that fit."
)
"""How a face is named, for the help of options that take a SPEC."""


def number(low: float, high: float) -> Callable[[str], float]:
    """A parser of numbers in [low, high]. It refuses NaN, which typer's own range calls too large, or accepts."""

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
        parser=number(0, 2), metavar="0..2", help="Below 1, faces are more alike; below about 0.7 they dissolve."
    ),
]
Scale = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        min=1,
        max=16,
        help="Enlarge faces so many times, smoothly. Default: small ones are enlarged to 128 pixels.",
        show_default=False,
    ),
]
Device = Annotated[str, typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda, cuda:1 or mps.")]
Fps = Annotated[float, typer.Option(parser=number(0.1, 100), metavar="0.1..100", help="Frames per second.")]
Out = Annotated[
    OptionalPath,
    typer.Option(
        metavar="PATH",
        help="What to write, a .png, .jpg or .webp. Default: the next free name under outputs/.",
        show_default=False,
    ),
]
Plain = Annotated[
    bool, typer.Option("--plain", help="Photos: find the nearest faces, and do not tune the generator to them.")
]
NoMetadata = Annotated[
    bool,
    typer.Option(
        "--no-metadata", help="Do not write into the picture how it was made, which 'facegan info' would read."
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the file that --out names.", show_default=False)]


def refuse(ctx: typer.Context, *names: str, without: str, hint: str = "") -> None:
    """Raises: UsageError: one of these options was typed where it would do nothing; `without` says why."""
    for parameter in ctx.command.params:
        source = ctx.get_parameter_source(parameter.name or "")
        if parameter.name in names and source is not None and source.name == "COMMANDLINE":
            raise UsageError(f"{parameter.opts[0]} {without}.", hint)


def open_generator(given: Path | None, device: str) -> LoadedGenerator:
    """Open the generator that the user named, or else the one that is found, on a device, and say which it is."""
    if given is not None and re.fullmatch(r"[\d,:-]*\d", str(given)) and not given.exists():
        hint = "Faces are named by options, several with commas between: facegan interpolate --through 17,4"
        raise UsageError(f"{given} is not a generator.", hint)
    from facegan.core.device import choose_device
    from facegan.runs.find import find_generator
    from facegan.runs.find import open_generator as load

    where = choose_device(device)
    path, reason = find_generator(given)
    try:
        loaded = load(path, where)
    except FaceganError:
        if os.path.exists(path):  # noqa: PTH110, False where this user may not look
            raise
        path, reason = find_generator(given)  # a run in progress has just deleted that checkpoint
        loaded = load(path, where)
    console.note(f"generator: {reason} ({loaded.weights} weights, {loaded.images_seen:,} images seen)")
    return loaded


def named_faces(
    loaded: LoadedGenerator, specs: Sequence[str], seed: int, file: Output | None, *, plain: bool
) -> tuple[LoadedGenerator, dict[str, Operand]]:
    """Find the faces that SPECs name by words and by photos.

    Words stand for faces of the generator that fit them. The generator is tuned to all photos together. What was found
    is said.

    Args:
        file: what the command writes, which is none of the photos; None for a new folder.
        seed: `--seed`. Words are looked for among its faces, and the SPECs are checked with it before photos take
            their time.
        plain: do not tune.

    Returns:
        The generator to draw with, and for each photo and all words, as they were typed, their faces.
    """
    from facegan.cli.outputs import MEMORY
    from facegan.core.device import keep_memory
    from facegan.editing.photos import is_photo, project_photos
    from facegan.editing.words import find_words
    from facegan.faces.compose import read_spec
    from facegan.faces.latents import draw, from_file, items_of

    items = items_of(specs)
    photos = [item for item in items if is_photo(item)]
    if plain and not photos:
        raise UsageError("--plain is for photos, and no face is one.", "Leave it out.")
    if file:
        file.spare(map(Path, photos))
    known = find_words(loaded, items, seed, note=console.note)
    unknown = {item: from_file(item, draw(0, [0], loaded.config.networks.latent_dim)) for item in photos}
    for spec in specs:
        read_spec(loaded, spec, seed, {**known, **unknown})
    if not photos:
        return loaded, known
    keep_memory()
    with console.Progress("steps", "finding faces") as bar:
        paths = [Path(item) for item in photos]
        found = project_photos(loaded, paths, MEMORY, plain=plain, on_progress=bar.show, note=console.note)
    for line in found.words():
        console.note(line)
    of_photos = {item: from_file(item, found.latents[n : n + 1]) for n, item in enumerate(photos)}
    return found.loaded, {**known, **of_photos}


def verify(dataset: DatasetInfo) -> None:
    """Compare a dataset's pixels with their hash, and show progress, as a large dataset takes minutes."""
    from facegan.data.folder import verify_pixels

    with console.Progress("bytes", "verifying") as bar:
        verify_pixels(dataset, bar.show)
