"""Where pictures go, a new numbered name under outputs/ or the one that the user gave, and how they were made."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from facegan.core.atomic import TakenError
from facegan.core.errors import FaceganError, UsageError
from facegan.models.hub import public_name
from facegan.pictures.sheets import LONGEST_SIDE, WRITABLE

if TYPE_CHECKING:
    import typer

    from facegan.models.checkpoint import LoadedGenerator
    from facegan.pictures.origin import Origin

OUTPUTS = Path("outputs")
MEMORY = OUTPUTS / "projected"
"""Where the faces of photos are remembered, for a second command."""


class Output:
    """The file that a command writes: the one that --out names, or the next free number under outputs/.

    Attributes:
        path: the file; until it is written, another command may take its number, and then the next one is used.
    """

    def __init__(self, given: Path | None, kind: str, suffixes: tuple[str, ...], overwrite: bool) -> None:
        """Choose the file, which does not exist yet unless `overwrite`.

        Args:
            given: `--out`, or None for `outputs/<kind>-001<suffix>` with the next number.
            kind: what the name begins with.
            suffixes: legal endings, the default first.
            overwrite: `--overwrite`.

        Raises:
            UsageError: the name has another ending, or `overwrite` comes without `given`.
            FaceganError: it exists already.
        """
        if given is None and overwrite:
            hint = "Leave it out: the next free name is taken."
            raise UsageError("--overwrite replaces the file that --out names, and --out is not given.", hint)
        if given is not None and given.suffix.lower() not in suffixes:
            raise UsageError(f"--out {given}: the name must end in {' or '.join(suffixes)}.")
        self._numbered, self._new = (kind, suffixes[0]) if given is None else None, not overwrite
        self.path = self._free(given or _next(kind, suffixes[0]))

    def spare(self, inputs: Iterable[Path]) -> None:
        """Raises: UsageError: the file that would be replaced is one of the command's own photos."""
        for path in inputs:
            if self.path.exists() and path.exists() and self.path.samefile(path):
                raise UsageError(
                    f"--out {self.path} would replace the photo {path}.", "Choose another name with --out."
                )

    def beside(self, ending: str) -> Path:
        """A second file, named as the first with another ending, such as `-way.png`; it does not exist either.

        Raises:
            FaceganError: it exists already.
        """
        return self._free(self.path.with_name(self.path.stem + ending))

    def write(self, save: Callable[..., Path]) -> Path:
        """Write the file by `save(path, new=...)`.

        If another command has meanwhile written a file with the same number, the next number is taken, so `save` may be
        called more than once.
        """
        while True:
            try:
                return save(self.path, new=self._new)
            except TakenError:
                if self._numbered is None:
                    raise
                self.path = _next(*self._numbered)

    def _free(self, path: Path) -> Path:
        if path.is_dir():
            raise FaceganError(f"{path} is a folder.", "Choose another name with --out.")
        if path.exists() and self._new:
            raise FaceganError(f"{path} exists already.", "Choose another name with --out, or add --overwrite.")
        return path


_NOT_OF_THE_PICTURE = ("out", "overwrite", "device", "no_metadata")
"""Options that change nothing about what a picture shows."""


def origin(
    ctx: typer.Context,
    loaded: LoadedGenerator,
    *,
    without: bool,
    generator: str = "source",
    terms: Sequence[tuple[int, str]] = (),
) -> Origin | None:
    """How the picture of this command is made again, to be written into its file.

    Args:
        loaded: the generator that the command opened; not one that was tuned since.
        without: `--no-metadata`.
        generator: the parameter that names the generator. It is always part of the command that is written.
        terms: `--plus` (+1) and `--minus` (-1) with their SPECs, in the order typed.

    Returns:
        The command with files named without their folders; None with `without`.
    """
    if without:
        return None
    from facegan.models.checkpoint import weights_sha256
    from facegan.pictures.origin import Origin

    name = public_name(loaded.source)
    arguments, options = [], []
    for parameter in ctx.command.params:
        key = parameter.name or ""
        source, given = ctx.get_parameter_source(key), ctx.params.get(key)
        if key == generator:
            values = [name]
        elif source is None or source.name != "COMMANDLINE" or key in (*_NOT_OF_THE_PICTURE, "plus", "minus"):
            continue
        else:
            values = [_public(value) for value in (given if isinstance(given, list) else [given])]
        if parameter.param_type_name == "argument":
            arguments += values
        elif given is True:
            options.append(parameter.opts[0])
        else:
            options += [word for value in values for word in (parameter.opts[0], value)]
    options += [word for sign, spec in terms for word in ("--plus" if sign > 0 else "--minus", _public(spec))]
    command = (ctx.info_name or "", *arguments, *options)
    return Origin(command, ctx.params["seed"], name, weights_sha256(loaded.module))


def _public(value: object) -> str:
    """A value of the command line without the folders of files: a file, or a list with commas, such as a SPEC."""
    if isinstance(value, Path):
        return value.name
    return ",".join(Path(item).name or item for item in str(value).split(","))


def output_folder(given: Path | None, kind: str) -> Path:
    """The folder to write into. It does not exist yet, or is empty.

    Raises:
        UsageError: its name ends like a picture's.
        FaceganError: there is something in it.
    """
    folder = given or _next(kind, "")
    if folder.suffix.lower() in {*WRITABLE, *LONGEST_SIDE}:
        raise UsageError(
            f"--out {folder} is the name of a file, and --separate writes one for each face, into a folder.",
            f"Name a folder, such as {folder.with_suffix('')}, or leave out --separate for one sheet.",
        )
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise FaceganError(f"{folder} exists already.", "Choose a new folder with --out.")
    return folder


def make_folder(given: Path | None, kind: str) -> Path:
    """Make the folder that `output_folder` names. Two commands at the same time get two numbers."""
    while True:
        folder = output_folder(given, kind)
        try:
            folder.mkdir(parents=True, exist_ok=given is not None)
            return folder
        except FileExistsError:
            continue


def _next(kind: str, suffix: str) -> Path:
    taken = [re.match(r"\d+", path.name.removeprefix(f"{kind}-")) for path in OUTPUTS.glob(f"{kind}-*")]
    first = 1 + max((int(match[0]) for match in taken if match), default=0)
    names = (OUTPUTS / f"{kind}-{number:03d}{suffix}" for number in count(first))
    return next(name for name in names if not name.exists())  # the disk may ignore case
