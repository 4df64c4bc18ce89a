"""Put faces and words on white paper, for every picture that is made for people. Needs Pillow only.

The typeface is the one that ships with Pillow, so pictures look alike on every machine. Lengths grow with the faces, so
a picture of 256-pixel faces is that of 64-pixel faces, only sharper.
"""

import unicodedata
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]

PAPER: Colour = (255, 255, 255)
INK: Colour = (45, 45, 48)  # what the eye should find first
QUIET: Colour = (120, 120, 125)  # what it may read later
HAIRLINE: Colour = (222, 222, 226)  # around faces, so that one before a white wall still has an edge

READABLE = 128
"""Faces smaller than this are enlarged in pictures made for people."""

_FINENESS = 4
"""Letters are drawn this many times as large and then reduced: at 14 pixels hinting would spoil their spacing."""
_STAND_INS = str.maketrans({"−": "-", "–": "-", "—": "-", "×": "x", "→": ">", "’": "'", "ß": "ss", "ø": "o", "Ø": "O"})


@dataclass(frozen=True)
class Measures:
    """Lengths in pixels, in proportion to the width of a face.

    Attributes:
        gap: between neighbours in a row.
        margin: around everything.
        type: the size of letters.
        line: the height that a label takes under a face.
        sign: the width that a sign takes between two operands.
        rule: the thickness of a line.
    """

    gap: int
    margin: int
    type: int
    line: int
    sign: int
    rule: int

    @classmethod
    def of(cls, across: int) -> "Measures":
        """For faces `across` pixels wide; type never shrinks below what can be read."""
        unit = max(across, 112) / 128
        return cls(*(round(length * unit) for length in (6, 20, 15, 30, 72, 2)))


def blank(across: int, height: int) -> Image.Image:
    """Empty paper."""
    return Image.new("RGB", (across, height), PAPER)


def checked(images: np.ndarray, dimensions: int) -> np.ndarray:
    """The array itself, after asserting that it is uint8 RGB with that many dimensions, and not empty."""
    assert images.dtype == np.uint8 and images.ndim == dimensions and images.shape[-1] == 3, images.shape
    assert images.size, "no pictures"
    return images


def enlarge(images: np.ndarray, factor: int) -> np.ndarray:
    """Enlarge pictures (..., H, W, 3) by a whole `factor` of at least 1; 1 returns them as they are.

    With Lanczos, because a 64-pixel face of visible squares is harder to recognise and shows no more detail.
    """
    assert factor >= 1
    if factor == 1:
        return images
    *front, height, across, _ = images.shape
    size = (across * factor, height * factor)
    flat = images.reshape(-1, height, across, 3)
    large = [np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS)) for image in flat]
    return np.stack(large).reshape(*front, size[1], size[0], 3)


def reading_factor(height: int, across: int) -> int:
    """The whole factor that brings faces near `READABLE` pixels; 1 for those already there."""
    return max(1, READABLE // max(height, across))


def place(
    paper: Image.Image, face: np.ndarray, x: int, y: int, measures: Measures, label: str = "", colour: Colour = INK
) -> None:
    """Put a face (H, W, 3) with its corner at (x, y), a hairline around it, and its label, uncut, centred below."""
    height, across, _ = face.shape
    edge = max(1, measures.rule // 2)
    around = (x - edge, y - edge, x + across + edge - 1, y + height + edge - 1)
    ImageDraw.Draw(paper).rectangle(around, outline=HAIRLINE, width=edge)
    paper.paste(Image.fromarray(face), (x, y))
    if label:
        start = x + (across - text_width(label, measures.type)) // 2
        write(paper, start, y + height + round(measures.line * 0.62), label, measures.type, colour)


def write(paper: Image.Image, x: int, baseline: int, text: str, size: int, colour: Colour = INK) -> None:
    """Draw one line of text, `size` pixels high, that begins at x on the baseline."""
    extent = (text_width(text, size) + size, 2 * size)
    mask = Image.new("L", (extent[0] * _FINENESS, extent[1] * _FINENESS))
    # The mask has half a size of room at the left and below, for letters that reach beyond their place.
    start = (size // 2 * _FINENESS, (2 * size - size // 2) * _FINENESS)
    ImageDraw.Draw(mask).text(start, printable(text), fill=255, font=_typeface(size * _FINENESS), anchor="ls")
    paper.paste(colour, (x - size // 2, baseline - (2 * size - size // 2)), mask.reduce(_FINENESS))


def text_width(text: str, size: int) -> int:
    """How many pixels wide `write` will make the text, rounded up."""
    return -int(-_typeface(size * _FINENESS).getlength(printable(text)) // _FINENESS)


def fitted(text: str, size: int, room: int) -> str:
    """The text, or as much of its beginning as fits into `room` pixels with an ellipsis after it."""
    if text_width(text, size) <= room:
        return text
    while text and text_width(text + "…", size) > room:
        text = text[:-1]
    return text + "…"


def printable(text: str) -> str:
    """The text in letters that the built-in typeface has: ASCII, the middle dot and the ellipsis.

    Accents are dropped ("é" becomes "e"); any other sign gets a stand-in, or "?" rather than an empty box.
    """
    letters = []
    for letter in text.translate(_STAND_INS):
        plain = letter if letter in "·…" else unicodedata.normalize("NFKD", letter)
        letters += [c if " " <= c <= "~" or c in "·…" else "?" for c in plain if not unicodedata.combining(c)]
    return "".join(letters)


@lru_cache(maxsize=32)
def _typeface(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont), "this Pillow was built without FreeType"
    return font
