"""Averaged generator weights: the generator to sample from, steadier than the one that is being trained."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class AveragedGenerator:
    """An exponential moving average of a generator's weights, whose half-life is given in images seen.

    average <- average + (1 - d)·(weights - average), d = 2^(-batch/H), H = min(half_life, images_seen/20)
    (Karras et al. 2020, arXiv:1912.04958, appendix B, with the ramp-up of their published training code): early on the
    average forgets quickly, so that the first weights, which are noise, do not hold it back.

    Batch norm's running statistics are copied from the live generator, not averaged: they are averages already.

    Args:
        generator: the live generator; it is copied, and `aim` and `follow` then make the copy follow it.
        half_life: H in images, > 0.
    """

    def __init__(self, generator: nn.Module, half_life: int) -> None:
        self.module = copy.deepcopy(generator).eval().requires_grad_(False)
        self.half_life = half_life
        self.weight = torch.zeros((), device=next(generator.parameters()).device)
        """How far the next step moves the average, 1 - d. It is on the device, where a captured step reads it."""

    def aim(self, images_seen: int, batch_size: int) -> None:
        """Set the weight of the next step; `images_seen` counts that step's images."""
        half_life = min(self.half_life, images_seen / 20)
        self.weight.fill_(1 - 0.5 ** (batch_size / half_life))

    @torch.no_grad()
    def follow(self, generator: nn.Module) -> None:
        """Move the average by one step, after the live generator was updated."""
        ours: list[Tensor] = list(self.module.parameters())
        theirs: list[Tensor] = list(generator.parameters())
        way = list(torch._foreach_sub(theirs, ours))
        torch._foreach_mul_(way, self.weight)
        torch._foreach_add_(ours, way)
        for buffer, live in zip(self.module.buffers(), generator.buffers(), strict=True):
            buffer.copy_(live)
