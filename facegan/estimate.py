"""What a run will need, found by doing its first steps: time, memory and disk."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass

import torch

from facegan.fit import memory_watched
from facegan.launch import Plan
from facegan.loop import total_images
from facegan.quantities import duration
from facegan.quantities import size as in_bytes
from facegan.stepping import steps_of

_WARM_UP, _TIMED = 1, 3


@dataclass(frozen=True)
class Estimate:
    """Attributes: seconds: of training alone; memory: peak bytes, None where the system does not say; disk: bytes."""

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
    """Time a few cycles of the real step on the real data, and add up what will be written. Writes nothing.

    A cycle is n_critic critic updates and one of the generator. The figures are rough: a busy machine is slower.

    Raises:
        FaceganError: the batch does not fit the memory; it names one that does.
    """
    with memory_watched(plan.config, plan.device, plan.world, going_on=plan.run is not None):
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
    return Estimate(to_go, rate, to_go / rate, _peak_memory(plan.device), _disk(plan, trainer.state(), to_go))


def _peak_memory(device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _disk(plan: Plan, state: dict[str, object], to_go: int) -> int:
    output, interval = plan.config.output, plan.config.output.checkpoint_every * len(plan.dataset)
    kept = min(math.ceil(to_go / interval), output.keep) + int(to_go / (10 * interval))
    grids = math.ceil(to_go / (output.sample_every * len(plan.dataset)))
    return kept * _tensor_bytes(state) + grids * 25 * 3 * plan.config.networks.size**2


def _tensor_bytes(node: object) -> int:
    if isinstance(node, torch.Tensor):
        return node.numel() * node.element_size()
    if isinstance(node, dict):
        return sum(map(_tensor_bytes, node.values()))
    return 0
