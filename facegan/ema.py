"""Averaged generator weights: the generator to sample from, steadier than the one that is being trained."""

from __future__ import annotations

import copy

import torch
from torch import nn


class AveragedGenerator:
    """An exponential moving average of a generator's weights, its speed given in images seen.

    average <- average + (1 - d)·(weights - average), d = 2^(-batch/H), H = min(half_life, images_seen/20)
    (Karras et al. 2020, arXiv:1912.04958, appendix B, with the ramp-up of their published training code): early on the
    average forgets quickly, so that it is not held back by weights that were noise.

    Batch norm's running statistics are copied from the live generator, not averaged: they are averages already.

    Args:
        generator: the live generator; copied, then followed by `update`.
        half_life: H in images, > 0.
    """

    def __init__(self, generator: nn.Module, half_life: int) -> None:
        self.module = copy.deepcopy(generator).eval().requires_grad_(False)
        self.half_life = half_life

    @torch.no_grad()
    def update(self, generator: nn.Module, images_seen: int, batch_size: int) -> None:
        """One step of the average after the live generator has moved; `images_seen` counts this step."""
        half_life = min(self.half_life, images_seen / 20)
        weight = 1 - 0.5 ** (batch_size / half_life)
        torch._foreach_lerp_(list(self.module.parameters()), list(generator.parameters()), weight)
        for ours, live in zip(self.module.buffers(), generator.buffers(), strict=True):
            ours.copy_(live)
