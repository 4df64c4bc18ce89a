"""Reduce a picture's file to what its pixels need: damage beside them, as in a profile, text or film, loses no photo.

Pillow reads everything in a file, and gives up if anything is wrong. A browser shows the photo all the same. So when
Pillow gives up, `essential` leaves out what the pixels do not need, and `endings` completes a file that lacks its end.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator

MAX_SEGMENTS = 10_000
"""Most segments of a JPEG. Depth maps and large profiles need some hundreds; each costs time, even one of 4 bytes."""

_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
"""A marker that has a segment, or ends the picture: not a stuffed byte, padding, or the restart between two rows."""

_UNWRITTEN = bytes(16)
_JPEG_SIDES = {0xE0: (b"JFIF\0", 14), 0xE1: (b"Exif\0\0", 6), 0xE2: (b"ICC_PROFILE\0", 14), 0xEE: (b"Adobe", 12)}
"""Segments beside the pixels that say how a picture looks -> how each begins, and the fewest bytes of a whole one."""

_PNG_MARK = b"\x89PNG\r\n\x1a\n"
_MOST_IN_CHUNK = 1 << 20
"""Most bytes that Pillow unpacks of a PNG's text or profile."""

_WEBP_KEPT = (b"VP8X", b"ICCP", b"ANIM", b"ANMF", b"ALPH", b"VP8 ", b"VP8L", b"EXIF")
_WEBP_ICC, _WEBP_EXIF, _WEBP_XMP = 0x20, 0x08, 0x04

# fmt: off
_TIFF_KEPT = frozenset((
    254, 255, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325, 332,
    338, 339, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532, 34675,
))
# fmt: on
_HEIF_SIZE = re.compile(rb"ispe\0{4}(.{8})", re.DOTALL)
_EXIF_ITEM = re.compile(rb"(infe[\x02\x03].{3}(?:.{4}|.{6}))Exif", re.DOTALL)


def scans(data: bytes, most: int) -> int:
    """How many scans a JPEG has (passes over its picture), counted to `most` + 1. A film after the photo has none.

    Raises:
        ValueError: it has more than MAX_SEGMENTS segments.
    """
    found = 0
    for marker, _, _ in _segments(data):
        found += marker == _SOS
        if found > most:
            break
    return found


def breaks_off(data: bytes) -> bool:
    """Whether a JPEG has zeros where its end should be, as a disk or a download leaves them if it breaks off.

    Pillow takes the zeros for pixels.
    """
    return data.endswith(_UNWRITTEN) and all(marker != _EOI for marker, _, _ in _segments(data))


def max_area(data: bytes) -> int:
    """Pixels of the largest picture in a HEIC. A HEIC may show only a part of it, but all of it has to be decoded."""
    sizes = (struct.unpack(">II", match[1]) for match in _HEIF_SIZE.finditer(data))
    return max((width * height for width, height in sizes), default=0)


def essential(data: bytes) -> bytes:
    """The same picture without the parts beside its pixels that are or may be damaged; orientation and profile stay.

    Args:
        data: a JPEG, PNG, WebP, TIFF, HEIC or AVIF. Any other file is returned as it is.

    Raises:
        OSError: it is truncated.
        ValueError, IndexError, struct.error: it is damaged in other ways.
    """
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg(data)
    if data.startswith(_PNG_MARK):
        return _png(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _webp(data)
    if data.startswith((b"II*\0", b"MM\0*")):
        return _tiff(data)
    if data[4:8] == b"ftyp":
        return _EXIF_ITEM.sub(rb"\1free", data)
    return data


def endings(data: bytes) -> tuple[bytes, bytes] | None:
    """Complete a file that lacks its end, in two ways; None if that cannot be done.

    The two ways append different bytes. So if both results show the same pixels, every pixel comes from the file
    itself, and only the marks after the pixels were missing. If they differ, the file was cut short.

    Args:
        data: what `essential` returned for a JPEG, PNG or GIF.
    """
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg_endings(data)
    if data.startswith(_PNG_MARK):
        return _png_endings(data)
    if data.startswith(b"GIF8"):
        # Up to 255 bytes complete the last block. The rest is an empty block, or blocks of one byte and an empty one.
        return data + bytes(256) + b";", data + 255 * b"\1" + bytes(9) + b";"
    return None


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield a JPEG's markers up to its end, as libjpeg meets them: the marker, its place, the end of its segment."""
    at = 2
    for _ in range(MAX_SEGMENTS):
        match = _MARKER.search(data, at)
        if not match:
            return
        start = match.start() + 1
        at = start + 1
        if data[start] != _EOI:
            at += max(2, int.from_bytes(data[at : at + 2], "big"))
        yield data[start], start, at
        if data[start] == _EOI:
            return
    raise ValueError(f"more than {MAX_SEGMENTS:,} segments")


def _jpeg(data: bytes) -> bytes:
    kept = [data[:2]]
    for marker, start, end in _segments(data):
        if marker == _SOS:
            kept.append(data[start - 1 :])
            break
        mark, least = _JPEG_SIDES.get(marker, (b"", 0))
        whole = mark and data.startswith(mark, start + 3) and end - start - 3 >= least
        if whole or not (0xE0 <= marker <= 0xFE):
            kept.append(data[start - 1 : end])
    return b"".join(kept)


def _jpeg_endings(data: bytes) -> tuple[bytes, bytes] | None:
    if data.endswith(_UNWRITTEN):
        data = data.rstrip(b"\0")
    data = data.rstrip(b"\xff")
    marker, progressive, components, known = 0, False, 0, 0
    for marker, start, end in _segments(data):
        if end > len(data):
            return None
        if marker in _FRAMES:
            progressive, components = marker in _PROGRESSIVE, data[start + 8]
        elif marker == _SOS:
            here = data[start + 3]
            first, last, places = data[start + 4 + 2 * here : start + 7 + 2 * here]
            if not progressive:
                known += 64 * here
            elif places & 15 == 0:  # down to the last bit
                known += (last - first + 1) * here
    if marker != _SOS or known != 64 * components:
        return None  # it ends between two scans
    junk = bytes(37 * n % 251 + 1 for n in range(64))
    other = b"".join(junk + bytes((0xFF, 0xD0 + n % 8)) for n in range(16)) + junk
    return data + b"\xff\xd9", data + other + b"\xff\xd9"


def _png(data: bytes) -> bytes:
    kept, at, kind = [data[:8]], 8, b""
    while at + 8 <= len(data) and kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if kind == b"IDAT" or (not kind[0] & 0x20 and end <= len(data)):
            kept.append(data[at:end])
        elif kind in (b"tRNS", b"eXIf", b"iCCP") and end <= len(data):
            body = data[at + 8 : end - 4]
            if _says_something(kind, body, colours=data[25]):
                kept.append(_chunk(kind, body))
        at = end
    if at <= len(data) and kind != b"IEND":
        kept.append(_chunk(b"IEND", b""))
    return b"".join(kept)


def _says_something(kind: bytes, body: bytes, colours: int) -> bool:
    """Whether a chunk beside a PNG's pixels is whole. `colours` is the picture's colour type."""
    if kind == b"tRNS":
        return len(body) >= {0: 2, 2: 6}.get(colours, 1)
    if kind == b"iCCP":
        _, mark, rest = body.partition(b"\0")
        unpack = zlib.decompressobj()
        try:
            return mark + rest[:1] == b"\0\0" and len(unpack.decompress(rest[1:], _MOST_IN_CHUNK)) < _MOST_IN_CHUNK
        except zlib.error:
            return False
    return True


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png_endings(data: bytes) -> tuple[bytes, bytes] | None:
    at = 8
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        missing = at + 8 + length - len(data)
        if missing > 0:
            end = bytes(4) + _chunk(b"IEND", b"")
            return (data + bytes(missing) + end, data + missing * b"\xff" + end) if kind == b"IDAT" else None
        at += 12 + length
    return None


def _webp(data: bytes) -> bytes:
    kept: dict[bytes, list[bytes]] = {kind: [] for kind in _WEBP_KEPT}
    cut, at = False, 12
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        if kind in kept:
            if at + 8 + length <= len(data):
                kept[kind].append(data[at + 8 : at + 8 + length])
            elif kind in (b"ANMF", b"ALPH", b"VP8 ", b"VP8L"):
                cut = True
        at += 8 + length + length % 2
    if cut and not kept[b"ANMF"]:
        raise OSError("truncated")
    if kept[b"VP8X"]:
        flags, *rest = kept[b"VP8X"][0]
        flags &= ~(_WEBP_ICC | _WEBP_EXIF | _WEBP_XMP)
        flags |= _WEBP_ICC * bool(kept[b"ICCP"]) | _WEBP_EXIF * bool(kept[b"EXIF"])
        kept[b"VP8X"] = [bytes((flags, *rest))]
    else:
        kept = {kind: kept[kind][:1] for kind in (b"VP8 ", b"VP8L")}
    chunks = [
        kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)
        for kind, bodies in kept.items()
        for body in bodies
    ]
    content = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(content)) + content


def _tiff(data: bytes) -> bytes:
    """The file without those entries of the first picture's table that say nothing about its pixels."""
    order = "<" if data.startswith(b"II") else ">"
    (at,) = struct.unpack_from(f"{order}I", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, at)
    entries = [data[at + 2 + 12 * n : at + 14 + 12 * n] for n in range(count)]
    kept = [entry for entry in entries if struct.unpack_from(f"{order}H", entry)[0] in _TIFF_KEPT]
    table = struct.pack(f"{order}H", len(kept)) + b"".join(kept) + bytes(4)
    return data[:at] + table + data[at + len(table) :]
