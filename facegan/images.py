"""Pictures of faces: grids, contact sheets, strips, equations, captions. uint8 arrays in; arrays or PNG files out.

A picture is an array (H, W, 3) of uint8, RGB; the faces of one call share one size. The plain `grid` keeps every pixel.
Sheets, strips and equations are for people: faces smaller than 128 pixels are enlarged by a whole factor there.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from facegan.equation import EquationTerm, equation
from facegan.files import atomic_path
from facegan.typesetting import (
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
    "EquationTerm",
    "columns_for",
    "enlarge",
    "equation",
    "grid",
    "labelled",
    "save_png",
    "sheet",
    "strip",
    "with_caption",
]

LONGEST_ROW = 12
"""A strip of more faces than this is broken into rows."""


def save_png(image: np.ndarray, path: Path, *, new: bool = False) -> Path:
    """Write a picture (H, W, 3) of uint8 as PNG, whole or not at all; missing folders are made.

    Args:
        new: replace nothing.

    Returns:
        `path`.

    Raises:
        FaceganError: the system refuses to write, or `path` exists and is to be new.
    """
    with atomic_path(path, new=new) as temporary:
        Image.fromarray(checked(image, 3)).save(temporary, format="PNG")
    return path


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
    """Columns of a near-square sheet: from the square root to half again as many, whichever fills the last row best.

    25 faces stand 5 x 5, 100 stand 10 x 10, but 10 stand 5 x 2 and 3 stand in one row.
    """
    root = math.ceil(math.sqrt(count))
    return min(range(root, root * 3 // 2 + 1), key=lambda columns: (-count % columns, columns))


def sheet(images: np.ndarray, *, numbers: bool | Sequence[int] = False) -> np.ndarray:
    """The contact sheet: faces (N, H, W, 3) row by row on white paper, N of at least 1.

    Args:
        numbers: write each face's index under it: counted from 0, or these N.
    """
    indices = range(len(images)) if isinstance(numbers, bool) else numbers
    labels = [str(n) for n in indices] if numbers is not False else None
    return labelled(images, labels, columns_for(len(images)))


def strip(images: np.ndarray, factors: Sequence[float]) -> np.ndarray:
    """The way from face to face: (N, H, W, 3) in a row, the mixing factor under each ("0.00", "0.11", ...).

    A strip of more than `LONGEST_ROW` faces is broken into rows of equal length, but for the last.

    Args:
        factors: N numbers in [0, 1]: how far each face is on its way from one key face to the next. Those of the key
            faces themselves, 0 and 1, are in dark ink and underlined.
    """
    marks = [factor in (0, 1) for factor in factors]
    rows = math.ceil(len(images) / LONGEST_ROW)
    return labelled(images, [f"{factor:.2f}" for factor in factors], math.ceil(len(images) / rows), marks=marks)


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
    # From the left, so that the words stand still while the numbers in them grow.
    write(paper, inset, height + round(size * 1.35), fitted(text, size, paper.width - 2 * inset), size)
    return np.array(paper)


def labelled(
    images: np.ndarray,
    labels: Sequence[str] | None,
    columns: int,
    *,
    marks: Sequence[bool] | None = None,
    title: str = "",
) -> np.ndarray:
    """Faces (N, H, W, 3) row by row on white paper with a margin, a label under each.

    Args:
        marks: N flags: labels in dark ink and underlined, the others quiet; all plain and dark when left out.
        title: a line above the faces; the sheet grows as wide as the line needs.
    """
    faces = enlarge(checked(images, 4), reading_factor(images))
    count, height, across, _ = faces.shape
    labels = [""] * count if labels is None else labels
    flags = [True] * count if marks is None else marks
    assert count == len(labels) == len(flags)

    measures = Measures.of(across)
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    below = measures.line if any(labels) else measures.gap
    head = round(measures.line * 1.2) if title else 0
    inside = max(columns * (across + measures.gap) - measures.gap, text_width(title, measures.type))
    tall = head + rows * (height + below) - measures.gap  # the last row's gap is part of the margin
    paper = blank(inside + 2 * measures.margin, tall + 2 * measures.margin)

    if title:
        write(paper, measures.margin, measures.margin + round(measures.type * 0.8), title, measures.type)
    for n, (face, label, flag) in enumerate(zip(faces, labels, flags, strict=True)):
        x = measures.margin + n % columns * (across + measures.gap)
        y = measures.margin + head + n // columns * (height + below)
        place(paper, face, x, y, measures, label, INK if flag else QUIET)
        if marks is not None and flag:
            centre, foot = x + across // 2, y + height + round(measures.line * 0.74)
            half = text_width(label, measures.type) // 2
            underline = (centre - half, foot, centre + half, foot + measures.rule - 1)
            ImageDraw.Draw(paper).rectangle(underline, fill=INK)
    return np.array(paper)
