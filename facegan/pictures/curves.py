"""Draw the curves of a training run with matplotlib, which is imported only when there is something to draw.

Nothing global is changed: no backend is chosen and no style is set, so a program with plots of its own is not
disturbed. The user's settings do not matter here either: pyplot, which looks for a backend, is not used, and curves are
drawn in matplotlib's own style.
"""

import math
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from facegan.core.atomic import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, QUIET, GRID = "#2d2d30", "#78787d", "#e6e6ea"
BLUE, ORANGE, GREEN, VIOLET = "#2f6db5", "#d9722e", "#2e8b6f", "#7d5ba6"

MOST_POINTS = 1500
"""Most rows that are drawn of a long run: about one for each pixel of the width."""

SMOOTHED_FROM = 30
"""From this many rows on, a smoothed line is drawn over the faint raw one."""


def plot_curves(rows: Sequence[Mapping[str, Any]], path: Path, *, title: str = "", slope: float = 1.0) -> Path:
    """Draw `curves.png`: how a run went, over the number of real images that the critic has seen.

    Three panels share that axis, and a fourth if the run was evaluated. Scores: the critic's mean score on real and on
    generated images; under WGAN-GP the gap between the lines is its estimate of the Wasserstein distance. Losses: the
    losses that the critic and the generator minimise, and the gap of the scores. Penalty: the unweighted gradient
    penalty, and the mean slope, which it pulls towards `slope`. Distances: FD and KID between samples and photos. If
    there are many rows, the raw values are faint and a running mean over a fiftieth of them is drawn on top. Rare
    extreme values, such as those of the first steps, may lie outside a panel, since they would flatten the rest of it.
    If the first value lies outside, a triangle marks it.

    Args:
        rows: as in `metrics.jsonl`, in order, at least one. These keys are used: "images_seen", "epoch", "critic_real",
            "critic_fake", "wasserstein", "penalty", "slope", "critic_loss", "generator_loss", "fd", "kid". A value that
            is missing, None or not finite leaves a gap.
        path: of the PNG.
        title: such as the run's name.
        slope: the slope that the penalty aims at: 1 under WGAN-GP, 0 under R1 and R2.

    Returns:
        `path`.

    Raises:
        FaceganError: the system refuses to write.
    """
    assert rows, "nothing to plot"
    with _own_style():
        figure = _figure(rows, title, slope)
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format="png", facecolor="white")
    return path


@contextmanager
def _own_style() -> Iterator[None]:
    """Use matplotlib as if there were no matplotlibrc, and hide its warnings about letters that its typeface lacks."""
    if "matplotlib" not in sys.modules:  # an unknown backend in the environment would make its import fail
        backend = os.environ.pop("MPLBACKEND", None)
        try:
            import matplotlib
        finally:
            if backend is not None:
                os.environ["MPLBACKEND"] = backend
        if backend:
            with suppress(ValueError):
                matplotlib.rcParams["backend"] = backend  # the rest of the program gets the backend it wants
    import matplotlib

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        style: dict[Any, Any] = {
            key: matplotlib.rcParamsDefault[key] for key in matplotlib.rcParamsDefault if key != "backend"
        }
        with matplotlib.rc_context(style):
            yield


def _figure(rows: Sequence[Mapping[str, Any]], title: str, slope: float) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    seen = _column(rows, "images_seen")
    evaluations = [row for row in rows if np.isfinite(_column([row], "fd")).all()]
    panels = 4 if evaluations else 3
    figure = Figure(figsize=(10, 3.2 * panels), dpi=120, facecolor="white")
    FigureCanvasAgg(figure)
    scores, losses, penalty, *distances = figure.subplots(panels, 1, sharex=True)
    figure.subplots_adjust(left=0.09, right=0.91, top=1 - 0.36 / panels, bottom=0.195 / panels, hspace=0.38)

    def draw(axes: "Axes", key: str, label: str, colour: str) -> np.ndarray:
        return _draw(axes, seen, _column(rows, key), label, colour)

    _dress(scores, "Critic's mean score", "the wider the gap, the better it tells real from generated")
    real = draw(scores, "critic_real", "on real images", BLUE)
    fake = draw(scores, "critic_fake", "on generated images", ORANGE)
    _fit(scores, real, fake)
    _legend(scores, scores)

    _dress(losses, "Losses", "what each network minimises, and the gap of the scores")
    gap = draw(losses, "wasserstein", "score gap: real − generated", GREEN)
    critic = draw(losses, "critic_loss", "critic, with weighted penalty", BLUE)
    generator = draw(losses, "generator_loss", "generator", ORANGE)
    _fit(losses, gap, critic, generator)
    _legend(losses, losses)

    _dress(penalty, "Gradient penalty", f"the slope's squared distance from {slope:g}, and the slope itself")
    slopes = penalty.twinx()
    _bare(slopes)
    _fit(penalty, draw(penalty, "penalty", "penalty, unweighted (left scale)", VIOLET), np.zeros(1))
    slopes.axhline(slope, color=QUIET, linewidth=0.9, linestyle=(0, (4, 3)))
    _fit(slopes, draw(slopes, "slope", "mean slope (right scale)", GREEN), np.full(1, slope), row=1)
    _legend(slopes, penalty, slopes)
    for axes in distances:
        _dress(axes, "Distances to photos", "smaller is better; the best checkpoint by FD is kept as best.pt")
        kernel, evaluated = axes.twinx(), _column(evaluations, "images_seen")
        _bare(kernel)
        _fit(axes, _draw(axes, evaluated, _column(evaluations, "fd"), "FD (left scale)", BLUE), np.zeros(1))
        thousandfold = 1000 * _column(evaluations, "kid")
        _fit(kernel, _draw(kernel, evaluated, thousandfold, "KID x1000 (right scale)", ORANGE), np.zeros(1))
        _legend(kernel, axes, kernel)
    _count_images(distances[0] if distances else penalty, seen)
    heading = 1 - 0.09 / panels
    figure.text(
        0.09, heading, title or "Training", color=INK, fontsize=14, fontweight="bold", va="center", parse_math=False
    )
    figure.text(0.91, heading, _progress(rows), color=QUIET, fontsize=10, ha="right", va="center")
    return figure


def running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """The mean of the `window` values around each value; NaN is left out, and at the ends there are fewer values.

    A gap in `values` stays a gap, so that nothing is drawn where nothing was measured.
    """
    there = np.isfinite(values)
    total = np.concatenate([[0.0], np.cumsum(np.where(there, values, 0.0))])
    count = np.concatenate([[0], np.cumsum(there)])
    at = np.arange(len(values))
    start, stop = np.maximum(at - window // 2, 0), np.minimum(at + window // 2 + 1, len(values))
    with np.errstate(invalid="ignore"):
        mean = (total[stop] - total[start]) / np.where(there, count[stop] - count[start], 1)
    return np.where(there, mean, np.nan)


def short_count(number: float) -> str:
    """A number of images as people say it: 950, 10k, 1.5M."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size:
            return f"{number / size:.4g}{letter}"
    return f"{number:.4g}"


def _column(rows: Sequence[Mapping[str, Any]], key: str) -> np.ndarray:
    """One metric of every row as float64 (N,), NaN where it is missing, None or infinite."""
    raw = (row.get(key) for row in rows)
    values = np.array([math.nan if value is None else float(value) for value in raw])
    return np.where(np.isfinite(values), values, math.nan)


def _draw(axes: "Axes", x: np.ndarray, values: np.ndarray, label: str, colour: str) -> np.ndarray:
    """Draw one metric: its raw values faint, its running mean on top, both thinned to what the width can show.

    Returns:
        The two values that the axis should reach, which hold 98 % of the metric between them; empty if nothing was
        measured.
    """
    many = len(values) >= SMOOTHED_FROM
    line = running_mean(values, max(5, len(values) // 50)) if many else values
    kept = np.linspace(0, len(values) - 1, min(len(values), MOST_POINTS)).round().astype(int)
    if many:
        axes.plot(x[kept], values[kept], color=colour, alpha=0.22, linewidth=0.7)
    marker = "" if many else "o"
    axes.plot(x[kept], line[kept], color=colour, linewidth=1.7, marker=marker, markersize=3.5, label=label)
    measured = values[np.isfinite(values)]
    return np.quantile(measured, (0.01, 0.99)) if measured.size else measured


def _fit(axes: "Axes", *bounds: np.ndarray, row: int = 0) -> None:
    """Make the vertical axis hold all the bounds that `_draw` returned, and a little more.

    Args:
        row: the row in which `_mark_starts` begins to write; a panel's second scale needs another one than its first.
    """
    every = np.concatenate(bounds)
    if every.size:
        low, high = every.min(), every.max()
        spare = 0.07 * (high - low) or 0.1 * abs(high) or 1.0
        axes.set_ylim(low - spare, high + spare)
        _mark_starts(axes, row)


def _mark_starts(axes: "Axes", row: int) -> None:
    """Mark each metric whose first value lies outside the panel: a triangle at the edge, and the value beside it."""
    low, high = axes.get_ylim()
    marked: set[object] = set()
    for line in axes.get_lines():  # if a metric has two lines, the raw one comes first
        x, y = (np.asarray(values, float) for values in line.get_data())
        there = np.flatnonzero(np.isfinite(y))
        if line.get_color() in marked or not there.size:
            continue
        marked.add(line.get_color())
        first = y[there[0]]
        if low <= first <= high:
            continue
        edge, marker, away = (high, "^", -1) if first > high else (low, "v", 1)
        axes.plot(x[there[0]], edge, color=line.get_color(), marker=marker, markersize=6, clip_on=False)
        axes.annotate(
            f"starts at {first:.3g}", (x[there[0]], edge), (10, away * (8 + 11 * row)), textcoords="offset points",
            color=line.get_color(), fontsize=8.5, va="center",
        )  # fmt: skip
        row += 1


def _dress(axes: "Axes", name: str, meaning: str) -> None:
    """Give a panel its name and meaning above it, a faint horizontal grid, and no box."""
    _bare(axes)
    axes.set_facecolor("white")
    axes.set_axisbelow(True)
    axes.grid(True, axis="y", color=GRID, linewidth=0.8)
    axes.grid(False, axis="x")
    axes.annotate(
        name, (0, 1), (0, 28), "axes fraction", "offset points", color=INK, fontsize=11, fontweight="bold", va="bottom"
    )
    axes.annotate(
        meaning, (1, 1), (0, 28), "axes fraction", "offset points", color=QUIET, fontsize=9, ha="right", va="bottom"
    )


def _bare(axes: "Axes") -> None:
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(GRID)
    axes.tick_params(colors=QUIET, labelcolor=QUIET, labelsize=9, length=0)


def _legend(axes: "Axes", *sources: "Axes") -> None:
    """Name the lines of all the sources in one row above `axes`, where the names hide nothing."""
    lines = [line for source in sources for line in source.get_lines() if not str(line.get_label()).startswith("_")]
    names = [str(line.get_label()) for line in lines]
    axes.legend(
        lines, names, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(lines), fontsize=9, labelcolor=INK,
        frameon=False, handlelength=1.4, columnspacing=1.6, borderpad=0.3, borderaxespad=0.1,
    )  # fmt: skip


def _count_images(axes: "Axes", seen: np.ndarray) -> None:
    """Set up the shared horizontal axis: from the first row to the last, with numbers such as 10k and 1.5M."""
    first, last = np.nanmin(seen), np.nanmax(seen)
    spare = 0.01 * (last - first) or 0.5 * last or 1.0
    axes.set_xlim(first - spare, last + spare)
    axes.xaxis.set_major_formatter(lambda number, _: short_count(number))
    axes.set_xlabel("real images seen by the critic", color=QUIET, fontsize=9.5, labelpad=6)


def _progress(rows: Sequence[Mapping[str, Any]]) -> str:
    """How far the last row is: "epoch 12.5 · 1.64M images"."""
    images, epoch = short_count(float(rows[-1]["images_seen"])), rows[-1].get("epoch")
    return f"{images} images" if epoch is None else f"epoch {float(epoch):.4g} · {images} images"
