"""Crops: the box of each, and what is refused."""

from __future__ import annotations

import pytest

from facegan.core.errors import UsageError
from facegan.data import crops
from facegan.data.crops import Crop, CropError, parse_crop


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ("square", (0, 20, 178, 198)),
        ("none", (0, 0, 178, 218)),
        ("128", (25, 45, 153, 173)),
        ("1.0", (0, 20, 178, 198)),
        ("0.5", (44, 64, 133, 153)),
        ("human-faces", (25, 45, 153, 173)),
        ("mimicry", (0, 20, 178, 198)),
        ("nvae", (15, 40, 163, 188)),
        ("score_sde", (19, 39, 159, 179)),
        ("DCGAN", (35, 55, 143, 163)),
        ("compare-gan", (9, 29, 169, 189)),
    ],
)
def test_the_box_of_each_crop(text: str, box: crops.Box) -> None:
    assert parse_crop(text).box(178, 218) == box


def test_named_crops_scale_with_the_copy_and_refuse_other_shapes() -> None:
    nvae = parse_crop("nvae")
    assert nvae.box(89, 109) == (7.5, 20, 81.5, 94)
    assert nvae.box(64, 78)[3] == pytest.approx(188 * 78 / 218)  # 64 x 78.4, rounded by whoever made the copy
    for shape in ((178, 178), (218, 178), (1024, 1024), (89, 112)):
        with pytest.raises(CropError, match="CelebA"):
            nvae.box(*shape)


def test_crops_larger_than_the_photo_and_smaller_than_a_face() -> None:
    with pytest.raises(CropError, match="smaller than the crop of 128"):
        Crop("pixels", 128).box(200, 100)
    with pytest.raises(CropError, match="too small"):
        Crop("square").box(1, 1)


@pytest.mark.parametrize("text", ["1", "0", "-3", "1.5", "0.0", "nan", "inf", "faces", "", "²", "1e3"])
def test_what_is_no_crop(text: str) -> None:
    with pytest.raises(UsageError, match="--crop"):
        parse_crop(text)
