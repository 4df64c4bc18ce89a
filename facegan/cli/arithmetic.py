"""facegan arithmetic."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Optional

import typer
from typer.core import TyperCommand

from facegan.cli import console, options

Specs = Optional[list[str]]  # noqa: UP045, typer reads it at run time
_ORDER = "facegan.terms"


class InOrder(TyperCommand):
    """A command that remembers the order in which --plus and --minus were typed; the parser groups them by name."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.meta[_ORDER] = terms_in_order(args)
        return super().parse_args(ctx, args)


def terms_in_order(args: Iterable[str]) -> list[tuple[int, str]]:
    """Command-line words -> (+1, SPEC) for each --plus and (-1, SPEC) for each --minus, in the order typed."""
    signs = {"--plus": +1, "--minus": -1}
    terms = []
    words = iter(args)
    for word in words:
        option, equals, value = word.partition("=")
        if option in signs:
            terms.append((signs[option], value if equals else next(words, "")))
    return terms


def arithmetic(
    ctx: typer.Context,
    source: options.Source = None,
    plus: Annotated[
        Specs,
        typer.Option(metavar="SPEC", help="Faces to add: 44,51,69 are averaged; 7:44 is of seed 7; .npy files too."),
    ] = None,
    minus: Annotated[Specs, typer.Option(metavar="SPEC", help="Faces to take away, likewise.")] = None,
    seed: options.Seed = 0,
    raw: Annotated[bool, typer.Option("--raw", help="Do not bring sums and means to the prior's norm.")] = False,
    save: Annotated[bool, typer.Option("--save", help="Also write the result's latent as .npy.")] = False,
    steps: Annotated[int, typer.Option(min=0, max=10_000, help="Also draw the way there, in so many faces.")] = 0,
    device: options.Device = "auto",
    out: options.Out = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Add and subtract faces: smiling woman - neutral woman + neutral man = smiling man."""
    from facegan.errors import UsageError
    from facegan.outputs import output_path

    if steps == 1:
        raise UsageError("--steps 1 is no way: both ends are counted.", "Use 2 or more.")
    terms = ctx.meta[_ORDER]
    path = output_path(out, "arithmetic", (".png",), overwrite)
    way = output_path(path.with_name(f"{path.stem}-way.png"), "arithmetic", (".png",), overwrite) if steps else None
    latent = output_path(path.with_suffix(".npy"), "arithmetic", (".npy",), overwrite) if save else None
    loaded = options.open_generator(source, device)
    from facegan.draw import arithmetic as add_up
    from facegan.images import save_png
    from facegan.latents import save_latent

    with console.Progress("faces", "drawing") as bar:
        outcome, morph = add_up(loaded, terms, seed=seed, raw=raw, steps=steps, on_progress=bar.show)
    new = not overwrite
    written = [save_png(outcome.picture, path, new=new)]
    if way and morph:
        written.append(save_png(morph.strip(), way, new=new))
    if latent:
        written.append(save_latent(outcome.latent, latent, new=new))
    console.wrote(written)
