"""facegan push."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from facegan.cli import console, options
from facegan.core.errors import UsageError
from facegan.core.quantities import size


def push(
    what: Annotated[
        list[str],
        typer.Argument(metavar="[CKPT] USER/NAME", help=f"{options.CKPT} And the repository on the Hub."),
    ],
    licence: Annotated[
        options.Text,
        typer.Option(
            metavar="TEXT",
            help="Under which terms others may use it: mit, cc-by-nc-4.0, or a sentence.",
            show_default=False,
        ),
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="Make a new repository that only you see, or use one that is so.")
    ] = False,
    agreed: Annotated[
        bool,
        typer.Option("--agreed", help="The people in the photos that it was tuned to agree that it becomes public."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Upload nothing; print the card and the files that would become public.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Add a new version to a repository that has one.")
    ] = False,
) -> None:
    """Put a generator on the Hugging Face Hub, where hf://user/name names it.

    The generator, its attributes, a card and a sheet of faces become public; nothing else of this computer does.
    """
    if len(what) > 2:
        raise UsageError(f"{len(what)} names are too many.", "Name a generator and a repository: pretrained user/name")
    from facegan.export.card import licence_of
    from facegan.export.push import address_to_push, files_to_push
    from facegan.export.push import push as upload

    address = address_to_push(what[-1])
    loaded = options.open_generator(Path(what[0]) if len(what) == 2 else None, "cpu")
    files = files_to_push(loaded, address, licence=licence, agreed=agreed)
    if not licence_of(loaded, licence):
        console.note("no licence is stated, so nobody may use it without asking you; --licence mit states one")
    if dry_run:
        console.data(files["README.md"].decode())
    for name, content in files.items():
        console.note(f"{name}: {size(len(content))}")
    if dry_run:
        return
    page = upload(files, address, private=private, overwrite=overwrite)
    console.say(f"pushed {address}")
    console.say(page)
