"""Names and paths of a run directory, its metrics, and the runs under a folder."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facegan.config import Config
from facegan.core.atomic import is_temporary, sync_file, write_atomic
from facegan.core.errors import FaceganError, UsageError, is_there, listing, typed
from facegan.core.strictjson import read_json

RUNS = Path("runs")
_MAX_LINE = 100_000
"""Characters of a row of metrics; ours have some 300."""
_RUN_NAME = re.compile(r"(\d{5,})-.+")
_CHECKPOINT_NAME = re.compile(r"\d{1,15}\.pt")


def turn(images_seen: int, interval: float, batch_size: int) -> int:
    """Which multiple of `interval`, 1, 2, ..., was reached within the batch that ends at `images_seen`; 0 if none."""
    reached = math.floor(images_seen / interval)
    return reached if reached > math.floor((images_seen - batch_size) / interval) else 0


@dataclass(frozen=True)
class RunDir:
    """One run's folder, such as `runs/00003-celeba-64-dcgan`.

    Attributes:
        thin_from: images seen. Older checkpoints stay: they were kept before, perhaps as a 10th of another interval.
    """

    path: Path
    thin_from: int = 0

    @property
    def config(self) -> Path:
        return self.path / "config.json"

    @property
    def provenance(self) -> Path:
        return self.path / "provenance.json"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def curves(self) -> Path:
        return self.path / "curves.png"

    @property
    def progress(self) -> Path:
        return self.path / "progress.gif"

    @property
    def generator(self) -> Path:
        return self.path / "generator.safetensors"

    @property
    def best(self) -> Path:
        return self.path / "checkpoints" / "best.pt"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    def sample(self, epoch: float) -> Path:
        """`samples/epoch-0003.png`, or `epoch-0003.50.png` between the ends of epochs."""
        whole = round(epoch)
        name = f"{whole:04d}" if abs(epoch - whole) < 5e-3 else f"{epoch:07.2f}"
        return self.path / "samples" / f"epoch-{name}.png"

    def samples(self) -> list[tuple[float, Path]]:
        """All sample grids as (epoch, path), in order."""
        found = []
        for path in (self.path / "samples").glob("epoch-*.png"):
            try:
                found.append((float(path.stem.removeprefix("epoch-")), path))
            except ValueError:
                continue
        return sorted(found)

    def checkpoint(self, images_seen: int) -> Path:
        return self.path / "checkpoints" / f"{images_seen:09d}.pt"

    def checkpoints(self) -> list[tuple[int, Path]]:
        """All checkpoints as (images seen, path), oldest first.

        Raises:
            FaceganError: their folder may not be read, which is not to be taken for a run without any.
        """
        paths = listing(self.path / "checkpoints")
        return sorted((int(path.stem), path) for path in paths if _CHECKPOINT_NAME.fullmatch(path.name))

    def newest_checkpoint(self) -> Path:
        """Raises: FaceganError: the run has none yet."""
        found = self.checkpoints()
        if not found:
            raise FaceganError(f"{self.path} has no checkpoint yet.", "The first is written at the end of an epoch.")
        return found[-1][1]

    def weights(self) -> Path | None:
        """What to draw with: the newest checkpoint, else the generator alone; None where there is neither."""
        found = self.checkpoints()
        return found[-1][1] if found else self.generator if is_there(self.generator) else None

    def oldest_to_thin(self, keep: int, interval: float, batch_size: int) -> int:
        """Images seen by the oldest checkpoint that `thin_checkpoints` has spared so far only for being new."""
        found = [images_seen for images_seen, _ in self.checkpoints()]
        in_turn = [images_seen for images_seen in found if turn(images_seen, interval, batch_size)]
        return min([*found[-keep:], *in_turn[-1:]], default=0)

    def thin_checkpoints(self, keep: int, interval: float, batch_size: int) -> None:
        """Delete all but the newest `keep`, the newest scheduled one, and every 10th scheduled one.

        Checkpoints written on Ctrl-C or by the clock are off schedule. A rollback goes to the newest scheduled one, so
        that one is never deleted because of them.
        """
        found = [(seen, turn(seen, interval, batch_size), path) for seen, path in self.checkpoints()]
        newest = max((turns for _, turns, _ in found), default=0)
        for seen, turns, path in found[:-keep]:
            if seen >= self.thin_from and (not turns or (turns % 10 and turns != newest)):
                with suppress(OSError):  # open in another program: the next thinning tries again
                    path.unlink()

    def write_config(self, config: Config) -> None:
        """Write config.json, which makes the folder a run: after everything else that a run must have."""
        write_atomic(self.config, config.to_json() + "\n")

    def read_config(self) -> Config:
        """Raises: FaceganError: missing, damaged, or not to be read."""
        try:
            config = read_config(self.config)
        except (FileNotFoundError, NotADirectoryError):
            what = "is not a run: it has no config.json" if is_there(self.path) else "does not exist"
            near = runs(self.path.parent)
            beside = f"There is {near[-1].path}." if near else "Runs are the folders under runs/."
            raise FaceganError(f"{self.path} {what}.", run_in(self.path) or beside) from None
        if config.training.images is None:
            raise FaceganError(f"{self.config}: training.images must be a number, as in every run.")
        return config

    def append_metrics(self, row: dict[str, Any]) -> None:
        """One line of JSON at the end of metrics.jsonl.

        Raises:
            FaceganError: the system refuses; what was in the file before is still there.
        """
        with self._metrics_refused(), self.metrics.open("a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(row) + "\n")

    def sync_metrics(self) -> None:
        """Bring the rows so far to the disk, where a power cut leaves them.

        Raises:
            FaceganError: the system refuses.
        """
        if self.metrics.exists():
            with self._metrics_refused():
                sync_file(self.metrics)

    @contextmanager
    def _metrics_refused(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise FaceganError(
                f"{self.metrics} could not be written: {error.strerror}.",
                f"Check its folder and the room on the disk, then: facegan train --run {typed(self.path)}",
            ) from error

    def check_there(self) -> None:
        """Raises: FaceganError: the folder has vanished: what is written now would be no run."""
        if not self.config.is_file():
            raise FaceganError(f"{self.path} has vanished, or its config.json has: nothing more can be saved there.")

    def read_metrics(self) -> list[dict[str, Any]]:
        """All whole rows of numbers; a line that a crash cut short, or that is nothing of ours, is left out."""
        return list(self._rows())

    def _rows(self) -> Iterator[dict[str, Any]]:
        if not self.metrics.exists():
            return
        with self.metrics.open(encoding="utf-8", errors="replace") as file:
            while line := file.readline(_MAX_LINE):
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(row, dict) and isinstance(row.get("images_seen"), int) and _all_numbers(row):
                    yield row

    def drop_beyond(self, images_seen: int, *, checkpoints: bool = False) -> None:
        """Forget the metrics of steps that a run is about to do again, and files that a crash left behind.

        Sample grids stay: they are drawn again.

        Args:
            checkpoints: also those of such steps, which will not be done again as they were.
        """
        for leftover in [*self.path.glob(".*"), *self.path.glob("*/.*")]:
            if is_temporary(leftover):
                leftover.unlink(missing_ok=True)
        for seen, path in self.checkpoints() if checkpoints else []:
            if seen > images_seen:
                path.unlink(missing_ok=True)
        rows = [row for row in self._rows() if row["images_seen"] <= images_seen]
        write_atomic(self.metrics, "".join(json.dumps(row) + "\n" for row in rows))


def read_config(path: Path) -> Config:
    """A configuration in a file of its own.

    Raises:
        FileNotFoundError, NotADirectoryError: there is none.
        FaceganError: damaged, or not to be read.
    """
    return Config.from_dict(read_json(path), str(path))


def _all_numbers(row: dict[str, Any]) -> bool:
    return all(value is None or (isinstance(value, (int, float)) and not abs(value) > 1e300) for value in row.values())


def is_run(path: Path) -> bool:
    """Whether a folder is a run that can go on: its config.json makes it one."""
    return is_there(RunDir(path).config)


def check_name(name: str) -> None:
    """Raises: UsageError: a name that is no folder's name."""
    if name != Path(name).name or name[-1:] in ("", ".", " ") or not name.isprintable():  # Windows drops such ends
        raise UsageError(f"{name!r} cannot be the end of a folder's name.", "Choose a --name of letters and digits.")


def create_run(name: str, root: Path = RUNS) -> RunDir:
    """A new `root/NNNNN-name`, numbered one above the highest there; safe against another run starting meanwhile.

    Raises:
        UsageError: a name that is no folder's name.
        FaceganError: the folder cannot be made.
    """
    check_name(name)
    try:
        root.mkdir(parents=True, exist_ok=True)
        number = 1 + max((int(m[1]) for p in root.iterdir() if (m := _RUN_NAME.fullmatch(p.name))), default=0)
        while True:
            path = root / f"{number:05d}-{name}"
            # The number itself is claimed, whatever the name: two runs that start together get two numbers.
            if not any(root.glob(f"{number:05d}-*")):
                try:
                    path.mkdir()
                except FileExistsError:
                    pass
                else:
                    if list(root.glob(f"{number:05d}-*")) == [path]:
                        return RunDir(path)
                    path.rmdir()  # another took the number between the two looks; whoever comes later sees it
            number += 1
    except OSError as error:
        raise FaceganError(
            f"No run can be made under {root}/: {error.strerror}.", "Check the folder and your permissions."
        ) from None


def start_again(run: RunDir) -> str:
    """What to do where a run's checkpoints are lost and its generator is not."""
    return f"Start a new run from its generator: facegan train --from {typed(run.generator)}"


def runs(root: Path = RUNS) -> list[RunDir]:
    """All runs under `root`, oldest first."""
    return [run for run in numbered(root) if is_run(run.path)]


def numbered(root: Path) -> list[RunDir]:
    """The folders under `root` with names of runs, oldest first."""
    found = [(int(m[1]), path) for path in listing(root) if (m := _RUN_NAME.fullmatch(path.name))]
    return [RunDir(path) for _, path in sorted(found)]


def run_in(folder: Path) -> str:
    """What to name where a folder was named that is no run and holds some; empty where it holds none."""
    found = runs(folder)
    return f"Name one of the runs in it, such as {found[-1].path}." if found else ""


def newest_run(root: Path = RUNS) -> RunDir:
    """Raises: FaceganError: there is none."""
    found = runs(root)
    if not found:
        raise FaceganError(f"There is no run under {root}/.", "`facegan train` makes one.")
    return found[-1]
