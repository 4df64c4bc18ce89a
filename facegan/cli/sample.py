"""facegan sample."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Annotated, Any

import typer

from facegan.cli import console, options


def sample(
    ctx: typer.Context,
    source: options.Source = None,
    count: Annotated[int, typer.Option(min=1, max=10**7, help="How many faces.")] = 25,
    seed: options.Seed = 0,
    number: Annotated[
        bool, typer.Option("--number", help="Write under each face how to name it: 44, or 7:44 for seed 7.")
    ] = False,
    sort: Annotated[bool, typer.Option("--sort", help="Best first, by the scores of the generator's critic.")] = False,
    best: Annotated[
        options.Whole,
        typer.Option(min=1, help="Draw only so many: those that the critic finds most real.", show_default=False),
    ] = None,
    of: Annotated[
        options.Whole,
        typer.Option(min=1, max=10**7, help="Of how many --best are chosen. Default: 8 times as many."),
    ] = None,
    faces: Annotated[
        options.Text,
        typer.Option(
            metavar="SPEC",
            help="Draw these faces instead: a comma-separated list as in interpolate, but each is drawn: 7:44, 1-10, "
            ".npy files, photos, words.",
            show_default=False,
        ),
    ] = None,
    separate: Annotated[bool, typer.Option("--separate", help="Write single .png files into a folder.")] = False,
    truncation: options.Truncation = 1.0,
    scale: options.Scale = None,
    device: options.Device = "auto",
    out: options.Out = None,
    overwrite: options.Overwrite = False,
    no_metadata: options.NoMetadata = False,
) -> None:
    """Draw new faces."""
    from facegan.cli.outputs import Output, make_folder, origin, output_folder
    from facegan.pictures.sheets import WRITABLE, save_picture

    if separate:
        why = "is for a sheet, and --separate writes files, named by the numbers of their faces"
        options.refuse(ctx, "sort", "number", without=why, hint="Leave one out.")
        why = "is for a sheet: --separate writes into a new folder"
        options.refuse(ctx, "overwrite", without=why, hint="Choose a new folder with --out.")
        output_folder(out, "sample")
    if best:
        why = "does not go with --best, which draws the best of a number of faces in their order"
        options.refuse(ctx, "count", "sort", "faces", without=why, hint="Leave one out; --of says of how many.")
    else:
        options.refuse(ctx, "of", without="says of how many faces --best are chosen", hint="Add --best 25.")
    if faces:
        why = "is for new faces, and --faces names those that are drawn"
        options.refuse(ctx, "count", "truncation", without=why, hint="Leave one out.")
    file = None if separate else Output(out, "sample", WRITABLE, overwrite)
    loaded = options.open_generator(source, device)
    made = origin(ctx, loaded, without=no_metadata)
    if truncation == 0:
        console.note("--truncation 0 leaves the average latent alone: all faces are the same")
    from facegan.faces.compose import best_faces, read_spec, sample_separately, sample_sheet

    asked: dict[str, Any] = {"count": count, "seed": seed, "truncation": truncation, "scale": scale}
    chosen = None
    if best:
        with console.Progress("faces", "looking") as bar:
            of = of or 8 * best
            chosen = best_faces(loaded, best, of=of, seed=seed, truncation=truncation, on_progress=bar.show)
    if faces:
        loaded, known = options.named_faces(loaded, [faces], seed, file, plain=False)
        chosen = read_spec(loaded, faces, seed, known)
    if chosen:
        count = len(chosen.labels)
        asked |= {"chosen": chosen, "count": count}
    if file:
        with console.Progress("faces", "drawing") as bar:
            how: dict[str, Any] = {"numbers": number, "by_score": sort, "out": file.path, "on_progress": bar.show}
            picture = sample_sheet(loaded, **asked, **how)
        console.wrote([file.write(partial(save_picture, picture, origin=made))])
        return
    path = make_folder(out, "sample")
    with console.Progress("faces", "drawing") as bar:
        written = 0
        try:
            for _ in sample_separately(loaded, path, **asked, origin=made):
                written += 1
                bar.show(written, count)
        finally:
            if written < count:
                console.note(f"{written:,} of {count:,} faces were written to {path}")
            if not written:
                with suppress(OSError):
                    path.rmdir()
    console.wrote([path])
