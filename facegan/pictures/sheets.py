"""Pictures of faces: grids, contact sheets, strips, equations, captions. uint8 arrays in; arrays or picture files out.

A picture is an array (H, W, 3) of uint8, RGB; the faces of one call share one size. The plain `grid` keeps every pixel.
Sheets, strips and equations are for people to look at: they enlarge faces smaller than 128 pixels by a whole factor, or
all faces by the factor that is asked for.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from facegan.core.atomic import atomic_path
from facegan.core.errors import FaceganError
from facegan.pictures.equation import EquationTerm, equation, equation_size
from facegan.pictures.origin import Origin, saving
from facegan.pictures.typesetting import (
    INK,
    PAPER,
    QUIET,
    Measures,
    blank,
    checked,
    enlarge,
    fitted,
    place,
    reading_factor,
    text_width,
    write,
)

__all__ = [
    "WRITABLE",
    "EquationTerm",
    "check_size",
    "columns_for",
    "enlarge",
    "equation",
    "equation_size",
    "grid",
    "labelled",
    "layout",
    "save_picture",
    "save_png",
    "sheet",
    "sheet_size",
    "strip",
    "strip_size",
    "with_caption",
]

WRITABLE = (".png", ".jpg", ".jpeg", ".webp")
"""What a still picture can be written as; the default first."""
_FORMATS: dict[str, dict[str, Any]] = {
    ".png": {"format": "PNG"},
    # Colours are kept in full resolution, because the edges of letters and faces are coloured.
    ".jpg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".webp": {"format": "WEBP", "quality": 95},
}
_FORMATS[".jpeg"] = _FORMATS[".jpg"]
LONGEST_SIDE = {".jpg": 65_500, ".jpeg": 65_500, ".webp": 16_383, ".gif": 65_535, ".mp4": 16_384}
"""Most pixels on a side: the limits of the formats WebP and GIF, and of libjpeg and x264. PNG has no such limit."""
MAX_PIXELS = 250_000_000
"""Most pixels of a picture: it and its copies take two to three gigabytes until it is written."""

LONGEST_ROW = 12
"""A strip of more faces than this is broken into rows."""


def save_png(image: np.ndarray, path: Path, *, new: bool = False, origin: Origin | None = None) -> Path:
    """Write a picture (H, W, 3) of uint8 as PNG, whole or not at all; missing folders are made.

    Args:
        new: never replace a file.
        origin: how the picture was made, to be written into the file.

    Returns:
        `path`.

    Raises:
        FaceganError: the system refuses to write, or with `new` there is a file at `path`.
    """
    return _save(image, path, ".png", new, origin)


def save_picture(image: np.ndarray, path: Path, *, new: bool = False, origin: Origin | None = None) -> Path:
    """Write a picture as `save_png` does, in the format that the path's suffix names: one of WRITABLE."""
    return _save(image, path, path.suffix.lower(), new, origin)


def _save(image: np.ndarray, path: Path, suffix: str, new: bool, origin: Origin | None) -> Path:
    with atomic_path(path, new=new) as temporary:
        Image.fromarray(checked(image, 3)).save(temporary, **_FORMATS[suffix], **saving(suffix, origin))
    return path


def check_size(path: Path, size: tuple[int, int], hint: str = "") -> None:
    """Refuse a picture or an animation that is too large for its format or for the memory, before any of it is drawn.

    Args:
        path: the file that will be written; its suffix names the format.
        size: width and height in pixels.
        hint: what the user can do to make it smaller.

    Raises:
        FaceganError: it is too large.
    """
    across, height = size
    suffix = path.suffix.lower()
    most = LONGEST_SIDE.get(suffix, MAX_PIXELS)
    if max(size) > most:
        raise FaceganError(
            f"{path} would have {across:,} x {height:,} pixels, but a side of a {suffix} can have at most {most:,}.",
            hint or "Draw fewer faces or a smaller --scale, or end the name in .png.",
        )
    if across * height > MAX_PIXELS:
        raise FaceganError(
            f"{path} would have {across:,} x {height:,} pixels, more than memory should hold.",
            hint or "Draw fewer faces, or a smaller --scale.",
        )


def grid(images: np.ndarray, columns: int | None = None, *, gap: int = 2) -> np.ndarray:
    """The plain sheet: faces (N, H, W, 3) pixel for pixel, row by row, white gaps between them and no margin.

    Args:
        images: N of at least 1.
        columns: faces in a row; near-square when left out, see `columns_for`.
        gap: pixels between neighbours.

    Returns:
        (rows*(H + gap) - gap, columns*(W + gap) - gap, 3): face n begins at row (n // columns)*(H + gap) and column
        (n % columns)*(W + gap).
    """
    count, height, across, _ = checked(images, 4).shape
    columns = min(columns or columns_for(count), count)
    rows = math.ceil(count / columns)
    paper = np.full((rows * (height + gap) - gap, columns * (across + gap) - gap, 3), PAPER, dtype=np.uint8)
    for n, image in enumerate(images):
        y, x = n // columns * (height + gap), n % columns * (across + gap)
        paper[y : y + height, x : x + across] = image
    return paper


def columns_for(count: int) -> int:
    """Columns of a near-square sheet: the number from sqrt(count) to 1.5·sqrt(count) that fills the last row best.

    25 faces stand 5 x 5, 100 stand 10 x 10, but 10 stand 5 x 2 and 3 stand in one row.
    """
    root = math.ceil(math.sqrt(count))
    return min(range(root, root * 3 // 2 + 1), key=lambda columns: (-count % columns, columns))


def sheet(images: np.ndarray, labels: Sequence[str] | None = None, *, scale: int | None = None) -> np.ndarray:
    """The contact sheet: faces (N, H, W, 3) row by row on white paper, N of at least 1.

    Args:
        labels: N names, written in full under the faces: columns of long names stand wider apart.
        scale: how many times to enlarge the faces; left out, small ones are brought near 128 pixels.
    """
    return labelled(images, labels, columns_for(len(images)), scale=scale, whole=True)


def sheet_size(count: int, side: int, labels: Sequence[str] | None = None, scale: int | None = None) -> tuple[int, int]:
    """Width and height of the `sheet` of `count` faces of `side` pixels."""
    return layout(count, side, side, labels, columns_for(count), scale=scale, whole=True).size


def strip(
    images: np.ndarray, factors: Sequence[float], names: Sequence[str], *, scale: int | None = None
) -> np.ndarray:
    """A morph from face to face: faces (N, H, W, 3) in a row, with a label under each.

    The labels of key faces are their names, dark and underlined; those of the faces between are the mixing factors
    ("0.11", "0.22", ...). A strip of more than `LONGEST_ROW` faces is broken into rows; all but the last have the same
    length.

    Args:
        factors: N numbers in [0, 1]: how far each face is on its way from one key face to the next; 0 or 1 for the key
            faces themselves.
        names: one for each key face, in their order.
        scale: as in `sheet`.
    """
    marks = [factor in (0, 1) for factor in factors]
    assert sum(marks) == len(names), "every key face has a name"
    following = iter(names)
    labels = [next(following) if mark else f"{factor:.2f}" for mark, factor in zip(marks, factors, strict=True)]
    return labelled(images, labels, _strip_columns(len(images)), marks=marks, scale=scale)


def strip_size(count: int, side: int, scale: int | None = None) -> tuple[int, int]:
    """Width and height of the `strip` of `count` faces of `side` pixels."""
    return layout(count, side, side, ["0.00"], _strip_columns(count), scale=scale).size


def _strip_columns(count: int) -> int:
    return math.ceil(count / math.ceil(count / LONGEST_ROW))


def with_caption(image: np.ndarray, text: str) -> np.ndarray:
    """A picture (H, W, 3) with one line of text under it, such as "epoch 3 · 12,000 images".

    The result's size depends on the picture's size alone, never on the text, so captioned frames fit one animation:
    a narrow picture is centred on wider paper, and a text that is still too long is cut.
    """
    height, across, _ = checked(image, 3).shape
    size = min(max(14, across // 32), 32)
    paper = blank(max(across, 16 * size), height + 2 * size)
    paper.paste(Image.fromarray(image), ((paper.width - across) // 2, 0))
    inset = size // 4
    # The text begins at the left, so that its words stand still while its numbers grow.
    write(paper, inset, height + round(size * 1.35), fitted(text, size, paper.width - 2 * inset), size)
    return np.array(paper)


@dataclass(frozen=True)
class Layout:
    """Where faces stand on paper, known before any is drawn. Lengths in pixels.

    Attributes:
        size: width and height of the paper.
        factor: how many times faces are enlarged.
        columns: faces in a row.
        cell: the width that a face has to itself, at least its own.
        step: from the top of a row to the top of the next.
        head: what the title takes above the faces.
        measures: gaps, margins and type.
    """

    size: tuple[int, int]
    factor: int
    columns: int
    cell: int
    step: int
    head: int
    measures: Measures


def layout(
    count: int,
    height: int,
    across: int,
    labels: Sequence[str] | None,
    columns: int,
    *,
    title: str = "",
    scale: int | None = None,
    whole: bool = False,
) -> Layout:
    """What `labelled` will do with `count` faces of `height` x `across` pixels; the order of labels does not matter."""
    factor = scale or reading_factor(height, across)
    height, across = factor * height, factor * across
    measures = Measures.of(across)
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    below = measures.line if labels and any(labels) else measures.gap
    head = round(measures.line * 1.2) if title else 0
    cell = max([across, *(text_width(label, measures.type) for label in labels or () if whole)])
    inside = max(columns * (cell + measures.gap) - measures.gap, text_width(title, measures.type))
    tall = head + rows * (height + below) - measures.gap  # the last row's gap is part of the margin
    size = (inside + 2 * measures.margin, tall + 2 * measures.margin)
    return Layout(size, factor, columns, cell, height + below, head, measures)


def labelled(
    images: np.ndarray,
    labels: Sequence[str] | None,
    columns: int,
    *,
    marks: Sequence[bool] | None = None,
    title: str = "",
    scale: int | None = None,
    whole: bool = False,
) -> np.ndarray:
    """Faces (N, H, W, 3) row by row on white paper with a margin, a label under each.

    Args:
        marks: N flags: marked labels are dark and underlined, the others grey. Without flags all are dark and plain.
        title: a line above the faces; the sheet grows as wide as the line needs.
        scale: as in `sheet`.
        whole: make columns wider for labels that are wider than a face; otherwise such labels are cut.
    """
    count, height, across, _ = checked(images, 4).shape
    plan = layout(count, height, across, labels, columns, title=title, scale=scale, whole=whole)
    measures, height, across = plan.measures, plan.factor * height, plan.factor * across
    labels = [""] * count if labels is None else labels
    flags = [True] * count if marks is None else marks
    assert count == len(labels) == len(flags)

    paper = blank(*plan.size)
    if title:
        write(paper, measures.margin, measures.margin + round(measures.type * 0.8), title, measures.type)
    for n, (face, label, flag) in enumerate(zip(images, labels, flags, strict=True)):
        x = measures.margin + n % plan.columns * (plan.cell + measures.gap) + (plan.cell - across) // 2
        y = measures.margin + plan.head + n // plan.columns * plan.step
        label = fitted(label, measures.type, plan.cell)
        place(paper, enlarge(face, plan.factor), x, y, measures, label, INK if flag else QUIET)
        if marks is not None and flag:
            centre, foot = x + across // 2, y + height + round(measures.line * 0.74)
            half = text_width(label, measures.type) // 2
            underline = (centre - half, foot, centre + half, foot + measures.rule - 1)
            ImageDraw.Draw(paper).rectangle(underline, fill=INK)
    return np.array(paper)
