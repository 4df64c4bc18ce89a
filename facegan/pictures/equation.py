"""Draw face arithmetic as one picture: each operand with the faces that it averages, the signs, and the result."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from facegan.pictures.typesetting import INK, QUIET, Measures, blank, checked, enlarge, fitted, place, reading_factor

_BRACKET = (205, 205, 210)


@dataclass(frozen=True, eq=False)
class EquationTerm:
    """One operand of face arithmetic, as pictures.

    Attributes:
        sign: "+" or "-".
        faces: (K, H, W, 3) uint8, the faces averaged, K of at least 1.
        labels: K short names of the faces, such as "44" or "7:44".
        mean: (H, W, 3) uint8, the picture of their averaged latent; may be None if K is 1, since it is not drawn then.
        caption: what is written under it; by default "average of K". It is cut to the width of the faces above.
    """

    sign: str
    faces: np.ndarray
    labels: Sequence[str]
    mean: np.ndarray | None = None
    caption: str = ""


def equation(terms: Sequence[EquationTerm], result: np.ndarray, *, scale: int | None = None) -> np.ndarray:
    """Draw the averages in one line with signs between them, and the result at twice the size of a face.

    Above each average stand the faces that it is made of, each with its label below; more than three fill several
    columns. An operand of one face is that face, in the line itself. The first operand's plus is not drawn.

    Args:
        terms: at least one, in the order typed.
        result: (H, W, 3) uint8, of the faces' size.
        scale: how many times to enlarge the faces; left out, small ones are brought near 128 pixels.

    Returns:
        The picture, (H', W', 3) uint8.
    """
    height, across, _ = checked(result, 3).shape
    plan = _planned([(term.sign, len(term.faces)) for term in terms], height, across, scale)
    measures = plan.measures
    paper = blank(*plan.size)
    x = measures.margin
    for term, sign, shape, room in zip(terms, plan.signs, plan.shapes, plan.rooms, strict=True):
        if sign:
            _draw_sign(paper, sign, x + measures.sign // 2, plan.middle, measures)
            x += measures.sign
        _draw_operand(paper, term, shape, x, room, plan)
        x += room
    _draw_sign(paper, "=", x + measures.sign // 2, plan.middle, measures)
    large = enlarge(result, 2 * plan.factor)
    place(paper, large, x + measures.sign, plan.middle - large.shape[0] // 2, measures)
    return np.array(paper)


def equation_size(terms: Sequence[tuple[str, int]], side: int, scale: int | None = None) -> tuple[int, int]:
    """Width and height of the `equation` of these signs and numbers of faces, of `side` pixels each."""
    return _planned(terms, side, side, scale).size


@dataclass(frozen=True)
class _Plan:
    """Where everything stands, in pixels: the paper's size and the height of the middle of the line.

    Each operand has its sign, the rows and columns of the faces above its average, and the width that it takes.
    """

    size: tuple[int, int]
    middle: int
    factor: int
    signs: list[str]
    shapes: list[tuple[int, int]]
    rooms: list[int]
    measures: Measures


def _planned(terms: Sequence[tuple[str, int]], height: int, across: int, scale: int | None) -> _Plan:
    assert terms
    factor = scale or reading_factor(height, across)
    height, across = factor * height, factor * across
    measures = Measures.of(across)
    shapes = [_stack_shape(count) for _, count in terms]
    rooms = [columns * (across + measures.gap) - measures.gap for _, columns in shapes]
    signs = [sign for sign, _ in terms]
    if signs[0] == "+":
        signs[0] = ""

    stacked = max(rows for rows, _ in shapes) * (height + measures.line)
    above = max(height, stacked + measures.line + height // 2) if stacked else height
    below = max(height, height // 2 + measures.line)
    signs_across = (sum(map(bool, signs)) + 1) * measures.sign
    size = (sum(rooms) + signs_across + 2 * across + 2 * measures.margin, above + below + 2 * measures.margin)
    return _Plan(size, measures.margin + above, factor, signs, shapes, rooms, measures)


def _stack_shape(count: int) -> tuple[int, int]:
    """Rows and columns of the faces above an average: a column of up to three, then near-square. One face: no rows."""
    if count == 1:
        return 0, 1
    columns = math.ceil(count / max(3, math.ceil(math.sqrt(count))))
    return math.ceil(count / columns), columns


def _draw_operand(
    paper: Image.Image, term: EquationTerm, shape: tuple[int, int], x: int, room: int, plan: _Plan
) -> None:
    """Draw one operand in `room` pixels from x: its average centred on the line, its faces stacked above."""
    measures = plan.measures
    faces = enlarge(checked(term.faces, 4), plan.factor)
    count, height, across, _ = faces.shape
    assert count == len(term.labels), "every face has a label"
    labels = [fitted(label, measures.type, across) for label in term.labels]
    top = plan.middle - height // 2
    if count == 1:
        place(paper, faces[0], x, top, measures, labels[0])
        return

    assert term.mean is not None, "several faces have an average"
    caption = fitted(term.caption or f"average of {count}", measures.type, room + measures.gap)
    mean = enlarge(checked(term.mean, 3), plan.factor)
    place(paper, mean, x + (room - across) // 2, top, measures, caption, QUIET)

    y, tick = top - round(measures.line * 0.7), measures.line // 5
    bracket = [(x, y - tick), (x, y), (x + room - 1, y), (x + room - 1, y - tick)]
    ImageDraw.Draw(paper).line(bracket, fill=_BRACKET, width=measures.rule)

    rows, columns = shape
    start = top - measures.line - rows * (height + measures.line)
    for n, (face, label) in enumerate(zip(faces, labels, strict=True)):
        row, column = divmod(n, columns)
        in_row = min(columns, count - row * columns)
        inset = (columns - in_row) * (across + measures.gap) // 2  # a last row that is not full is centred
        left = x + inset + column * (across + measures.gap)
        place(paper, face, left, start + row * (height + measures.line), measures, label)


def _draw_sign(paper: Image.Image, sign: str, x: int, y: int, measures: Measures) -> None:
    """Draw a plus, minus or equals sign centred on (x, y), since the built-in typeface has no real minus."""
    draw = ImageDraw.Draw(paper)
    arm, half = round(measures.sign / 5.5), max(1, round(measures.sign / 36))
    lift = round(arm * 0.45) if sign == "=" else 0
    for line in (y - lift, y + lift):
        draw.rectangle((x - arm, line - half, x + arm, line + half), fill=INK)
    if sign == "+":
        draw.rectangle((x - half, y - arm, x + half, y + arm), fill=INK)
