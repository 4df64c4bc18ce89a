"""facegan interpolate."""

from __future__ import annotations

from typing import Annotated, Any, Optional

import typer

from facegan.cli import console, options

Specs = Optional[list[str]]  # noqa: UP045, typer reads it at run time


def interpolate(
    ctx: typer.Context,
    source: options.Source = None,
    through: Annotated[
        Specs,
        typer.Option(
            metavar="SPEC",
            help="A face to pass through, given twice or more: 44, or 7:44 for seed 7, or a .npy; a comma-separated "
            "list is averaged. Default: the first two faces of --seed.",
            show_default=False,
        ),
    ] = None,
    steps: Annotated[int, typer.Option(min=2, max=10_000, help="Faces from one to the next, both ends counted.")] = 10,
    method: Annotated[str, typer.Option(metavar="{slerp,lerp}", help="Great circle or straight line.")] = "slerp",
    loop: Annotated[bool, typer.Option("--loop", help="Walk back to the first face at the end.")] = False,
    gif: Annotated[bool, typer.Option("--gif", help="Also write the morph as a GIF beside the strip.")] = False,
    fps: options.Fps = 12,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    out: options.Out = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Morph one face into another."""
    from facegan.errors import UsageError
    from facegan.latents import METHODS
    from facegan.outputs import output_path

    if method not in METHODS:
        raise UsageError(f"--method {method!r} is not one of {', '.join(METHODS)}.")
    if not gif:
        options.refuse(ctx, "fps", without="is for the GIF, and --gif is not given", hint="Add --gif, or leave it out.")
    path = output_path(out, "interpolate", (".png",), overwrite)
    film = output_path(path.with_suffix(".gif"), "interpolate", (".gif",), overwrite) if gif else None
    loaded = options.open_generator(source, device)
    from facegan.animation import write_animation
    from facegan.draw import interpolate as morph_between
    from facegan.images import save_png

    asked: dict[str, Any] = {"steps": steps, "seed": seed, "method": method, "loop": loop}
    with console.Progress("faces", "drawing") as bar:
        morph = morph_between(loaded, through or ["0", "1"], **asked, on_progress=bar.show)
        new, expected, films = not overwrite, len(morph.order(loop)), []
        if film:
            bar.show(0, expected, "writing")
            frames = bar.each(morph.frames(loop), expected)
            films.append(write_animation(frames, film, fps=fps, expected=expected, new=new))
    console.wrote([save_png(morph.strip(), path, new=new), *films])
