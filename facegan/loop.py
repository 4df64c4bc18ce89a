"""The training loop: dataset and trainer on one side, the run directory on the other; events go to a callback.

What is due when is a function of images seen, so a run stopped anywhere and resumed does the same things at the same
places as one that was never stopped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from facegan import latents
from facegan.best import Best
from facegan.checkpoint import Checkpoint, load_checkpoint, save_checkpoint, save_generator
from facegan.config import Config
from facegan.dataset import Dataset
from facegan.device import release_memory
from facegan.errors import FaceganError, Interrupted, typed
from facegan.events import SAVE, Event, Logged, Noted, Stepped, Wrote
from facegan.health import Health
from facegan.images import grid, save_png
from facegan.plots import plot_curves
from facegan.progress import write_progress
from facegan.rundir import RunDir, turn
from facegan.stepping import steps_of
from facegan.synthesis import draw_faces
from facegan.trainer import Metrics, Trainer

SHEET = 25
"""Faces on a sample grid: latents 0 to 24 of the run's seed."""
PROGRESS_FPS = 8
MOST_ROLLBACKS = 3
"""In a row, from one checkpoint."""
_CURVES_EVERY_SECONDS = 60


def total_images(config: Config) -> int:
    """Images seen at the end of the run: what was asked for, rounded up to whole batches."""
    assert config.training.images is not None, "the configuration has not met its dataset"
    return math.ceil(config.training.images / config.training.batch_size) * config.training.batch_size


class Loop:
    """One run in progress. Of several processes each runs the loop, and the first alone writes and tells of events.

    Args:
        trainer: new, or with a checkpoint's state loaded.
        dataset: of the trainer's size, ordered by the run's seed.
        run: its directory, with config.json written.
        provenance: goes into every checkpoint.
        on_event: told of every step, row and file.
        stopped: asked after every step; a signal's number ends the run after saving, and so it does in any process.
            After SAVE it goes on.
    """

    def __init__(
        self,
        trainer: Trainer,
        dataset: Dataset,
        run: RunDir,
        provenance: dict[str, Any],
        on_event: Callable[[Event], None] = lambda event: None,
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
        self._clock = self._curves_at = time.perf_counter()
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
            self._save_generator()  # a kill after the last checkpoint may have cost it
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
            signum = self._signal(row_due)
            epoch = self._due(output.sample_every, seen)
            save_due = bool(self._due(output.checkpoint_every, seen) or signum or seen >= total)
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
            if signum == SAVE:
                self._tell(Noted(f"saved at {seen:,} images, as SIGUSR1 asks, and going on"))
            elif signum and seen < total:
                self.world.barrier()  # the others leave when everything is saved, or torchrun would end the saving
                raise Interrupted(
                    f"at {seen:,} images; everything is saved in {self.run.path}.",
                    f"go on with: {self.world.command(f'train --run {typed(self.run.path)}')}",
                    signum=signum,
                )
        self._finish()

    def _signal(self, row_due: bool) -> int | None:
        """The signal that has come to this process or another; all stop at the same step.

        To ask the others is to wait for them: on a GPU that is done with the rows only, before their numbers are waited
        for, so that a process which has ended is noticed here.
        """
        if self.world.alone:
            return self.stopped()
        if self.trainer.device.type != "cpu" and not row_due:
            return None
        return self.world.agree(self.stopped() or 0) or None

    def _tell(self, event: Event) -> None:
        if self.world.first:
            self.on_event(event)

    def _due(self, every: float, seen: int) -> float:
        """The epoch whose turn came with the batch that ends at `seen`, a multiple of `every`; 0 where none did."""
        return every * turn(seen, every * len(self.dataset), self.config.training.batch_size)

    def _to_go_back_to(self) -> Checkpoint | None:
        """The newest checkpoint whose turn it was: one more, written when a run is stopped, must change nothing."""
        kept = [path for _, path in self.run.checkpoints()]
        found = (load_checkpoint(path) for path in reversed(kept))  # the interval may have been another one
        in_turn = (each for each in found if self._due(each.config.output.checkpoint_every, each.images_seen))
        return next(in_turn, None) or (load_checkpoint(kept[-1]) if kept else None)

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
        """All are means over images, and every process has as many: their means are those of the global batch."""
        return self.world.mean_of({name: float(value) for name, value in metrics.items()})

    def _fault(self, values: dict[str, float], weights: bool) -> str:
        """The first number that is not finite, in words; "" where all is well. The same in all processes.

        Args:
            weights: look at all weights, averages and optimisers too: before anything that is made of them is saved.
        """
        for name, value in values.items():
            if not math.isfinite(value):
                return f"{name} is {value}"
        found = self.trainer.first_not_finite() if weights else None
        if not weights or not self.world.agree(int(found is not None)):
            return ""
        return f"{found or 'a weight'} holds values that are not finite"

    def _roll_back_or_stop(self, fault: str) -> None:
        """Go back to the last checkpoint, where that was asked for and may help.

        How often a checkpoint has been gone back to since it was written is the count here less the count in it, so a
        run that is killed in between comes to the same.

        Raises:
            FaceganError: it was not asked for, there is no checkpoint, or it has not helped.
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
                saved = f"the last good checkpoint is {checkpoint.path}"
                start = f" --from {typed(checkpoint.path)}"
                go_on = "" if wanted else f", or go on with --run {typed(self.run.path)} --on-nan rollback"
            raise FaceganError(
                f"{where}{again}: training has diverged and was stopped; {cause}; {saved}.",
                f"Start a new run{start} with {remedy}{go_on}.",
            )
        rollbacks = trainer.rollbacks + 1
        trainer.load_state({**checkpoint.state, "rollbacks": rollbacks})
        if self.world.first:
            self.run.drop_beyond(trainer.images_seen, checkpoints=True)
        del self.steps  # its captured graphs write to the optimiser's old tensors
        release_memory(trainer.device)  # so that the dataset still fits a GPU
        self.steps = steps_of(trainer, self.dataset)
        often = f"{tried + 1} of at most {MOST_ROLLBACKS} times"
        self._tell(Noted(f"{where}: back to {checkpoint.path} with other noise, {often} ({cause})"))
        self._restart_clock()

    def _save_sample(self, epoch: float) -> None:
        if not self.world.first:
            return
        faces = draw_faces(self.trainer.sampling_generator, self.config.networks, self._sheet)
        self._tell(Wrote(save_png(grid(faces), self.run.sample(epoch))))
        for text in self.health.after_sheet(self.trainer.images_seen, faces):
            self._tell(Noted(text))
        self._restart_clock()

    def _save(self) -> None:
        output, training, seen = self.config.output, self.config.training, self.trainer.images_seen
        self.run.sync_metrics()  # a checkpoint on the disk whose rows are not would go on without them
        path = save_checkpoint(self.run.checkpoint(seen), self.config, self.provenance, self.trainer.state())
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
        if rows := self.run.read_metrics():
            wanted = self.trainer.objective.slope
            self._tell(Wrote(plot_curves(rows, self.run.curves, title=self.run.path.name, slope=wanted)))
        self._curves_at = time.perf_counter()

    def _finish(self) -> None:
        if not self.world.first:
            return
        seen = self.trainer.images_seen
        if not self._due(self.config.output.sample_every, seen):
            self._save_sample(seen / len(self.dataset))
        self._plot()
        self._tell(Wrote(write_progress(self.run, self.run.progress, PROGRESS_FPS)))

    def _restart_clock(self) -> None:
        """Leave time spent on files out of the images per second."""
        self._clock, self._rated_at = time.perf_counter(), self.trainer.images_seen
