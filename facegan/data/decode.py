"""A photo's bytes to faces of S x S x 3 bytes, one photo at a time or a chunk of them: the work of one process."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from facegan.data.crops import Crop, CropError
from facegan.pictures.colours import to_srgb
from facegan.pictures.opening import PhotoError, flat, reasons, rounded, upright, whole
from facegan.pictures.photos import Photo, Reader, ReadError

LANCZOS = Image.Resampling.LANCZOS
_CHUNK_PHOTOS = 64
_CHUNK_BYTES = 4 << 20


class Face(NamedTuple):
    """A decoded photo: `pixels` are S*S*3 bytes, RGB, row by row.

    `enlarged`: the crop had fewer pixels than S x S. `animated`: the file has more frames; this is its first.
    `beyond`: more than a quarter of the pixels lie beyond the photo, where a found face was near its edge.
    """

    pixels: bytes
    enlarged: bool
    animated: bool
    beyond: bool = False


def decode_face(data: bytes, size: int, crop: Crop) -> Face:
    """Decode, turn upright, crop to a box, and resize with Pillow's antialiased Lanczos filter.

    Greys become RGB; 16-bit and float pictures are scaled to 0..255, never clipped; transparent ones are laid on white;
    of an animation the first frame is taken. Colour profiles are applied. Crop boxes refer to the upright photo. What
    is damaged beside the pixels costs nothing.

    Args:
        data: the file's bytes, in any format that Pillow reads.
        size: S, the side of the result.
        crop: what to keep, a box.

    Raises:
        PhotoError: the reason why this photo cannot be used. Nothing else, whatever the bytes are.
    """
    with reasons(data):
        return _decode(data, size, crop)


def _decode(data: bytes, size: int, crop: Crop) -> Face:
    photo, animated = whole(data)
    profile = photo.info.get("icc_profile")
    photo = upright(photo)
    try:
        box = crop.box(photo.width, photo.height)
    except CropError as error:
        raise PhotoError(str(error)) from error
    enlarged = min(box[2] - box[0], box[3] - box[1]) < size
    small = flat(photo).resize((size, size), LANCZOS, box=box)
    return Face(to_srgb(rounded(small), profile).tobytes(), enlarged, animated)


def decode_faces(data: bytes, size: int, crop: Crop) -> Iterator[tuple[str, Face | str]]:
    """All that a photo comes to: for every face its mark and the face, or the reason why it cannot be used.

    The mark is empty, but for crop `face` with all faces of a photo: then it is #1, #2, ..., the largest first.

    Raises:
        PhotoError: the reason why the whole photo cannot be used.
    """
    if crop.kind != "face":
        yield "", decode_face(data, size, crop)
        return
    from facegan.data.faces import aligned_faces  # here only: it needs OpenCV

    every = crop.value == "all"
    found, animated = aligned_faces(data, size, every=every)
    for number, face in enumerate(found, 1):
        mark = f"#{number}" if every else ""
        if isinstance(face, str):
            yield mark, face
        else:
            yield mark, Face(face.pixels.tobytes(), face.side < size, animated, face.beyond > 0.25)


class Job(NamedTuple):
    """What every chunk of work has in common."""

    path: Path
    kind: str
    size: int
    crop: Crop


class Row(NamedTuple):
    """A row of the dataset, or of skipped.csv: `photo` is an index into the chunk, `mark` as in `decode_faces`."""

    photo: int
    mark: str = ""


class Decoded(NamedTuple):
    """A chunk's outcome: `pixels` of the faces in `rows`, back to back, a digest of each, and all reasons."""

    photos: int
    rows: list[Row]
    pixels: bytes
    digests: list[bytes]
    faults: dict[Row, str]
    enlarged: int
    animated: int
    beyond: int


def in_chunks(job: Job, photos: Sequence[Photo]) -> Iterator[tuple[Job, Sequence[Photo]]]:
    """All photos, a chunk at a time: few enough that what becomes of them is small."""
    length = max(1, min(_CHUNK_PHOTOS, _CHUNK_BYTES // (job.size * job.size * 3)))
    for first in range(0, len(photos), length):
        yield job, photos[first : first + length]


def decode_chunk(task: tuple[Job, Sequence[Photo]]) -> Decoded:
    """Runs in the worker processes."""
    job, photos = task
    faces: dict[Row, Face] = {}
    faults: dict[Row, str] = {}
    animated = 0
    with Reader(job.path, job.kind) as reader, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's opinions on odd files; what matters becomes a reason
        for index, photo in enumerate(photos):
            try:
                found = {Row(index, mark): face for mark, face in decode_faces(reader.read(photo), job.size, job.crop)}
            except (ReadError, PhotoError) as error:
                found = {Row(index): str(error)}
            taken = {row: face for row, face in found.items() if isinstance(face, Face)}
            faces |= taken
            faults |= {row: reason for row, reason in found.items() if isinstance(reason, str)}
            animated += any(face.animated for face in taken.values())
    return Decoded(
        photos=len(photos),
        rows=list(faces),
        pixels=b"".join(face.pixels for face in faces.values()),
        digests=[hashlib.sha1(face.pixels, usedforsecurity=False).digest() for face in faces.values()],
        faults=faults,
        enlarged=sum(face.enlarged for face in faces.values()),
        animated=animated,
        beyond=sum(face.beyond for face in faces.values()),
    )
