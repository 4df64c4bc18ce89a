"""A step's pixels, noise and updates on the device, recorded once as CUDA graphs and replayed."""

from __future__ import annotations

import warnings
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from facegan.core.errors import FaceganError, first_line
from facegan.core.pixels import scaled
from facegan.core.random_streams import Stream, rng
from facegan.data.dataset import Batches
from facegan.training.noise import draw_noise_on_device, ends_cycle
from facegan.training.trainer import Metrics, Trainer

_WARM_UP = 3
"""Steps before a capture, as torch requires: in them, libraries choose algorithms and allocate workspaces."""
_CHUNK = 4096
"""Images that are copied to the device at a time."""
_SHARE = 0.5
"""The share of the device's free memory that a dataset may take at most; a larger one stays on the host."""


class DeviceSteps:
    """Whole steps on the device: pixels, noise, both updates and the average, replayed as CUDA graphs.

    A graph is a recording of kernels, each with the addresses that it works on. To replay hundreds of kernels costs the
    host one call. As the addresses are fixed, a step's inputs have fixed places: before each replay, the indices of its
    images, the seed of its noise, the learning rates and the average's weight are written there. There is one graph for
    steps that update the critic alone and one for steps that update both networks.

    Args:
        trainer: in the state from which training begins or goes on.
        dataset: kept on the device as a whole if there is room, else gathered on the host, one batch ahead.
        capture: if false, the same functions run one by one, on any device.
    """

    def __init__(self, trainer: Trainer, dataset: Batches, *, capture: bool = True) -> None:
        self.trainer = trainer
        self.uncaptured = None if capture else "it was not asked for"
        self._pixels = _Resident(trainer, dataset) if _fits(dataset, trainer.device) else _Fetched(trainer, dataset)
        self._random = torch.Generator(trainer.device)
        self._graphs: dict[bool, tuple[torch.cuda.CUDAGraph, Metrics]] = {}

    def step(self) -> Metrics:
        trainer = self.trainer
        both = ends_cycle(trainer.config, trainer.step_number)
        if self.uncaptured is None and both not in self._graphs:
            self._capture(both)
        self._aim(both)
        if self.uncaptured is None:
            graph, metrics = self._graphs[both]
            graph.replay()
        else:
            metrics = self._compute(both)
        trainer.images_seen += trainer.config.training.batch_size
        return metrics

    def _aim(self, both: bool) -> None:
        """Write what this step needs to the places where `_compute` reads it."""
        trainer = self.trainer
        seed = rng(trainer.config.seed, Stream.DEVICE, trainer.step_number, trainer.rollbacks).integers(2**63)
        self._random.manual_seed(int(seed))
        self._pixels.aim()
        trainer.aim(both)

    def _compute(self, both: bool) -> Metrics:
        trainer = self.trainer
        shapes: list[tuple[int, ...]] = trainer.critic.mask_shapes  # type: ignore[assignment]
        noise, mirrored = draw_noise_on_device(trainer.config, both, shapes, self._random, trainer.world)
        images = scaled(self._pixels.gather())
        if mirrored is not None:
            images = torch.where(mirrored.view(-1, 1, 1, 1), images.flip(-1), images)
        return trainer.compute(images, noise)

    def _capture(self, both: bool) -> None:
        """Record one kind of step. The steps that warm it up are undone; recording itself computes nothing."""
        trainer = self.trainer
        _allocate(trainer.generator_optimiser)
        _allocate(trainer.critic_optimiser)
        before = [tensor.clone() for tensor in _tensors(trainer)]
        stream = torch.cuda.Stream(trainer.device)
        stream.wait_stream(torch.cuda.current_stream(trainer.device))
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UP):
                self._aim(both)
                self._compute(both)
        torch.cuda.current_stream(trainer.device).wait_stream(stream)
        with torch.no_grad():
            for tensor, value in zip(_tensors(trainer), before, strict=True):
                tensor.copy_(value)
        graph, failure = torch.cuda.CUDAGraph(), ""
        # The two graphs never run at the same time, and the metrics that one returns stay referenced. So they can share
        # a pool of memory.
        pool = next((recorded.pool() for recorded, _ in self._graphs.values()), None)
        try:
            _register(graph, self._random)
            # If the inner context fails to restore the current stream, the outer one does.
            with (
                torch.cuda.stream(stream),
                torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"),
            ):
                self._graphs[both] = graph, self._compute(both)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, FaceganError) as error:
            failure = first_line(error.__cause__ or error)  # world's errors have the real reason as their cause
        if trainer.world.agree(int(bool(failure))):  # all or none: NCCL messages must be captured on all sides
            self.uncaptured = failure or "another process could not record them"
            self._graphs.clear()
            self._random = torch.Generator(trainer.device)  # the old one may still be registered for capture


def _register(graph: torch.cuda.CUDAGraph, random: torch.Generator) -> None:
    """Tell a graph which random generator it uses; newer versions of torch find out by themselves."""
    if register := getattr(graph, "register_generator_state", None):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            register(random)


def _tensors(trainer: Trainer) -> list[Tensor]:
    """All tensors that a step changes; they share memory with the trainer's."""
    networks = [trainer.generator, trainer.critic, *([trainer.average.module] if trainer.average else [])]
    found = [t for network in networks for t in (*network.parameters(), *network.buffers())]
    found.append(trainer.augment_probability)
    for optimiser in (trainer.generator_optimiser, trainer.critic_optimiser):
        found += [t for state in optimiser.state.values() for t in state.values() if isinstance(t, Tensor)]
    return [tensor.detach() for tensor in found]


def _allocate(optimiser: torch.optim.Optimizer) -> None:
    """Create Adam's moments before its first step: if a capture created them, every replay would set them to zero."""
    for parameter in optimiser.param_groups[0]["params"]:
        if parameter.requires_grad and not optimiser.state[parameter]:
            optimiser.state[parameter] = {
                "step": torch.zeros((), device=parameter.device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }


def _fits(dataset: Batches, device: torch.device) -> bool:
    return device.type != "cuda" or dataset.images.nbytes <= _SHARE * torch.cuda.mem_get_info(device)[0]


class _Resident:
    """All pixels on the device. A step's images are gathered there, by the indices that `aim` writes."""

    def __init__(self, trainer: Trainer, dataset: Batches) -> None:
        self._trainer, self._dataset = trainer, dataset
        self._all = torch.empty(dataset.images.shape, dtype=torch.uint8, device=trainer.device)
        for start in range(0, len(dataset), _CHUNK):
            self._all[start : start + _CHUNK].copy_(torch.from_numpy(np.array(dataset.images[start : start + _CHUNK])))
        self._mine = trainer.world.part(trainer.config.training.batch_size)
        count = self._mine.stop - self._mine.start
        self._indices = torch.zeros(count, dtype=torch.int64, device=trainer.device)
        self._orders: dict[int, Tensor] = {}

    def aim(self) -> None:
        position, filled = self._trainer.images_seen + self._mine.start, 0
        while filled < len(self._indices):
            epoch, start = divmod(position + filled, len(self._dataset))
            piece = self._order(epoch)[start : start + len(self._indices) - filled]
            self._indices[filled : filled + len(piece)].copy_(piece)
            filled += len(piece)

    def gather(self) -> Tensor:
        return self._all[self._indices]

    def _order(self, epoch: int) -> Tensor:
        if epoch not in self._orders:
            self._orders = {number: order for number, order in self._orders.items() if number == epoch - 1}
            self._orders[epoch] = torch.from_numpy(self._dataset.order_of(epoch)).to(self._trainer.device)
        return self._orders[epoch]


class _Fetched:
    """Pixels on the host. A second thread reads each step's pixels into pinned memory while the step before runs."""

    def __init__(self, trainer: Trainer, dataset: Batches) -> None:
        self._trainer, self._dataset = trainer, dataset
        self._mine = trainer.world.part(trainer.config.training.batch_size)
        self._place = self._read(trainer.images_seen).to(trainer.device)
        self._reader = ThreadPoolExecutor(1)
        self._next: tuple[int, Future[Tensor]] | None = None

    def aim(self) -> None:
        seen = self._trainer.images_seen
        if self._next is None or self._next[0] != seen:
            self._next = seen, self._reader.submit(self._read, seen)
        self._place.copy_(self._next[1].result(), non_blocking=True)
        after = seen + self._trainer.config.training.batch_size
        self._next = after, self._reader.submit(self._read, after)

    def gather(self) -> Tensor:
        return self._place

    def _read(self, images_seen: int) -> Tensor:
        pixels = self._dataset.batch(images_seen + self._mine.start, self._mine.stop - self._mine.start)
        host = torch.from_numpy(pixels)
        return host.pin_memory() if self._trainer.device.type == "cuda" else host
