"""Colour profiles: made by hand, and applied to photos of every mode; broken ones change nothing."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image
from pillow_heif import register_heif_opener

from facegan.data.crops import Crop
from facegan.data.decode import decode_face
from facegan.pictures.colours import MAX_PROFILE, to_srgb
from facegan.pictures.opening import FORMATS

register_heif_opener()

# The columns of sRGB's matrix to XYZ at D50, and its curve as parameters: ICC.1, and IEC 61966-2-1.
RED, GREEN, BLUE = (0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.7141)
SRGB_CURVE = b"para" + bytes(4) + struct.pack(">HH", 3, 0)
SRGB_CURVE += struct.pack(">5i", *(round(65536 * x) for x in (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)))
LINEAR = b"curv" + bytes(8)


def icc(space: bytes, device: bytes = b"mntr", connection: bytes = b"XYZ ", **tags: bytes) -> bytes:
    """An ICC profile of version 4 with these tags."""
    table, body = struct.pack(">I", len(tags)), b""
    for name, tag in tags.items():
        table += name.encode() + struct.pack(">II", 128 + 4 + 12 * len(tags) + len(body), len(tag))
        body += tag + bytes(-len(tag) % 4)
    head = struct.pack(">I4s4s4s4s4s", 128 + len(table + body), b"", b"\x04", device, space, connection)
    return head.ljust(36, b"\0") + b"acsp".ljust(92, b"\0") + table + body


def xyz(values: tuple[float, float, float]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(65536 * value) for value in values))


def matrix(red: tuple, green: tuple, blue: tuple, curve: bytes = SRGB_CURVE) -> bytes:
    colours = {"rXYZ": xyz(red), "gXYZ": xyz(green), "bXYZ": xyz(blue)}
    return icc(b"RGB ", wtpt=xyz((0.9642, 1, 0.8249)), **colours, rTRC=curve, gTRC=curve, bTRC=curve)


def ink() -> bytes:
    """A printer on which only black shows: its table has two steps for each ink, and black is the last of four."""
    identity = bytes(range(256))
    nodes = b"".join((b"\xff" if n % 2 == 0 else b"\0") + b"\x80\x80" for n in range(16))
    unit = struct.pack(">9i", *(65536 * (n % 4 == 0) for n in range(9)))
    table = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + unit + 4 * identity + nodes + 3 * identity
    return icc(b"CMYK", b"prtr", b"Lab ", wtpt=xyz((0.9642, 1, 0.8249)), A2B0=table)


SWAPPED = matrix(BLUE, GREEN, RED)
"""A screen whose red shines blue and whose blue shines red."""
SRGB = matrix(RED, GREEN, BLUE)
GREY = icc(b"GRAY", wtpt=xyz((0.9642, 1, 0.8249)), kTRC=LINEAR)
"""A scanner whose values are proportional to the light: its 128 is sRGB's 188."""


def colour(image: Image.Image, kind: str, profile: bytes, **options: object) -> np.ndarray:
    file = io.BytesIO()
    image.save(file, kind, icc_profile=profile, **options)
    pixels = np.frombuffer(decode_face(file.getvalue(), 32, Crop("square")).pixels, np.uint8).reshape(-1, 3)
    assert np.ptp(pixels.astype(int), axis=0).max() <= 2
    return pixels.mean(0)


def plain(mode: str, value: object) -> Image.Image:
    return Image.new(mode, (48, 48), value)


TAN = (200, 150, 60)
PHOTOS = {
    "jpeg": (plain("RGB", TAN), "JPEG", SWAPPED, TAN[::-1]),
    "png": (plain("RGB", TAN), "PNG", SWAPPED, TAN[::-1]),
    "webp": (plain("RGB", TAN), "WEBP", SWAPPED, TAN[::-1]),
    "tiff": (plain("RGB", TAN), "TIFF", SWAPPED, TAN[::-1]),
    "heic": (plain("RGB", TAN), "HEIF", SWAPPED, TAN[::-1]),
    **({"avif": (plain("RGB", TAN), "AVIF", SWAPPED, TAN[::-1])} if "AVIF" in FORMATS else {}),
    "palette": (plain("RGB", TAN).quantize(4), "PNG", SWAPPED, TAN[::-1]),
    "transparent": (plain("RGBA", (*TAN, 0)), "PNG", SWAPPED, (255, 255, 255)),
    "opaque": (plain("RGBA", (*TAN, 255)), "PNG", SWAPPED, TAN[::-1]),
    "grey": (plain("L", 128), "JPEG", GREY, (188, 188, 188)),
    "grey-and-alpha": (plain("LA", (128, 255)), "PNG", GREY, (188, 188, 188)),
    "grey-of-16-bits": (plain("I;16", 128 * 257), "PNG", GREY, (188, 188, 188)),
    "grey-of-a-screen": (plain("L", 128), "JPEG", SWAPPED, (128, 128, 128)),
    "two-colours": (plain("1", 1), "TIFF", GREY, (255, 255, 255)),
    "ink-that-shows": (plain("CMYK", (9, 9, 9, 255)), "TIFF", ink(), (0, 0, 0)),
    "ink-that-does-not": (plain("CMYK", (255, 0, 99, 0)), "JPEG", ink(), (255, 255, 255)),
}


@pytest.mark.parametrize("name", PHOTOS)
def test_profiles_are_applied_whatever_the_mode(name: str) -> None:
    image, kind, profile, expected = PHOTOS[name]
    assert np.abs(colour(image, kind, profile) - expected).max() <= 4


def test_srgb_in_its_own_words_changes_nothing() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8))
    assert to_srgb(image, SRGB).tobytes() == image.tobytes()
    assert to_srgb(image, SWAPPED).tobytes() != image.tobytes()


BROKEN = {
    "no-profile": b"a" * 500,
    "empty": b"",
    "a-number": 7,
    "cut": SWAPPED[:200],
    "no-curves": icc(b"RGB ", rXYZ=xyz(RED)),
    "of-ink": ink(),
    "of-grey": GREY,
    "of-a-link-between-devices": SWAPPED.replace(b"mntr", b"link"),
    "of-no-device": SWAPPED.replace(b"RGB ", b"HSV "),
    "with-elements-that-could-unpack-to-all-memory": icc(b"RGB ", D2B0=b"mpet" + bytes(60)),
    "huge": SWAPPED + bytes(MAX_PROFILE),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_profile_that_cannot_be_meant_is_ignored(name: str) -> None:
    image = plain("RGB", TAN)
    assert to_srgb(image, BROKEN[name]).tobytes() == image.tobytes()


def test_damaged_profiles_never_crash() -> None:
    rng, image = np.random.default_rng(0), plain("RGB", TAN)
    for n in range(200):
        raw = np.frombuffer((SWAPPED, SRGB)[n % 2], np.uint8).copy()
        raw[rng.integers(128, len(raw), 3)] = rng.integers(0, 256, 3, np.uint8)
        assert to_srgb(image, raw.tobytes()).mode == "RGB"


def test_lab() -> None:
    file = io.BytesIO()
    Image.merge("LAB", [plain("L", value) for value in (255, 128, 128)]).save(file, "TIFF")
    assert set(decode_face(file.getvalue(), 32, Crop("square")).pixels) <= {254, 255}
