"""Where pictures go: a new numbered name under outputs/, or the one that the user gave."""

from __future__ import annotations

import re
from pathlib import Path

from facegan.errors import FaceganError, UsageError

OUTPUTS = Path("outputs")


def output_path(given: Path | None, kind: str, suffixes: tuple[str, ...], overwrite: bool) -> Path:
    """The file to write, which does not exist yet unless `overwrite`.

    Args:
        given: `--out`, or None for `outputs/<kind>-001<suffix>` with the next number.
        suffixes: legal endings, the default first.

    Raises:
        UsageError: another ending.
        FaceganError: it exists already.
    """
    if given is None:
        return _next(kind, suffixes[0])
    if given.suffix.lower() not in suffixes:
        raise UsageError(f"--out {given}: the name must end in {' or '.join(suffixes)}.")
    if given.is_dir():
        raise FaceganError(f"{given} is a folder.", "Choose another name with --out.")
    if given.exists() and not overwrite:
        raise FaceganError(f"{given} exists already.", "Choose another name with --out, or add --overwrite.")
    return given


def output_folder(given: Path | None, kind: str) -> Path:
    """The folder to write into, which is not there yet or empty.

    Raises:
        FaceganError: there is something in it.
    """
    folder = given or _next(kind, "")
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise FaceganError(f"{folder} exists already.", "Choose a new folder with --out.")
    return folder


def _next(kind: str, suffix: str) -> Path:
    taken = [re.match(r"\d+", path.name.removeprefix(f"{kind}-")) for path in OUTPUTS.glob(f"{kind}-*")]
    number = 1 + max((int(match[0]) for match in taken if match), default=0)
    return OUTPUTS / f"{kind}-{number:03d}{suffix}"
