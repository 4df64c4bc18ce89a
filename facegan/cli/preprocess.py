"""`facegan preprocess`: photos in, a dataset out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from facegan.cli import console, options
from facegan.cli.signals import Stopped
from facegan.core.errors import Interrupted
from facegan.data.crops import PROTOCOLS

if TYPE_CHECKING:
    from facegan.data.preprocess import PreprocessResult


def preprocess(
    ctx: typer.Context,
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCE",
            help="A folder of photos (searched to the bottom), a .zip of them, or CelebA in any layout. "
            "Several become one dataset.",
        ),
    ],
    size: Annotated[int, typer.Option(help="Side of the images in pixels: 32, 64, 128 or 256.", metavar="PIXELS")] = 64,
    crop: Annotated[
        str,
        typer.Option(
            "--crop",
            metavar="CROP",
            help="face (found, and placed as CelebA's are), square (the largest centred one), none (squashes), "
            "PIXELS (128), a FRACTION of the shorter side (0.7; 1.0 is all of it), "
            f"or a published crop of CelebA: {', '.join(PROTOCOLS)}.",
        ),
    ] = "square",
    faces: Annotated[
        options.Text,
        typer.Option(
            help="With --crop face: largest, or all faces of a photo as rows of their own. Default: largest.",
            metavar="WHICH",
            show_default=False,
        ),
    ] = None,
    attributes: Annotated[
        Optional[Path],  # noqa: UP045, typer reads it at run time
        typer.Option(
            help="Table of attributes (.csv, .txt). CelebA's own is found, and UTKFace's names are read.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        options.Whole,
        typer.Option(help="Only the first so many photos by name.", metavar="COUNT", show_default=False),
    ] = None,
    skip: Annotated[
        options.Whole,
        typer.Option(help="Leave out so many photos first.", metavar="COUNT", show_default=False),
    ] = None,
    workers: Annotated[
        options.Whole,
        typer.Option(help="Processes. Default: one per processor.", metavar="COUNT", show_default=False),
    ] = None,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Folder to make. Default: data/<name>-<size>.", metavar="FOLDER", show_default=False),
    ] = None,
    dedupe: Annotated[bool, typer.Option("--dedupe", help="Leave out photos with the same pixels as another.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing dataset; otherwise it is kept.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Draw what would be taken of a few dozen photos, and make no dataset.")
    ] = False,
) -> None:
    """Make a dataset of square images from photos of faces.

    Photos should show one face each: roughly in the middle, or anywhere with --crop face. Whatever cannot be used is
    listed in skipped.csv with the reason.
    """
    from facegan.data.preprocess import preprocess as work

    if dry_run:
        why = "is for the dataset, and --dry-run makes none"
        options.refuse(ctx, "attributes", "out", "dedupe", "overwrite", without=why, hint="Leave one of them out.")
        _try_out(sources, size=size, crop=crop, faces=faces, limit=limit, skip=skip, workers=workers)
        return
    with _stopped_in_a_sentence(), console.Progress("photos", "preprocess") as bar:
        result = work(
            sources,
            size=size,
            crop=crop,
            faces=faces,
            attributes=attributes,
            limit=limit,
            skip=skip,
            workers=workers,
            out=out,
            dedupe=dedupe,
            overwrite=overwrite,
            progress=bar.show,
        )
    _report(result, dedupe)
    if len(sources) > 1 and not (attributes or result.table or result.reused):
        console.note("of several sources, no table of attributes was looked for: name one with --attributes")


def _try_out(sources: list[Path], **asked: Any) -> None:
    from facegan.cli.outputs import Output
    from facegan.data.preprocess import try_out
    from facegan.pictures.sheets import save_png

    output = Output(None, "preprocess", (".png",), overwrite=False)
    trial = try_out(sources, **asked)
    console.say(f"{trial.seen:,} of {trial.photos:,} photos looked at: {trial.faces:,} images would be taken")
    for reason, times in trial.reasons:
        console.say(f"  {times:,} skipped: {reason}")
    console.wrote([output.write(lambda path, new: save_png(trial.sheet, path, new=new))])


def _report(result: PreprocessResult, dedupe: bool) -> None:
    shape = f"{result.info.size} x {result.info.size}, crop {result.crop}"
    if result.reused:
        console.say(
            f"{result.path} is there already: {result.count:,} images of {shape}. Kept; --overwrite remakes it."
        )
        return
    if result.table:
        columns = result.info.attributes
        named = ", ".join(columns) if len(columns) <= 5 else f"{len(columns)} columns"
        console.note(f"attributes from {result.table}: {named}")
    for remark in result.remarks:
        console.note(remark)
    console.say(f"{result.count:,} images of {shape}")
    if result.skipped:
        console.say(f"{result.skipped:,} skipped, see {result.path / 'skipped.csv'}")
        for reason, times in result.reasons:
            console.say(f"  {times:,}  {reason}")
    if result.duplicates and not dedupe:
        where = result.path / "duplicates.csv"
        console.say(f"{result.duplicates:,} with the same pixels as another, see {where}; --dedupe leaves them out")
    if result.ignored:
        console.note(f"{result.ignored:,} other {_files(result.ignored)} of the source ignored")
    if result.beside:
        console.say(
            f"{result.beside:,} other pictures left out, as this is CelebA: name their folder too, and they are taken"
        )
    if result.animated:
        console.note(f"{result.animated:,} animated {_files(result.animated)}: the first frame was taken")
    if result.enlarged:
        console.note(f"{result.enlarged:,} enlarged: cropped, they have fewer pixels than {shape.partition(',')[0]}")
    if result.beyond:
        console.note(
            f"{result.beyond:,} made up by more than a quarter, as the face fills its photo: from the photo's mirror "
            "image. If most are, --crop square suits these photos better"
        )
    if result.without_attributes:
        console.note(f"{result.without_attributes:,} without attributes in {result.table}: blank in attributes.csv")
    console.note(f"look at {result.path / 'preview.png'}: it shows what the networks will see")
    console.wrote([result.path])


def _files(count: int) -> str:
    return "file" if count == 1 else "files"


@contextmanager
def _stopped_in_a_sentence() -> Iterator[None]:
    """Ctrl-C and SIGTERM remove the unfinished folder, and this says so."""
    try:
        yield
    except Stopped as stopped:
        raise Interrupted(f"{stopped}; no dataset was written.", signum=stopped.signum) from None
