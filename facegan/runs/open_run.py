"""Open a plan's run directory for the loop: made or found, locked for this training, with its provenance written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from facegan.core.errors import FaceganError
from facegan.runs.folder import RunDir, create_run
from facegan.runs.lock import locked
from facegan.runs.plan import Plan
from facegan.runs.provenance import environment, read_provenance, write_provenance


@dataclass(frozen=True)
class OpenRun:
    """A run directory that is ready for the loop.

    Attributes:
        provenance: what goes into its checkpoints; empty in all processes but the first.
        alone: whether the run is locked; False on a file system that has no locks.
    """

    run: RunDir
    provenance: dict[str, Any]
    alone: bool = True


@contextmanager
def open_run(plan: Plan, name: str | None, command: list[str]) -> Iterator[OpenRun]:
    """Open the run's directory and lock it: a new one, or that of an old run, brought back to its checkpoint.

    If several processes train, only the first locks the directory and writes; it tells the others which one it is.

    Args:
        name: of a new run; None makes one from dataset and preset.
        command: the command line, for provenance.json.

    Raises:
        FaceganError: another process trains it, or has trained it since it was planned.
    """
    if not plan.world.first:
        yield OpenRun(RunDir(Path(plan.world.tell(""))), {})
        return
    run = plan.run or create_run(name or f"{name_of(plan.dataset.info.path)}-{plan.config.preset}")
    with locked(run) as alone:
        seen = plan.checkpoint.images_seen if plan.checkpoint else 0
        if plan.run is None:
            provenance = describe(plan, command)
        else:
            if any(newer > seen for newer, _ in run.checkpoints()):
                raise FaceganError(f"{run.path} was trained further by another process just now.", "Try again.")
            run.drop_beyond(seen)
            provenance = read_provenance(run)
            parts = provenance.get("resumed", [])
            if plan.checkpoint:
                before, batch_size = plan.checkpoint.config.output, plan.config.training.batch_size
                interval = before.checkpoint_every * len(plan.dataset)
                # A kill between saving and thinning left one checkpoint too many: thin as the last part would have.
                thinned_from = parts[-1].get("thin_from", seen) if parts else 0
                replace(run, thin_from=thinned_from).thin_checkpoints(before.keep, interval, batch_size)
                run = replace(run, thin_from=run.oldest_to_thin(before.keep, interval, batch_size))
            now = environment(plan.config, plan.device, plan.world, command)
            provenance["dataset"]["path"] = str(plan.dataset.info.path)  # it may have moved
            provenance["resumed"] = [*parts, {"at_images": seen, "thin_from": run.thin_from, **now}]
        write_provenance(run, provenance)
        run.write_config(plan.config)  # last: it is what makes the folder a run
        plan.world.tell(str(run.path))
        yield OpenRun(run, provenance, alone)


def name_of(dataset: Path) -> str:
    """The dataset folder's name, also for "." and ".."; a link keeps its own name."""
    return Path(os.path.abspath(dataset)).name or "dataset"  # noqa: PTH100, Path.resolve would follow the link


def describe(plan: Plan, command: list[str]) -> dict[str, Any]:
    """What provenance.json holds: versions, command, device, dataset and its hash."""
    info = plan.dataset.info
    dataset = {
        "path": str(info.path),
        "count": info.count,
        "size": info.size,
        "sha256": info.pixels_sha256,
        "crop": dict(info.crop),
    }
    start: dict[str, Any] = {}
    if plan.start:
        start = {"from": str(plan.start.source), "from_images_seen": plan.start.images_seen}
        if licence := plan.start.notes.get("licence") or plan.start.provenance.get("from_licence"):
            start["from_licence"] = licence  # it holds for what is trained on from there, and so on
    return {**environment(plan.config, plan.device, plan.world, command), "dataset": dataset, **start}
