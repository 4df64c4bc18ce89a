"""facegan sample."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from facegan.cli import console, options


def sample(
    ctx: typer.Context,
    source: options.Source = None,
    count: Annotated[int, typer.Option(min=1, max=10**7, help="How many faces.")] = 25,
    seed: options.Seed = 0,
    number: Annotated[bool, typer.Option("--number", help="Write each face's index under it.")] = False,
    sort: Annotated[
        bool, typer.Option("--sort", help="Best first, as the critic of a checkpoint (.pt) scores them.")
    ] = False,
    separate: Annotated[bool, typer.Option("--separate", help="Write single files into a folder.")] = False,
    truncation: options.Truncation = 1.0,
    device: options.Device = "auto",
    out: options.Out = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Draw new faces."""
    from facegan.outputs import output_folder, output_path

    if separate:
        why = "is for a sheet, and --separate writes files, named by the numbers of their faces"
        options.refuse(ctx, "sort", "number", without=why, hint="Leave one out.")
        why = "is for a sheet: --separate writes into a new folder"
        options.refuse(ctx, "overwrite", without=why, hint="Choose a new folder with --out.")
    path = output_folder(out, "sample") if separate else output_path(out, "sample", (".png",), overwrite)
    loaded = options.open_generator(source, device)
    if truncation == 0:
        console.note("--truncation 0 leaves the average latent alone: all faces are the same")
    from facegan.draw import sample_separately, sample_sheet
    from facegan.images import save_png

    if not separate:
        asked: dict[str, Any] = {"numbers": number, "truncation": truncation, "by_score": sort}
        with console.Progress("faces", "drawing") as bar:
            picture = sample_sheet(loaded, count=count, seed=seed, **asked, on_progress=bar.show)
        console.wrote([save_png(picture, path, new=not overwrite)])
        return
    with console.Progress("faces", "drawing") as bar:
        written = 0
        try:
            for _ in sample_separately(loaded, path, count=count, seed=seed, truncation=truncation):
                written += 1
                bar.show(written, count)
        finally:
            if written < count:
                console.note(f"{written:,} of {count:,} faces were written to {path}")
    console.wrote([path])
