"""What the studio shows of runs: the newest sample grid, the curves, and the time left."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import Any

from facegan.core.errors import FaceganError
from facegan.core.quantities import duration
from facegan.runs.folder import RUNS, RunDir, runs
from facegan.runs.loop import total_images

CURVES = {
    "Score gap": ("wasserstein",),
    "Losses": ("critic_loss", "generator_loss"),
    "Slope of the critic": ("slope",),
    "FD": ("fd",),
}
"""What is drawn over the images seen: the title, and the entries of a run's rows."""
_POINTS = 300
"""Most points of a curve: more are averaged in pairs, triples, ..."""
_QUIET = 600.0
"""Seconds without a new row after which a run is said to have stopped."""


def training(name: str | None, root: Path = RUNS) -> dict[str, Any]:
    """The newest run under `root`, or the one of this name, as JSON; its entry "run" is None if there is none.

    Raises:
        FaceganError: there is no run of this name, or its configuration is damaged.
    """
    found = runs(root)
    names = [run.path.name for run in found]
    if not found:
        return {"run": None, "runs": []}
    run = _run(found, name)
    config, rows, samples = run.read_config(), run.read_metrics(), run.samples()
    total, seen = total_images(config), rows[-1]["images_seen"] if rows else 0
    rates = [row["images_per_second"] for row in rows[-20:] if row.get("images_per_second")]
    rate = median(rates) if rates else 0.0
    last = max(path.stat().st_mtime for path in (run.config, run.metrics) if path.exists())
    going = seen < total and time.time() - last < _QUIET
    return {
        "run": run.path.name,
        "runs": names[::-1][:50],
        "preset": config.preset,
        "images_seen": seen,
        "total": total,
        "epoch": rows[-1].get("epoch") if rows else 0,
        "rate": rate,
        "left": duration((total - seen) / rate) if rate and going else "",
        "state": "done" if seen >= total else "stopped" if not going else "training" if rows else "starting",
        "grid": f"{samples[-1][1].name}-{samples[-1][1].stat().st_mtime_ns}" if samples else "",
        "curves": {
            title: {entry: _curve(rows, entry) for entry in entries if any(row.get(entry) is not None for row in rows)}
            for title, entries in CURVES.items()
        },
    }


def newest_grid(name: str | None, root: Path = RUNS) -> bytes:
    """The newest sample grid of a run, a PNG. Raises: FaceganError: there is none."""
    found = runs(root)
    samples = _run(found, name).samples() if found else []
    if not samples:
        raise FaceganError("There is no sample grid yet.")
    return samples[-1][1].read_bytes()


def _run(found: list[RunDir], name: str | None) -> RunDir:
    """The run of this name among those found, the newest by default: what a page says is never part of a path."""
    for run in found:
        if name == run.path.name:
            return run
    if name:
        raise FaceganError("There is no such run any more.", "Reload the page.")
    return found[-1]


def _curve(rows: list[dict[str, Any]], entry: str) -> list[list[float]]:
    """The points [images seen, value] of an entry, at most _POINTS of them, each the mean of a few neighbours."""
    points = [(row["images_seen"], row[entry]) for row in rows if row.get(entry) is not None]
    few = -(-len(points) // _POINTS) or 1
    groups = (points[start : start + few] for start in range(0, len(points), few))
    return [[group[-1][0], sum(value for _, value in group) / len(group)] for group in groups]
