"""facegan studio."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from facegan.cli import console, options


def studio(
    source: options.Source = None,
    port: Annotated[
        options.Whole,
        typer.Option(min=1, max=65_535, help="Default: 8642, or the next that is free.", show_default=False),
    ] = None,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Only print the address, and do not open the browser.")
    ] = False,
    device: options.Device = "auto",
    no_metadata: options.NoMetadata = False,
) -> None:
    """Play with faces in the browser: a page on this machine, which nobody else can open. Ctrl-C ends it."""
    from facegan.core.errors import needed, typed

    with needed("facegan studio", "studio", "starlette uvicorn"):
        import starlette  # noqa: F401, before a generator is loaded for nothing
        import uvicorn  # noqa: F401
    from facegan.cli.outputs import MEMORY
    from facegan.cli.signals import Stopped

    loaded = options.open_generator(source, device)
    from facegan.core.device import keep_memory
    from facegan.models.hub import known_name
    from facegan.studio.serve import serve

    keep_memory()
    far = bool(os.environ.get("SSH_CONNECTION"))

    def say(address: str) -> None:
        console.say(f"studio: {address}")
        if far:
            number = address.split("/")[2].partition(":")[2]
            forward = f"ssh -L {number}:127.0.0.1:{number} THIS-MACHINE"
            console.note(f"from your own computer: {forward}, then open the address there")

    try:
        serve(
            loaded,
            word=known_name(loaded.source) or typed(loaded.source),
            port=port,
            browser=not (no_browser or far),
            memory=MEMORY,
            metadata=not no_metadata,
            say=say,
            note=console.note,
        )
    except Stopped:  # the way in which a studio ends
        console.note("the studio is closed")
