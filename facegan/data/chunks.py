"""A chunk of photos at a time: the unit of work that one process does alone."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from facegan.data.crops import Crop
from facegan.data.decode import decode_face
from facegan.pictures.opening import PhotoError
from facegan.pictures.photos import Photo, Reader, ReadError

_CHUNK_PHOTOS = 64
_CHUNK_BYTES = 4 << 20


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
