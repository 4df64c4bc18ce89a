"""A face turned, scaled and placed as CelebA's aligned photos are: the geometry, and the pixels.

A point (x, y) is measured in pixels from the upper left corner of a picture, so that the middle of the first pixel is
(0.5, 0.5). A similarity transform takes x + iy to a (x + iy) + b: |a| is the change of scale, arg a the turn.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from PIL import Image

from facegan.core.errors import needed

if TYPE_CHECKING:
    import numpy as np

# Where CelebA's faces have their landmarks, as fractions of the side of the largest centred square of an aligned photo:
# right eye, left eye, nose, right and left corner of the mouth. Right is the person's right. Means over 425 photos,
# 178 x 218 pixels large, as `data.faces` finds them, and their mirror images.
TEMPLATE = (
    (68.73 / 178, 90.67 / 178),
    (109.41 / 178, 91.40 / 178),
    (88.31 / 178, 114.58 / 178),
    (70.86 / 178, 133.17 / 178),
    (105.47 / 178, 133.80 / 178),
)

# Pixels are sampled at least this many times as densely as those of the aligned picture lie.
_DENSE = 2

# Beyond the photo there is its mirror image: how far out nothing but a blurred one is left, and the standard deviation
# of that blur, as parts of the aligned square's side.
_FADE = 0.1
_BLUR = 0.08
_COARSE = 32  # pixels a side while it is blurred


def align(rgb: np.ndarray, landmarks: np.ndarray, size: int) -> np.ndarray:
    """The face turned, scaled and moved so that its landmarks come to lie on TEMPLATE: uint8 (size, size, 3).

    Pixels are sampled once, from the photo in full size, at least as densely as they lie there, and then resized with
    Pillow's antialiased Lanczos filter as all photos are. Beyond its borders the photo is mirrored.

    Args:
        rgb: uint8 (H, W, 3).
        landmarks: (5, 2), points of `rgb`.
        size: S, the side of the result.
    """
    import numpy as np

    scale, shift = similarity(np.asarray(TEMPLATE) * size, landmarks)
    reduced = max(1, int(abs(scale) / _DENSE))
    denser = max(1, math.ceil(abs(scale) / reduced))
    aligned = sampled(rgb, scale / denser, shift, size * denser, reduced)
    if denser > 1:
        aligned = np.array(Image.fromarray(aligned).resize((size, size), Image.Resampling.LANCZOS))
    return faded(aligned, scale, shift, rgb.shape)


def similarity(points: np.ndarray, targets: np.ndarray) -> tuple[complex, complex]:
    """The a and b for which the sum of |a p + b - t|² over the points is least, with points (x, y) as x + iy.

    |a| is the change of scale and arg a the turn. With p' and t' the differences from the means,
    a = sum conj(p') t' / sum |p'|² and b = mean t - a mean p: linear least squares in one complex unknown.
    """
    p, t = (xy[:, 0] + 1j * xy[:, 1] for xy in (points, targets))
    around = p - p.mean()
    a = complex((around.conj() * t).sum() / (abs(around) ** 2).sum())
    return a, complex(t.mean() - a * p.mean())


def sampled(
    rgb: np.ndarray, scale: complex, shift: complex, side: int, reduced: int, *, quick: bool = False
) -> np.ndarray:
    """The points shift + scale * z of a photo, z the middles of side x side pixels: uint8 (side, side, 3).

    Args:
        reduced: of so many pixels of the photo in both directions the mean is taken before.
        quick: interpolate linearly, which takes a third of the time, and not with cubics.
    """
    import numpy as np

    cv2 = opencv()
    corners = shift + scale * np.array([0, side, side * 1j, side * (1 + 1j)])
    left, right = _reach(corners.real.min(), corners.real.max(), rgb.shape[1])
    top, bottom = _reach(corners.imag.min(), corners.imag.max(), rgb.shape[0])
    part = rgb[top:bottom, left:right]
    if reduced > 1:
        shape = math.ceil(part.shape[1] / reduced), math.ceil(part.shape[0] / reduced)
        part = cv2.resize(part, shape, interpolation=cv2.INTER_AREA)
    across, down = part.shape[1] / (right - left), part.shape[0] / (bottom - top)
    first = shift + scale * (0.5 + 0.5j) - complex(left, top)
    matrix = np.array(  # from middles of pixels to middles of pixels, as OpenCV counts them
        [
            [scale.real * across, -scale.imag * across, first.real * across - 0.5],
            [scale.imag * down, scale.real * down, first.imag * down - 0.5],
        ]
    )
    how = (cv2.INTER_LINEAR if quick else cv2.INTER_CUBIC) | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(part, matrix, (side, side), flags=how, borderMode=cv2.BORDER_REFLECT_101)


def faded(aligned: np.ndarray, scale: complex, shift: complex, shape: tuple[int, ...]) -> np.ndarray:
    """The aligned picture, more blurred the farther beyond the photo: no second pair of eyes looks out of the mirror.

    Args:
        aligned: uint8 (S, S, 3); its point z is the point shift + scale * z of the photo.
        shape: of the photo.
    """
    import numpy as np

    cv2 = opencv()
    size = len(aligned)
    outside = beyond(scale, shift, size, shape)
    if outside.max() <= 0:
        return aligned
    weight = (outside / (_FADE * size * abs(scale))).clip(0, 1).astype(np.float32)[:, :, None]
    coarse = cv2.resize(aligned, (_COARSE, _COARSE), interpolation=cv2.INTER_AREA)
    blurred = cv2.resize(cv2.GaussianBlur(coarse, (0, 0), _BLUR * _COARSE), (size, size))
    return np.rint(aligned * (1 - weight) + blurred * weight).astype(np.uint8)


def beyond(scale: complex, shift: complex, size: int, shape: tuple[int, ...]) -> np.ndarray:
    """How many pixels beyond the photo each pixel of an aligned picture lies: (S, S), negative inside."""
    import numpy as np

    middles = np.arange(size, dtype=np.float32) + 0.5
    x = shift.real + scale.real * middles - scale.imag * middles[:, None]
    y = shift.imag + scale.imag * middles + scale.real * middles[:, None]
    return np.maximum(np.maximum(-x, x - shape[1]), np.maximum(-y, y - shape[0]))


def _reach(low: float, high: float, length: int) -> tuple[int, int]:
    """The part of a photo's width or height that the pixels from `low` to `high` need, those in the mirror included."""
    margin = 4 + (high - low) / 64
    first, last = low - margin, high + margin
    first, last = min(first, 2 * length - last), max(last, -first)
    first, last = max(0, math.floor(first)), min(length, math.ceil(last))
    return (first, last) if last - first > 1 else (0, length)


@lru_cache(maxsize=1)
def opencv() -> Any:
    """The module cv2, silent and in one thread."""
    with needed("Finding faces", "faces", "opencv-python-headless"):
        import cv2

        cv2.FaceDetectorYN.create  # noqa: B018 - OpenCV before 4.5.4 has none
        if log := getattr(cv2.utils, "logging", None):  # OpenCV 5 warns of what nobody asked for
            log.setLogLevel(log.LOG_LEVEL_SILENT)
        cv2.setNumThreads(1)  # every worker has one processor
    return cv2
