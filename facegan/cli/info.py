"""facegan info."""

from __future__ import annotations

from typing import Annotated

import typer

from facegan.cli import console
from facegan.cli.options import OptionalPath


def info(
    path: Annotated[
        OptionalPath,
        typer.Argument(
            metavar="[PATH]",
            help="A dataset, a run, a checkpoint, a generator, or 'pretrained'. Default: the newest run, else the "
            "generator that ships with facegan.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Say what a dataset, run, checkpoint or generator is."""
    from facegan.describe import describe
    from facegan.pretrained import NAME, PATH
    from facegan.rundir import runs

    if path is None:
        path = next((run.path for run in reversed(runs())), PATH)
    path = PATH if str(path) == NAME else path
    kind, facts = describe(path)
    console.table(f"{kind} {path}", facts)
