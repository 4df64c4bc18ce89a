"""Train a planned run in its folder: the loop and what surrounds it. Nothing is printed; events report it all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext

from facegan.core.device import describe_device
from facegan.runs.estimate import disk_note
from facegan.runs.events import Began, Event, Noted
from facegan.runs.folder import RunDir
from facegan.runs.loop import Loop
from facegan.runs.memory import memory_watched
from facegan.runs.open_run import OpenRun, open_run
from facegan.runs.plan import Plan


def check_extras(plan: Plan) -> None:
    """Check the extras that the plan needs, before a run is made. Raises: FaceganError: one is not installed."""
    if plan.config.output.evaluate_every and plan.world.first:
        from facegan.evaluation.extractors import check_installed

        check_installed()
    if plan.config.output.tensorboard and plan.world.first:
        from facegan.runs.tensorboard import check_installed as check_tensorboard

        check_tensorboard()


def train(
    plan: Plan,
    name: str | None = None,
    *,
    command: Sequence[str] = (),
    on_event: Callable[[Event], None] = lambda event: None,
    stopping: AbstractContextManager[Callable[[], int | None]] | None = None,
) -> RunDir:
    """Train a planned run to its end.

    Args:
        name: of a new run; None makes one from dataset and preset.
        command: the command line, for provenance.json.
        on_event: called by the first process with every event: the run's folder, each step, row, file and note.
        stopping: a context in which the steps are taken. It gives a function that is called after every step; if this
            returns a signal's number, the run saves and ends.

    Raises:
        Interrupted: a signal came; everything is saved.
        FaceganError: another process trains the run, memory or the disk is full, or training has diverged.
    """

    def note(text: str) -> None:
        if plan.world.first:
            on_event(Noted(text))

    with open_run(plan, name, list(command)) as opened:
        if not opened.alone:
            note("this file system has no locks: nothing keeps a second process from training the same run")
        note(f"device: {describe_device(plan.device)}, {plan.config.training.precision}")
        if not plan.world.alone:
            share = plan.config.training.batch_size // plan.world.size
            note(f"{plan.world.size} processes, which share each batch: {share} images for each of them")
        if plan.world.first:
            on_event(Began(opened.run.path))
        watched = memory_watched(plan.trial, plan.world, going_on=plan.run is not None, told=note)
        with watched, stopping or nullcontext(lambda: None) as stopped, ExitStack() as logs:
            sinks = [on_event]
            if plan.config.output.tensorboard and plan.world.first:
                from facegan.runs.tensorboard import open_log

                begun_at = plan.checkpoint.images_seen if plan.checkpoint else 0
                sinks.append(logs.enter_context(open_log(opened.run.tensorboard, begun_at, note)))
            _loop(opened, plan, lambda event: [sink(event) for sink in sinks], stopped, note)
        return opened.run


def _loop(
    opened: OpenRun,
    plan: Plan,
    on_event: Callable[[Event], object],
    stopped: Callable[[], int | None],
    note: Callable[[str], None],
) -> None:
    """Train. This is a separate function so that its tensors are freed before smaller batches are tried."""
    trainer = plan.trainer()
    if text := disk_note(plan, trainer, opened.run.path):
        note(text)
    Loop(trainer, plan.dataset, opened.run, opened.provenance, on_event, stopped).train()
