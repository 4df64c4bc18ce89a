"""One photo: the bytes of a picture file in, its face as S x S x 3 bytes out."""

from __future__ import annotations

from typing import NamedTuple

from PIL import Image

from facegan.data.crops import Crop, CropError
from facegan.pictures.colours import to_srgb
from facegan.pictures.opening import PhotoError, flat, reasons, rounded, upright, whole

LANCZOS = Image.Resampling.LANCZOS


class Face(NamedTuple):
    """A decoded photo: `pixels` are S*S*3 bytes, RGB, row by row.

    `enlarged`: the crop had fewer pixels than S x S. `animated`: the file has more frames; this is its first.
    """

    pixels: bytes
    enlarged: bool
    animated: bool


def decode_face(data: bytes, size: int, crop: Crop) -> Face:
    """Decode, turn upright, crop, and resize with Pillow's antialiased Lanczos filter.

    Greys become RGB; 16-bit and float pictures are scaled to 0..255, never clipped; transparent ones are laid on white;
    of an animation the first frame is taken. Colour profiles are applied. Crop boxes refer to the upright photo. What
    is damaged beside the pixels costs nothing.

    Args:
        data: the file's bytes, in any format that Pillow reads.
        size: S, the side of the result.
        crop: what to keep.

    Raises:
        PhotoError: the reason why this photo cannot be used. Nothing else, whatever the bytes are.
    """
    with reasons(data):
        return _decode(data, size, crop)


def _decode(data: bytes, size: int, crop: Crop) -> Face:
    photo, animated = whole(data)
    profile = photo.info.get("icc_profile")
    photo = upright(photo)
    try:
        box = crop.box(photo.width, photo.height)
    except CropError as error:
        raise PhotoError(str(error)) from error
    enlarged = min(box[2] - box[0], box[3] - box[1]) < size
    small = flat(photo).resize((size, size), LANCZOS, box=box)
    return Face(to_srgb(rounded(small), profile).tobytes(), enlarged, animated)
