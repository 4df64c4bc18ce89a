"""facegan's own networks, for every power of two from 32 to 256.

After DCGAN (Radford et al. 2016, arXiv:1511.06434): one stage per octave, widths doubling towards the 4x4 map.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from facegan.config import DcganNetworks
from facegan.networks.init import normal

_BASE = 4
"""Side of the smallest map."""


def stage_widths(config: DcganNetworks) -> list[int]:
    """Channels per stage from the largest map to the smallest: width·2^k, at most max_width."""
    octaves = (config.size // _BASE).bit_length() - 1
    return [min(config.width << k, config.max_width) for k in range(octaves)]


class Generator(nn.Module):
    """Latents (B, latent_dim) -> images (B, 3, size, size) in [-1, 1]."""

    def __init__(self, config: DcganNetworks) -> None:
        super().__init__()
        widths = stage_widths(config)[::-1]
        self.base = (widths[0], _BASE, _BASE)
        self.project = nn.Linear(config.latent_dim, int(np.prod(self.base)))
        layers: list[nn.Module] = [nn.BatchNorm2d(widths[0]), nn.LeakyReLU(config.slope)]
        for wide, narrow in zip(widths, (*widths[1:], 3), strict=True):
            layers += [nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(wide, narrow, 3, padding=1)]
            if narrow != 3:
                layers += [nn.BatchNorm2d(narrow), nn.LeakyReLU(config.slope)]
        layers.append(nn.Tanh())
        self.upsample = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        return self.upsample(self.project(z).unflatten(1, self.base))

    def initialise(self, rng: np.random.Generator) -> None:
        normal(self, rng, gain=2**0.5)


class Critic(nn.Module):
    """Images (B, 3, size, size) in [-1, 1] -> scores (B,), each image on its own: no batch statistics."""

    mask_shapes: tuple[tuple[int, ...], ...] = ()

    def __init__(self, config: DcganNetworks) -> None:
        super().__init__()
        widths = stage_widths(config)
        layers: list[nn.Module] = []
        for narrow, wide in zip((3, *widths[:-1]), widths, strict=True):
            layers += [nn.Conv2d(narrow, wide, 4, stride=2, padding=1), nn.LeakyReLU(config.slope)]
        self.downsample = nn.Sequential(*layers)
        self.score = nn.Linear(widths[-1] * _BASE * _BASE, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.score(self.downsample(x).flatten(1)).squeeze(1)

    def initialise(self, rng: np.random.Generator) -> None:
        normal(self, rng, gain=2**0.5)
