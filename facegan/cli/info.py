"""facegan info."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facegan.cli import console


def info(
    path: Annotated[Path, typer.Argument(help="A dataset, a run, a checkpoint, a generator, or 'pretrained'.")],
) -> None:
    """Say what a dataset, run, checkpoint or generator is."""
    from facegan.describe import describe
    from facegan.pretrained import NAME, PATH

    path = PATH if str(path) == NAME else path
    kind, facts = describe(path)
    console.table(f"{kind} {path}", facts)
