"""Where the faces are in a photo, and a photo's bytes to its aligned faces.

Faces are found by YuNet (Wu, Peng and Yu 2023), which OpenCV runs. Points are measured as in `data.align`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Any, NamedTuple

from PIL import Image

from facegan.core.errors import needed
from facegan.data.align import TEMPLATE, align, beyond, faded, opencv, sampled, similarity
from facegan.pictures.colours import to_srgb
from facegan.pictures.opening import PhotoError, flat, reasons, rounded, upright, whole

if TYPE_CHECKING:
    import numpy as np

LANDMARKS = ("right eye", "left eye", "nose", "right corner of the mouth", "left corner of the mouth")
DETECTOR = "YuNet 2023mar"
MODEL = "face_detection_yunet_2023mar.onnx"

# What YuNet calls a face, from 0 to 1. It may take a face that is turned for an upright one, with a lower score: below
# SURE, photos are searched turned by quarters as well; below UPRIGHT, each face is compared with itself upside down.
THRESHOLD = 0.6  # when the whole photo is searched
FACE = 0.87  # when it was looked at again
SURE = 0.9
UPRIGHT = 0.92

# The photo's longer side, in pixels, when it is searched. Faces of more than about 300 pixels are missed, and of less
# than 10.
SIDES = (160, 320, 640, 1280)
TURNED_SIDES = 3  # of them, for faces that do not stand upright

# A face that was found is aligned and looked at again from nearer, to place its landmarks precisely: CLOSE pixels for
# this part of the aligned square, around this centre. With less than 55 pixels between the eyes, the detector sees less
# than half of a tilt. While the face turns or grows by more than SETTLED (0.08: 5 degrees, or 8 %), it is looked at
# again, CLOSE_LOOKS times at most.
CLOSE = 192
CLOSE_PART = 0.72
CLOSE_CENTRE = 0.5 + 0.58j
CLOSE_LOOKS = 4
SETTLED = 0.08

# If the landmarks then lie farther than this part of that square's side from where they should be, it is no face.
STRAY = 0.17

# A face cannot be used if its square would have to be enlarged by more than MAX_ENLARGED, if `profile_of` it is more
# than MAX_PROFILE, or if its `sharpness` is less than MIN_SHARPNESS: a sharp face of 64
# pixels has that after a blur of two.
MAX_ENLARGED = 2
MAX_PROFILE = 0.8
MIN_SHARPNESS = 0.095
NO_FACE = "no face found"

# Two boxes are one face if their intersection has more than this part of their union.
_SAME = 0.3


@dataclass(frozen=True)
class FoundFace:
    """A face in a picture.

    Attributes:
        landmarks: float32 (5, 2): right eye, left eye, nose, right and left corner of the mouth, as (x, y). Right is
            the person's right: on the left in the picture, if the person stands upright.
        box: left, top, right, bottom. It may reach beyond the picture.
        score: how sure the detector is, from FACE to 1.
    """

    landmarks: np.ndarray
    box: tuple[float, float, float, float]
    score: float

    @property
    def area(self) -> float:
        """Of the box, in square pixels."""
        left, top, right, bottom = self.box
        return (right - left) * (bottom - top)


def find_faces(rgb: np.ndarray, *, every: bool = False, turned: bool = True) -> list[FoundFace]:
    """The faces of a picture: first those that are whole, of them first the sure ones, of these the largest first.

    The picture is searched small and then larger, until there is a face for sure: the smaller the picture, the larger
    the faces that are found. If there is none for sure, it is searched turned by 90, 180 and 270 degrees too.

    Args:
        rgb: uint8 (H, W, 3).
        every: search in all sizes, to find small faces beside large ones.
        turned: False for a quick look at upright faces that are not small.

    Returns:
        Faces whose landmarks are points of `rgb`, whatever way up they stand.

    Raises:
        FaceganError: OpenCV is missing, or too old.
    """
    found: list[FoundFace] = []
    copies: list[tuple[np.ndarray, float]] = []
    for copy in _copies(rgb, SIDES if turned else SIDES[:2]):
        copies.append(copy)
        found = _distinct([*found, *_search(rgb, copy, 0)])
        if not every and _any_sure(found):
            break
    for turn in (1, 2, 3) if turned and not _any_sure(found) else ():
        for copy in copies[:TURNED_SIDES]:
            found = _distinct([*found, *_search(rgb, copy, turn)])
    return sorted(found, key=lambda face: (_is_cut_off(face, rgb.shape), face.score < SURE, -face.area))


def _any_sure(found: list[FoundFace]) -> bool:
    return any(face.score >= SURE for face in found)


class Aligned(NamedTuple):
    """A face of a photo, aligned.

    Attributes:
        pixels: uint8 (S, S, 3), in sRGB.
        side: how many pixels of the photo lie along a side of it.
        beyond: the part of it, from 0 to 1, that lies beyond the photo and was made up from its mirror image.
    """

    pixels: np.ndarray
    side: float
    beyond: float


def aligned_face(data: bytes, size: int) -> np.ndarray:
    """The largest face of a photo, aligned: uint8 (size, size, 3), in sRGB.

    Args:
        data: the bytes of the photo's file.
        size: S, the side of the result.

    Raises:
        PhotoError: why it cannot be used: it is no photo, has no face, or one that is cut off, too small, in profile or
            blurred.
        FaceganError: OpenCV is missing.
    """
    (face,), _ = aligned_faces(data, size)
    if isinstance(face, str):
        raise PhotoError(face)
    return face.pixels


def aligned_faces(data: bytes, size: int, *, every: bool = False) -> tuple[list[Aligned | str], bool]:
    """The faces of a photo, aligned, or for each the reason why it cannot be used; and whether the file is animated.

    Args:
        data: the bytes of the photo's file.
        size: S, the side of the results.
        every: all faces, the largest first; otherwise the largest one.

    Raises:
        PhotoError: it is no photo, or has no face.
        FaceganError: OpenCV is missing.
    """
    check_installed()
    with reasons(data):
        photo, animated = whole(data)
        profile = photo.info.get("icc_profile")
        picture = rounded(flat(upright(photo)))
        if picture.mode != "RGB":
            picture, profile = to_srgb(picture, profile), None
        rgb = _pixels(picture)
        del photo, picture
        found = find_faces(rgb, every=every)
        if not found:
            raise PhotoError(NO_FACE)
        return [_aligned(rgb, face, size, profile) for face in (found if every else found[:1])], animated


def facts() -> dict[str, Any]:
    """For dataset.json: all that decides how a face is found and placed."""
    return {
        "detector": DETECTOR,
        "threshold": FACE,
        "template": {name: [round(x, 5), round(y, 5)] for name, (x, y) in zip(LANDMARKS, TEMPLATE, strict=True)},
        "fit": "least squares, similarity transform",
    }


def check_installed() -> None:
    """Raise FaceganError, with what to install, if faces cannot be looked for."""
    _detector()


def _pixels(picture: Image.Image) -> np.ndarray:
    """uint8 (H, W, 3) of an RGB picture, some rows at a time: Pillow's own way takes the memory twice."""
    import numpy as np

    rgb = np.empty((picture.height, picture.width, 3), np.uint8)
    for top in range(0, picture.height, 256):
        rgb[top : top + 256] = np.asarray(picture.crop((0, top, picture.width, min(top + 256, picture.height))))
    return rgb


def _aligned(rgb: np.ndarray, face: FoundFace, size: int, profile: bytes | None) -> Aligned | str:
    """The face aligned, or the reason why it cannot be used."""
    import numpy as np

    scale, shift = similarity(np.asarray(TEMPLATE), face.landmarks)
    side = abs(scale)
    if _is_cut_off(face, rgb.shape):
        return "face cut off by the photo's edge"
    if side * MAX_ENLARGED < size:
        return f"face too small: its square has {side:.0f} pixels a side, for {size} it needs {size / MAX_ENLARGED:.0f}"
    if profile_of(face) > MAX_PROFILE:
        return "face in profile"
    pixels = align(rgb, face.landmarks, size)
    if sharpness(pixels) < MIN_SHARPNESS:
        return "face blurred"
    outside = float((beyond(scale / size, shift, size, rgb.shape) > 0).mean())
    return Aligned(np.array(to_srgb(Image.fromarray(pixels), profile)), side, outside)


def profile_of(face: FoundFace) -> float:
    """How far the nose is from the middle between eyes and mouth, sideways, in distances of the eyes; 0 from the front.

    In three quarters it is about 0.4.
    """
    import numpy as np

    scale, shift = similarity(np.asarray(TEMPLATE), face.landmarks)
    right, left, nose, *mouth = (face.landmarks[:, 0] + 1j * face.landmarks[:, 1] - shift) / scale
    return float(abs((nose - (right + left + sum(mouth)) / 4).real / (left - right).real))


def sharpness(aligned: np.ndarray) -> float:
    """How much of a face's contrast is in its finest details: of sharp photos 0.15 to 0.4.

    The standard deviation of what a Gaussian blur of one pixel takes away, over that of the face, at 64 pixels or less.
    """
    import numpy as np

    cv2 = opencv()
    side = min(len(aligned), 64)
    grey = cv2.cvtColor(aligned, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
    face = small[side // 4 : side * 7 // 8, side // 5 : side * 4 // 5]
    return float((face - cv2.GaussianBlur(face, (0, 0), 1)).std() / max(face.std(), 1e-6))


def _is_cut_off(face: FoundFace, shape: tuple[int, ...]) -> bool:
    """Whether an eye, the nose or a corner of the mouth lies beyond the photo."""
    margin = 0.05 * face.area**0.5
    x, y = face.landmarks[:, 0], face.landmarks[:, 1]
    return bool(min(x.min(), y.min(), shape[1] - x.max(), shape[0] - y.max()) < -margin)


def _search(rgb: np.ndarray, copy: tuple[np.ndarray, float], turn: int) -> Iterator[FoundFace]:
    """Faces that stand upright once a smaller copy of the picture is turned `turn` quarters to the left."""
    import numpy as np

    small, scale = copy
    turned = np.rot90(small, turn)
    for face in _detected(turned):
        back = _turned_back(face, turn, turned.shape[1], turned.shape[0])
        if seen := _closer(rgb, _enlarged(back, scale)):
            yield seen


def _copies(rgb: np.ndarray, sides: Sequence[int]) -> Iterator[tuple[np.ndarray, float]]:
    """The picture with each of these as its longer side, the smallest first, and how much larger the picture is."""
    cv2 = opencv()
    longest = max(rgb.shape[:2])
    for side in sides:
        if longest <= side:
            yield rgb, 1.0
            return
        scale = longest / side
        shape = max(1, round(rgb.shape[1] / scale)), max(1, round(rgb.shape[0] / scale))
        yield cv2.resize(rgb, shape, interpolation=cv2.INTER_AREA), scale


def _detected(rgb: np.ndarray) -> Iterator[FoundFace]:
    """What YuNet finds in a picture as it stands."""
    cv2, detector = opencv(), _detector()
    detector.setInputSize((rgb.shape[1], rgb.shape[0]))
    _, rows = detector.detect(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    for row in () if rows is None else rows:
        left, top, width, height = map(float, row[:4])
        yield FoundFace(row[4:14].reshape(5, 2), (left, top, left + width, top + height), float(row[14]))


def _closer(rgb: np.ndarray, face: FoundFace) -> FoundFace | None:
    """The same face, looked at again after it was aligned; None if there is none there, or one upside down.

    Of a tilt the detector sees only a part. So a face that it turns is aligned and looked at again, until it stays.
    """
    import numpy as np

    wanted = np.asarray(TEMPLATE)
    found, score = face.landmarks, face.score
    for number in range(CLOSE_LOOKS):
        # As in `data.align`: a square around the face, CLOSE pixels a side, and the way from its pixels to the photo.
        whole_scale, whole_shift = similarity(wanted, found)
        scale = whole_scale * CLOSE_PART / CLOSE
        shift = whole_shift + whole_scale * (CLOSE_CENTRE - CLOSE_PART / 2 * (1 + 1j))
        part = sampled(rgb, scale, shift, CLOSE, max(1, round(abs(scale))), quick=True)
        part = faded(part, scale, shift, rgb.shape)
        there = _mapped(wanted, whole_scale / scale, (whole_shift - shift) / scale)
        seen = min(_detected(part), key=lambda face: _distance(face.landmarks, there), default=None)
        if seen is None or _distance(seen.landmarks, there) > STRAY * CLOSE:
            return None
        score = max(score, seen.score)
        if score < UPRIGHT and any(other.score > score for other in _detected(part[::-1, ::-1])):
            return None
        nearer = _mapped(seen.landmarks, scale, shift)
        found = nearer if number < 2 else (found + nearer) / 2  # some faces swing to and fro
        if abs(similarity(there, seen.landmarks)[0] - 1) < SETTLED:
            break
    else:
        score = min(score, SURE - 0.001)  # if it is one that is turned, a search of the turned photo finds it for sure
    return replace(face, landmarks=found.astype(np.float32), score=score) if score >= FACE else None


def _mapped(points: np.ndarray, scale: complex, shift: complex) -> np.ndarray:
    import numpy as np

    z = scale * (points[:, 0] + 1j * points[:, 1]) + shift
    return np.stack([z.real, z.imag], 1)


def _distance(points: np.ndarray, others: np.ndarray) -> float:
    """Root of the mean squared distance between points (K, 2) and others."""
    return float(((points - others) ** 2).sum(1).mean() ** 0.5)


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
def _detector() -> Any:
    cv2 = opencv()
    with needed("Finding faces", "faces", "opencv-python-headless"):
        model = files("facegan.data") / "yunet" / MODEL
        how = ((CLOSE, CLOSE), THRESHOLD, _SAME, 5000)
        try:
            return cv2.FaceDetectorYN.create("onnx", model.read_bytes(), b"", *how)
        except (TypeError, cv2.error):  # older than 4.9, which opens files only
            with as_file(model) as path:
                return cv2.FaceDetectorYN.create(str(path), "", *how)
