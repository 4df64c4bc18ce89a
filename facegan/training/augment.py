"""Differentiable augmentation: what the critic sees of photos and fakes alike, so that few photos last longer.

A critic that knows 300 photos by heart scores the photos, not faces, and the generator learns nothing more from it. If
it only ever sees photos and fakes through the same random changes, it has more than 300 pictures to know, and the
generator, which learns through the changes, still has to draw faces as they are: with each change left out of some of
the images, no other distribution of faces looks the same (Zhao et al. 2020, arXiv:2006.10738; Karras et al. 2020,
arXiv:2006.06676, section 2.2).
"""

from __future__ import annotations

import torch
from torch import Tensor

DRAWS = 10
"""Random numbers for each image: three that say which changes are made, and seven that say how."""
_FARTHEST = 1 / 8
"""Of the side: how far an image is moved, each way."""
_HOLE = 1 / 2
"""Of the side: that of the square which is cut out."""


def augment(images: Tensor, draws: Tensor, probability: float, pixel_range: tuple[float, float]) -> Tensor:
    """Change the colours of some images, move some, and cut a square out of some.

    Each of the three happens to an image with the given probability, whether or not the others do (Zhao et al. 2020,
    section 4, where all three always happen):

    - colours: brightness is shifted by up to a quarter of the pixel range, saturation multiplied by 0 to 2, contrast by
      0.5 to 1.5;
    - the image is moved by up to an eighth of its side, up or down and left or right, in whole pixels;
    - a square of half the side, with its centre anywhere on the image, is cut out.

    What was moved in or cut out is the middle of the pixel range.

    Args:
        images: (B, 3, S, S) in the pixel range.
        draws: (B, DRAWS), uniform in [0, 1). Given, never drawn here.
        probability: in [0, 1]; at 1 the generator may learn to draw the changes.
        pixel_range: lowest and highest value of a pixel.

    Returns:
        (B, 3, S, S), differentiable in the images. Values may leave the pixel range.
    """
    low, high = pixel_range
    recolours, moves, cuts = (draws[:, :3] < probability).unbind(1)
    shift, saturation, contrast, down, right, y, x = draws[:, 3:].unbind(1)
    images = images - (low + high) / 2
    recoloured = _recolour(images, (shift - 0.5) * ((high - low) / 2), 2 * saturation, 0.5 + contrast)
    images = torch.where(_by_image(recolours), recoloured, images)
    side = images.shape[-1]
    farthest = max(1, round(_FARTHEST * side))
    images = _move(images, *((((2 * farthest + 1) * d).long() - farthest) * moves for d in (down, right)))
    return images * ~(_square((y * side).long(), (x * side).long(), side) & _by_image(cuts)) + (low + high) / 2


def _by_image(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1)


def _recolour(images: Tensor, shift: Tensor, saturation: Tensor, contrast: Tensor) -> Tensor:
    """A shift, then distances from grey and from the mean multiplied; zero is the middle of the range."""
    images = images + _by_image(shift)
    grey = images.mean(1, keepdim=True)
    images = torch.lerp(grey, images, _by_image(saturation))
    mean = images.mean((1, 2, 3), keepdim=True)
    return torch.lerp(mean, images, _by_image(contrast))


def _move(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Each image moved by its own number of pixels; zeros come in."""
    side = images.shape[-1]
    places = torch.arange(side, device=images.device)
    rows, columns = places - down[:, None], places - right[:, None]
    inside = _within(rows, side)[:, None, :, None] & _within(columns, side)[:, None, None, :]
    images = images.gather(2, rows.clamp(0, side - 1)[:, None, :, None].expand_as(images))
    images = images.gather(3, columns.clamp(0, side - 1)[:, None, None, :].expand_as(images))
    return images * inside


def _within(places: Tensor, side: int) -> Tensor:
    return (places >= 0) & (places < side)


def _square(y: Tensor, x: Tensor, side: int) -> Tensor:
    """Where the square around (y, x) lies: bool (B, 1, side, side)."""
    half = _HOLE * side / 2
    places = torch.arange(side, device=y.device)
    rows, columns = ((places - centre[:, None] + 0.5).abs() < half for centre in (y, x))
    return rows[:, None, :, None] & columns[:, None, None, :]
