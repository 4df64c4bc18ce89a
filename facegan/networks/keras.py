"""Generator and critic with Keras' conventions: the networks of the classic presets.

Keras' 'same' padding puts the odd pixel at the end; torch's symmetric padding cannot say so. For stride 2 and kernel k
the padding is k - 2 in all: (1, 2) for k = 5 and (0, 1) for k = 3. A transposed convolution is that convolution's
adjoint, so it crops by the same amounts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn

from facegan.config import KerasNetworks
from facegan.networks.init import glorot_uniform

_BATCH_NORM_EPS = 1e-3


class SameConv2d(nn.Conv2d):
    """Keras `Conv2D(strides=2, padding='same')`: (B, C, 2n, 2n) -> (B, C', n, n)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride=2)
        before = (kernel_size - 2) // 2
        after = kernel_size - 2 - before
        self.pad = (before, after, before, after)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, self.pad))


class SameConvTranspose2d(nn.ConvTranspose2d):
    """Keras `Conv2DTranspose(strides=2, padding='same')`, the adjoint of `SameConv2d`: (B, C, n, n) -> (B, C', 2n, 2n).

    Adjoint, so its weights are those of a convolution from C' to C channels.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        before = (kernel_size - 2) // 2
        super().__init__(in_channels, out_channels, kernel_size, stride=2, padding=before)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        # `padding` crops `before` at both ends; one more row and column goes at the far end.
        return super().forward(x)[..., : 2 * x.shape[-2], : 2 * x.shape[-1]]


class Generator(nn.Module):
    """Latents (B, latent_dim) -> images (B, 3, size, size) in the family's pixel range.

    Linear to the smallest map, then one transposed convolution per octave; batch norm and LeakyReLU after all but the
    last, which ends in sigmoid for (0, 1) pixels and in tanh for (-1, 1).
    """

    def __init__(self, config: KerasNetworks) -> None:
        super().__init__()
        widths, slope = config.generator_widths, config.slope
        self.base = (widths[0], config.size >> len(widths), config.size >> len(widths))
        units = int(np.prod(self.base))
        momentum = config.batch_norm_momentum
        self.project = nn.Sequential(
            nn.Linear(config.latent_dim, units),
            nn.BatchNorm1d(units, eps=_BATCH_NORM_EPS, momentum=momentum),
            nn.LeakyReLU(slope),
        )
        layers: list[nn.Module] = []
        for narrow, wide in zip(widths, (*widths[1:], 3), strict=True):
            last = len(layers) == 3 * (len(widths) - 1)
            layers.append(SameConvTranspose2d(narrow, wide, config.kernel_size))
            if not last:
                layers += [nn.BatchNorm2d(wide, eps=_BATCH_NORM_EPS, momentum=momentum), nn.LeakyReLU(slope)]
        layers.append(nn.Sigmoid() if config.unit_pixels else nn.Tanh())
        self.upsample = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        return self.upsample(self.project(z).unflatten(1, self.base))

    def initialise(self, rng: np.random.Generator) -> None:
        glorot_uniform(self, rng)


class Block(nn.Module):
    """Convolution, optional batch norm, LeakyReLU, optional dropout whose mask is given."""

    def __init__(self, in_channels: int, out_channels: int, config: KerasNetworks) -> None:
        super().__init__()
        self.conv = SameConv2d(in_channels, out_channels, config.kernel_size)
        self.norm = (
            nn.BatchNorm2d(out_channels, eps=_BATCH_NORM_EPS, momentum=config.batch_norm_momentum)
            if config.critic_batch_norm
            else nn.Identity()
        )
        self.activation = nn.LeakyReLU(config.slope)
        self.keep_scale = 1 / (1 - config.critic_dropout)

    def forward(self, x: Tensor, keep: Tensor | None) -> Tensor:
        x = self.activation(self.norm(self.conv(x)))
        return x if keep is None else x * keep.to(x.dtype).mul_(self.keep_scale)


class Critic(nn.Module):
    """Images (B, 3, size, size) in the family's pixel range -> scores (B,).

    With batch norm (`human-faces`) a score depends on its neighbours in the batch; without it on its image alone.
    """

    def __init__(self, config: KerasNetworks) -> None:
        super().__init__()
        widths = config.critic_widths
        self.blocks = nn.ModuleList(
            Block(narrow, wide, config) for narrow, wide in zip((3, *widths[:-1]), widths, strict=True)
        )
        side = config.size >> len(widths)
        self.score = nn.Linear(widths[-1] * side * side, 1)
        self.dropout = config.critic_dropout
        self.mask_shapes = (
            [(wide, config.size >> (i + 1), config.size >> (i + 1)) for i, wide in enumerate(widths)]
            if config.critic_dropout
            else []
        )
        """Shapes (C, H, W) of the dropout masks that `forward` wants per image while training."""

    def forward(self, x: Tensor, keep: Sequence[Tensor] | None = None) -> Tensor:
        """Args: keep: one bool mask (B, C, H, W) per block, True where a unit stays; None drops nothing."""
        for i, block in enumerate(self.blocks):
            x = block(x, keep[i] if keep else None)
        return self.score(x.flatten(1)).squeeze(1)

    def initialise(self, rng: np.random.Generator) -> None:
        glorot_uniform(self, rng)
