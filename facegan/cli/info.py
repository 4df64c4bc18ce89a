"""facegan info."""

from __future__ import annotations

from typing import Annotated

import typer

from facegan.cli import console, options
from facegan.cli.options import OptionalPath
from facegan.core.errors import UsageError


def info(
    path: Annotated[
        OptionalPath,
        typer.Argument(
            metavar="[PATH]",
            help="A dataset, a run, a checkpoint, a generator, a picture, or 'pretrained'. Default: the newest run, "
            "else the generator that ships with facegan.",
            show_default=False,
        ),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Of a dataset: also read all pixels and compare them with their SHA-256.")
    ] = False,
) -> None:
    """Say what a dataset, run, checkpoint, generator, file of latents or picture is, and how facegan made it."""
    from facegan.describe import describe
    from facegan.models.hub import parse_address
    from facegan.models.pretrained import NAME, PATH
    from facegan.runs.find import find_generator
    from facegan.runs.folder import runs

    if path is None:
        path = next((run.path for run in reversed(runs())), PATH)
    if str(path) == NAME or parse_address(str(path)):
        path, _ = find_generator(path)
    kind, facts = describe(path)
    console.table(f"{kind} {path}", facts)
    if verify:
        if kind != "dataset":
            raise UsageError(
                f"--verify is for datasets, and {path} is a {kind}.", "Other files are checked when they are opened."
            )
        from facegan.data.folder import read_dataset_json

        options.verify(read_dataset_json(path))
        console.say("verified: the pixels are those that were written")
