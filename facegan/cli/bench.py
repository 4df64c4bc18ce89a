"""facegan bench: parses, shows progress, and prints what `facegan.bench.measure` measured."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from facegan.cli import console, options
from facegan.core.quantities import duration

if TYPE_CHECKING:
    from facegan.bench.measure import RateRow, Report, StepRow
    from facegan.bench.rounds import Event, Spread

Names = Optional[list[str]]  # noqa: UP045, typer reads these at run time

_STEP_HEADS = ("preset", "training step", "images/s", "ratio", "of peak", "inputs")
_UPDATE_HEADS = ("preset", "one update alone", "critic, images/s", "generator, images/s")


def bench(
    ctx: typer.Context,
    preset: Annotated[
        Names,
        typer.Option(metavar="NAME", help="Preset to time; repeatable. Default: all of 64 px.", show_default=False),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=2, max=65536, help="Images per step.")] = 64,
    rounds: Annotated[
        options.Whole,
        typer.Option(
            min=1,
            max=1000,
            show_default=False,
            help="Rounds. Default: 5, or fewer, but at least 3, if 5 take too long.",
        ),
    ] = None,
    device: options.Device = "auto",
    only: Annotated[
        Names,
        typer.Option(metavar="PART", help="step, preprocess or sample; repeatable. Default: all.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.", show_default=False)] = False,
) -> None:
    """Measure how fast this machine trains, preprocesses and samples.

    Training steps and the textbook's are measured in turn; the figures are medians over rounds. No dataset is needed.
    """
    from facegan.bench.measure import DEFAULT_PRESETS, SECTIONS, check
    from facegan.bench.measure import bench as work

    presets, parts = tuple(dict.fromkeys(preset or DEFAULT_PRESETS)), only or SECTIONS
    check(presets, parts)
    if "step" not in parts:
        options.refuse(ctx, "preset", "batch_size", without="is for the training step, which --only leaves out")
    with _bar() as on_event:
        report = work(
            presets=presets, batch_size=batch_size, rounds=rounds, device=device, only=parts, on_event=on_event
        )
    if as_json:
        console.data(json.dumps(report.to_dict(), indent=2))
    else:
        _print(report)


@contextmanager
def _bar() -> Iterator[Callable[[Event], None]]:
    from facegan.bench.rounds import Estimated, Measured, WarmedUp, WarmingUp

    with console.Progress("measurements", "warming up") as bar:

        def on_event(event: Event) -> None:
            if isinstance(event, WarmingUp):
                console.note("warming up: everything is done once")
            elif isinstance(event, WarmedUp | Measured):
                bar.show(event.done, event.total)
            elif isinstance(event, Estimated):
                times = "1 round" if event.rounds == 1 else f"{event.rounds} rounds"
                console.note(f"{times}, about {duration(event.seconds)}")
                bar.show(0, what="measuring")

        yield on_event


def _print(report: Report) -> None:
    machine = report.machine
    times = "1 round" if report.rounds == 1 else f"medians of {report.rounds} rounds"
    where = f"{machine['processor']}, {machine['device_name']}, torch {machine['torch']}"
    console.say(f"{where}; batch {report.batch_size}; {times}")
    if report.steps:
        console.columns("Training", _STEP_HEADS, map(_step_cells, report.steps))
        for precision, reason in {row.precision: row.absent for row in report.steps if row.absent}.items():
            console.say(f"{precision}: {reason}")
        for reason in dict.fromkeys(row.uncaptured for row in report.steps if row.uncaptured):
            console.say(f"facegan's steps ran one by one, not as CUDA graphs, which is slower: {reason}")
        peaks = ", ".join(f"{name} {peak.median:,.0f} GFLOP/s" for name, peak in report.peak_gflops.items())
        console.say(f"peak of the convolutions: {peaks}")
    alone = [row for row in report.steps if row.critic]
    if alone:
        console.columns("The two updates", _UPDATE_HEADS, map(_update_cells, alone))
    if report.preprocess:
        console.columns("Preprocessing", ("", "", "photos/s", "ratio"), map(_rate_cells, report.preprocess))
    if report.sample:
        console.columns("Sampling", ("", "", "faces/s"), (_rate_cells(row)[:3] for row in report.sample))


def _step_cells(row: StepRow) -> tuple[str, ...]:
    return (
        row.preset,
        f"{row.variant}, {row.precision}",
        _median(row.images_per_second),
        f"{row.ratio:.2f}x" if row.ratio else "",
        f"{row.share_of_peak:.0%}" if row.share_of_peak else "",
        f"{row.inputs:.1%}" if row.inputs is not None else "",
    )


def _update_cells(row: StepRow) -> tuple[str, ...]:
    return row.preset, f"{row.variant}, {row.precision}", _median(row.critic), _median(row.generator)


def _rate_cells(row: RateRow) -> tuple[str, ...]:
    return row.name, "", _median(row.per_second), f"{row.ratio:.2f}x"


def _median(spread: Spread | None) -> str:
    if spread is None:
        return "-"
    return f"{spread.median:,.0f}" if spread.median >= 100 else f"{spread.median:.1f}"
