"""facegan's own networks, for every power of two from 32 to 256.

After DCGAN (Radford et al. 2016, arXiv:1511.06434): one stage per octave, widths doubling towards the 4x4 map. Two
things differ. The generator convolves at the small side and then enlarges bilinearly: a quarter of the work of the
usual order, and no checkerboard, which transposed convolutions leave (Odena et al. 2016, doi:10.23915/distill.00003).
And the critic has no norm at all, so that each image is scored alone, as the gradient penalty wants it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from facegan.config import DcganNetworks
from facegan.networks.init import he_normal, narrow_normal

_BASE = 4
"""Side of the smallest map."""
_FIRST_OCTAVE, _OCTAVE = 2, 4
"""Place of the generator's first octave among its layers, and layers of each: the last one is the ReLU."""
_LAYOUT = torch.channels_last
"""Channels innermost in memory: the step is 1.25 to 1.45 times as fast on two CPU cores."""


def stage_widths(size: int, width: int, max_width: int) -> list[int]:
    """Channels per stage from the largest map to the smallest: width·2^k, at most max_width."""
    octaves = (size // _BASE).bit_length() - 1
    return [min(width << k, max_width) for k in range(octaves)]


class Generator(nn.Module):
    """Latents (B, latent_dim) -> images (B, 3, size, size) in [-1, 1].

    Linear to the 4x4 map; per octave a 3x3 convolution, bilinear enlargement, batch norm and ReLU; a last 3x3
    convolution to RGB and tanh.

    With `self_modulation` the latent also has a say in every octave: between batch norm and ReLU each channel x becomes
    x·(1 + a(z)) + b(z), with linear a and b (Chen et al. 2019, arXiv:1810.01365, eq. 2, without their hidden layer).
    """

    def __init__(self, config: DcganNetworks) -> None:
        super().__init__()
        widths = stage_widths(config.size, config.width, config.max_width)[::-1]
        self.base = (widths[0], _BASE, _BASE)
        self.project = nn.Linear(config.latent_dim, int(np.prod(self.base)), bias=False)
        layers: list[nn.Module] = [nn.BatchNorm2d(widths[0]), nn.ReLU()]
        for wide, narrow in zip(widths, (*widths[1:], config.width), strict=True):
            layers += [
                nn.Conv2d(wide, narrow, 3, padding=1, bias=False),  # batch norm takes a bias away again
                nn.Upsample(scale_factor=2, mode="bilinear"),
                nn.BatchNorm2d(narrow),
                nn.ReLU(),
            ]
        self.stages = nn.Sequential(*layers)
        self.modulations = nn.ModuleList(
            nn.Linear(config.latent_dim, 2 * narrow, bias=False)  # batch norm's own scale and shift are the bias
            for narrow in ((*widths[1:], config.width) if config.self_modulation else ())
        )
        self.to_rgb = nn.Conv2d(config.width, 3, 3, padding=1)
        self.squash = nn.Tanh()
        self.to(memory_format=_LAYOUT)

    def forward(self, z: Tensor) -> Tensor:
        x = self.project(z).unflatten(1, self.base)
        if not self.modulations:
            return self.squash(self.to_rgb(self.stages(x)))
        x = self.stages[:_FIRST_OCTAVE](x)
        for first, modulation in zip(range(_FIRST_OCTAVE, len(self.stages), _OCTAVE), self.modulations, strict=True):
            scale, shift = modulation(z)[:, :, None, None].chunk(2, dim=1)
            x = self.stages[first : first + _OCTAVE - 1](x)
            x = self.stages[first + _OCTAVE - 1](torch.addcmul(shift, x, 1 + scale))
        return self.squash(self.to_rgb(x))

    def initialise(self, rng: np.random.Generator) -> None:
        narrow_normal(self, rng)


class Critic(nn.Module):
    """Images (B, 3, size, size) in [-1, 1] -> scores (B,), each image on its own: no batch statistics.

    Per octave a 4x4 convolution of stride 2 and LeakyReLU; then one linear layer.
    """

    mask_shapes: tuple[tuple[int, ...], ...] = ()

    def __init__(self, config: DcganNetworks) -> None:
        super().__init__()
        widths = stage_widths(config.size, config.critic_width, config.max_width)
        self.slope = config.slope
        layers: list[nn.Module] = []
        for narrow, wide in zip((3, *widths[:-1]), widths, strict=True):
            layers += [nn.Conv2d(narrow, wide, 4, stride=2, padding=1), nn.LeakyReLU(config.slope)]
        self.downsample = nn.Sequential(*layers)
        self.score = nn.Linear(widths[-1] * _BASE * _BASE, 1)
        self.to(memory_format=_LAYOUT)

    def layers(self) -> list[nn.Module]:
        """All layers in the order in which they act."""
        return [*self.downsample, self.score]

    def forward(self, x: Tensor) -> Tensor:
        return self.score(self.downsample(x).flatten(1)).squeeze(1)

    def initialise(self, rng: np.random.Generator) -> None:
        he_normal(self, rng, self.slope)
