"""Measure how fast facegan is on this machine, and how much of that is due to facegan (`docs/performance.md`)."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import PIL
import torch

from facegan.bench.flops import needed_flops
from facegan.bench.rates import PHOTOS, RateTask, decoding, drawing
from facegan.bench.rounds import Event, Spread, Task, WarmingUp, interleave
from facegan.bench.steps import TEXTBOOK, VARIANTS, PeakTask, StepTask
from facegan.config import Config
from facegan.core.device import choose_device, computes_bf16
from facegan.core.errors import UsageError
from facegan.core.world import ALONE
from facegan.presets import PRESETS
from facegan.runs.provenance import machine

SECTIONS = ("step", "preprocess", "sample")
DEFAULT_PRESETS = tuple(name for name, config in PRESETS.items() if config.networks.size == 64)


@dataclass(frozen=True)
class StepRow:
    """One way to do a preset's training step.

    Attributes:
        images_per_second: real images over whole cycles; None where it was not measured, and `absent` says why.
        ratio: of its speed to the textbook step's, the median of the rounds' ratios.
        share_of_peak: the operations the preset needs, times its speed, over the convolutions' peak in this precision.
        critic, generator: images per second of each update alone; None where every step does both.
        inputs: share of the time that went into images and noise, median.
        uncaptured: why steps did not run as CUDA graphs; None where they did, and on devices that have none.
    """

    preset: str
    variant: str
    precision: str
    images_per_second: Spread | None = None
    ratio: float | None = None
    share_of_peak: float | None = None
    critic: Spread | None = None
    generator: Spread | None = None
    inputs: float | None = None
    uncaptured: str | None = None
    absent: str = ""


@dataclass(frozen=True)
class RateRow:
    """Photos or faces per second of one way to do it; `ratio` is to the first row of its kind."""

    name: str
    per_second: Spread
    ratio: float


@dataclass(frozen=True)
class Report:
    """All that was measured; parts that were not asked for are empty.

    Attributes:
        machine: versions, processor and device, without which a figure means nothing.
        rounds: how many rounds were done.
        gflops_per_image: preset -> what its step needs per image, the generator's share included.
        peak_gflops: precision -> the convolutions' peak.
    """

    machine: dict[str, Any]
    batch_size: int
    rounds: int
    gflops_per_image: dict[str, float]
    peak_gflops: dict[str, Spread]
    steps: tuple[StepRow, ...]
    preprocess: tuple[RateRow, ...]
    sample: tuple[RateRow, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def bench(
    *,
    presets: Sequence[str] = DEFAULT_PRESETS,
    batch_size: int = 64,
    rounds: int | None = None,
    device: str = "auto",
    only: Iterable[str] = SECTIONS,
    photos: int = PHOTOS,
    on_event: Callable[[Event], None] = lambda event: None,
) -> Report:
    """Measure training steps, preprocessing and sampling in turn, round by round.

    Args:
        presets: those whose steps are measured.
        rounds: how many; None for as many as are useful within a few minutes, see `rounds.interleave`.
        only: some of SECTIONS.
        photos: how many to preprocess; they are made in a temporary folder.
        on_event: called when all options are checked, after each task, and once with how long it will take.

    Raises:
        UsageError: an unknown preset or section, or a value out of range.
    """
    check(presets, only)
    if batch_size < 2:
        raise UsageError(f"--batch-size {batch_size} is too small: batch norm needs at least 2 images.")
    where, only = ALONE.take_device(choose_device(device)), set(only)
    on_event(WarmingUp())
    configs = {
        name: PRESETS[name].override({"training.batch_size": batch_size, "training.images": 10**9}) for name in presets
    }
    with ExitStack() as stack:
        steps: list[StepTask] = []
        peaks: list[PeakTask] = []
        photo_tasks: list[RateTask] = []
        face_tasks: list[RateTask] = []
        if "step" in only:
            steps = [
                StepTask(v, c, where) for c in configs.values() for v in VARIANTS if not _absent(v.precision, where)
            ]
            peaks = [PeakTask(precision, where) for precision in sorted({task.variant.precision for task in steps})]
        if "preprocess" in only:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="facegan-bench-")))
            photo_tasks = decoding(folder, photos)
        if "sample" in only:
            face_tasks = [drawing(where)]
        tasks: list[Task] = [*steps, *peaks, *photo_tasks, *face_tasks]
        done = interleave(tasks, rounds, on_event)
    flops = {name: needed_flops(config) / batch_size / config.training.n_critic for name, config in configs.items()}
    peak = {task.precision: Spread.of(task.rounds) for task in peaks}
    return Report(
        machine={**machine(where), "pillow": PIL.__version__, "processor": _processor()},
        batch_size=batch_size,
        rounds=done,
        gflops_per_image={name: count / 1e9 for name, count in flops.items()} if steps else {},
        peak_gflops=peak,
        steps=tuple(_step_rows(configs, steps, flops, peak, where)) if steps else (),
        preprocess=_rate_rows(photo_tasks),
        sample=_rate_rows(face_tasks),
    )


def check(presets: Iterable[str], only: Iterable[str]) -> None:
    """Raises: UsageError: an unknown preset or section."""
    for kind, given, known in (("preset", presets, PRESETS), ("part", only, SECTIONS)):
        if unknown := [name for name in given if name not in known]:
            raise UsageError(f"There is no {kind} {unknown[0]!r}.", f"Known: {', '.join(known)}.")


def _absent(precision: str, device: torch.device) -> str:
    if precision == "fp32" or computes_bf16(device):
        return ""
    return "not measured, as this device does not compute in bfloat16 itself; emulated, it is slower than fp32"


def _step_rows(
    configs: dict[str, Config],
    tasks: Sequence[StepTask],
    flops: dict[str, float],
    peak: dict[str, Spread],
    device: torch.device,
) -> Iterable[StepRow]:
    measured = {(task.config.preset, task.variant): task for task in tasks}
    for preset in configs:
        textbook = [each.images_per_second for each in measured[preset, TEXTBOOK].rounds]
        for variant in VARIANTS:
            task = measured.get((preset, variant))
            if task is None:
                reason = _absent(variant.precision, device)
                yield StepRow(preset, variant.name, variant.precision, absent=reason)
                continue
            speeds = [each.images_per_second for each in task.rounds]
            speed = Spread.of(speeds)
            yield StepRow(
                preset,
                variant.name,
                variant.precision,
                images_per_second=speed,
                ratio=_ratio(speeds, textbook),
                share_of_peak=flops[preset] * speed.median / (peak[variant.precision].median * 1e9),
                critic=_spread(each.critic for each in task.rounds),
                generator=_spread(each.generator for each in task.rounds),
                inputs=Spread.of([each.inputs for each in task.rounds]).median,
                uncaptured=task.uncaptured,
            )


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the rounds' ratios: what is measured within one round meets the same conditions."""
    return Spread.of([a / b for a, b in zip(ours, theirs, strict=True)]).median


def _spread(values: Iterable[float | None]) -> Spread | None:
    known = [value for value in values if value is not None]
    return Spread.of(known) if known else None


def _rate_rows(tasks: Sequence[RateTask]) -> tuple[RateRow, ...]:
    return tuple(RateRow(task.name, Spread.of(task.rounds), _ratio(task.rounds, tasks[0].rounds)) for task in tasks)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
