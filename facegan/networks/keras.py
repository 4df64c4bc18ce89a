"""Generator and critic with Keras' conventions: the networks of the classic presets.

Keras' 'same' padding puts the odd pixel at the end. For stride 2 and kernel k the padding is k - 2 in all: (1, 2) for
k = 5 and (0, 1) for k = 3. torch pads both ends alike; any other padding would need a copy of every map into a larger
one. So the networks work on pictures turned by 180 degrees, where the odd pixel comes first. There torch's symmetric
padding of (k - 1)/2 gives the same numbers, because the last row and column that it adds are never reached. Pictures
are turned before the critic's first layer and after the generator's last. All kernels are those of Keras, turned by 180
degrees. A transposed convolution is the adjoint and crops by the same amounts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facegan.config import KerasNetworks
from facegan.networks.initial_weights import glorot_uniform
from facegan.networks.subpixel import transposed_convolution

_BATCH_NORM_EPS = 1e-3
_TINY_MAP = 2
"""Maps of this side or less are computed as one matrix product on a CPU.

They have few pixels and many weights, so this is three times as fast as a convolution.
"""


class Turn(nn.Module):
    """Turn pictures (B, C, H, W) by 180 degrees."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flip(-2, -1)


class HalvingConv2d(nn.Conv2d):
    """Keras `Conv2D(strides=2, padding='same')` on turned maps: (B, C, 2n, 2n) -> (B, C', n, n)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride=2, padding=(kernel_size - 1) // 2)

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu" and x.shape[-1] <= 2 * _TINY_MAP:
            return self._as_product(x)
        return super().forward(x)

    def _as_product(self, x: Tensor) -> Tensor:
        side = x.shape[-1] // 2
        columns = F.unfold(x, self.kernel_size, padding=(self.kernel_size[0] - 1) // 2, stride=2)
        rows = F.linear(columns.transpose(1, 2).flatten(0, 1), self.weight.flatten(1), self.bias)
        return rows.view(len(x), side, side, -1).permute(0, 3, 1, 2).contiguous()


class DoublingConv2d(nn.ConvTranspose2d):
    """Keras `Conv2DTranspose(strides=2, padding='same')` on turned maps: (B, C, n, n) -> (B, C', 2n, 2n).

    The adjoint of `HalvingConv2d`, so its weights are those of a convolution from C' to C channels.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        before = (kernel_size - 1) // 2
        super().__init__(in_channels, out_channels, kernel_size, stride=2, padding=before, output_padding=1)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        if self.out_channels > 3 or torch.jit.is_tracing():  # an exported graph has the layer as it is
            return super().forward(x)
        assert self.bias is not None
        return transposed_convolution(x, self.weight, (self.kernel_size[0] - 1) // 2) + self.bias.view(-1, 1, 1)


def _layout(config: KerasNetworks) -> torch.memory_format:
    """The faster memory layout: channels innermost if the critic has no norm, torch's plain layout with batch norm."""
    return torch.contiguous_format if config.critic_batch_norm else torch.channels_last


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
            layers.append(DoublingConv2d(narrow, wide, config.kernel_size))
            if not last:
                layers += [nn.BatchNorm2d(wide, eps=_BATCH_NORM_EPS, momentum=momentum), nn.LeakyReLU(slope)]
        layers += [nn.Sigmoid() if config.unit_pixels else nn.Tanh(), Turn()]
        self.stages = nn.Sequential(*layers)
        self.to(memory_format=_layout(config))

    def forward(self, z: Tensor) -> Tensor:
        return self.stages(self.project(z).unflatten(1, self.base))

    def latent_layers(self) -> list[tuple[int, nn.Linear]]:
        """The one layer that sees the latent, with its row."""
        return [(0, self.project[0])]  # type: ignore[list-item]

    def initialise(self, rng: np.random.Generator) -> None:
        glorot_uniform(self, rng)


class Block(nn.Module):
    """Convolution, optional batch norm, LeakyReLU, optional dropout whose mask is given."""

    def __init__(self, in_channels: int, out_channels: int, config: KerasNetworks) -> None:
        super().__init__()
        self.conv = HalvingConv2d(in_channels, out_channels, config.kernel_size)
        self.norm: nn.Module | None = None
        if config.critic_batch_norm:
            self.norm = nn.BatchNorm2d(out_channels, eps=_BATCH_NORM_EPS, momentum=config.batch_norm_momentum)
        self.activation = nn.LeakyReLU(config.slope)
        self.keep_scale = 1 / (1 - config.critic_dropout)

    def forward(self, x: Tensor, keep: Tensor | None) -> Tensor:
        x = self.conv(x)
        x = self.activation(x if self.norm is None else self.norm(x))
        return x if keep is None else x * keep.to(x.dtype).mul_(self.keep_scale)


class Critic(nn.Module):
    """Images (B, 3, size, size) in the family's pixel range -> scores (B,).

    With batch norm (`human-faces`) a score depends on the other images of the batch too; without, on its image alone.
    """

    def __init__(self, config: KerasNetworks) -> None:
        super().__init__()
        widths = config.critic_widths
        self.turn = Turn()
        self.octaves = nn.ModuleList(
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
        self.to(memory_format=_layout(config))

    def layers(self) -> list[nn.Module]:
        """All layers in the order in which they act."""
        return [self.turn, *(layer for block in self.octaves for layer in block.children()), self.score]

    def forward(self, x: Tensor, keep: Sequence[Tensor] | None = None) -> Tensor:
        """Score images; `keep` is one bool mask (B, C, H, W) per block, True where a unit stays; None drops nothing."""
        x = self.turn(x)
        for i, block in enumerate(self.octaves):
            x = block(x, keep[i] if keep else None)
        return self.score(x.flatten(1)).squeeze(1)

    def initialise(self, rng: np.random.Generator) -> None:
        glorot_uniform(self, rng)
