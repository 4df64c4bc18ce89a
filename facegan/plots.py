"""Curves of a training run, drawn with matplotlib, which is imported only when there is something to draw.

Nothing global is touched: no backend is chosen and no style is set, so a program that plots on its own is left alone.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from facegan.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, QUIET, GRID = "#2d2d30", "#78787d", "#e6e6ea"
BLUE, ORANGE, GREEN, VIOLET = "#2f6db5", "#d9722e", "#2e8b6f", "#7d5ba6"

MOST_POINTS = 1500
"""Rows drawn of a long run: about one for each pixel of the width."""

SMOOTHED_FROM = 30
"""Rows from which on a smoothed line is drawn over the faint raw one."""


def plot_curves(rows: Sequence[Mapping[str, Any]], path: Path, *, title: str = "") -> Path:
    """Draw `curves.png`: how a run went, over the number of real images that the critic has seen.

    Three panels share that axis. Scores: the critic's mean on real and on generated images; the distance between the
    lines is its estimate of the Wasserstein distance. Losses: what the critic and the generator minimise, and the
    estimate itself. Penalty: the unweighted gradient penalty, and the mean slope that it draws to one. Where there are
    many rows, the raw values are faint and a running mean over a fiftieth of them is drawn on top. Rare extreme values,
    such as those of the first steps, may leave a panel rather than flatten the rest of it.

    Args:
        rows: as in `metrics.jsonl`, in order, at least one. Used are "images_seen", "epoch", "critic_real",
            "critic_fake", "wasserstein", "penalty", "slope", "critic_loss", "generator_loss"; a value that is missing,
            None or not finite leaves a gap.
        path: of the PNG.
        title: such as the run's name.

    Returns:
        `path`.

    Raises:
        FaceganError: the system refuses to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    assert rows, "nothing to plot"
    seen = _column(rows, "images_seen")
    figure = Figure(figsize=(10, 9.6), dpi=120, facecolor="white")
    FigureCanvasAgg(figure)
    scores, losses, penalty = figure.subplots(3, 1, sharex=True)
    figure.subplots_adjust(left=0.09, right=0.91, top=0.88, bottom=0.065, hspace=0.38)

    def draw(axes: "Axes", key: str, label: str, colour: str) -> np.ndarray:
        return _draw(axes, seen, _column(rows, key), label, colour)

    _dress(scores, "Critic's mean score", "the gap between the lines estimates the Wasserstein distance")
    real = draw(scores, "critic_real", "on real images", BLUE)
    fake = draw(scores, "critic_fake", "on generated images", ORANGE)
    _fit(scores, real, fake)
    _legend(scores, scores)

    _dress(losses, "Losses", "what each network minimises, and the estimate in the critic's loss")
    estimate = draw(losses, "wasserstein", "Wasserstein estimate: real − generated", GREEN)
    critic = draw(losses, "critic_loss", "critic: −estimate + weighted penalty", BLUE)
    generator = draw(losses, "generator_loss", "generator: −score on generated", ORANGE)
    _fit(losses, estimate, critic, generator)
    _legend(losses, losses)

    _dress(penalty, "Gradient penalty", "the slope's squared distance from one, and the slope itself")
    slope = penalty.twinx()
    _bare(slope)
    _fit(penalty, draw(penalty, "penalty", "penalty, unweighted (left scale)", VIOLET), np.zeros(1))
    slope.axhline(1, color=QUIET, linewidth=0.9, linestyle=(0, (4, 3)))
    _fit(slope, draw(slope, "slope", "mean slope (right scale)", GREEN), np.ones(1))
    _legend(slope, penalty, slope)
    _count_images(penalty, seen)
    figure.text(0.09, 0.97, title or "Training", color=INK, fontsize=14, fontweight="bold", va="center")
    figure.text(0.91, 0.97, _progress(rows), color=QUIET, fontsize=10, ha="right", va="center")

    with atomic_path(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a run's name may have letters that the typeface lacks
        figure.savefig(temporary, format="png", facecolor="white")
    return path


def running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """The mean of the `window` values around each one, over those that are numbers; fewer at the ends.

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
    """One metric: faint as it is, its running mean on top, both thinned to what the width can show.

    Returns:
        The values between which the axis should reach: 98 % of the metric, empty where nothing was measured.
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


def _fit(axes: "Axes", *bounds: np.ndarray) -> None:
    """Let the vertical axis hold all the bounds that `_draw` returned, and a little more."""
    every = np.concatenate(bounds)
    if every.size:
        low, high = every.min(), every.max()
        spare = 0.07 * (high - low) or 0.1 * abs(high) or 1.0
        axes.set_ylim(low - spare, high + spare)


def _dress(axes: "Axes", name: str, meaning: str) -> None:
    """A panel's name and what it means above it, a faint horizontal grid, no box."""
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
    """The lines of all the sources, named in one row above `axes`, where they hide nothing."""
    lines = [line for source in sources for line in source.get_lines() if not str(line.get_label()).startswith("_")]
    names = [str(line.get_label()) for line in lines]
    axes.legend(
        lines, names, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(lines), fontsize=9, labelcolor=INK,
        frameon=False, handlelength=1.4, columnspacing=1.6, borderpad=0.3, borderaxespad=0.1,
    )  # fmt: skip


def _count_images(axes: "Axes", seen: np.ndarray) -> None:
    """The shared horizontal axis: from the first row to the last, in 10k and 1.5M."""
    first, last = np.nanmin(seen), np.nanmax(seen)
    spare = 0.01 * (last - first) or 0.5 * last or 1.0
    axes.set_xlim(first - spare, last + spare)
    axes.xaxis.set_major_formatter(lambda number, _: short_count(number))
    axes.set_xlabel("real images seen by the critic", color=QUIET, fontsize=9.5, labelpad=6)


def _progress(rows: Sequence[Mapping[str, Any]]) -> str:
    """How far the last row is: "epoch 12.5 · 1.64M images"."""
    images, epoch = short_count(float(rows[-1]["images_seen"])), rows[-1].get("epoch")
    return f"{images} images" if epoch is None else f"epoch {float(epoch):.4g} · {images} images"
