"""facegan arithmetic."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from facegan.cli import console, options

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
        options.Specs, typer.Option(metavar="SPEC", help=f"Faces to add, {options.SPEC}", show_default=False)
    ] = None,
    minus: Annotated[options.Specs, typer.Option(metavar="SPEC", help="Faces to subtract, as in --plus.")] = None,
    seed: options.Seed = 0,
    plain: options.Plain = False,
    scale: options.Scale = None,
    raw: Annotated[bool, typer.Option("--raw", help="Do not bring sums and means to the prior's norm.")] = False,
    save: Annotated[bool, typer.Option("--save", help="Also write the result's latent as .npy.")] = False,
    steps: Annotated[
        int, typer.Option(min=0, max=10_000, help="Also draw so many faces from the first --plus to the result.")
    ] = 0,
    device: options.Device = "auto",
    out: options.Out = None,
    overwrite: options.Overwrite = False,
    no_metadata: options.NoMetadata = False,
) -> None:
    """Add and subtract faces: smiling woman - neutral woman + neutral man = smiling man."""
    from facegan.cli.outputs import Output, origin
    from facegan.core.errors import UsageError
    from facegan.pictures.sheets import WRITABLE, save_picture

    if steps == 1:
        raise UsageError("--steps 1 is too few: both ends of the way are counted.", "Use 2 or more.")
    terms = ctx.meta[_ORDER]
    file = Output(out, "arithmetic", WRITABLE, overwrite)
    way = f"-way{file.path.suffix}"
    if steps:
        file.beside(way)
    if save:
        file.beside(".npy")
    loaded = options.open_generator(source, device)
    made = origin(ctx, loaded, without=no_metadata, terms=terms)
    specs = [spec for _, spec in terms]
    loaded, known = options.named_faces(loaded, specs, seed, file, plain=plain)
    from facegan.faces.compose import arithmetic as add_up
    from facegan.faces.latents import save_latent

    asked: dict[str, Any] = {"seed": seed, "raw": raw, "steps": steps, "scale": scale, "out": file.path}
    with console.Progress("faces", "drawing") as bar:
        outcome, morph = add_up(loaded, terms, **asked, known=known, on_progress=bar.show)
    new = not overwrite
    written = [file.write(partial(save_picture, outcome.picture, origin=made))]
    if morph:
        written.append(save_picture(morph.strip(), file.beside(way), new=new, origin=made))
    if save:
        written.append(save_latent(outcome.latent, file.beside(".npy"), new=new))
    console.wrote(written)
