"""The noise of one training step, a function of (seed, step): drawn here, passed into the step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from facegan.config import Config
from facegan.core.random_streams import Stream, rng
from facegan.core.world import ALONE, World
from facegan.training.augment import DRAWS

Masks = list[Tensor]


@dataclass(frozen=True)
class StepNoise:
    """All that is random in a step. B is the number of images in this process's part of the global batch.

    Attributes:
        critic_latents: (B, latent_dim), for the fakes that the critic sees.
        mix: (B, 1, 1, 1), uniform in [0, 1): the shares of the mixed images.
        generator_latents: (B, latent_dim), for the generator's update; None where the step has none, or
            uses the critic's latents for it.
        keep: dropout masks of the critic's three passes (real, fake, mixed), bool (B, C, H, W) per block; empty
            where the critic has no dropout.
        augment: (3, B, DRAWS), the draws of `augment.augment` for the real images, the critic's fakes and the
            generator's fakes; None without augmentation.
        updates_generator: whether this step ends a cycle and so updates the generator, even without latents for it.
    """

    critic_latents: Tensor
    mix: Tensor
    generator_latents: Tensor | None
    keep: tuple[Masks, ...]
    augment: Tensor | None
    updates_generator: bool


def ends_cycle(config: Config, step: int) -> bool:
    """Whether step number `step` (from 0) also updates the generator: every n_critic-th does."""
    return (step + 1) % config.training.n_critic == 0


def draw_noise(
    config: Config,
    step: int,
    mask_shapes: Sequence[tuple[int, ...]],
    device: torch.device,
    world: World = ALONE,
    rollbacks: int = 0,
) -> StepNoise:
    """Draw the noise of step number `step` (from 0). It does not depend on earlier draws; a rollback changes it.

    It is drawn for the global batch, and each process of `world` takes its rows, so the number of processes changes
    nothing.
    """
    batch, latent_dim, seed = config.training.batch_size, config.networks.latent_dim, config.seed
    mine = world.part(batch)

    def normal(stream: Stream) -> Tensor:
        drawn = rng(seed, stream, step, rollbacks).standard_normal((batch, latent_dim), np.float32)
        return torch.from_numpy(drawn[mine]).to(device)

    def changes() -> Tensor:
        drawn = rng(seed, Stream.AUGMENT, step, rollbacks).random((3, batch, DRAWS), np.float32)
        return torch.from_numpy(drawn[:, mine]).to(device)

    mix = rng(seed, Stream.MIX, step, rollbacks).random((batch, 1, 1, 1), np.float32)
    own_latents = config.training.update == "alternating" and ends_cycle(config, step)
    return StepNoise(
        critic_latents=normal(Stream.CRITIC_LATENT),
        mix=torch.from_numpy(mix[mine]).to(device),
        generator_latents=normal(Stream.GENERATOR_LATENT) if own_latents else None,
        keep=_keep_masks(config, rng(seed, Stream.DROPOUT, step, rollbacks), mask_shapes, device, mine),
        augment=changes() if config.training.augment else None,
        updates_generator=ends_cycle(config, step),
    )


def draw_noise_on_device(
    config: Config,
    updates_generator: bool,
    mask_shapes: Sequence[tuple[int, ...]],
    generator: torch.Generator,
    world: World = ALONE,
) -> tuple[StepNoise, Tensor | None]:
    """Draw the same kinds of noise on the device, so that nothing is copied there; `generator` is seeded for the step.

    Returns:
        The noise, and which images are mirrored: bool (B,), None where the configuration mirrors none.
    """
    batch, latent_dim, training = config.training.batch_size, config.networks.latent_dim, config.training
    mine, device = world.part(batch), generator.device
    threshold = _threshold(config)

    def normal() -> Tensor:
        return torch.randn(batch, latent_dim, generator=generator, device=device)[mine]

    def mask(shape: tuple[int, ...]) -> Tensor:
        raw = torch.randint(256, (batch, *shape), dtype=torch.uint8, generator=generator, device=device)
        return raw[mine] >= threshold

    mirrored = torch.rand(batch, generator=generator, device=device)[mine] < 0.5 if training.flip else None
    noise = StepNoise(
        critic_latents=normal(),
        mix=torch.rand(batch, 1, 1, 1, generator=generator, device=device)[mine],
        generator_latents=normal() if training.update == "alternating" and updates_generator else None,
        keep=tuple([mask(shape) for shape in mask_shapes] for _ in range(3)) if mask_shapes else (),
        augment=torch.rand(3, batch, DRAWS, generator=generator, device=device)[:, mine] if training.augment else None,
        updates_generator=updates_generator,
    )
    return noise, mirrored


def _threshold(config: Config) -> int:
    return round(256 * getattr(config.networks, "critic_dropout", 0.0))


def _keep_masks(
    config: Config, generator: np.random.Generator, shapes: Sequence[tuple[int, ...]], device: torch.device, mine: slice
) -> tuple[Masks, ...]:
    """Draw dropout masks from random bytes, one byte per unit: a unit stays if its byte is at least 256·dropout.

    This is exact for rates that are multiples of 1/256, and several times cheaper than drawing floats.
    """
    if not shapes:
        return ()
    batch = config.training.batch_size
    threshold = _threshold(config)

    def mask(shape: tuple[int, ...]) -> Tensor:
        size = batch * int(np.prod(shape))
        raw = np.frombuffer(generator.bytes(size), np.uint8)
        return torch.from_numpy(raw.reshape(batch, *shape)[mine] >= threshold).to(device)

    return tuple([mask(shape) for shape in shapes] for _ in range(3))
