"""Generator and latents in, uint8 pictures out, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from facegan.config import Networks
from facegan.dataset import Pixels, to_pixels
from facegan.latents import Latents

_PIXELS_PER_BATCH = 64 * 64 * 64
"""64 faces of 64 px at a time: enough to keep the hardware busy, little enough for any machine."""


@torch.no_grad()
def batches(generator: nn.Module, networks: Networks, latents: Latents) -> Iterator[Pixels]:
    """Faces of `latents` (N, latent_dim), a few at a time: uint8 (n, size, size, 3).

    Computed in float32 with the generator in eval mode, which is restored afterwards. A face depends on its latent
    alone; another batch size or device changes it by at most the last bit or two of a pixel.
    """
    low, high = networks.pixel_range
    step = max(1, _PIXELS_PER_BATCH // networks.size**2)
    device = next(generator.parameters()).device
    was_training = generator.training
    generator.eval()
    try:
        for start in range(0, len(latents), step):
            z = torch.from_numpy(np.ascontiguousarray(latents[start : start + step])).to(device)
            yield to_pixels((generator(z) - low) * (2 / (high - low)) - 1)
    finally:
        generator.train(was_training)


def draw_faces(generator: nn.Module, networks: Networks, latents: Latents) -> Pixels:
    """All faces of `latents` at once: uint8 (N, size, size, 3)."""
    return np.concatenate(list(batches(generator, networks, latents)))
