"""Differentiable augmentation: random changes to all images that the critic sees, so that few photos last longer.

A critic that has memorised 300 photos recognises the photos instead of judging faces, and the generator learns nothing
more from it. If photos and fakes reach the critic only after the same kinds of random changes, it has many more
pictures to memorise. The generator learns through the changes, and it still has to draw unchanged faces: as each change
is left out of some of the images, no other distribution of faces looks the same to the critic (Zhao et al. 2020,
arXiv:2006.10738; Karras et al. 2020, arXiv:2006.06676, section 2.2).
"""

from __future__ import annotations

import torch
from torch import Tensor

DRAWS = 10
"""Random numbers for each image: three that say which changes are made, and seven that say how."""
_FARTHEST = 1 / 8
"""How far an image is moved at most, in each direction, as a share of its side."""
_HOLE = 1 / 2
"""The side of the square that is cut out, as a share of the image's side."""
ORDERED = 0.85
"""The share of pairs in which the critic may score the photo higher than the fake; beyond it, `auto` changes more."""
RISE = 100_000
"""Images seen in which the probability of `auto` rises from 0 to 1 if all pairs are in order."""


def adapted(probability: Tensor, ordered: Tensor, batch: int) -> Tensor:
    """The probability for the next step of a run with `--augment auto`, given how well the critic does in this one.

    p <- min(1, max(0, p + batch/RISE·(ordered - ORDERED)/(1 - ORDERED)))

    This is adaptive discriminator augmentation (Karras et al. 2020, arXiv:2006.06676, section 3), whose heuristic r_t,
    the mean sign of the critic's scores of photos, needs scores with a meaningful zero. In these objectives only
    differences of scores mean something, so here the sign is that of the difference to a fake's score.

    Args:
        probability: scalar in [0, 1].
        ordered: scalar, from `losses.ordered`, of the global batch.
        batch: images in the global batch.
    """
    return (probability + (batch / RISE) * (ordered - ORDERED) / (1 - ORDERED)).clamp(0, 1)


def augment(images: Tensor, draws: Tensor, probability: Tensor | float, pixel_range: tuple[float, float]) -> Tensor:
    """Change the colours of some images, move some, and cut a square out of some.

    Each of the three is done to an image with the given probability, independently of the others (in Zhao et al. 2020,
    section 4, all three are always done):

    - colours: brightness is shifted by up to a quarter of the pixel range, saturation multiplied by 0 to 2, contrast by
      0.5 to 1.5;
    - the image is moved by up to an eighth of its side, up or down and left or right, in whole pixels;
    - a square of half the side, with its centre anywhere on the image, is cut out.

    Pixels that are moved in or cut out get the value in the middle of the pixel range.

    Args:
        images: (B, 3, S, S) in the pixel range.
        draws: (B, DRAWS), uniform in [0, 1). Given, never drawn here.
        probability: scalar in [0, 1]; at 1 the generator may learn to draw the changes.
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
    """Add the shift, then scale the distances from grey and from the mean; zero is the middle of the pixel range."""
    images = images + _by_image(shift)
    grey = images.mean(1, keepdim=True)
    images = torch.lerp(grey, images, _by_image(saturation))
    mean = images.mean((1, 2, 3), keepdim=True)
    return torch.lerp(mean, images, _by_image(contrast))


def _move(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Move each image by its own number of pixels; zeros fill the gap."""
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
    """The mask of each image's square around (y, x): bool (B, 1, side, side), true inside."""
    half = _HOLE * side / 2
    places = torch.arange(side, device=y.device)
    rows, columns = ((places - centre[:, None] + 0.5).abs() < half for centre in (y, x))
    return rows[:, None, :, None] & columns[:, None, None, :]
