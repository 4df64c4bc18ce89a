"""Where pictures go: a new numbered file under outputs/, or the file that the user named."""

from __future__ import annotations

import re
from pathlib import Path

from facegan.errors import FaceganError, UsageError

OUTPUTS = Path("outputs")


def output_path(given: Path | None, kind: str, suffixes: tuple[str, ...], overwrite: bool) -> Path:
    """The file to write, which does not exist yet unless `overwrite`.

    Args:
        given: `--out`, or None for `outputs/<kind>-001<suffix>` with the next number.
        suffixes: legal endings, the default first; ("",) for a folder.

    Raises:
        UsageError: another ending.
        FaceganError: it exists already.
    """
    if given is None:
        taken = [re.match(r"\d+", path.name.removeprefix(f"{kind}-")) for path in OUTPUTS.glob(f"{kind}-*")]
        number = 1 + max((int(match[0]) for match in taken if match), default=0)
        return OUTPUTS / f"{kind}-{number:03d}{suffixes[0]}"
    if suffixes != ("",) and given.suffix.lower() not in suffixes:
        raise UsageError(f"--out {given}: the name must end in {' or '.join(suffixes)}.")
    if suffixes == ("",) and given.is_dir() and not any(given.iterdir()):
        return given
    if given.exists() and (given.is_dir() or suffixes == ("",) or not overwrite):
        what = "is a folder" if given.is_dir() else "exists already"
        raise FaceganError(f"{given} {what}.", "Choose another name with --out, or add --overwrite for a file.")
    return given
