"""facegan's own networks, for every power of two from 32 to 256.

They follow DCGAN (Radford et al. 2016, arXiv:1511.06434): one stage per octave, with widths that double towards the 4x4
map. Two things differ. The generator convolves at the smaller size and then enlarges bilinearly: this takes a quarter
of the work of the usual order, and leaves no checkerboard, as transposed convolutions do (Odena et al. 2016,
doi:10.23915/distill.00003). And the critic has no norm at all, so that each image is scored alone, which the gradient
penalty requires.
"""

from __future__ import annotations

from itertools import repeat

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facegan.config import DcganNetworks
from facegan.networks.initial_weights import he_normal, narrow_normal

_BASE = 4
"""Side of the smallest map."""
_LAYOUT = torch.channels_last
"""Channels innermost in memory: the step is 1.25 to 1.45 times as fast on two CPU cores."""


def stage_widths(size: int, width: int, max_width: int) -> list[int]:
    """Channels per stage from the largest map to the smallest: width·2^k, at most max_width."""
    octaves = (size // _BASE).bit_length() - 1
    return [min(width << k, max_width) for k in range(octaves)]


def generator_widths(config: DcganNetworks) -> list[int]:
    """Channels of the generator's maps, from 4x4 to full size."""
    widths = stage_widths(config.size, config.width, config.max_width)[::-1]
    return [*widths, max(1, config.width // 2) if config.taper else config.width]


class _ModulatedNorm(nn.Module):
    """Batch norm. With self-modulation, each channel x then becomes x·(1 + a(z)) + b(z), where a and b are linear.

    Self-modulation: Chen et al. 2019, arXiv:1810.01365, eq. 2, without their hidden layer.
    """

    def __init__(self, channels: int, config: DcganNetworks) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.modulation = (
            nn.Linear(config.latent_dim, 2 * channels, bias=False)  # batch norm's own scale and shift are the bias
            if config.self_modulation
            else None
        )

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        x = self.norm(x)
        if self.modulation is None:
            return x
        scale, shift = self.modulation(z)[:, :, None, None].chunk(2, dim=1)
        return torch.addcmul(shift, x, 1 + scale)


class _Residual(nn.Module):
    """x -> ReLU(x + gain·norm(convolution(x))). The gain begins at zero, where the block does nothing.

    A block that begins as the identity does not slow the start (Goyal et al. 2017, arXiv:1706.02677, section 5.1;
    Zhang et al. 2019, arXiv:1901.09321).
    """

    def __init__(self, channels: int, config: DcganNetworks) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = _ModulatedNorm(channels, config)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        return F.relu(x + self.gain * self.norm(self.convolution(x), z))


class _Octave(nn.Module):
    """Twice as many pixels on a side: convolution, bilinear enlargement, norm, ReLU; then `depth` residual blocks."""

    def __init__(self, wide: int, narrow: int, depth: int, config: DcganNetworks) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(wide, narrow, 3, padding=1, bias=False)  # batch norm would remove a bias
        self.enlarge = nn.Upsample(scale_factor=2, mode="bilinear")
        self.norm = _ModulatedNorm(narrow, config)
        self.residuals = nn.ModuleList(_Residual(narrow, config) for _ in range(depth))

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        x = F.relu(self.norm(self.enlarge(self.convolution(x)), z))
        for residual in self.residuals:
            x = residual(x, z)
        return x


class Generator(nn.Module):
    """Latents (B, latent_dim) -> images (B, 3, size, size) in [-1, 1].

    Linear to the 4x4 map; octave after octave; a last 3x3 convolution to RGB and tanh. The last octave has no residual
    blocks: at full size they would cost more than anywhere else.

    With self-modulation a face may have one latent for the 4x4 map and one for each octave, side by side: (B,
    latent_rows * latent_dim). Training never does that; projected photos do (`editing.project`).
    """

    def __init__(self, config: DcganNetworks) -> None:
        super().__init__()
        widths = generator_widths(config)
        self.base = (widths[0], _BASE, _BASE)
        self.project = nn.Linear(config.latent_dim, int(np.prod(self.base)), bias=False)
        self.base_norm = nn.BatchNorm2d(widths[0])
        depths = [*[config.depth] * (len(widths) - 2), 0]
        self.octaves = nn.ModuleList(map(_Octave, widths, widths[1:], depths, repeat(config)))
        self.to_rgb = nn.Conv2d(widths[-1], 3, 3, padding=1)
        self.to(memory_format=_LAYOUT)

    def forward(self, z: Tensor) -> Tensor:
        wide = z.shape[1] > self.project.in_features
        rows = z.split(self.project.in_features, dim=1) if wide else [z] * (1 + len(self.octaves))
        x = F.relu(self.base_norm(self.project(rows[0]).unflatten(1, self.base)))
        for octave, row in zip(self.octaves, rows[1:], strict=True):
            x = octave(x, row)
        return self.to_rgb(x).tanh()

    def latent_layers(self) -> list[tuple[int, nn.Linear]]:
        """All layers that see the latent, each with the row that it sees."""
        found = [(0, self.project)]
        for row, octave in enumerate(self.octaves, 1):
            norms = [module for module in octave.modules() if isinstance(module, _ModulatedNorm)]
            found += [(row, norm.modulation) for norm in norms if norm.modulation is not None]
        return found

    def initialise(self, rng: np.random.Generator) -> None:
        narrow_normal(self, rng)


class CriticResidual(nn.Module):
    """x -> x + gain·LeakyReLU(convolution(x)). The gain begins at zero, where the block does nothing.

    It is piecewise linear, which the written-out critic step needs: there is no norm, and nothing follows the sum.
    """

    def __init__(self, channels: int, slope: float) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, channels, 3, padding=1)
        self.activation = nn.LeakyReLU(slope)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.gain * self.activation(self.convolution(x))


class Critic(nn.Module):
    """Images (B, 3, size, size) in [-1, 1] -> scores (B,), each image on its own: no batch statistics.

    Per octave a 4x4 convolution of stride 2, LeakyReLU, and `critic_depth` residual blocks; then one linear layer.
    """

    mask_shapes: tuple[tuple[int, ...], ...] = ()

    def __init__(self, config: DcganNetworks) -> None:
        super().__init__()
        widths = stage_widths(config.size, config.critic_width, config.max_width)
        self.slope = config.slope
        layers: list[nn.Module] = []
        for narrow, wide in zip((3, *widths[:-1]), widths, strict=True):
            layers += [nn.Conv2d(narrow, wide, 4, stride=2, padding=1), nn.LeakyReLU(config.slope)]
            layers += [CriticResidual(wide, config.slope) for _ in range(config.critic_depth)]
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
