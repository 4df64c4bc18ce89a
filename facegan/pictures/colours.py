"""Colour profiles: bring the colours of a camera, a screen or a printer to sRGB."""

from __future__ import annotations

import io
from functools import lru_cache
from itertools import chain, product
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

MAX_PROFILE = 4 << 20
"""Bytes; printers' profiles have two or three million. A longer one is ignored."""

_MODES = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}
_DEVICES = (b"scnr", b"mntr", b"prtr", b"spac")


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """The image in RGB, its colours brought to sRGB by its profile if there is one.

    A profile that is broken, or for another kind of image, is ignored, as browsers do.

    Args:
        image: in mode L, RGB, CMYK or LAB. A small one: photos are resized first, which is quicker and looks the same.
        profile: an ICC profile.
    """
    if image.mode == "LAB":
        return _from_lab(image)
    found = _transform(profile) if isinstance(profile, bytes) else None  # a TIFF may have a number there
    if found is not None:
        mode, transform = found
        if image.mode == mode or (mode == "RGB" and image.mode == "L"):
            return transform.apply(image.convert(mode))
    return image.convert("RGB")


@lru_cache(maxsize=16)  # photos of one camera share a profile
def _transform(profile: bytes) -> tuple[str, Any] | None:
    """The image mode that a profile is for, and the transform from its colours to sRGB.

    None if the profile is sRGB itself, cannot be used, or is not the profile of a device.
    """
    mode = _MODES.get(profile[16:20])
    known = profile[36:40] == b"acsp" and profile[12:16] in _DEVICES
    # Many elements of a chain ("mpet") may name the same large table: one megabyte could then fill all memory.
    if mode is None or not known or len(profile) > MAX_PROFILE or b"mpet" in profile:
        return None
    from PIL import ImageChops, ImageCms  # here, because few photos have a profile

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, ImportError, OSError, ValueError, TypeError):
        return None
    if mode != "CMYK":
        colours = _some_colours().convert(mode)
        change = ImageChops.difference(transform.apply(colours), colours.convert("RGB"))
        if max(change.tobytes()) <= 1:
            return None
    return mode, transform


def _some_colours() -> Image.Image:
    """A picture of 4,096 colours, evenly spread."""
    from PIL import Image

    return Image.frombytes("RGB", (64, 64), bytes(chain.from_iterable(product(range(0, 256, 17), repeat=3))))


def _from_lab(image: Image.Image) -> Image.Image:
    """Convert a picture in CIE L*a*b*, as some TIFFs are, to sRGB."""
    return _lab_transform().apply(image)


@lru_cache(maxsize=1)
def _lab_transform() -> Any:
    from PIL import ImageCms

    return ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
