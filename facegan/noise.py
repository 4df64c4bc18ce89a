"""The noise of one training step, a function of (seed, step): drawn here, passed into the step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from facegan.config import Config
from facegan.streams import Stream, rng
from facegan.world import ALONE, World

Masks = list[Tensor]


@dataclass(frozen=True)
class StepNoise:
    """All that is random in a step, for a batch of B: this process's part of the global batch.

    Attributes:
        critic_latents: (B, latent_dim), for the fakes that the critic sees.
        mix: (B, 1, 1, 1), uniform in [0, 1): the shares of the mixed images.
        generator_latents: (B, latent_dim), for the generator's update; None where it has none of its own.
        keep: dropout masks of the critic's three passes (real, fake, mixed), bool (B, C, H, W) per block; empty
            where the critic has no dropout.
    """

    critic_latents: Tensor
    mix: Tensor
    generator_latents: Tensor | None
    keep: tuple[Masks, ...]


def ends_cycle(config: Config, step: int) -> bool:
    """Whether step number `step` (from 0) also updates the generator: every n_critic-th does."""
    return (step + 1) % config.training.n_critic == 0


def draw_noise(
    config: Config, step: int, mask_shapes: Sequence[tuple[int, ...]], device: torch.device, world: World = ALONE
) -> StepNoise:
    """The noise of step number `step` (from 0), the same whatever was drawn before.

    It is drawn for the global batch, and each process of `world` takes its rows: their number changes nothing.
    """
    batch, latent_dim, seed = config.training.batch_size, config.networks.latent_dim, config.seed
    mine = world.part(batch)

    def normal(stream: Stream) -> Tensor:
        drawn = rng(seed, stream, step).standard_normal((batch, latent_dim), np.float32)
        return torch.from_numpy(drawn[mine]).to(device)

    own_latents = config.training.update == "alternating" and ends_cycle(config, step)
    return StepNoise(
        critic_latents=normal(Stream.CRITIC_LATENT),
        mix=torch.from_numpy(rng(seed, Stream.MIX, step).random((batch, 1, 1, 1), np.float32)[mine]).to(device),
        generator_latents=normal(Stream.GENERATOR_LATENT) if own_latents else None,
        keep=_keep_masks(config, step, mask_shapes, device, mine),
    )


def _keep_masks(
    config: Config, step: int, shapes: Sequence[tuple[int, ...]], device: torch.device, mine: slice
) -> tuple[Masks, ...]:
    """Masks from random bytes, one byte per unit: a unit stays where its byte is at least 256·dropout.

    Exact for rates that are multiples of 1/256, and several times cheaper than drawing floats.
    """
    if not shapes:
        return ()
    batch = config.training.batch_size
    threshold = round(256 * getattr(config.networks, "critic_dropout", 0.0))
    generator = rng(config.seed, Stream.DROPOUT, step)

    def mask(shape: tuple[int, ...]) -> Tensor:
        size = batch * int(np.prod(shape))
        raw = np.frombuffer(generator.bytes(size), np.uint8)
        return torch.from_numpy(raw.reshape(batch, *shape)[mine] >= threshold).to(device)

    return tuple([mask(shape) for shape in shapes] for _ in range(3))
