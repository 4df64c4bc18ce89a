"""A picture that any browser shows is a photo, whatever is damaged beside its pixels."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from pillow_heif import register_heif_opener

from facegan.data.crops import Crop
from facegan.data.decode import decode_face
from facegan.pictures.essential import MAX_SEGMENTS
from facegan.pictures.opening import FORMATS, MAX_SCANS, PhotoError

register_heif_opener()
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's opinions on odd files

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8))
NOISE.paste("red", (0, 0, 30, 90))
LYING = b"Exif\0\0MM\0*\0\0\0\x08\0\x02" + struct.pack(">HHIHH", 274, 3, 1, 6, 0)
BROKEN_ENTRY = LYING + struct.pack(">HHI4s", 282, 2, 3, b"72\0\0") + bytes(4)
"""EXIF that says: turn it by a quarter. Its resolution is a text, where a number should be."""
GARBAGE = b"garbage, not EXIF"
FILM = b"\0\0\0\x18ftypmp42" + np.random.default_rng(1).bytes(1 << 20)


def saved(kind: str, image: Image.Image = NOISE, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pixels(data: bytes) -> bytes:
    return decode_face(data, 32, Crop("square")).pixels


WHOLE = {
    "jpeg": saved("JPEG", quality=90),
    "progressive": saved("JPEG", quality=90, progressive=True),
    "restarting": saved("JPEG", quality=90, restart_marker_blocks=3),
    "grey": saved("JPEG", NOISE.convert("L")),
    "cmyk": saved("JPEG", NOISE.convert("CMYK")),
    "png": saved("PNG"),
    "gif": saved("GIF"),
    "webp": saved("WEBP"),
    "lossless": saved("WEBP", lossless=True),
    "heic": saved("HEIF"),
    "tiff": saved("TIFF"),
    "lzw": saved("TIFF", compression="tiff_lzw"),
    **({"avif": saved("AVIF")} if "AVIF" in FORMATS else {}),
}


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("behind", [FILM, bytes(5000), b"<html>", WHOLE["jpeg"]], ids=["film", "zeros", "text", "jpeg"])
def test_what_stands_behind_a_picture(name: str, behind: bytes) -> None:
    assert pixels(WHOLE[name] + behind) == pixels(WHOLE[name])


def test_marks_of_scans_in_a_film_are_no_scans() -> None:
    assert pixels(WHOLE["jpeg"] + 2 * MAX_SCANS * b"\xff\xda") == pixels(WHOLE["jpeg"])
    thumbnail = b"\xff\xe1" + struct.pack(">H", 2 + 400) + b"Exif\0\0" + 197 * b"\xff\xda"
    assert pixels(WHOLE["jpeg"][:2] + thumbnail + WHOLE["jpeg"][2:]) == pixels(WHOLE["jpeg"])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "HEIF"])
def test_exif_that_cannot_be_read_costs_nothing(kind: str) -> None:
    options = {"quality": 95} if kind in ("JPEG", "HEIF") else {"lossless": True}
    plain = saved(kind, **options)
    assert pixels(saved(kind, exif=GARBAGE, **options)) == pixels(plain)
    assert pixels(saved(kind, exif=b"Exif\0\0MM", **options)) == pixels(plain)
    upright = pixels(saved(kind, NOISE.transpose(Image.Transpose.ROTATE_270), **options))
    turned = np.frombuffer(pixels(saved(kind, exif=BROKEN_ENTRY, **options)), np.uint8).astype(int)
    assert np.abs(turned - np.frombuffer(upright, np.uint8)).mean() < 10
    assert np.abs(turned - np.frombuffer(pixels(plain), np.uint8)).mean() > 20


@pytest.mark.skipif("AVIF" not in FORMATS, reason="this Pillow reads no AVIF")
def test_exif_of_an_avif_that_cannot_be_read() -> None:
    plain, raw = saved("AVIF", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0"), b"MM\0*\0\0\0\x08\0\0"
    assert plain.count(raw) == 1
    assert pixels(plain.replace(raw, b"garbage!!!")) == pixels(plain)


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(body)) + body


SEGMENTS = {
    "profile-without-its-numbers": segment(0xE2, b"ICC_PROFILE\0"),
    "profile-of-which-parts-are-missing": segment(0xE2, b"ICC_PROFILE\0\2\5abc"),
    "profile-of-garbage": segment(0xE2, b"ICC_PROFILE\0\1\1" + 999 * b"a"),
    "short-adobe": segment(0xEE, b"Adobe"),
    "short-jfif": segment(0xE0, b"JFIF\0"),
    "previews-of-garbage": segment(0xE2, b"MPF\0garbage"),
    "previews-without-a-number": segment(0xE2, b"MPF\0MM\0*\0\0\0\x08\0\0" + bytes(4)),
    "photoshop": segment(0xED, b"Photoshop 3.0\x008BIM\3\xed\0\0\0\0\0\2aa"),
    "xmp": segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0\xff\xff<"),
    "comment": segment(0xFE, bytes(range(256))),
    "padding": 99 * b"\xff",
}


@pytest.mark.parametrize("name", SEGMENTS)
def test_side_segments_of_a_jpeg(name: str) -> None:
    whole = WHOLE["jpeg"]
    assert pixels(whole[:20] + SEGMENTS[name] + whole[20:]) == pixels(whole)


def chunk(kind: bytes, body: bytes, checksum: int | None = None) -> bytes:
    found = zlib.crc32(kind + body) if checksum is None else checksum
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", found)


CHUNKS = {
    "text-with-another-checksum": chunk(b"tEXt", b"k\0v", 0),
    "text-that-unpacks-to-much": chunk(b"iTXt", b"XML\0\1\0\0\0" + zlib.compress(bytes(2_000_000))),
    "much-text": 40 * chunk(b"tEXt", b"k\0" + 2_000_000 * b"v"),
    "text-packed-in-no-known-way": chunk(b"zTXt", b"k\0\7aaa"),
    "profile-that-unpacks-to-much": chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(2_000_000))),
    "profile-packed-in-no-known-way": chunk(b"iCCP", b"p\0\7aaa"),
    "profile-of-nothing": chunk(b"iCCP", b""),
    "profile-of-garbage": chunk(b"iCCP", b"p\0\0" + zlib.compress(500 * b"a")),
    "short-gamma": chunk(b"gAMA", b"a"),
    "short-density": chunk(b"pHYs", b"a"),
    "short-transparency": chunk(b"tRNS", b"a"),
    "short-animation": chunk(b"acTL", b"a"),
    "no-intent": chunk(b"sRGB", b""),
    "exif-with-another-checksum": chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\0", 7),
    "exif-of-garbage": chunk(b"eXIf", GARBAGE),
    "old-exif-of-garbage": chunk(b"tEXt", b"Raw profile type exif\0nonsense"),
    "of-no-known-kind": chunk(b"abCd", b"aaa", 7),
    "of-no-legal-kind": chunk(b"\xffbCd", b"aaa"),
}


@pytest.mark.parametrize("name", CHUNKS)
def test_side_chunks_of_a_png(name: str) -> None:
    whole = WHOLE["png"]
    assert pixels(whole[:33] + CHUNKS[name] + whole[33:]) == pixels(whole)
    assert pixels(whole[:-12] + CHUNKS[name] + whole[-12:]) == pixels(whole)


def test_what_says_how_a_png_looks_survives_what_is_damaged_beside_it() -> None:
    palette = Image.new("P", (48, 48), 1)
    palette.putpalette([0, 0, 0, 200, 10, 10])
    palette.paste(0, (24, 0, 48, 48))
    exif = Image.Exif()
    exif[274] = 6
    whole = saved("PNG", palette, transparency=0, exif=exif.tobytes())
    damaged = whole[:33] + CHUNKS["text-with-another-checksum"] + whole[33:]
    assert pixels(damaged) == pixels(whole)
    assert {255} < set(pixels(whole))


def test_side_chunks_of_a_webp() -> None:
    noted = saved("WEBP", exif=LYING.replace(b"\0\6\0\0", b"\0\1\0\0") + bytes(500), xmp=500 * b"x")
    for cut in (1, 100, 600):
        assert pixels(noted[:-cut]) == pixels(WHOLE["webp"])
    for length in (0, 2**31):
        assert pixels(WHOLE["webp"][:4] + struct.pack("<I", length) + WHOLE["webp"][8:]) == pixels(WHOLE["webp"])
    with pytest.raises(PhotoError, match="cut short"):
        pixels(WHOLE["webp"][:-100])


def with_tag(data: bytes, number: int, kind: int, count: int, value: int) -> bytes:
    """A little-endian TIFF with one more entry in its table."""
    (at,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, at)
    table = [data[at + 2 + 12 * n : at + 14 + 12 * n] for n in range(entries)]
    table = [entry for entry in table if struct.unpack_from("<H", entry)[0] != number]
    table = sorted([*table, struct.pack("<HHII", number, kind, count, value)], key=lambda entry: entry[1::-1])
    return (
        data[:4] + struct.pack("<I", len(data)) + data[8:] + struct.pack("<H", len(table)) + b"".join(table) + bytes(4)
    )


@pytest.mark.parametrize("name", ["tiff", "lzw"])
@pytest.mark.parametrize("number", [270, 271, 282, 296, 306, 700, 33723, 34665, 34675, 34853], ids=str)
def test_side_entries_of_a_tiff(name: str, number: int) -> None:
    """A text, a fraction beyond the end, an offset, a huge block, an unknown type, nothing, a float."""
    for kind, count, value in (
        (2, 3, 0x3237),
        (5, 1, 2**31),
        (4, 1, 8),
        (7, 2**30, 8),
        (99, 1, 1),
        (3, 0, 0),
        (12, 1, 9),
    ):
        assert pixels(with_tag(WHOLE[name], number, kind, count, value)) == pixels(WHOLE[name])


def test_a_tiff_is_turned_upright_whatever_else_its_table_says() -> None:
    lying = with_tag(with_tag(WHOLE["tiff"], 274, 3, 1, 6), 282, 2, 3, 0x3237)
    assert pixels(lying) == pixels(saved("TIFF", NOISE.transpose(Image.Transpose.ROTATE_270)))
    assert pixels(with_tag(lying, 270, 5, 1, 2**31)) == pixels(lying)


@pytest.mark.parametrize("name", ["jpeg", "progressive", "restarting", "grey", "cmyk", "png", "gif"])
def test_a_missing_end_costs_nothing_and_missing_pixels_do(name: str) -> None:
    whole = WHOLE[name]
    for marks in (1, 12 if name == "png" else 2):
        assert pixels(whole[:-marks]) == pixels(whole)
    for share in (0.3, 0.5, 0.7, 0.9, 0.97):
        for cut in range(3):
            part = whole[: int(share * len(whole)) + cut]
            with pytest.raises(PhotoError, match="cut short"):
                pixels(part)
            if name != "gif":  # of which zeros may be pixels
                with pytest.raises(PhotoError):
                    pixels(part + bytes(len(whole) - len(part)))


def test_a_jpeg_that_ends_between_two_scans_is_cut_short() -> None:
    whole = WHOLE["progressive"]
    last = whole.rindex(b"\xff\xc4", 0, whole.rindex(b"\xff\xda"))
    with pytest.raises(PhotoError, match="cut short"):
        pixels(whole[:last])


def test_zeros_where_the_end_of_a_jpeg_should_be() -> None:
    assert pixels(WHOLE["jpeg"][:-2] + bytes(3000)) == pixels(WHOLE["jpeg"])


def test_a_jpeg_of_endless_segments_is_refused() -> None:
    many = (MAX_SEGMENTS + 1) * segment(0xFE, b"\xff\xda")
    with pytest.raises(PhotoError, match="more than 10,000 segments"):
        pixels(WHOLE["jpeg"][:2] + many + WHOLE["jpeg"][2:])


@pytest.mark.parametrize("name", ["jpeg", "png", "webp", "tiff", "avif"])
def test_a_header_that_cannot_be_read_is_said(name: str) -> None:
    if name in WHOLE:
        with pytest.raises(PhotoError, match="damaged|cut short"):
            pixels(WHOLE[name][:30])
