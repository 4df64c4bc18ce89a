"""Open a stranger's picture: the bytes of its file in; all of its pixels out, upright and without transparency.

The steps are `reasons`, `whole`, `upright`, `flat`, `rounded`, and then `colours.to_srgb`. They are separate, so that a
caller can resize the picture between `flat` and `rounded`: that is exact, and leaves few pixels to `to_srgb`.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from PIL import Image, UnidentifiedImageError, features

from facegan.core.errors import one_line
from facegan.pictures.essential import breaks_off, endings, essential, max_area, scans

if TYPE_CHECKING:
    import numpy as np

# Only these formats are opened, whatever a file's name is: for some others Pillow would start a program, such as
# Ghostscript for EPS. They are tried in this order, so that plugins for rare formats are loaded only for such files. A
# TGA file has no mark of its own, so TGA comes last.
FORMATS = (
    *("JPEG", "PNG", "BMP", "DIB", "GIF", "PPM", "WEBP", "TIFF", "JPEG2000"),
    *(("AVIF",) if "avif" in features.modules else ()),
    "TGA",
)

# A picture with more pixels is refused by its header, before any memory is taken: 120 million pixels are 480 MB once
# decoded. Transparent and 16-bit pictures, and the decoders of some formats, need two to six times as much for a pixel,
# so their limit is lower. Thus no picture takes much more than a gigabyte.
MAX_PIXELS = 120_000_000
MAX_WIDE_PIXELS = 50_000_000

# Each scan of a progressive JPEG is a pass over the whole picture and takes a few bytes of the file. Encoders make ten.
MAX_SCANS = 100

# Transparent parts show what a browser would show.
BACKGROUND = (255, 255, 255, 255)

_INTEGER_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N")
_NARROW_MODES = ("1", "L", "P", "RGB", "CMYK", "YCbCr")
_ALPHA_MODES = ("RGBA", "RGBa", "LA", "La", "PA")
_GREY_MODES = ("1", "L", "LA", "La")
_WIDE_FORMATS = ("AVIF", "HEIF", "JPEG2000", "WEBP")
ANIMATED_FORMATS = ("GIF", "PNG", "WEBP", "AVIF")
"""Formats whose further pages are frames. In a camera's JPEG they are previews, in a TIFF they may be anything."""
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
"""What stands behind "ftyp" in the photos of telephones, among others: ISO/IEC 23008-12, annex B."""
_AVIF_BRANDS = (b"avif", b"avis")
_MARKS = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"RIFF", b"II*\0", b"MM\0*")

_ORIENTATION = 0x112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> the operation that turns the photo upright."""


class PhotoError(ValueError):
    """This photo cannot be used; the text is the reason in skipped.csv."""


_FINAL = (PhotoError, MemoryError, Image.DecompressionBombError)
"""Errors that remain whatever is left out of a photo's file."""


@contextmanager
def reasons(data: bytes) -> Iterator[None]:
    """Turn whatever goes wrong with the picture of these bytes into a PhotoError that says why.

    Raises:
        PhotoError: the reason. Nothing else, whatever the bytes are.
    """
    if not data:
        raise PhotoError("empty file")
    try:
        yield
    except PhotoError:
        raise
    except UnidentifiedImageError as error:
        if data[4:8] == b"ftyp" and data[8:12] not in _AVIF_BRANDS:
            raise PhotoError("HEIC, or another format that Pillow does not read: save it as JPEG") from error
        if data.startswith(_MARKS) or data[4:8] == b"ftyp":
            raise PhotoError("damaged: its header cannot be read") from error
        raise PhotoError("not a picture in any format that can be read") from error
    except Image.DecompressionBombError as error:
        raise PhotoError(f"more than {MAX_PIXELS:,} pixels") from error  # Pillow's own limit lies above
    except MemoryError as error:
        raise PhotoError("too large for the memory of this machine") from error
    except (EOFError, zlib.error) as error:
        raise PhotoError("damaged or cut short") from error
    except Exception as error:
        # Hostile bytes can make a decoder raise nearly any exception. All of them mean that the file is damaged.
        detail = " ".join(str(error).split())
        if "truncated" in detail.lower():
            raise PhotoError("cut short: the file ends before the picture does") from error
        raise PhotoError(f"damaged: {detail or type(error).__name__}") from error


def glance(data: bytes) -> tuple[Image.Image, bool]:
    """The picture opened but not decoded, and whether it is animated.

    Raises:
        Exception: see `reasons`.
    """
    try:
        return _opened(data)
    except _FINAL:
        raise
    except Exception:
        return _opened(essential(data))


def whole(data: bytes) -> tuple[Image.Image, bool]:
    """The photo, decoded, and whether it is animated. Damage beside the pixels does not matter; damaged pixels raise.

    Raises:
        Exception: see `reasons`.
    """
    try:
        return _loaded(data)
    except _FINAL:
        raise
    except Exception as error:
        reason = _alone(error)
    try:
        kept = essential(data)
    except (ValueError, IndexError, struct.error):
        raise reason from None
    if kept != data:
        try:
            return _loaded(kept)
        except _FINAL:
            raise
        except Exception as error:
            reason = _alone(error)
    completed = endings(kept)
    if completed is None:
        raise reason
    del data, kept
    try:
        digest = _digest(_loaded(completed[0])[0])
        photo, animated = _loaded(completed[1])
    except (OSError, EOFError, SyntaxError):
        raise reason from None
    if _digest(photo) != digest:
        raise reason
    return photo, animated


def _alone(error: Exception) -> Exception:
    """The exception without its traceback and its causes, which would keep the pixels in memory."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


def _loaded(data: bytes) -> tuple[Image.Image, bool]:
    photo, animated = _opened(data)
    if photo.format in ("JPEG", "MPO") and breaks_off(data):
        raise OSError("truncated")
    photo.load()
    return photo, animated


def _opened(data: bytes) -> tuple[Image.Image, bool]:
    """The picture, not decoded yet and within the limits, and whether it is animated."""
    photo = _open(data)
    wide = photo.mode not in _NARROW_MODES or "transparency" in photo.info or photo.format in _WIDE_FORMATS
    most = MAX_WIDE_PIXELS if wide else MAX_PIXELS
    if photo.width * photo.height > most:
        raise PhotoError(f"more than {most:,} pixels: {photo.width} x {photo.height}")
    if photo.format == "HEIF" and max_area(data) > MAX_WIDE_PIXELS:
        raise PhotoError(f"more than {MAX_WIDE_PIXELS:,} pixels before it is cropped")
    many = photo.format in ("JPEG", "MPO") and data.count(b"\xff\xda") > MAX_SCANS
    if many and scans(data, MAX_SCANS) > MAX_SCANS:
        raise PhotoError(f"a JPEG of more than {MAX_SCANS} scans")
    return photo, photo.format in ANIMATED_FORMATS and bool(getattr(photo, "is_animated", False))


def _digest(image: Image.Image) -> bytes:
    """A hash of all pixels, taken some rows at a time, because a copy of the largest photos has half a gigabyte."""
    found = hashlib.sha1(usedforsecurity=False)
    for top in range(0, image.height, 64):
        found.update(image.crop((0, top, image.width, min(top + 64, image.height))).tobytes())
    return found.digest()


def upright(photo: Image.Image) -> Image.Image:
    """The photo turned upright, as its EXIF says; unchanged if its EXIF cannot be read."""
    if photo.format == "JPEG" and "exif" not in photo.info and "xmp" not in photo.info:
        return photo  # looking for EXIF is slow
    method = None
    with suppress(Exception):  # damaged EXIF can raise nearly any exception
        method = _UPRIGHT.get(photo.getexif().get(_ORIENTATION, 1))
    return photo.transpose(method) if method is not None else photo


def _open(data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        if data[4:8] != b"ftyp" or data[8:12] not in _HEIF_BRANDS:
            raise
    try:
        from pillow_heif import register_heif_opener

        register_heif_opener(thumbnails=False)
    except ModuleNotFoundError:
        raise PhotoError('HEIC: pip install "facegan[heif]", or save it as JPEG') from None
    except Exception as error:  # a half-working installation raises anything
        raise PhotoError(
            f"HEIC, and pillow-heif is installed but does not work: {one_line(error)[:200]}; save it as JPEG, or "
            "pip install --force-reinstall --no-deps pillow-heif"
        ) from None
    return Image.open(io.BytesIO(data), formats=("HEIF",))


def flat(image: Image.Image) -> Image.Image:
    """The picture without palette, and on white where it is transparent: in mode L, RGB, CMYK or LAB.

    Greys of more than 8 bits are in mode F, 0 to 255: resize them first, then round them with `rounded`.
    """
    if image.mode in _INTEGER_MODES or image.mode == "F":
        import numpy as np  # here, because few photos need it and without it worker processes start in half the time

        return Image.fromarray(_to_unit_range(image) * np.float32(255))
    mode = "L" if image.mode in _GREY_MODES else image.mode if image.mode in ("CMYK", "LAB") else "RGB"
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema() != (255, 255):
            image = Image.alpha_composite(Image.new("RGBA", image.size, BACKGROUND), image)
    return image.convert(mode) if image.mode != mode else image


def rounded(image: Image.Image) -> Image.Image:
    """What `flat` returned, possibly resized, in 8 bits: mode F becomes L."""
    if image.mode != "F":
        return image
    import numpy as np

    return Image.fromarray(np.rint(np.asarray(image)).clip(0, 255).astype(np.uint8))  # Lanczos overshoots at edges


def _to_unit_range(image: Image.Image) -> np.ndarray:
    """The grey values of a 16-bit, 32-bit or float picture as float32 (H, W) in [0, 1].

    Integers: white is 65535, or 2^32 - 1 if any value is larger. Floats: white is the first of 1, 255 and 65535 that no
    value exceeds.
    """
    import numpy as np

    values = np.asarray(image).astype(np.float64)
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)) or low < 0:
        raise PhotoError("its values are negative or not numbers, so black and white are unknown")
    whites = (1.0, 255.0, 65535.0) if image.mode == "F" else (65535.0, 2.0**32 - 1)
    white = next((white for white in whites if high <= white), None)
    if white is None:
        raise PhotoError("its values exceed 65535, so white is unknown")
    return (values / white).astype(np.float32)
