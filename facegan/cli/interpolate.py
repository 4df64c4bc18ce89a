"""facegan interpolate."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import typer

from facegan.cli import console, options


def interpolate(
    ctx: typer.Context,
    source: options.Source = None,
    through: Annotated[
        options.Specs,
        typer.Option(
            metavar="SPEC",
            help=f"A face to pass through, given twice or more; {options.SPEC} Default: the first two faces of --seed.",
            show_default=False,
        ),
    ] = None,
    steps: Annotated[int, typer.Option(min=2, max=10_000, help="Faces from one to the next, both ends counted.")] = 10,
    method: Annotated[str, typer.Option(metavar="{slerp,lerp}", help="Great circle or straight line.")] = "slerp",
    loop: Annotated[bool, typer.Option("--loop", help="Walk back to the first face at the end.")] = False,
    gif: Annotated[bool, typer.Option("--gif", help="Also write the morph as a GIF beside the strip.")] = False,
    fps: options.Fps = 12,
    seed: options.Seed = 0,
    plain: options.Plain = False,
    scale: options.Scale = None,
    device: options.Device = "auto",
    out: options.Out = None,
    overwrite: options.Overwrite = False,
    no_metadata: options.NoMetadata = False,
) -> None:
    """Morph one face into another."""
    from facegan.cli.outputs import Output, origin
    from facegan.core.errors import UsageError
    from facegan.faces.latents import METHODS
    from facegan.pictures.sheets import WRITABLE, save_picture

    if method not in METHODS:
        raise UsageError(f"--method {method!r} is not one of {', '.join(METHODS)}.")
    if not gif:
        options.refuse(ctx, "fps", without="is for the GIF, and --gif is not given", hint="Add --gif, or leave it out.")
    file = Output(out, "interpolate", WRITABLE, overwrite)
    if gif:
        file.beside(".gif")
    specs = through or ["0", "1"]
    loaded = options.open_generator(source, device)
    made = origin(ctx, loaded, without=no_metadata)
    from facegan.faces.compose import check_morph
    from facegan.faces.compose import interpolate as morph_between
    from facegan.pictures.animation import write_animation

    check_morph(loaded, specs, steps, loop, scale, file.path)
    loaded, known = options.named_faces(loaded, specs, seed, file, plain=plain)
    asked: dict[str, Any] = {"steps": steps, "seed": seed, "method": method, "loop": loop, "scale": scale}
    with console.Progress("faces", "drawing") as bar:
        morph = morph_between(loaded, specs, **asked, known=known, out=file.path, on_progress=bar.show)
        written = [file.write(partial(save_picture, morph.strip(), origin=made))]
        if gif:
            film, expected = file.beside(".gif"), len(morph.order())
            bar.show(0, expected, "writing")
            frames = bar.each(morph.frames(), expected)
            how: dict[str, Any] = {"fps": fps, "expected": expected, "new": not overwrite, "origin": made}
            written.append(write_animation(frames, film, **how))
    console.wrote(written)
