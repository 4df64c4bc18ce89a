"""Read a zip's table of contents in bounded memory, whichever tool wrote it; nothing is unpacked here.

`zipfile` reads the whole table at once and keeps an object per member, which takes some ten times the table's bytes. A
hostile zip can list millions of members, so here the table's length is limited before it is read.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MAX_ZIP_TABLE = 64 << 20
"""Most bytes of the table of contents of a zip of photos: some 600,000 photos, and at most a gigabyte of memory."""


class _Capped(io.BufferedReader):
    """A file that reads at most `most` bytes at once; None lifts the limit."""

    def __init__(self, path: Path, most: int) -> None:
        super().__init__(io.FileIO(path))
        self.most: int | None = most
        self.plain = False

    def read(self, size: int | None = -1, /) -> bytes:
        if self.most is None:
            return super().read(size)
        if size is not None and size > self.most:
            raise zipfile.BadZipFile(f"its table of contents is longer than {self.most:,} bytes")
        data = super().read(self.most if size is None or size < 0 else size)
        return _without_promises(data) if self.plain and data.startswith(_ENTRY) else data


@contextmanager
def open_zip(path: Path, most_table: int) -> Iterator[zipfile.ZipFile]:
    """Open the zip at `path`, if its table of contents has at most `most_table` bytes.

    If the members together are larger than the file, some share their bytes. Such a zip can unpack to far more than
    compression alone allows, so it is refused. Offsets that were written in too few bits are corrected.

    Raises:
        zipfile.BadZipFile: the zip is damaged, or refused.
        OSError: it cannot be read.
    """
    with _Capped(path, most_table) as file:
        try:
            try:
                archive = zipfile.ZipFile(file)
            except UnicodeDecodeError:
                file.plain = True
                file.seek(0)
                archive = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, OSError):
            raise
        except Exception as error:  # a damaged table can raise nearly any exception
            raise zipfile.BadZipFile(f"its table of contents is damaged ({type(error).__name__})") from error
        with archive:
            length = file.seek(0, io.SEEK_END)
            if sum(member.compress_size for member in archive.infolist()) > length:
                raise zipfile.BadZipFile("its members overlap")
            file.most = None
            if min((member.header_offset for member in archive.infolist()), default=0) >= _WRAP:
                _unwrap(archive, file, length)
            yield archive


_ENTRY, _LOCAL = b"PK\1\2", b"PK\3\4"
_WRAP = 1 << 32
_UTF8 = 0x800


def _without_promises(table: bytes) -> bytes:
    """Clear all UTF-8 marks in a table of contents: zipfile gives up at the first marked name that is not UTF-8."""
    changed, at = bytearray(table), 0
    while table.startswith(_ENTRY, at) and at + 46 <= len(table):
        changed[at + 9] &= ~(_UTF8 >> 8)
        at += 46 + sum(struct.unpack_from("<3H", table, at + 28))
    return bytes(changed)


def _unwrap(archive: zipfile.ZipFile, file: io.BufferedReader, length: int) -> None:
    """Correct the offsets of members beyond 4 GiB that were written in 32 bits, as the Mac's Archive Utility does.

    Such an offset lacks a multiple of 4 GiB. zipfile takes the difference for data in front of the zip, and adds it to
    every offset. So all multiples are tried, until a header with the member's name is found.
    """
    for member in archive.infolist():
        name = member.orig_filename.encode("utf-8" if member.flag_bits & _UTF8 else "cp437")
        for place in (member.header_offset, *range(member.header_offset % _WRAP, length, _WRAP)):
            file.seek(place)
            header = file.read(30 + len(name))
            if header.startswith(_LOCAL) and header.endswith(name):
                if place != member.header_offset and hasattr(member, "_end_offset"):
                    member._end_offset = None  # where newer versions of zipfile think that its bytes must end
                member.header_offset = place
                break


def member_name(member: zipfile.ZipInfo) -> str:
    """A member's name in the right letters, whichever tool wrote it, with slashes between folders.

    A name is in UTF-8 where the zip says so, and often where it does not: the Mac never says so. Other names are in the
    encoding of the system that wrote them, and the zip does not say which. Japanese (cp932) is recognised by its
    letters; all others are read as DOS did (cp437).
    """
    name = member.orig_filename
    if not name.isascii() and not member.flag_bits & _UTF8:
        raw = name.encode("cp437")  # the bytes as zipfile has read them
        name = _by_extra_field(member.extra, raw) or _decoded(raw)
    return name.partition("\0")[0].replace("\\", "/")


def _by_extra_field(extra: bytes, raw: bytes) -> str:
    """The UTF-8 name that some tools write beside the plain one, if its checksum fits that one; else ""."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        body = extra[at + 4 : at + 4 + length]
        if kind == 0x7075 and body[1:5] == struct.pack("<I", zlib.crc32(raw)):
            return body[5:].decode("utf-8", "ignore")
        at += 4 + length
    return ""


# Kana, kanji, and the wide digits and brackets between them.
_JAPANESE = "\u3000-\u30ff\u4e00-\u9fff\uff08-\uff19"
_TWO_JAPANESE, _OTHER_LETTER = re.compile(f"[{_JAPANESE}]{{2}}"), re.compile(f"[^\\0-\\x7f{_JAPANESE}]")


def _decoded(raw: bytes) -> str:
    with suppress(UnicodeDecodeError):
        return raw.decode("utf-8")
    # An accented letter and the next letter can look like one Japanese letter, but hardly ever like two in a row. A
    # backslash before a dot is half of a Japanese letter: else the rest of the name would be that of a hidden file.
    with suppress(UnicodeDecodeError):
        japanese = raw.decode("cp932")
        if not _OTHER_LETTER.search(japanese) and (_TWO_JAPANESE.search(japanese) or b"\\." in raw):
            return japanese
    return raw.decode("cp437")
