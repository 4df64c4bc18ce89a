"""How unlike two pictures of a face are: the loss of projection and tuning, and a figure for people."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from facegan.core.pixels import Pixels

_COARSEST = 8
"""Side of the smallest pictures that are compared, in pixels."""
_CENTRE = 0.0, 0.15
"""Where faces that are aligned as in CelebA have their middle; the picture reaches from -1 to 1."""
_AXES = 0.55, 0.7
"""Half-axes of the ellipse around the face in which `face_error` counts."""


def unlikeness(drawn: Tensor, wanted: Tensor) -> Tensor:
    """How unlike each picture is the one that is wanted: (B,), 0 if they are equal.

    With d = drawn - wanted, P^k d its averages over squares of 2^k pixels down to 8 x 8 of them, and the weights a over
    the head and b over the inner face:

        sum_k mean(a |P^k d|) / 2  +  mean(b |d|)  +  2 mean(b (|d/dx d| + |d/dy d|))

    The averages bring shapes and colours together from afar. Differences of neighbours bring eyes and mouth, by which
    people are recognised: with them, the descriptors of a face-recognition network are a fifth nearer.

    Args:
        drawn, wanted: (B, 3, S, S) in [-1, 1].
    """
    d = drawn - wanted
    head, inner = _weights(d.shape[-1], d.device)
    across, down = d[..., 1:] - d[..., :-1], d[..., 1:, :] - d[..., :-1, :]
    loss = _mean(inner * d.abs())
    loss = loss + 2 * (_mean(inner[..., 1:] * across.abs()) + _mean(inner[..., 1:, :] * down.abs()))
    while True:
        loss = loss + _mean(head * d.abs()) / 2
        if d.shape[-1] <= _COARSEST:
            return loss
        d, head = F.avg_pool2d(d, 2), F.avg_pool2d(head, 2)


def difference(drawn: Tensor, wanted: Tensor) -> Tensor:
    """How far pictures are apart as wholes, background included: (B,), mean |d| summed over the same averages."""
    d = drawn - wanted
    loss = _mean(d.abs())
    while d.shape[-1] > _COARSEST:
        d = F.avg_pool2d(d, 2)
        loss = loss + _mean(d.abs())
    return loss


def face_error(drawn: Pixels, wanted: Pixels) -> NDArray[np.float64]:
    """The mean difference of pixels over the face, as a part of their range: (N,), from 0 to 1.

    Args:
        drawn, wanted: uint8 (N, S, S, 3).
    """
    x, y = _grid(drawn.shape[1])
    inside = ((((x - _CENTRE[0]) / _AXES[0]) ** 2 + ((y - _CENTRE[1]) / _AXES[1]) ** 2) < 1).numpy()
    apart = np.abs(drawn.astype(np.float64) - wanted) / 255
    return np.asarray(apart[:, inside].mean((1, 2)))


def _mean(x: Tensor) -> Tensor:
    return x.mean((1, 2, 3))


def _grid(side: int) -> tuple[Tensor, Tensor]:
    middles = (torch.arange(side) + 0.5) * (2 / side) - 1
    return middles[None, :].expand(side, side), middles[:, None].expand(side, side)


@lru_cache(maxsize=4)
def _weights(side: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The weights of the head and of the inner face, (1, 1, S, S) each."""
    x, y = (axis.to(device) for axis in _grid(side))
    y = y - _CENTRE[1]
    head = 0.25 + torch.exp(-((x / 0.5) ** 2) - (y / 0.6) ** 2)
    inner = 0.05 + torch.exp(-(((x / 0.42) ** 2 + (y / 0.5) ** 2) ** 2))
    return head[None, None], inner[None, None]
