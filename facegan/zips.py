"""A zip's table of contents in bounded memory; nothing is unpacked here.

`zipfile` reads the whole table at once and keeps an object per member, some ten times the table's bytes; a file made
for it can hold millions. Here the table's length is limited before it is read.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MAX_ZIP_TABLE = 64 << 20
"""Bytes of the table of contents of a zip of photos: some 600,000 of them, and at most a gigabyte of memory."""


class _Capped(io.BufferedReader):
    """A file of which no more than `most` bytes are read at once, while that is set."""

    def __init__(self, path: Path, most: int) -> None:
        super().__init__(io.FileIO(path))
        self.most: int | None = most

    def read(self, size: int | None = -1, /) -> bytes:
        if self.most is None:
            return super().read(size)
        if size is not None and size > self.most:
            raise zipfile.BadZipFile(f"its table of contents is longer than {self.most:,} bytes")
        return super().read(self.most if size is None or size < 0 else size)


@contextmanager
def open_zip(path: Path, most_table: int) -> Iterator[zipfile.ZipFile]:
    """The zip at `path`, if its table of contents has at most `most_table` bytes.

    Members that together are larger than the file share their bytes: such a zip can unpack to far more than
    compression alone allows, so it is refused.

    Raises:
        zipfile.BadZipFile: whatever is wrong with it.
        OSError: it cannot be read.
    """
    with _Capped(path, most_table) as file:
        try:
            archive = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, OSError):
            raise
        except Exception as error:  # damaged tables end in nearly every exception there is
            raise zipfile.BadZipFile(f"its table of contents is damaged ({type(error).__name__})") from error
        with archive:
            if sum(member.compress_size for member in archive.infolist()) > file.seek(0, io.SEEK_END):
                raise zipfile.BadZipFile("its members overlap")
            file.most = None
            yield archive
