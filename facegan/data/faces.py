"""Where the faces are in a photo, and each of them turned, scaled and placed as CelebA's aligned photos are.

Faces are found by YuNet (Wu, Peng and Yu 2023), which OpenCV runs. A point (x, y) is measured in pixels from the upper
left corner of the picture, so that the middle of the first pixel is (0.5, 0.5).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from PIL import Image

from facegan.core.errors import needed
from facegan.pictures.colours import to_srgb
from facegan.pictures.opening import PhotoError, flat, reasons, rounded, upright, whole

if TYPE_CHECKING:
    import numpy as np

MODEL = "face_detection_yunet_2023mar.onnx"

# Where CelebA's faces have their landmarks, as fractions of the side of the largest centred square of an aligned photo:
# right eye, left eye, nose, right and left corner of the mouth. Right is the person's right. Means over 8,500 photos.
TEMPLATE = (
    (69.13 / 178, 91.56 / 178),
    (108.51 / 178, 91.81 / 178),
    (87.97 / 178, 114.33 / 178),
    (72.22 / 178, 131.82 / 178),
    (105.35 / 178, 132.47 / 178),
)

# What YuNet calls a face, from 0 to 1. Faces that are upright and clear have more than SURE; one that is turned by a
# quarter may be found as well, with the landmarks of an upright one, but never as SURE.
THRESHOLD = 0.6
SURE = 0.88

# The photo's longer side, in pixels, when it is searched. Faces of more than about 300 pixels are missed, and of less
# than 10.
SIDES = (160, 320, 640, 1280)

# A face that was found is looked at again, aligned in a square of this side, to place its landmarks precisely.
CLOSE = 160

# Two boxes are one face if their intersection has more than this part of their union.
_SAME = 0.3


@dataclass(frozen=True)
class FoundFace:
    """A face in a picture.

    Attributes:
        landmarks: float32 (5, 2): right eye, left eye, nose, right and left corner of the mouth, as (x, y). Right is the
            person's right: on the left in the picture, if the person stands upright.
        box: left, top, right, bottom. It may reach beyond the picture.
        score: how sure the detector is, from THRESHOLD to 1.
    """

    landmarks: np.ndarray
    box: tuple[float, float, float, float]
    score: float

    @property
    def area(self) -> float:
        """Of the box, in square pixels."""
        left, top, right, bottom = self.box
        return (right - left) * (bottom - top)


def find_faces(rgb: np.ndarray, *, every: bool = False) -> list[FoundFace]:
    """The faces of a picture: first those that the detector is sure of, then the others, both with the largest first.

    The picture is searched small and then larger, until there is a face for sure: the smaller the picture, the larger the
    faces that are found. If there is none for sure, it is searched turned by 90, 180 and 270 degrees too.

    Args:
        rgb: uint8 (H, W, 3).
        every: search in all sizes, to find small faces beside large ones.

    Returns:
        Faces whose landmarks are points of `rgb`, whatever way up they stand.

    Raises:
        FaceganError: OpenCV is missing, or too old.
    """
    found = _search(rgb, 0, every)
    if not any(face.score >= SURE for face in found):
        found = _distinct(face for turn in range(4) for face in (found if turn == 0 else _search(rgb, turn, every)))
    return sorted(found, key=lambda face: (face.score < SURE, -face.area))


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

    cv2 = _opencv()
    # z -> scale * z + shift takes points of the result to points of the photo, both as complex numbers.
    scale, shift = _similarity(np.asarray(TEMPLATE) * size, np.asarray(landmarks))
    corners = shift + scale * np.array([0, size, size * 1j, size * (1 + 1j)])
    left, right = _reach(corners.real.min(), corners.real.max(), rgb.shape[1])
    top, bottom = _reach(corners.imag.min(), corners.imag.max(), rgb.shape[0])
    part = rgb[top:bottom, left:right]
    reduced = max(1, int(abs(scale) / 4))
    if reduced > 1:
        shape = math.ceil(part.shape[1] / reduced), math.ceil(part.shape[0] / reduced)
        part = cv2.resize(part, shape, interpolation=cv2.INTER_AREA)
    across, down = part.shape[1] / (right - left), part.shape[0] / (bottom - top)
    denser = max(1, math.ceil(abs(scale) / reduced))
    step = scale / denser
    origin = shift + step * (0.5 + 0.5j) - complex(left, top)
    matrix = np.array(
        [
            [step.real * across, -step.imag * across, origin.real * across - 0.5],
            [step.imag * down, step.real * down, origin.imag * down - 0.5],
        ]
    )
    side = size * denser
    how = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    aligned = cv2.warpAffine(part, matrix, (side, side), flags=how, borderMode=cv2.BORDER_REFLECT_101)
    if denser == 1:
        return aligned
    return np.array(Image.fromarray(aligned).resize((size, size), Image.Resampling.LANCZOS))


def aligned_face(data: bytes, size: int) -> np.ndarray:
    """The largest face of a photo, aligned: uint8 (size, size, 3), in sRGB.

    Args:
        data: the bytes of the photo's file.
        size: S, the side of the result.

    Raises:
        PhotoError: why it cannot be used: it is no photo, has no face, or one that is too small, in profile or blurred.
        FaceganError: OpenCV is missing.
    """
    import numpy as np

    _opencv()
    with reasons(data):
        photo, _ = whole(data)
        profile = photo.info.get("icc_profile")
        picture = rounded(flat(upright(photo)))
        if picture.mode != "RGB":
            picture, profile = to_srgb(picture, profile), None
        rgb = np.asarray(picture)
        found = find_faces(rgb)
        if not found:
            raise PhotoError("no face found")
        aligned = align(rgb, found[0].landmarks, size)
        return np.asarray(to_srgb(Image.fromarray(aligned), profile))


def _similarity(points: np.ndarray, targets: np.ndarray) -> tuple[complex, complex]:
    """The a and b for which the sum of |a p + b - t|² over the points is least, with points (x, y) as x + iy.

    |a| is the change of scale and arg a the turn. With p' and t' the differences from the means,
    a = sum conj(p') t' / sum |p'|² and b = mean t - a mean p: linear least squares in one complex unknown.
    """
    p, t = (xy[:, 0] + 1j * xy[:, 1] for xy in (points, targets))
    around = p - p.mean()
    a = complex((around.conj() * t).sum() / (abs(around) ** 2).sum())
    return a, complex(t.mean() - a * p.mean())


def _reach(low: float, high: float, length: int) -> tuple[int, int]:
    """The part of a photo's width or height that the pixels from `low` to `high` need, those in the mirror included."""
    margin = 4 + (high - low) / 64
    first, last = low - margin, high + margin
    first, last = min(first, 2 * length - last), max(last, -first)
    first, last = max(0, math.floor(first)), min(length, math.ceil(last))
    return (first, last) if last - first > 1 else (0, length)


def _search(rgb: np.ndarray, turn: int, every: bool) -> list[FoundFace]:
    """Faces that stand upright once the picture is turned `turn` quarters to the left, as points of the picture."""
    import numpy as np

    turned = np.rot90(rgb, turn)
    found: list[FoundFace] = []
    for small, scale in _copies(turned):
        faces = (_enlarged(face, scale) for face in _detected(small))
        found = _distinct([*found, *(seen for face in faces if (seen := _closer(turned, face)))])
        if not every and any(face.score >= SURE for face in found):
            break
    return [_turned_back(face, turn, turned.shape[1], turned.shape[0]) for face in found]


def _copies(rgb: np.ndarray) -> Iterator[tuple[np.ndarray, float]]:
    """The picture in each of SIDES, the smallest first, and how much larger the picture is."""
    cv2 = _opencv()
    longest = max(rgb.shape[:2])
    for side in SIDES:
        if longest <= side:
            yield rgb, 1.0
            return
        scale = longest / side
        shape = max(1, round(rgb.shape[1] / scale)), max(1, round(rgb.shape[0] / scale))
        yield cv2.resize(rgb, shape, interpolation=cv2.INTER_AREA), scale


def _detected(rgb: np.ndarray) -> Iterator[FoundFace]:
    """What YuNet finds in a picture as it stands."""
    import numpy as np

    detector = _detector()
    detector.setInputSize((rgb.shape[1], rgb.shape[0]))
    _, rows = detector.detect(np.ascontiguousarray(rgb[:, :, ::-1]))
    for row in () if rows is None else rows:
        left, top, width, height = map(float, row[:4])
        yield FoundFace(row[4:14].reshape(5, 2), (left, top, left + width, top + height), float(row[14]))


def _closer(rgb: np.ndarray, face: FoundFace) -> FoundFace | None:
    """The same face, looked at again after it was aligned; None if there it is none."""
    import numpy as np

    aligned = align(rgb, face.landmarks, CLOSE)
    seen = max(_detected(aligned), key=lambda face: face.area, default=None)
    if seen is None:
        return None
    scale, shift = _similarity(np.asarray(TEMPLATE) * CLOSE, face.landmarks)
    points = shift + scale * (seen.landmarks[:, 0] + 1j * seen.landmarks[:, 1])
    return replace(face, landmarks=np.stack([points.real, points.imag], 1).astype(np.float32), score=seen.score)


def _enlarged(face: FoundFace, scale: float) -> FoundFace:
    left, top, right, bottom = (scale * value for value in face.box)
    return replace(face, landmarks=face.landmarks * scale, box=(left, top, right, bottom))


def _turned_back(face: FoundFace, turn: int, width: int, height: int) -> FoundFace:
    """A face of a picture of width x height that was turned `turn` quarters to the left, where it was before."""
    x, y = face.landmarks[:, 0], face.landmarks[:, 1]
    left, top, right, bottom = face.box
    for _ in range(turn):  # a quarter to the right takes (x, y) to (height - y, x)
        x, y = height - y, x
        left, top, right, bottom = height - bottom, left, height - top, right
        width, height = height, width
    import numpy as np

    return replace(face, landmarks=np.stack([x, y], 1), box=(left, top, right, bottom))


def _distinct(faces: Iterable[FoundFace]) -> list[FoundFace]:
    """Each face once: of several boxes in one place, the one with the highest score."""
    kept: list[FoundFace] = []
    for face in sorted(faces, key=lambda face: -face.score):
        if all(_overlap(face, other) <= _SAME for other in kept):
            kept.append(face)
    return kept


def _overlap(one: FoundFace, other: FoundFace) -> float:
    """The intersection of two boxes as a part of their union."""
    width = min(one.box[2], other.box[2]) - max(one.box[0], other.box[0])
    height = min(one.box[3], other.box[3]) - max(one.box[1], other.box[1])
    shared = max(0.0, width) * max(0.0, height)
    return shared / (one.area + other.area - shared)


@lru_cache(maxsize=1)
def _opencv() -> Any:
    """The module cv2, silent and in one thread."""
    with needed("Finding faces", "faces", "opencv-python-headless"):
        import cv2

        cv2.FaceDetectorYN.create  # noqa: B018 - OpenCV before 4.5.4 has none
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # OpenCV 5 warns of what nobody asked for
        cv2.setNumThreads(1)  # every worker has one processor
    return cv2


@lru_cache(maxsize=1)
def _detector() -> Any:
    cv2 = _opencv()
    with needed("Finding faces", "faces", "opencv-python-headless"):
        model = (files("facegan.data") / "yunet" / MODEL).read_bytes()
        return cv2.FaceDetectorYN.create("onnx", model, b"", (CLOSE, CLOSE), THRESHOLD, 0.3, 5000)
