"""What a run will need in time, memory and disk, found by doing its first steps."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from facegan.core.atomic import free_room
from facegan.core.quantities import duration
from facegan.core.quantities import size as in_bytes
from facegan.networks import count_parameters
from facegan.runs.loop import SHEET, total_images
from facegan.runs.memory import memory_watched
from facegan.runs.plan import Plan
from facegan.training.steps import steps_of
from facegan.training.trainer import Trainer

_WARM_UP, _TIMED = 1, 3


@dataclass(frozen=True)
class Estimate:
    """What a run will need: `seconds` of training alone, peak `memory` in bytes (None: not known), `disk` in bytes."""

    images: int
    images_per_second: float
    seconds: float
    memory: int | None
    disk: int

    def in_words(self) -> str:
        """One line for people."""
        memory = in_bytes(self.memory) if self.memory else "not known on this system"
        return (
            f"{self.images:,} images to go at {self.images_per_second:,.0f} images/s: about {duration(self.seconds)}; "
            f"memory {memory}; disk about {in_bytes(self.disk)}"
        )


def estimate(plan: Plan) -> Estimate:
    """Time a few cycles of the real step on the real data, and add up what the run will write. Nothing is written here.

    A cycle is n_critic critic updates and one of the generator. The figures are rough: a busy machine is slower.

    Raises:
        FaceganError: the batch does not fit the memory; the message names one that does.
    """
    with memory_watched(plan.trial, plan.world, going_on=plan.run is not None):
        return _measured(plan)


def _measured(plan: Plan) -> Estimate:
    trainer = plan.trainer()
    steps = steps_of(trainer, plan.dataset)
    batch, n_critic = plan.config.training.batch_size, plan.config.training.n_critic
    to_go = total_images(plan.config) - trainer.images_seen
    if plan.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(plan.device)
    for cycle in range(_WARM_UP + _TIMED):
        if cycle == _WARM_UP:
            started = time.perf_counter()
        for _ in range(n_critic):
            metrics = steps.step()
        float(metrics["critic_loss"])  # waits for the device
    rate = _TIMED * n_critic * batch / (time.perf_counter() - started)
    return Estimate(to_go, rate, to_go / rate, _peak_memory(plan.device), disk_needed(plan, trainer))


def _peak_memory(device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def disk_needed(plan: Plan, trainer: Trainer) -> int:
    """Bytes that the rest of the run will write and keep: checkpoints, sample grids, the generator."""
    output, to_go = plan.config.output, total_images(plan.config) - trainer.images_seen
    interval = output.checkpoint_every * len(plan.dataset)
    best = 1 if output.evaluate_every else 0
    kept = best + min(math.ceil(to_go / interval), output.keep) + int(to_go / (10 * interval))
    grids = math.ceil(to_go / (output.sample_every * len(plan.dataset)))
    generator, critic = (4 * count_parameters(network) for network in (trainer.generator, trainer.critic))
    checkpoint = 3 * (generator + critic) + (generator if trainer.average else 0)  # weights and Adam's two moments
    one_more = checkpoint + generator  # a new checkpoint is complete before an old one is deleted
    return kept * checkpoint + one_more + grids * SHEET * 3 * plan.config.networks.size**2


def disk_note(plan: Plan, trainer: Trainer, folder: Path) -> str:
    """A sentence if the disk of `folder` has less room than the run needs, else ""."""
    needed, free = disk_needed(plan, trainer), free_room(folder)
    if free is None or needed <= free:
        return ""
    return (
        f"the disk has {in_bytes(free)} free, and this run will need about {in_bytes(needed)}: when the disk is "
        "full, the run will stop with its last checkpoint intact; lower --keep or raise --checkpoint-every"
    )
