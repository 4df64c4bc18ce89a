"""Read one photo's bytes from a folder, or straight from a zip."""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

# fmt: off
PICTURES = frozenset((
    ".avif", ".avifs", ".bmp", ".dib", ".gif", ".heic", ".heif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg",
    ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp",
))
# fmt: on

# No photo is larger: even uncompressed, one with the most pixels that are decoded has 360 MB. A file that claims more
# is meant to fill the memory.
MAX_FILE_BYTES = 400_000_000

# The ways of packing in a zip that can be read in place.
STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED


class ReadError(ValueError):
    """This photo's bytes cannot be read; the text is the reason in skipped.csv."""


class Photo(NamedTuple):
    """One photo: `name` is its path inside the source, with slashes. The rest says where it lies in a zip."""

    name: str
    offset: int = -1
    packed: int = 0
    unpacked: int = 0
    method: int = STORED
    crc: int = 0


class Reader:
    """Reads photos of a source. Cheap to make, so that every process has its own; close it, or use it in a with block.

    Args:
        path, kind: as in Source.
    """

    def __init__(self, path: Path, kind: str) -> None:
        self._root = os.fspath(path)
        self._zip = path.open("rb") if kind == "zip" else None

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        if self._zip is not None:
            self._zip.close()

    def read(self, photo: Photo) -> bytes:
        """The photo's bytes.

        Raises:
            ReadError: they cannot be read; the text says why.
        """
        try:
            return self._from_zip(photo) if self._zip is not None else self._from_folder(photo)
        except OSError as error:
            raise ReadError(f"cannot be read: {error.strerror or error}") from error

    def _from_folder(self, photo: Photo) -> bytes:
        with open(f"{self._root}/{photo.name}", "rb", buffering=0) as file:  # noqa: PTH123 - a Path costs 5% here
            size = os.fstat(file.fileno()).st_size
            if size > MAX_FILE_BYTES:
                raise ReadError(f"too large for a photo: {size:,} bytes")
            return file.read(size)  # not read(): some of the system's files have no end

    def _from_zip(self, photo: Photo) -> bytes:
        """Read at an offset: zipfile would read the whole directory again in every process, and is slow per member."""
        assert self._zip is not None
        self._zip.seek(photo.offset)
        local = self._zip.read(30)
        if local[:4] != b"PK\x03\x04":
            raise ReadError("the zip is damaged here")
        self._zip.seek(int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little"), os.SEEK_CUR)
        data = self._zip.read(photo.packed)
        if photo.method == DEFLATED:
            try:
                data = zlib.decompressobj(-15).decompress(data, photo.unpacked + 1)
            except zlib.error as error:
                raise ReadError("the zip is damaged here") from error
        if len(data) != photo.unpacked or zlib.crc32(data) != photo.crc:
            raise ReadError("the zip is damaged here: its checksum differs")
        return data
