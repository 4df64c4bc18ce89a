"""facegan project."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from facegan.cli import console, options


def project(
    ctx: typer.Context,
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTO...", help="Photos with a face each.")],
    generator: Annotated[
        options.OptionalPath,
        typer.Option(
            metavar="CKPT",
            help=options.CKPT,
            show_default=False,
        ),
    ] = None,
    crop: Annotated[
        str,
        typer.Option(
            "--crop", metavar="CROP", help="As in preprocess: face finds and aligns it, square keeps the middle."
        ),
    ] = "face",
    plain: Annotated[
        bool, typer.Option("--plain", help="Find the nearest faces, and do not tune the generator to the photos.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Of the samples that the search begins from.")] = 0,
    device: options.Device = "auto",
    out: options.Out = None,
    overwrite: options.Overwrite = False,
    no_metadata: options.NoMetadata = False,
) -> None:
    """Find the faces of photos in a generator, and tune the generator until it draws them.

    Writes a picture, a latent for each photo (.npy) and the tuned generator (.safetensors). Nothing leaves the machine.
    """
    from facegan.cli.outputs import MEMORY, Output, origin
    from facegan.core.errors import UsageError, typed
    from facegan.data.crops import parse_crop
    from facegan.faces.latents import distinct_stems
    from facegan.models.pretrained import NAME
    from facegan.pictures.sheets import WRITABLE, save_picture

    file = Output(out, "project", WRITABLE, overwrite)
    endings = [f"-{name}.npy" for name in distinct_stems(photos)]
    for ending in [*endings, *([] if plain else [".safetensors"])]:
        file.beside(ending)
    file.spare(photos)
    for photo in photos:
        if str(photo) == NAME or photo.suffix in (".pt", ".safetensors"):
            raise UsageError(
                f"{photo} is a generator, not a photo.", f"facegan project me.jpg --generator {typed(photo)}"
            )
    cut = parse_crop(crop)
    loaded = options.open_generator(generator, device)
    made = origin(ctx, loaded, without=no_metadata, generator="generator")
    from facegan.core.device import keep_memory
    from facegan.editing.photos import project_photos
    from facegan.faces.latents import save_latent
    from facegan.models.checkpoint import save_loaded

    keep_memory()
    with console.Progress("steps", "finding faces") as bar:
        found = project_photos(
            loaded, photos, MEMORY, crop=cut, plain=plain, seed=seed, on_progress=bar.show, note=console.note
        )
    for line in found.words():
        console.note(line)
    written = [file.write(partial(save_picture, found.picture(), origin=made))]
    for latent, ending in zip(found.latents, endings, strict=True):
        written.append(save_latent(latent, file.beside(ending), new=not overwrite))
    if not plain:
        written.append(save_loaded(found.loaded, file.beside(".safetensors"), new=not overwrite))
    console.wrote(written)
