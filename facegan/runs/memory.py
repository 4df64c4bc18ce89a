"""Which batch size fits the memory, found by trying."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from facegan.config import Config
from facegan.core.device import describe_device, keep_memory, release_memory
from facegan.core.errors import FaceganError, is_out_of_memory
from facegan.core.workers import WorkerEnded, apart
from facegan.core.world import ALONE, World
from facegan.data.dataset import NoiseImages
from facegan.training.steps import steps_of
from facegan.training.trainer import Trainer

SMALLEST = 2
"""Images of the smallest batch that is tried: with a single image, batch norm compares a face only with itself."""

_SMALLER = "A smaller batch changes the training: its gradients are noisier, and an epoch has more steps."


@dataclass(frozen=True)
class Trial:
    """What is tried: a configuration on a device, with a dataset of so many images, which may be kept there too."""

    config: Config
    device: torch.device
    images: int

    @property
    def batch(self) -> int:
        return self.config.training.batch_size

    def with_batch(self, batch: int) -> Trial:
        return replace(self, config=self.config.override({"training.batch_size": batch}))


def fits(trial: Trial, world: World = ALONE) -> bool:
    """Whether a whole cycle of training, the critic's update and the generator's, fits the memory of every process.

    Each process of `world` tries its share of the batch by itself, on new networks and random images. Memory that the
    caller still holds is not available to the trial.
    """
    fit = _tried(trial.with_batch(max(SMALLEST, trial.batch // world.size)))
    return not world.agree(int(not fit))


def _tried(trial: Trial) -> bool:
    """Make a trial; on a CPU in a process of its own, where libraries may crash or the system may kill it."""
    if trial.device.type != "cpu":
        return try_cycle(trial)
    try:
        return apart(try_cycle_and_die_first, trial)
    except WorkerEnded:
        return False


def try_cycle_and_die_first(trial: Trial) -> bool:
    """`try_cycle` in a process that Linux kills before any other where memory runs out."""
    with suppress(OSError):  # a system other than Linux
        Path("/proc/self/oom_score_adj").write_text("1000")
    return try_cycle(trial)


def try_cycle(trial: Trial) -> bool:
    """Whether the memory that this process can still get is enough to train as the trial says."""
    try:
        _train_a_little(trial)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        fit = False
    else:
        fit = True
    release_memory(trial.device)  # only here: until now the exception has held the trial's tensors
    return fit


def _train_a_little(trial: Trial) -> None:
    """Do the last step of two cycles, which updates both networks: Adam has its moments only from the second on.

    If there are steps that update the critic alone, one of these comes first: a GPU keeps memory for both kinds of
    steps at the same time, beside the dataset.
    """
    batch, n_critic = trial.batch, trial.config.training.n_critic
    trainer = Trainer(trial.config, trial.device)
    steps = steps_of(trainer, _OneImage(trial.images, trial.config.networks.size))
    if n_critic > 1:
        steps.step()
    for cycle in (1, 2):
        trainer.images_seen = (cycle * n_critic - 1) * batch
        metrics = steps.step()
    float(metrics["critic_loss"])  # waits for the device


class _OneImage(NoiseImages):
    """One random image that stands for a whole dataset: it takes the dataset's memory on a GPU, but not on the host."""

    def __init__(self, count: int, size: int) -> None:
        super().__init__(1, size)
        self.images = np.broadcast_to(self.images, (count, *self.images.shape[1:]))


def _silent(text: str) -> None:
    pass


def largest_batch(trial: Trial, world: World = ALONE, told: Callable[[str], None] = _silent) -> int | None:
    """The largest half, quarter, ... of the trial's batch that fits; None where not even SMALLEST images do.

    With several processes it is a multiple of their number, the same in all of them.

    Args:
        told: called with a sentence before each trial, as a trial can take as long as the program takes to start.
    """
    share = trial.batch // world.size
    while (share := share // 2) and (batch := share * world.size) >= SMALLEST:
        told(f"trying a batch of {batch}")
        if fits(trial.with_batch(batch), world):
            return batch
    return None


def fit_batch(trial: Trial, world: World = ALONE, told: Callable[[str], None] = _silent) -> tuple[Config, str]:
    """The trial's configuration with its own batch if that fits, else with the largest half, quarter, ... that does.

    The batch is never made larger, because that would change the training.

    Args:
        told: called with a sentence before each trial.

    Returns:
        The configuration, and a note for the user on what was chosen and why.

    Raises:
        FaceganError: nothing fits.
    """
    wanted = trial.batch
    told(f"trying a batch of {wanted}")
    if fits(trial, world):
        return trial.config, f"batch size: {wanted}, which fits the memory of {_name(trial.device)}"
    found = largest_batch(trial, world, told)
    if found is None:
        raise _nothing_fits(trial.device, world)
    note = f"batch size: {found}, as {wanted} does not fit the memory of {_name(trial.device)}. {_SMALLER}"
    return trial.with_batch(found).config, note


@contextmanager
def memory_watched(
    trial: Trial,
    world: World = ALONE,
    *,
    going_on: bool = False,
    told: Callable[[str], None] = _silent,
) -> Iterator[None]:
    """Train inside this block, as the trial says: if memory runs out, the error names a batch size that fits.

    No variable of the caller may hold the trainer: before a smaller batch is tried, the tensors in all frames that the
    error has left are dropped. If several processes train, only the one whose memory ran out tries a smaller batch, and
    only its own share of it.

    Args:
        going_on: whether the run has begun before, so that its batch size is fixed.
        told: called with a sentence before each trial of a smaller batch.

    Raises:
        FaceganError: in place of the error that memory ran out; all other errors pass unchanged.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        traceback.clear_frames(error.__traceback__)
        keep_memory(False)
        release_memory(trial.device)
        raise _too_large(trial, world, going_on, told) from error


def _too_large(trial: Trial, world: World, going_on: bool, told: Callable[[str], None]) -> FaceganError:
    batch, device = trial.batch, trial.device
    found = largest_batch(trial.with_batch(batch // world.size), told=told)
    if found is None:
        return _nothing_fits(device, world)
    option = f"--batch-size {found * world.size}"
    return FaceganError(
        f"A batch of {batch} images does not fit the memory of {_name(device)}; one of {found * world.size} does, as a "
        "trial has just shown.",
        f"A run cannot change its batch size: free memory, or start a new run from this one with --from and {option}."
        if going_on
        else f"Use {option}, or --batch-size auto, which finds it. {_SMALLER}",
    )


def _nothing_fits(device: torch.device, world: World) -> FaceganError:
    elsewhere = "" if device.type == "cpu" else ", or --device cpu"
    return FaceganError(
        f"Not even a batch of {max(SMALLEST, world.size)} images fits the memory of {_name(device)}.",
        f"Use narrower networks, such as the default preset with a smaller --width and --critic-width{elsewhere}.",
    )


def _name(device: torch.device) -> str:
    return describe_device(device) if device.type == "cuda" else "this machine"
