"""A run's steps, whose images and noise come from the host, or on a CUDA device from captured graphs.

Images and noise are functions of (seed, step) alone, so a run that is stopped anywhere goes on with the same numbers.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from facegan.core.pixels import to_images
from facegan.data.dataset import Batches, flip_mask
from facegan.training.cuda_graphs import DeviceSteps
from facegan.training.noise import StepNoise, draw_noise
from facegan.training.trainer import Metrics, Trainer


class Steps(Protocol):
    """A run's steps, one after the other.

    Attributes:
        uncaptured: why the steps are not captured although they should be, in words; else None.
    """

    uncaptured: str | None

    def step(self) -> Metrics:
        """Do the trainer's next step and return its metrics. The step after it may overwrite them: read them before."""


def steps_of(trainer: Trainer, dataset: Batches) -> Steps:
    """The fastest way to take a trainer's steps over a dataset on the trainer's device."""
    return DeviceSteps(trainer, dataset) if trainer.device.type == "cuda" else HostSteps(trainer, dataset)


def step_inputs(trainer: Trainer, dataset: Batches) -> tuple[Tensor, StepNoise]:
    """Images and noise of the trainer's next step, drawn on the host: this process's part of the global batch."""
    config, step, batch = trainer.config, trainer.step_number, trainer.config.training.batch_size
    mine = trainer.world.part(batch)
    pixels = dataset.batch(trainer.images_seen + mine.start, mine.stop - mine.start)
    mirrored = flip_mask(config.seed, step, batch, trainer.rollbacks)[mine] if config.training.flip else None
    shapes: list[tuple[int, ...]] = trainer.critic.mask_shapes  # type: ignore[assignment]
    noise = draw_noise(config, step, shapes, trainer.device, trainer.world, trainer.rollbacks)
    return to_images(pixels, trainer.device, mirrored), noise


class HostSteps:
    """Steps whose images and noise come from the host."""

    uncaptured: str | None = None

    def __init__(self, trainer: Trainer, dataset: Batches) -> None:
        self.trainer, self.dataset = trainer, dataset

    def step(self) -> Metrics:
        return self.trainer.step(*step_inputs(self.trainer, self.dataset))
