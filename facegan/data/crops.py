"""Which part of a photo is kept: the crop table and its geometry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from facegan.core.errors import UsageError

Box = tuple[float, float, float, float]

# Which faces of a photo `--crop face` takes, the default first.
FACES = ("largest", "all")

# A crop of fewer pixels a side shows no face.
MIN_SIDE = 8

# Published CelebA protocols are defined on the aligned photos of this width and height.
CELEBA = (178, 218)


class Protocol(NamedTuple):
    """One published crop: its box (left, top, right, bottom) in a photo of 178 x 218, and who uses it."""

    box: tuple[int, int, int, int]
    origin: str


# The numbers are those of the published code, whose centred boxes round down.
PROTOCOLS: dict[str, Protocol] = {
    "human-faces": Protocol((25, 45, 153, 173), "TensorFlow 2 human-faces WGAN-GP: centred 128"),
    "mimicry": Protocol((0, 20, 178, 198), "mimicry: centred 178"),
    "nvae": Protocol((15, 40, 163, 188), "NVAE: 148 wide, from 15,40 to 163,188"),
    "score-sde": Protocol((19, 39, 159, 179), "score_sde: centred 140"),
    "dcgan": Protocol((35, 55, 143, 163), "DCGAN: centred 108"),
    "compare-gan": Protocol((9, 29, 169, 189), "compare_gan: centred 160"),
}


class CropError(ValueError):
    """This photo cannot be cropped that way; the text is the reason in skipped.csv."""


@dataclass(frozen=True)
class Crop:
    """A crop, ready to be applied to a photo of any size.

    Attributes:
        kind: "square", "none", "pixels", "fraction", "protocol" or "face".
        value: the side for "pixels", the fraction for "fraction", the name for "protocol", one of FACES for "face",
            else None.
    """

    kind: str
    value: int | float | str | None = None

    def box(self, width: int, height: int) -> Box:
        """The box to keep of a photo, (left, top, right, bottom) with 0 <= left < right <= width.

        Not for "face", which turns photos too: see `data.faces`.

        Raises:
            CropError: the photo is too small for it, or has not the shape that a protocol is defined on.
        """
        box = _GEOMETRY[self.kind](self, width, height)
        if min(box[2] - box[0], box[3] - box[1]) < MIN_SIDE:
            raise CropError(f"too small to show a face: {width} x {height} pixels")
        return box

    def __str__(self) -> str:
        """As `--crop` takes it."""
        return str(self.kind if self.value is None or self.kind == "face" else self.value)

    def describe(self) -> dict[str, Any]:
        """For dataset.json: the crop's name, and the numbers that define it."""
        if self.kind == "protocol":
            protocol = PROTOCOLS[str(self.value)]
            return {"name": self.value, "box": list(protocol.box), "of": list(CELEBA), "origin": protocol.origin}
        if self.kind == "face":
            from facegan.data.faces import facts  # here only: other crops need no more than arithmetic

            return {"name": "face", "faces": self.value, **facts()}
        return {"name": self.kind} if self.value is None else {"name": self.kind, self.kind: self.value}


def parse_crop(text: str, faces: str | None = None) -> Crop:
    """Read `--crop`: face, square, none, PIXELS (128), a FRACTION of the shorter side (0.7), or a protocol's name.

    A number with a point is a fraction and one without is pixels: 1.0 is the whole shorter side, 1 is one pixel, which
    is refused.

    Args:
        text: what `--crop` says.
        faces: what `--faces` says, one of FACES; for crop "face" only.

    Raises:
        UsageError: it is none of these.
    """
    word = text.strip().lower().replace("_", "-")
    if faces is not None and faces not in FACES:
        raise UsageError(f"--faces {faces} is neither {' nor '.join(FACES)}.")
    if word == "face":
        return Crop("face", faces or FACES[0])
    if faces is not None:
        raise UsageError(f"--faces {faces} goes with --crop face, which looks for faces; --crop {text} does not.")
    if word in ("square", "none"):
        return Crop(word)
    if word in PROTOCOLS:
        return Crop("protocol", word)
    hint = f"Choose face, square, none, PIXELS such as 128, a FRACTION such as 0.7, or one of: {', '.join(PROTOCOLS)}"
    if word.isascii() and word.isdigit() and len(word) < 16:  # Python reads no number of thousands of digits
        if int(word) < MIN_SIDE:
            raise UsageError(f"--crop {text} would keep {word} pixels a side; the least is {MIN_SIDE}.", hint)
        return Crop("pixels", int(word))
    try:
        fraction = float(word)
    except ValueError:
        raise UsageError(f"--crop {text} is not a crop.", hint) from None
    if not 0 < fraction <= 1:
        raise UsageError(f"--crop {text} is not a fraction between 0 and 1.", hint)
    return Crop("fraction", fraction)


def _centred(side: int, width: int, height: int) -> Box:
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def _square(crop: Crop, width: int, height: int) -> Box:
    return _centred(min(width, height), width, height)


def _none(crop: Crop, width: int, height: int) -> Box:
    return 0, 0, width, height


def _pixels(crop: Crop, width: int, height: int) -> Box:
    assert isinstance(crop.value, int)
    if crop.value > min(width, height):
        raise CropError(f"smaller than the crop of {crop.value} pixels: {width} x {height}")
    return _centred(crop.value, width, height)


def _fraction(crop: Crop, width: int, height: int) -> Box:
    assert isinstance(crop.value, float)
    return _centred(round(crop.value * min(width, height)), width, height)


def _protocol(crop: Crop, width: int, height: int) -> Box:
    """The published box, times width/178 and height/218.

    A smaller copy has its sides rounded to whole pixels, so its shape may be off by one pixel, not by more.
    """
    if abs(height - width * CELEBA[1] / CELEBA[0]) > 1 and abs(width - height * CELEBA[0] / CELEBA[1]) > 1:
        raise CropError(f"not of the shape of CelebA's 178 x 218, for which crop {crop} is defined: {width} x {height}")
    left, top, right, bottom = PROTOCOLS[str(crop.value)].box
    across, down = width / CELEBA[0], height / CELEBA[1]
    return left * across, top * down, right * across, bottom * down


_GEOMETRY: dict[str, Callable[[Crop, int, int], Box]] = {
    "square": _square,
    "none": _none,
    "pixels": _pixels,
    "fraction": _fraction,
    "protocol": _protocol,
}
