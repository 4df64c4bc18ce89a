"""facegan export."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facegan.cli import console, options
from facegan.core.quantities import size

if TYPE_CHECKING:
    from facegan.models.checkpoint import LoadedGenerator

FORMATS = {"html": ".html", "onnx": ".onnx"}
"""What --to can name -> the ending of the file."""


def export(
    source: options.Source = None,
    to: Annotated[
        options.Text,
        typer.Option(
            metavar="{" + ",".join(FORMATS) + "}",
            help="html: one file that draws faces in any browser, without a network. onnx: for programs without torch. "
            "Default: what --out ends in.",
            show_default=False,
        ),
    ] = None,
    wide: Annotated[
        bool,
        typer.Option("--wide", help="onnx: take latents of photos, as project writes them, instead of drawn ones."),
    ] = False,
    out: Annotated[
        options.OptionalPath,
        typer.Option(
            metavar="PATH",
            help="What to write. Default: the next free name under outputs/.",
            show_default=False,
        ),
    ] = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Write a generator as a file that browsers and other programs draw with."""
    from facegan.cli.outputs import Output
    from facegan.core.errors import UsageError

    kind = _kind(to, out)
    if wide and kind == "html":
        raise UsageError("--wide is for onnx.", "The page takes both kinds of latents anyway.")
    file = Output(out, "export", (FORMATS[kind],), overwrite)
    loaded = options.open_generator(source, "cpu")
    console.wrote([file.write(partial(_WRITERS[kind], loaded, wide=wide))])


def _html(loaded: LoadedGenerator, path: Path, *, new: bool, wide: bool) -> Path:
    from facegan.export.html import export_html

    done = export_html(loaded, path, new=new)
    if done.unnamed:
        console.note(f"the page's sliders have no names: {done.unnamed}")
    if done.difference:
        console.note(f"in half precision, bytes of its faces differ by up to {done.difference} of 255")
    console.note(f"{size(done.path.stat().st_size)}; it opens in a browser by double click, without a network")
    return done.path


def _onnx(loaded: LoadedGenerator, path: Path, *, new: bool, wide: bool) -> Path:
    from facegan.export.onnx import export_onnx

    done = export_onnx(loaded, path, wide=wide, new=new)
    console.note(
        f"onnxruntime draws the same {done.checked} faces as torch: their images, from -1 to 1, differ by "
        f"{done.difference:.1g} at most"
    )
    return done.path


_WRITERS = {"html": _html, "onnx": _onnx}


def _kind(to: str | None, out: Path | None) -> str:
    """What is to be written, by --to or by the ending of --out."""
    from facegan.core.errors import UsageError, visible

    known = ", ".join(FORMATS)
    if to is not None and to not in FORMATS:
        raise UsageError(f"--to {visible(to[:40])!r} is not one of {known}.")
    named = next((kind for kind, ending in FORMATS.items() if out and out.suffix.lower() == ending), None)
    if to is None and named is None:
        raise UsageError("What is to be written?", f"Add --to with one of {known}.")
    return to or named or ""
