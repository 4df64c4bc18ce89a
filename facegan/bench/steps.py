"""Timing the training step: the textbook's, facegan's, and the convolutions that bound both."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from facegan.bench.rounds import SHORTEST
from facegan.bench.textbook import Textbook, torch_noise
from facegan.config import Config
from facegan.core.device import keep_memory, use_tf32
from facegan.core.pixels import to_images
from facegan.data.dataset import Batches, NoiseImages
from facegan.training.cuda_graphs import DeviceSteps
from facegan.training.noise import StepNoise, ends_cycle
from facegan.training.steps import step_inputs
from facegan.training.trainer import Trainer


def wait(device: torch.device) -> None:
    """Wait until the device has finished its work; needed before a clock is read."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


class Stepper(Protocol):
    """One way to train: a step's inputs, and the step itself. `uncaptured` is as in `training.steps.Steps`."""

    def inputs(self, step: int) -> tuple[Any, ...]: ...

    @property
    def update(self) -> Callable[..., object]: ...

    @property
    def uncaptured(self) -> str | None: ...


class TextbookStepper:
    """The textbook step, with images and noise as a reader would make them."""

    uncaptured: str | None = None

    def __init__(self, config: Config, device: torch.device, images: Batches, *, sparing: bool) -> None:
        self._textbook = Textbook(config, device, sparing=sparing)
        self._images = images
        self.update: Callable[..., object] = self._textbook.step

    def inputs(self, step: int) -> tuple[Tensor, StepNoise]:
        config, device = self._textbook.config, self._textbook.device
        pixels = self._images.batch(step * config.training.batch_size, config.training.batch_size)
        noise = torch_noise(config, self._textbook.critic, device, generator=ends_cycle(config, step))
        return to_images(pixels, device), noise


class FaceganStepper:
    """What `facegan train` does in a step."""

    def __init__(self, config: Config, device: torch.device, images: Batches, *, precision: str) -> None:
        self._trainer = Trainer(config.override({"training.precision": precision}), device)
        self._images = images
        self._on_device = DeviceSteps(self._trainer, images) if device.type == "cuda" else None
        self.update: Callable[..., object] = self._on_device.step if self._on_device else self._trainer.step

    @property
    def uncaptured(self) -> str | None:
        return self._on_device.uncaptured if self._on_device else None

    def inputs(self, step: int) -> tuple[Any, ...]:
        self._trainer.images_seen = step * self._trainer.config.training.batch_size
        if self._on_device:
            return ()
        return step_inputs(self._trainer, self._images)


@dataclass(frozen=True)
class Variant:
    """A row of the table: its name, its precision, whether freed memory is kept, and how its stepper is made."""

    name: str
    precision: str
    keeps: bool
    make: Callable[[Config, torch.device, Batches], Stepper]


TEXTBOOK = Variant("textbook", "fp32", False, lambda *args: TextbookStepper(*args, sparing=False))
VARIANTS = (
    TEXTBOOK,
    Variant("textbook, no sweep", "fp32", False, lambda *args: TextbookStepper(*args, sparing=True)),
    Variant("textbook, memory kept", "fp32", True, lambda *args: TextbookStepper(*args, sparing=False)),
    Variant("facegan", "fp32", True, lambda *args: FaceganStepper(*args, precision="fp32")),
    Variant("facegan", "bf16", True, lambda *args: FaceganStepper(*args, precision="bf16")),
)


@dataclass(frozen=True)
class StepRound:
    """One round of whole cycles.

    Attributes:
        images_per_second: real images; the time includes noise and the conversion of the images.
        critic, generator: images per second of each update alone; None where every step does both.
        inputs: share of the time that went into images and noise.
    """

    images_per_second: float
    critic: float | None
    generator: float | None
    inputs: float


class StepTask:
    """Whole cycles of one variant: n_critic critic updates and one of the generator."""

    def __init__(self, variant: Variant, config: Config, device: torch.device) -> None:
        self.variant, self.config, self.device = variant, config, device
        self.rounds: list[StepRound] = []
        images = NoiseImages(8 * config.training.batch_size, config.networks.size)
        self._stepper = variant.make(config, device, images)
        self._next = config.training.n_critic - 1  # the warm-up begins at a cycle's last step, which has both updates
        self._cycles = 1

    @property
    def uncaptured(self) -> str | None:
        return self._stepper.uncaptured

    def warm_up(self) -> float:
        n_critic = self.config.training.n_critic
        self._set_process()
        if self.device.type == "cuda":  # the first of each kind captures a graph, which takes many times longer
            for _ in range(min(n_critic, 2)):
                self._timed_step()
            self._next = 2 * n_critic - 1
        _, both = self._timed_step()
        critic_only = self._timed_step()[1] if n_critic > 1 else 0.0
        self._next = 3 * n_critic
        cycle = (n_critic - 1) * critic_only + both
        self._cycles = math.ceil(SHORTEST / cycle)
        return cycle * self._cycles

    def measure(self) -> None:
        n_critic, batch = self.config.training.n_critic, self.config.training.batch_size
        self._set_process()
        if self.variant.keeps:
            self._timed_step()  # not timed: takes again the memory that other variants gave back
            self._next += n_critic - 1
        timed = [self._timed_step() for _ in range(self._cycles * n_critic)]
        inputs, steps = (sum(part) for part in zip(*timed, strict=True))
        critic = generator = None
        if n_critic > 1:
            alone = statistics.median(took for n, (_, took) in enumerate(timed, start=1) if n % n_critic)
            both = statistics.median(took for _, took in timed[n_critic - 1 :: n_critic])
            critic = batch / alone
            generator = batch / (both - alone) if both > alone else None
        self.rounds.append(StepRound(len(timed) * batch / steps, critic, generator, inputs / steps))

    def _set_process(self) -> None:
        use_tf32(self.variant.precision != "fp32")
        keep_memory(self.variant.keeps)

    def _timed_step(self) -> tuple[float, float]:
        """Seconds of the next step: until its inputs were there, and in all."""
        started = time.perf_counter()
        inputs = self._stepper.inputs(self._next)
        ready = time.perf_counter()
        self._stepper.update(*inputs)
        wait(self.device)
        self._next += 1
        return ready - started, time.perf_counter() - started


_PEAK_LAYERS = ((64, 128, 32), (128, 256, 16), (256, 512, 8))
"""Channels in and out, and the side of the maps: 5x5 convolutions of stride 2 as in the networks, equal in work."""
_PEAK_BATCH, _KERNEL = 64, 5


class PeakTask:
    """The best that this machine's convolutions reach: GFLOP/s of the fastest of several, in either memory format."""

    def __init__(self, precision: str, device: torch.device) -> None:
        self.precision, self.device = precision, device
        self.rounds: list[float] = []
        self._repeat: list[int] = []
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        self._operands = [
            tuple(t.to(device, dtype, memory_format=layout) for t in _layer(*layer))
            for layer in _PEAK_LAYERS
            for layout in (torch.contiguous_format, torch.channels_last)
        ]

    def warm_up(self) -> float:
        use_tf32(self.precision != "fp32")
        for pair in self._operands:
            self._seconds(pair, 1)
        self._repeat = [math.ceil(SHORTEST / 5 / self._seconds(pair, 1)) for pair in self._operands]
        return len(self._operands) * SHORTEST / 5

    def measure(self) -> None:
        use_tf32(self.precision != "fp32")
        best = max(
            _flops(weight, images) * count / self._seconds((images, weight), count)
            for (images, weight), count in zip(self._operands, self._repeat, strict=True)
        )
        self.rounds.append(best / 1e9)

    @torch.no_grad()
    def _seconds(self, pair: tuple[Tensor, ...], count: int) -> float:
        images, weight = pair
        wait(self.device)
        started = time.perf_counter()
        for _ in range(count):
            F.conv2d(images, weight, stride=2, padding=_KERNEL // 2)
        wait(self.device)
        return time.perf_counter() - started


def _layer(inputs: int, outputs: int, side: int) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(0)
    shapes = (_PEAK_BATCH, inputs, side, side), (outputs, inputs, _KERNEL, _KERNEL)
    images, weight = (torch.from_numpy(rng.standard_normal(shape, np.float32)) for shape in shapes)
    return images, weight


def _flops(weight: Tensor, images: Tensor) -> int:
    """Operations of one convolution, two per multiply-add; the map that comes out has half the side."""
    return 2 * weight.numel() * len(images) * (images.shape[2] // 2) * (images.shape[3] // 2)
