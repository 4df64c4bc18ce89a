"""facegan export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from facegan.cli import console, options

FORMATS = {"onnx": ".onnx"}
"""What --to can name -> the ending of the file."""


def export(
    source: options.Source = None,
    to: Annotated[
        Optional[str],  # noqa: UP045, typer reads it at run time
        typer.Option(
            metavar="{" + ",".join(FORMATS) + "}",
            help="onnx: for programs without torch, such as onnxruntime in a browser. Default: what --out ends in.",
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
    """Write a generator as a file that other programs draw with."""
    from facegan.cli.outputs import Output

    kind = _kind(to, out)
    file = Output(out, "export", (FORMATS[kind],), overwrite)
    loaded = options.open_generator(source, "cpu")
    from facegan.export.onnx import export_onnx

    def write(path: Path, *, new: bool) -> Path:
        done = export_onnx(loaded, path, wide=wide, new=new)
        console.note(
            f"onnxruntime draws the same {done.checked} faces as torch: their images, from -1 to 1, differ by "
            f"{done.difference:.1g} at most"
        )
        return done.path

    console.wrote([file.write(write)])


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
