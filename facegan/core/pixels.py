"""Convert pixels, for all of facegan: bytes on the host become numbers from -1 to 1 on the device, and back."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Pixels = NDArray[np.uint8]
"""Images as they are shown and stored: uint8 (N, S, S, 3), or one of them."""


def to_images(pixels: Pixels, device: torch.device, mirrored: NDArray[np.bool_] | None = None) -> Tensor:
    """uint8 (B, S, S, 3) -> float32 (B, 3, S, S) in [-1, 1] on `device`, mirrored left to right where `mirrored`."""
    images = scaled(torch.from_numpy(pixels).to(device)).contiguous()
    if mirrored is None:
        return images
    from torchvision.transforms.v2.functional import horizontal_flip  # here only: it is slow to import

    mask = torch.from_numpy(mirrored).to(device).view(-1, 1, 1, 1)
    return torch.where(mask, horizontal_flip(images), images)


def scaled(pixels: Tensor) -> Tensor:
    """uint8 (B, S, S, 3) -> float32 (B, 3, S, S) in [-1, 1]; in memory the channels stay innermost."""
    return pixels.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def to_range(images: Tensor, low: float, high: float) -> Tensor:
    """Images in [-1, 1] -> the same in [low, high], the pixel range of a family of networks."""
    return images if (low, high) == (-1, 1) else (images + 1) * ((high - low) / 2) + low


def from_range(images: Tensor, low: float, high: float) -> Tensor:
    """The inverse of `to_range`."""
    return images if (low, high) == (-1, 1) else (images - low) * (2 / (high - low)) - 1


def to_pixels(images: Tensor) -> Pixels:
    """float (B, 3, S, S) in [-1, 1] -> uint8 (B, S, S, 3) on the host, rounded to the nearest."""
    scaled = images.detach().float().add(1).mul(127.5).round_().clamp_(0, 255)
    return scaled.to(torch.uint8).permute(0, 2, 3, 1).cpu().contiguous().numpy()
