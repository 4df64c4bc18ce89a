"""facegan attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from facegan.cli import console, options
from facegan.core.errors import UsageError

if TYPE_CHECKING:
    from facegan.editing.attributes import Attributes
    from facegan.editing.learning import SideEffects


def attributes(
    source: options.Source = None,
    data: Annotated[
        options.OptionalPath,
        typer.Option(
            metavar="PATH",
            help="A dataset with a table of attributes, of photos like those that the generator was trained on. "
            "Default: the only dataset under data/.",
            show_default=False,
        ),
    ] = None,
    columns: Annotated[
        options.Text,
        typer.Option(
            metavar="NAME,NAME",
            help="Which columns of the table to learn. Default: all but those that judge people, such as Attractive.",
            show_default=False,
        ),
    ] = None,
    classifier: Annotated[
        options.OptionalPath,
        typer.Option(
            metavar="PATH",
            help="The attributes of another generator, whose classifier is used instead of learning one from photos.",
            show_default=False,
        ),
    ] = None,
    faces: Annotated[
        int, typer.Option(min=100, max=1_000_000, help="How many faces of the generator are looked at.")
    ] = 20_000,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Of all randomness.")] = 0,
    device: options.Device = "auto",
    out: Annotated[
        options.OptionalPath,
        typer.Option(
            metavar="PATH",
            help="What to write, a .safetensors. Default: attributes.safetensors beside the generator, where all "
            "commands find it.",
            show_default=False,
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the file if it is there.", show_default=False)
    ] = False,
) -> None:
    """Learn what a generator's faces show, such as a smile or an age, from a dataset's table of attributes.

    The names then work in `facegan edit` and wherever a face is named, for this generator and all that are tuned from
    it.
    """
    if data is not None and classifier is not None:
        raise UsageError("--data learns a new classifier, and --classifier names one.", "Give one of them.")
    if classifier is not None and columns is not None:
        raise UsageError("--columns is for learning from --data.", "Leave it out with --classifier.")
    names = None if columns is None else [name.strip() for name in columns.split(",")]
    if names is not None and not all(names):
        raise UsageError("--columns has an empty name.", "Write it as --columns Smiling,Male")
    if out is not None and out.suffix != ".safetensors":
        raise UsageError(f"--out {out}: the name must end in .safetensors.")
    from facegan.data.folder import find_dataset
    from facegan.editing.attributes import is_looked_at, load_attributes, place_for, save_attributes

    other = None if classifier is None else load_attributes(classifier)
    folder = (data or find_dataset().path) if other is None else None
    loaded = options.open_generator(source, device)
    path = place_for(loaded, out, overwrite)
    from facegan.core.device import keep_memory
    from facegan.editing.learning import directions_of, learn_attributes, side_effects

    keep_memory()
    with console.Progress("", "learning") as bar:

        def show(what: str, done: int, total: int) -> None:
            bar.show(done, total, what)

        if other is not None:
            found = directions_of(loaded, other.classifier, other.known, faces=faces, seed=seed, on_progress=show)
        else:
            assert folder is not None
            found = learn_attributes(
                loaded, folder, columns=names, faces=faces, seed=seed, on_progress=show, note=console.note
            )
        effects = side_effects(loaded, found, seed=seed, on_progress=show)
    _print(found, effects)
    console.wrote([save_attributes(found, path, new=not overwrite)])
    if not is_looked_at(loaded, path):
        console.note("commands find it beside the generator or in outputs/, under a name that begins with 'attributes'")


def _print(found: Attributes, effects: SideEffects) -> None:
    rows = []
    for attribute in found.known:
        own, others = effects.get(attribute.name, ("", ""))
        remark = f"refused: {attribute.refused}" if attribute.refused else others
        figures = [f"{attribute.accuracy:.2f}", f"{attribute.balanced:.2f}", f"{attribute.explained:.2f}", own]
        rows.append([attribute.name, "number" if attribute.numeric else "yes/no", *figures, remark])
    heads = ("attribute", "", "right", "balanced", "R2", "+2 moves it by", "and others by")
    console.columns("Attributes of the generator's faces", heads, rows)
    console.say("")
