"""Decoding: every kind of picture there is, and bytes that are none."""

from __future__ import annotations

import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pillow_heif import register_heif_opener

from facegan.data.crops import Crop, parse_crop
from facegan.data.decode import decode_face
from facegan.pictures.opening import PhotoError

RESAMPLE = Image.Resampling.LANCZOS
register_heif_opener()


def gradient(width: int = 178, height: int = 218) -> Image.Image:
    """A picture in which no two places look alike."""
    y, x = np.mgrid[0:height, 0:width]
    pixels = np.stack([x * 255 // max(width - 1, 1), y * 255 // max(height - 1, 1), (x * y) % 256], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8))


def face(path: Path, size: int = 32, crop: str = "square") -> np.ndarray:
    pixels = decode_face(path.read_bytes(), size, parse_crop(crop)).pixels
    return np.frombuffer(pixels, np.uint8).reshape(size, size, 3).astype(int)


def expected(image: Image.Image, size: int = 32) -> np.ndarray:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    box = (left, top, left + side, top + side)
    return np.asarray(image.convert("RGB").resize((size, size), RESAMPLE, box=box)).astype(int)


@pytest.mark.parametrize("suffix", ["png", "bmp", "ppm", "tif", "tga"])
def test_pixels_are_those_of_pillows_lanczos(tmp_path: Path, suffix: str) -> None:
    gradient().save(tmp_path / f"a.{suffix}")
    assert np.array_equal(face(tmp_path / f"a.{suffix}"), expected(gradient()))


def test_sixteen_bits_and_floats_are_scaled_not_clipped(tmp_path: Path) -> None:
    grey = np.linspace(0, 65535, 64 * 64).reshape(64, 64)
    Image.fromarray(grey.astype(np.uint16)).save(tmp_path / "16.png")
    Image.fromarray((grey / 65535).astype(np.float32)).save(tmp_path / "unit.tif")
    Image.fromarray((grey / 257).astype(np.float32)).save(tmp_path / "byte.tif")
    Image.fromarray((grey * 65000).astype(np.int64).clip(0, 2**31 - 1).astype(np.int32)).save(tmp_path / "32.tif")
    want = expected(Image.fromarray((grey / 257).round().astype(np.uint8)))
    for name in ("16.png", "unit.tif", "byte.tif"):
        assert np.abs(face(tmp_path / name) - want).max() <= 1, name
    assert np.all(np.diff(face(tmp_path / "32.tif")[::4, 0, 0]) >= 0)
    Image.fromarray(np.full((16, 16), -1, np.float32)).save(tmp_path / "negative.tif")
    with pytest.raises(PhotoError, match="negative"):
        face(tmp_path / "negative.tif")


def test_sixteen_bits_of_colour(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    lines = b"".join(b"\0" + struct.pack(">3H", 257 * 200, 257 * 100, 257 * 50) * 16 for _ in range(16))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 16, 16, 2, 0, 0, 0))
    png = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(png)
    assert np.all(face(tmp_path / "a.png") == (200, 100, 50))


def test_transparent_parts_become_white(tmp_path: Path) -> None:
    half = gradient(64, 64).convert("RGBA")
    half.paste((0, 0, 0, 0), (32, 0, 64, 64))
    half.save(tmp_path / "rgba.png")
    half.convert("LA").save(tmp_path / "la.png")
    palette = Image.new("P", (64, 64), 1)
    palette.putpalette([0, 0, 0, 200, 10, 10])
    palette.paste(0, (32, 0, 64, 64))
    palette.save(tmp_path / "palette.png", transparency=0)
    palette.save(tmp_path / "palette.gif", transparency=0)
    for name in ("rgba.png", "la.png", "palette.png", "palette.gif"):
        assert np.all(face(tmp_path / name)[:, 20:] == 255), name
        assert not np.any(np.all(face(tmp_path / name)[:, :12] == 255, axis=-1)), name


def test_cmyk_grey_and_two_colours(tmp_path: Path) -> None:
    gradient().convert("CMYK").save(tmp_path / "cmyk.jpg", quality=100, subsampling=0)
    gradient().convert("L").save(tmp_path / "grey.png")
    gradient().convert("1").save(tmp_path / "bilevel.png")
    assert np.abs(face(tmp_path / "cmyk.jpg") - expected(gradient())).mean() < 2
    assert np.array_equal(face(tmp_path / "grey.png"), expected(gradient().convert("L")))
    assert face(tmp_path / "bilevel.png").shape == (32, 32, 3)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_photos_are_turned_upright_before_the_crop(tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x112] = 6  # the camera lay on its side: turn it clockwise by a quarter
    lying = gradient().transpose(Image.Transpose.ROTATE_90)
    lying.save(tmp_path / f"a.{suffix}", exif=exif, lossless=True, quality=100)
    assert (
        np.abs(
            face(tmp_path / f"a.{suffix}", crop="nvae")
            - np.asarray(gradient().resize((32, 32), RESAMPLE, box=(15, 40, 163, 188)))
        ).mean()
        < 3
    )


def test_heic_needs_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gradient().save(tmp_path / "a.heic")
    assert np.abs(face(tmp_path / "a.heic") - expected(gradient())).mean() < 3
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(PhotoError, match=r'^HEIC: pip install "facegan\[heif\]", or save it as JPEG'):
        face(tmp_path / "a.heic")


@pytest.mark.parametrize("suffix", ["gif", "png", "webp"])
def test_of_an_animation_the_first_frame(tmp_path: Path, suffix: str) -> None:
    first, later = Image.new("RGB", (16, 16), (0, 0, 255)), Image.new("RGB", (16, 16), (255, 0, 0))
    first.save(tmp_path / f"a.{suffix}", save_all=True, append_images=[later, first], lossless=True)
    decoded = decode_face((tmp_path / f"a.{suffix}").read_bytes(), 32, Crop("square"))
    assert decoded.animated
    assert np.all(np.frombuffer(decoded.pixels, np.uint8).reshape(-1, 3) == (0, 0, 255))


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("seed", range(45))
def test_no_bytes_crash_the_decoder(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    suffix = ("jpg", "png", "gif", "webp", "tif", "bmp", "ppm", "tga", "heic")[seed % 9]
    gradient(40, 40).save(tmp_path / f"a.{suffix}")
    data = bytearray((tmp_path / f"a.{suffix}").read_bytes())
    for at in rng.integers(0, min(len(data), 400), 6):
        data[at] = rng.integers(256)
    try:
        assert len(decode_face(bytes(data), 32, Crop("square")).pixels) == 32 * 32 * 3
    except PhotoError as error:
        assert str(error)
