"""The bytes of a picture file in, a face of S x S x 3 bytes out; a chunk of photos is what one process does alone."""

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
    """

    pixels: bytes
    enlarged: bool
    animated: bool


def decode_face(data: bytes, size: int, crop: Crop) -> Face:
    """Decode, turn upright, crop, and resize with Pillow's antialiased Lanczos filter.

    Greys become RGB; 16-bit and float pictures are scaled to 0..255, never clipped; transparent ones are laid on white;
    of an animation the first frame is taken. Colour profiles are applied. Crop boxes refer to the upright photo. What
    is damaged beside the pixels costs nothing.

    Args:
        data: the file's bytes, in any format that Pillow reads.
        size: S, the side of the result.
        crop: what to keep.

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


class Job(NamedTuple):
    """What every chunk of work has in common."""

    path: Path
    kind: str
    size: int
    crop: Crop


class Decoded(NamedTuple):
    """A chunk's outcome: `pixels` of the photos not in `faults`, back to back, and a digest of each."""

    photos: int
    pixels: bytes
    digests: list[bytes]
    faults: dict[int, str]
    enlarged: int
    animated: int


def in_chunks(job: Job, photos: Sequence[Photo]) -> Iterator[tuple[Job, Sequence[Photo]]]:
    """All photos, a chunk at a time: few enough that what becomes of them is small."""
    length = max(1, min(_CHUNK_PHOTOS, _CHUNK_BYTES // (job.size * job.size * 3)))
    for first in range(0, len(photos), length):
        yield job, photos[first : first + length]


def decode_chunk(task: tuple[Job, Sequence[Photo]]) -> Decoded:
    """Runs in the worker processes."""
    job, photos = task
    faces = []
    digests = []
    faults = {}
    with Reader(job.path, job.kind) as reader, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's opinions on odd files; what matters becomes a reason
        for index, photo in enumerate(photos):
            try:
                face = decode_face(reader.read(photo), job.size, job.crop)
            except (ReadError, PhotoError) as error:
                faults[index] = str(error)
            else:
                faces.append(face)
                digests.append(hashlib.sha1(face.pixels, usedforsecurity=False).digest())
    return Decoded(
        photos=len(photos),
        pixels=b"".join(face.pixels for face in faces),
        digests=digests,
        faults=faults,
        enlarged=sum(face.enlarged for face in faces),
        animated=sum(face.animated for face in faces),
    )
