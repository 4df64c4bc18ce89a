"""The training loop: dataset and trainer on one side, the run directory on the other; events go to a callback.

What is due depends on images seen alone, so a run that is stopped anywhere and resumed does the same things at the same
places as one that was never stopped. If steps are slow, the clock adds further rows and checkpoints; nothing that is
computed depends on them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from facegan.config import Config
from facegan.core.device import release_memory
from facegan.core.errors import FaceganError, Interrupted, one_line, typed
from facegan.data.dataset import Dataset
from facegan.faces import latents
from facegan.faces.synthesis import draw_faces
from facegan.models.checkpoint import Checkpoint, save_checkpoint, save_generator
from facegan.pictures.curves import plot_curves
from facegan.pictures.sheets import grid, save_png
from facegan.runs.best import Best
from facegan.runs.events import SAVE, Event, Logged, Noted, Stepped, Wrote
from facegan.runs.find import open_checkpoint
from facegan.runs.folder import RunDir, turn
from facegan.runs.health import Health
from facegan.runs.progress_animation import write_progress
from facegan.training.steps import steps_of
from facegan.training.trainer import Metrics, Trainer

SHEET = 25
"""Faces on a sample grid: latents 0 to 24 of the run's seed."""
PROGRESS_FPS = 8
MOST_ROLLBACKS = 3
"""How often a run goes back to the same checkpoint at most."""
_CURVES_EVERY_SECONDS = 60
ROW_AFTER_SECONDS = 15
"""Seconds since the last row after which another is written: slow steps, such as those of the classic presets on a
laptop, need more rows to make a curve."""
SAVE_AFTER_SECONDS = 600
"""Seconds since the last checkpoint after which another is written: a crash costs no more work than this, however long
an epoch takes."""

_NOTHING, _ROW, _SAVE, _END = range(4)
"""What a signal or the clock asks for off schedule; each includes those before it. A signal adds its number to _END."""


def total_images(config: Config) -> int:
    """Images seen at the end of the run: what was asked for, rounded up to whole batches."""
    assert config.training.images is not None, "the configuration has not met its dataset"
    return math.ceil(config.training.images / config.training.batch_size) * config.training.batch_size


class Loop:
    """One run in progress. If several processes train it, each runs the loop, and only the first writes and reports.

    Args:
        trainer: new, or with a checkpoint's state loaded.
        dataset: of the trainer's size, ordered by the run's seed.
        run: its directory, with config.json written.
        provenance: goes into every checkpoint.
        on_event: called with every event: step, row, file or note.
        stopped: called after every step. If it returns a signal's number in any process, the run saves and ends; if the
            number is SAVE, the run saves and goes on.
    """

    def __init__(
        self,
        trainer: Trainer,
        dataset: Dataset,
        run: RunDir,
        provenance: dict[str, Any],
        on_event: Callable[[Event], object] = lambda event: None,
        stopped: Callable[[], int | None] = lambda: None,
    ) -> None:
        self.trainer, self.dataset, self.run, self.provenance = trainer, dataset, run, provenance
        self.on_event, self.stopped = on_event, stopped
        self.config, self.world = trainer.config, trainer.world
        self.steps = steps_of(trainer, dataset)
        self.health = Health(run.read_metrics(), trainer.objective.slope)
        evaluates = self.world.first and self.config.output.evaluate_every > 0
        self.best = Best(run, dataset, trainer, lambda text: self._tell(Noted(text))) if evaluates else None
        self._sheet = latents.draw(self.config.seed, range(SHEET), self.config.networks.latent_dim)
        self._undrawn: set[Path] = set()
        self._clock = self._curves_at = self._saved_at = time.perf_counter()
        self._rated_at = trainer.images_seen

    def train(self) -> None:
        """Train to the end.

        Raises:
            Interrupted: `stopped` returned a signal; everything is saved.
            FaceganError: the losses are no longer finite, or a file could not be written.
        """
        total, output, n_critic = total_images(self.config), self.config.output, self.config.training.n_critic
        if self.trainer.images_seen == 0:
            self._save_sample(0.0)
        if self.trainer.images_seen >= total and self.world.first:
            self._save_generator()  # a kill after the last checkpoint may have prevented it
        told = False
        while self.trainer.images_seen < total:
            step = self.trainer.step_number
            metrics = self.steps.step()
            seen = self.trainer.images_seen
            self._tell(Stepped(seen))
            if self.steps.uncaptured and not told:
                told = True
                self._tell(Noted(f"steps run one by one, not as CUDA graphs, which is slower: {self.steps.uncaptured}"))
            evaluation_due = bool(output.evaluate_every and (self._due(output.evaluate_every, seen) or seen >= total))
            row_due = (step + 1) % (output.log_every * n_critic) == 0 or seen >= total or evaluation_due
            wanted = self._wanted(row_due)
            signum = max(wanted - _END, 0)
            row_due |= wanted >= _ROW and (step + 1) % n_critic == 0  # only these steps have the generator's loss
            epoch = self._due(output.sample_every, seen)
            save_due = bool(self._due(output.checkpoint_every, seen) or wanted >= _SAVE or seen >= total)
            if row_due or epoch or save_due:
                values = self._means(metrics)
                if fault := self._fault(values, weights=bool(epoch) or save_due or evaluation_due):
                    self._roll_back_or_stop(fault)
                    continue
                if self.world.first:
                    self.run.check_there()
                if row_due:
                    self._log(values, evaluation_due)
            if epoch:
                self._save_sample(epoch)
            if save_due and self.world.first:
                self._save()
            if signum and signum == SAVE:
                self._tell(Noted(f"saved at {seen:,} images, as SIGUSR1 asks, and going on"))
            elif signum and seen < total:
                # The others wait here until everything is saved: torchrun ends all processes when one has ended.
                self.world.barrier()
                raise Interrupted(
                    f"at {seen:,} images; everything is saved in {self.run.path}.",
                    f"go on with: {self.world.command(f'train --run {typed(self.run.path)}')}",
                    signum=signum,
                )
        self._finish()

    def _wanted(self, row_due: bool) -> int:
        """What a signal or the clock asks for, in this process or another: all processes get the same answer.

        On a CPU the processes exchange the answer at every step. On a GPU they exchange it only when a row is due,
        because there each exchange waits for all processes. This exchange comes before that of the row's numbers, so
        that a process which has ended is noticed here.
        """
        if not self.world.alone and self.trainer.device.type != "cpu" and not row_due:
            return _NOTHING
        wanted, now = _NOTHING, time.perf_counter()
        if signum := self.stopped():
            wanted = _END + signum
        elif self.world.first and now - self._saved_at > SAVE_AFTER_SECONDS:
            wanted = _SAVE
        elif self.world.first and now - self._clock > ROW_AFTER_SECONDS:
            wanted = _ROW
        return self.world.agree(wanted)

    def _tell(self, event: Event) -> None:
        if self.world.first:
            self.on_event(event)

    def _due(self, every: float, seen: int) -> float:
        """The multiple of `every`, in epochs, that was reached within the batch that ends at `seen`; 0 if none was."""
        return every * turn(seen, every * len(self.dataset), self.config.training.batch_size)

    def _to_go_back_to(self) -> Checkpoint | None:
        """The newest scheduled checkpoint, the same in all processes: the first decides, the others read that file.

        Checkpoints written on Ctrl-C or by the clock are skipped, so that they do not change what a rollback does.
        """
        kept = [path for _, path in self.run.checkpoints()] if self.world.first else []
        found = (open_checkpoint(path) for path in reversed(kept))  # the interval may have changed
        in_turn = (each for each in found if self._due(each.config.output.checkpoint_every, each.images_seen))
        chosen = next(in_turn, None) or (open_checkpoint(kept[-1]) if kept else None)
        path = self.world.tell(str(chosen.path) if chosen else "")
        return chosen if self.world.first else open_checkpoint(Path(path)) if path else None

    def _log(self, values: dict[str, float], evaluation_due: bool) -> None:
        if not self.world.first:
            return
        seen, now = self.trainer.images_seen, time.perf_counter()
        rate = (seen - self._rated_at) / max(now - self._clock, 1e-9)
        self._clock, self._rated_at = now, seen
        epoch = round(seen / len(self.dataset), 4)
        row = {"images_seen": seen, "epoch": epoch, **values, "images_per_second": round(rate, 1)}
        if self.best and evaluation_due:
            distances, kept = self.best.consider(self.trainer, self.provenance)
            row |= distances
            if kept:
                self._tell(Wrote(self.run.best))
            self._restart_clock()
        self.run.append_metrics(row)
        self._tell(Logged(row))
        for text in self.health.after_row(row):
            self._tell(Noted(text))

    def _means(self, metrics: Metrics) -> dict[str, float]:
        """The metrics of the global batch: each is a mean over images, and every process has equally many images."""
        return self.world.mean_of({name: float(value) for name, value in metrics.items()})

    def _fault(self, values: dict[str, float], weights: bool) -> str:
        """The first number that is not finite, in words; "" if all are finite. It is the same in all processes.

        Args:
            weights: look at all weights, averages and optimisers too, which is needed before any of them is saved.
        """
        for name, value in values.items():
            if not math.isfinite(value):
                return f"{name} is {value}"
        found = self.trainer.first_not_finite() if weights else None
        if not weights or not self.world.agree(int(found is not None)):
            return ""
        return f"{found or 'a weight'} holds values that are not finite"

    def _roll_back_or_stop(self, fault: str) -> None:
        """Go back to the newest scheduled checkpoint, if the configuration asks for it and it may still help.

        The number of rollbacks to a checkpoint is the trainer's count minus the count that the checkpoint holds, so a
        run that is killed in between comes to the same result.

        Raises:
            FaceganError: rollbacks are not asked for, there is no checkpoint, or rollbacks have not helped.
        """
        trainer, checkpoint = self.trainer, self._to_go_back_to()
        cause, remedy = self.health.why_not_finite(trainer.precision)
        where = f"{fault} at step {trainer.step_number:,} ({trainer.images_seen:,} images)"
        tried = trainer.rollbacks - checkpoint.state["rollbacks"] if checkpoint else 0
        wanted = self.config.training.on_nan == "rollback"
        if checkpoint is None or not wanted or tried >= MOST_ROLLBACKS:
            again = f", as after each of {tried} rollbacks" if tried else ""
            saved, start, go_on = "nothing was saved", "", ""
            if checkpoint:
                newest = self.run.newest_checkpoint()  # intact too, even if off schedule
                saved = f"the last good checkpoint is {newest}"
                start = f" --from {typed(newest)}"
                go_on = "" if wanted else f", or go on with --run {typed(self.run.path)} --on-nan rollback"
            raise FaceganError(
                f"{where}{again}: training has diverged and was stopped; {cause}; {saved}.",
                f"Start a new run{start} with {remedy}{go_on}.",
            )
        rollbacks = trainer.rollbacks + 1
        trainer.load_state({**checkpoint.state, "rollbacks": rollbacks})
        trainer.check_same_weights()
        if self.world.first:
            self.run.drop_beyond(trainer.images_seen, checkpoints=True)
        del self.steps  # its captured graphs write to the optimiser's old tensors
        release_memory(trainer.device)  # so that the dataset still fits a GPU
        self.steps = steps_of(trainer, self.dataset)
        often = f"rollback {tried + 1} of at most {MOST_ROLLBACKS}"
        self._tell(Noted(f"{where}: going back to {checkpoint.path} with other noise, {often} ({cause})"))
        self._restart_clock()

    def _save_sample(self, epoch: float) -> None:
        if not self.world.first:
            return
        path = self.run.sample(epoch)

        def draw() -> Path:
            faces = draw_faces(self.trainer.sampling_generator, self.config.networks, self._sheet)
            notes.extend(self.health.after_sheet(self.trainer.images_seen, faces))
            return save_png(grid(faces), path)

        notes: list[str] = []
        self._derive(path, path.parent, draw)
        for text in notes:
            self._tell(Noted(text))
        self._restart_clock()

    def _derive(self, path: Path, kind: Path, draw: Callable[[], Path | None]) -> None:
        """Draw a picture of the run. An error becomes a note, and the picture is tried again when it is next due.

        A missing picture never ends the run; only weights and metrics that cannot be written do.

        Args:
            kind: of picture. Each kind gives one note, and no other until it has succeeded again.
            draw: draws and writes the picture; returns None if there is nothing to draw yet.
        """
        try:
            written = draw()
        except Exception as error:  # matplotlib's, Pillow's, the system's, the device's
            said = f"{path.name} could not be drawn: {one_line(error)}"
            if isinstance(error, FaceganError):
                said = error.message.rstrip(".")
            if kind not in self._undrawn:
                self._tell(Noted(f"{said}; the run goes on, and tries again when the next is due"))
            self._undrawn.add(kind)
        else:
            self._undrawn.discard(kind)
            if written:
                self._tell(Wrote(written))

    def _save(self) -> None:
        output, training, seen = self.config.output, self.config.training, self.trainer.images_seen
        self.run.sync_metrics()  # before the checkpoint: a run resumed from it must have its rows
        path = save_checkpoint(self.run.checkpoint(seen), self.config, self.provenance, self.trainer.state())
        self._saved_at = time.perf_counter()
        self.run.thin_checkpoints(output.keep, output.checkpoint_every * len(self.dataset), training.batch_size)
        self._tell(Wrote(path))
        self._save_generator()
        if time.perf_counter() - self._curves_at > _CURVES_EVERY_SECONDS:
            self._plot()
        self._restart_clock()

    def _save_generator(self) -> None:
        save_generator(
            self.run.generator,
            self.trainer.sampling_generator,
            self.config,
            images_seen=self.trainer.images_seen,
            weights="averaged" if self.trainer.average else "raw",
            provenance=self.provenance,
        )
        self._tell(Wrote(self.run.generator))

    def _plot(self) -> None:
        run, wanted = self.run, self.trainer.objective.slope

        def draw() -> Path | None:
            rows = run.read_metrics()
            return plot_curves(rows, run.curves, title=run.path.name, slope=wanted) if rows else None

        self._derive(run.curves, run.curves, draw)
        self._curves_at = time.perf_counter()

    def _finish(self) -> None:
        if not self.world.first:
            return
        seen, progress = self.trainer.images_seen, self.run.progress
        epoch = self._due(self.config.output.sample_every, seen)
        if not epoch or not self.run.sample(epoch).exists():
            self._save_sample(epoch or seen / len(self.dataset))
        self._plot()
        self._derive(progress, progress, lambda: write_progress(self.run, progress, PROGRESS_FPS))
        if self._undrawn & {self.run.curves, progress}:
            self._tell(Noted(f"to draw what is missing: facegan train --run {typed(self.run.path)}"))

    def _restart_clock(self) -> None:
        """Leave time spent on files out of the images per second."""
        self._clock, self._rated_at = time.perf_counter(), self.trainer.images_seen
