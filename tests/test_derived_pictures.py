"""Curves, sample grids and progress.gif never end a run: a failure is one note for each kind, and is tried again."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from conftest import write_dataset
from test_loop import _tiny_presets, train  # noqa: F401, the fixture is used by name

from facegan.core import atomic
from facegan.models.checkpoint import load_checkpoint, load_generator
from facegan.runs import loop
from facegan.runs.events import Noted, Wrote
from facegan.runs.plan import plan_new, plan_resume

ASKED = {
    "training.images": 20, "training.epochs": None, "output.log_every": 1, "output.sample_every": 0.4,
    "output.checkpoint_every": 0.8,
}  # fmt: skip
"""Five steps of four images, each with a sample grid, every second with a checkpoint."""


@pytest.fixture
def plan(workdir, monkeypatch):
    monkeypatch.setattr(loop, "_CURVES_EVERY_SECONDS", 0)
    return plan_new(write_dataset(workdir / "data/d", 10), "dcgan", ASKED, "cpu")


def notes(events, word):
    return [event.text for event in events if isinstance(event, Noted) and word in event.text]


def wrote(events, name):
    return [event.path for event in events if isinstance(event, Wrote) and event.path.name == name]


def fail(error):
    def failing(*_, **__):
        raise error

    return failing


@pytest.mark.parametrize(
    ("what", "error", "picture", "missing"),
    [
        ("plot_curves", RuntimeError("Failed to process string with tex\nand a log"), "curves.png", "curves.png"),
        ("plot_curves", ImportError("libfreetype.so.6: cannot open shared object file"), "curves.png", "curves.png"),
        ("draw_faces", RuntimeError("CUDA out of memory"), "epoch-0000.png", "samples"),
        ("save_png", MemoryError(), "epoch-0000.png", "samples"),
        ("write_progress", ValueError("the encoder"), "progress.gif", "progress.gif"),
    ],
)
def test_whatever_goes_wrong_is_one_note(plan, monkeypatch, what, error, picture, missing):
    monkeypatch.setattr(loop, what, fail(error))
    run, events = train(plan)
    assert load_checkpoint(run.newest_checkpoint()).images_seen == load_generator(run.generator).images_seen == 20
    (said,) = notes(events, f"{picture} could not be drawn: ")
    assert "\n" not in said and said.endswith("; the run goes on, and tries again when the next is due")
    assert not (run.path / missing).exists() and not wrote(events, missing)
    if missing == "samples":
        assert notes(events, "has no sample grids yet")  # there is nothing to make it of


@pytest.mark.parametrize("kind", [".png", ".gif"])
def test_a_viewer_that_holds_the_file_open(plan, monkeypatch, kind):
    """As Windows refuses to replace it. Everything else is written, nothing half, and nothing old is lost."""
    replace = Path.replace

    def refused(self, target):
        if str(target).endswith(kind):
            raise PermissionError(errno.EACCES, "Access is denied", str(self))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refused)
    run, events = train(plan)
    assert load_generator(run.generator).images_seen == 20 and len(run.read_metrics()) == 5
    assert not list(run.path.rglob("*" + kind)) and not list(run.path.rglob(".*"))
    denied = notes(events, "Access is denied")
    assert len(denied) == (2 if kind == ".png" else 1), "one for each kind of picture"


def test_a_full_disk_is_decided_by_the_checkpoint(plan, monkeypatch):
    """It is full while the pictures are drawn, and has room again when the checkpoint is written."""
    sync = atomic.sync_file

    def full(path):
        if path.suffix in (".png", ".gif"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        sync(path)

    monkeypatch.setattr(atomic, "sync_file", full)
    run, events = train(plan)
    assert len(run.checkpoints()) == 3 and len(notes(events, "No space left")) == 2


def test_the_next_turn_tries_again_and_a_new_failure_is_told_anew(plan, monkeypatch):
    save_png, turns = loop.save_png, []

    def flaky(image, path):
        turns.append(path.name)
        if len(turns) in (1, 2, 4):
            raise OSError(errno.EIO, "Input/output error")
        return save_png(image, path)

    monkeypatch.setattr(loop, "save_png", flaky)
    run, events = train(plan)
    assert len(notes(events, "Input/output error")) == 2
    assert [path.name for _, path in run.samples()] == ["epoch-0000.80.png", "epoch-0001.60.png", "epoch-0002.png"]
    assert wrote(events, "epoch-0000.80.png") and run.progress.exists()


def test_the_last_pictures_are_made_when_the_run_goes_on(plan, workdir, monkeypatch):
    for what in ("plot_curves", "write_progress"):
        monkeypatch.setattr(loop, what, fail(RuntimeError("no")))
    run, events = train(plan)
    assert notes(events, f"to draw what is missing: facegan train --run {run.path}")
    monkeypatch.undo()
    monkeypatch.chdir(workdir)
    again, events = train(plan_resume(run, {}, None))
    assert again.curves.exists() and again.progress.exists() and not notes(events, "goes on, and tries again")
