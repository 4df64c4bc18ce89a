"""A look at a few of a source's photos: what would become of them, and how differently they are framed."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass

import numpy as np
from PIL import Image

from facegan.core.errors import FaceganError
from facegan.core.workers import in_order
from facegan.data.align import TEMPLATE, similarity
from facegan.data.crops import Crop, CropError
from facegan.data.decode import Face, Job, decode_faces
from facegan.data.faces import SURE, check_installed, find_faces
from facegan.data.several import tasks
from facegan.data.sources import Source
from facegan.pictures.opening import PhotoError, flat, glance, reasons, rounded, upright
from facegan.pictures.photos import Photo, Reader, ReadError
from facegan.pictures.sheets import labelled
from facegan.pictures.typesetting import blank

PHOTOS = 48
COLUMNS = 12
THUMBNAIL = 128

# Photos are framed unlike each other if in more than UNEVEN of them the face lies farther from its usual place than
# ASIDE, in sides of the crop, or is larger or smaller than usual by more than the factor OTHER_SIZE.
FEWEST = 8
UNEVEN, ASIDE, OTHER_SIZE = 0.25, 0.15, 1.5


@dataclass(frozen=True)
class Look:
    """What would become of one face, or of a photo without one.

    Attributes:
        name: the photo's name, with the face's mark.
        picture: uint8 (S, S, 3), the image that would be taken, or (THUMBNAIL, THUMBNAIL, 3), the photo made small.
        reason: why it would be skipped; empty if it would be taken.
    """

    name: str
    picture: np.ndarray
    reason: str = ""


def look(found: Source, taken: slice, size: int, crop: Crop, workers: int) -> list[Look]:
    """What would become of PHOTOS of the photos, evenly spread."""
    chosen = _spread(found, taken, size, crop)
    with closing(in_order(_look_at, iter(chosen), workers)) as results:
        return [one for looks in results for one in looks]


def draw(looks: Sequence[Look], title: str) -> np.ndarray:
    """One sheet (H, W, 3): the faces that would be taken, and below them the photos that would not, with the reason."""
    parts = []
    faces = [one for one in looks if not one.reason]
    skipped = [one for one in looks if one.reason]
    if faces:
        names = [one.name.rpartition("/")[2] for one in faces]
        parts.append(labelled(np.stack([one.picture for one in faces]), names, COLUMNS, title=title))
    if skipped:
        words = [one.reason.partition(":")[0] for one in skipped]
        pictures = np.stack([one.picture for one in skipped])
        parts.append(labelled(pictures, words, COLUMNS, title=f"Skipped: {len(skipped)}"))
    paper = blank(max(part.shape[1] for part in parts), sum(len(part) for part in parts))
    top = 0
    for part in parts:
        paper.paste(Image.fromarray(part), (0, top))
        top += len(part)
    return np.array(paper)


def framing(found: Source, taken: slice, size: int, crop: Crop) -> str:
    """A sentence if faces plainly stand in different places of the photos, or in different sizes; else nothing.

    Nothing too if OpenCV is not installed, for crops that know where faces are, and for a handful of photos.
    """
    chosen = _spread(found, taken, size, crop) if crop.kind not in ("face", "protocol") else []
    if len(chosen) < FEWEST:
        return ""
    try:
        check_installed()
    except FaceganError:
        return ""
    places = np.array([place for job, photo in chosen if (place := _place(job, photo))])
    if len(places) < FEWEST:
        return ""
    away = places - np.median(places, axis=0)
    odd = int(((np.hypot(away[:, 0], away[:, 1]) > ASIDE) | (abs(away[:, 2]) > math.log(OTHER_SIZE))).sum())
    if odd <= UNEVEN * len(places):
        return ""
    return (
        f"faces stand in different places or sizes: {odd} of {len(places)} looked at are far from the usual; "
        "--crop face finds each and aligns it"
    )


def _spread(found: Source, taken: slice, size: int, crop: Crop) -> list[tuple[Job, Photo]]:
    """PHOTOS of the photos, or all if there are fewer, evenly spread."""
    total = len(found.photos[taken])
    wanted = set(np.linspace(0, total - 1, min(total, PHOTOS)).round().astype(int).tolist())
    every: Iterator[tuple[Job, Photo]] = (
        (job, photo) for job, photos in tasks(found, taken, size, crop) for photo in photos
    )
    return [one for index, one in enumerate(every) if index in wanted]


def _look_at(task: tuple[Job, Photo]) -> list[Look]:
    """Runs in the worker processes."""
    job, photo = task
    looks: list[Look] = []
    data = b""
    with Reader(job.path, job.kind) as reader, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            data = reader.read(photo)
            for mark, face in decode_faces(data, job.size, job.crop):
                if isinstance(face, Face):
                    pixels = np.frombuffer(face.pixels, np.uint8).reshape(job.size, job.size, 3)
                    looks.append(Look(photo.name + mark, pixels))
                else:
                    looks.append(Look(photo.name + mark, _thumbnail(data), face))
        except (ReadError, PhotoError) as error:
            looks.append(Look(photo.name, _thumbnail(data), str(error)))
    return looks


def _thumbnail(data: bytes) -> np.ndarray:
    """The photo, small, in the middle of white paper; white paper where it cannot be read."""
    paper = blank(THUMBNAIL, THUMBNAIL)
    with suppress(PhotoError):
        small = Image.fromarray(_small(data, THUMBNAIL)[0])
        paper.paste(small, ((THUMBNAIL - small.width) // 2, (THUMBNAIL - small.height) // 2))
    return np.array(paper)


def _small(data: bytes, side: int) -> tuple[np.ndarray, float]:
    """A quick copy of a photo, uint8 (H, W, 3) of at most `side` pixels, and how much larger the photo is.

    Raises:
        PhotoError: it cannot be read.
    """
    with reasons(data):
        photo, _ = glance(data)
        longest = max(photo.size)
        photo.draft("RGB", (2 * side, 2 * side))  # a JPEG is decoded smaller, in a fraction of the time
        small = rounded(flat(upright(photo))).convert("RGB")
        small.thumbnail((side, side))
        return np.array(small), longest / max(small.size)


def _place(job: Job, photo: Photo) -> tuple[float, float, float] | None:
    """Where the crop has the face, in its sides, and the logarithm of the face's size there; None if there is none."""
    with Reader(job.path, job.kind) as reader, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            rgb, larger = _small(reader.read(photo), 320)
            left, top, right, bottom = job.crop.box(round(rgb.shape[1] * larger), round(rgb.shape[0] * larger))
        except (ReadError, PhotoError, CropError):
            return None
    face = next(iter(find_faces(rgb, turned=False)), None)
    if face is None or face.score < SURE:
        return None
    scale, shift = similarity(np.asarray(TEMPLATE), face.landmarks)
    centre = larger * (shift + scale * (0.5 + 0.5j))
    across, down = right - left, bottom - top
    return (centre.real - left) / across, (centre.imag - top) / down, math.log(larger * abs(scale) / across)
