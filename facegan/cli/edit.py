"""facegan edit."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from facegan.cli import console, options

_ALL = "all"


class Overview(TyperCommand):
    """A command whose --component may come without a value: it then means all of the strongest."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, with_overview(args))


def with_overview(args: list[str]) -> list[str]:
    """The words of a command line, where a --component without a value has got one."""
    words: list[str] = []
    for word, following in zip(args, [*args[1:], "--"], strict=True):
        words += [word, _ALL] if word == "--component" and following.startswith("--") else [word]
    return words


def edit(
    ctx: typer.Context,
    source: options.Source = None,
    face: Annotated[
        str,
        typer.Option(metavar="SPEC", help=f"The face to change, {options.SPEC}", show_default="the first of --seed"),
    ] = "0",
    attr: Annotated[
        options.Specs,
        typer.Option(
            metavar="NAME=HOW-FAR",
            help="What to change, and how far: smiling=+2, or smiling=-2..2 for a row; two such ranges are a grid. +2 "
            "gives most faces what they lack. Given several times, all are changed together. Names are attributes and "
            "everyday words.",
            show_default=False,
        ),
    ] = None,
    component: Annotated[
        options.Specs,
        typer.Option(
            metavar="N=HOW-FAR",
            help="Change along a component of the network, 1 the strongest: 3=+2 or 3=-3..3. They have no names, and "
            "need no table of attributes. --component alone draws an overview.",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[
        options.Text,
        typer.Option(
            metavar="NAME,...",
            help="Attributes that stay as they are; 'none' holds nothing. Default: sex, age, glasses and smile.",
            show_default=False,
        ),
    ] = None,
    steps: Annotated[int, typer.Option(min=2, max=2500, help="Faces of a range, both ends counted.")] = 7,
    gif: Annotated[bool, typer.Option("--gif", help="Also write the change as a GIF, there and back.")] = False,
    fps: options.Fps = 12,
    seed: options.Seed = 0,
    plain: options.Plain = False,
    scale: options.Scale = None,
    save: Annotated[bool, typer.Option("--save", help="Also write the latents of the changed faces as .npy.")] = False,
    device: options.Device = "auto",
    out: options.Out = None,
    overwrite: options.Overwrite = False,
    no_metadata: options.NoMetadata = False,
) -> None:
    """Change a face by name: smiling=+2, young=-2..2."""
    from facegan.cli.outputs import Output, origin
    from facegan.editing.change import check_changes, far, parse_change
    from facegan.pictures.sheets import WRITABLE, save_picture

    if not gif:
        options.refuse(ctx, "fps", without="is for the GIF, and --gif is not given", hint="Add --gif, or leave it out.")
    everything = bool(component and _ALL in component)
    if everything:
        alone = "is not for the overview that --component alone draws"
        options.refuse(ctx, "attr", "keep", "steps", "gif", "save", without=alone, hint="Leave it out.")
    changes = [parse_change(text) for text in attr or []]
    changes += [parse_change(text, component=True) for text in component or [] if not everything]
    if not attr:
        options.refuse(ctx, "keep", without="is for --attr, and there is none", hint="Leave it out.")
    file = Output(out, "edit", WRITABLE, overwrite)
    if not everything and not any(change.is_range for change in check_changes(changes, steps=steps, film=gif)):
        without = "is for ranges such as -3..3, and there is none"
        options.refuse(ctx, "steps", without=without, hint="Leave it out.")
    endings = [".gif"] * gif + [".npy"] * save
    for ending in endings:
        file.beside(ending)
    loaded = options.open_generator(source, device)
    made = origin(ctx, loaded, without=no_metadata)
    from facegan.editing.attributes import attributes_of
    from facegan.editing.edit import changed_latents, overview
    from facegan.editing.edit import edit as change_face
    from facegan.faces.compose import read_spec
    from facegan.faces.latents import draw, save_latent
    from facegan.pictures.animation import write_animation

    attributes = attributes_of(loaded) if attr else None
    kept = None if keep is None else [] if keep == "none" else keep.split(",")
    if attributes is not None:  # before photos are looked for
        named = {change.name: change.end for change in changes if not change.component}
        changed_latents(attributes, draw(0, [0], len(attributes.weights)), named, kept)
    loaded, known = options.named_faces(loaded, [face], seed, file, plain=plain)
    operand = read_spec(loaded, face, seed, known)
    if text := far(changes):
        console.note(text)
    with console.Progress("faces", "drawing") as bar:
        if everything:
            found = overview(loaded, operand, scale=scale, out=file.path, on_progress=bar.show)
        else:
            asked: dict[str, Any] = {"keep": kept, "steps": steps, "film": gif, "scale": scale}
            found = change_face(loaded, attributes, operand, changes, **asked, out=file.path, on_progress=bar.show)
        written = [file.write(partial(save_picture, found.picture(), origin=made))]
        if gif:
            frames = bar.each(found.frames(), found.frame_count)
            how: dict[str, Any] = {"fps": fps, "expected": found.frame_count, "new": not overwrite}
            written.append(write_animation(frames, file.beside(".gif"), **how, origin=made))
        if save:
            z = found.latents if len(found.labels) > 2 else found.latents[-1]
            written.append(save_latent(z, file.beside(".npy"), new=not overwrite))
    console.wrote(written)
