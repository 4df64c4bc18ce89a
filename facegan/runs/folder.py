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
"""The longest line of metrics that is read, in characters; a row that facegan writes has about 300."""
_RUN_NAME = re.compile(r"(\d{5,})-.+")
_CHECKPOINT_NAME = re.compile(r"\d{1,15}\.pt")


def turn(images_seen: int, interval: float, batch_size: int) -> int:
    """The number 1, 2, ... of the multiple of `interval` that the batch ending at `images_seen` reached; 0 if none."""
    reached = math.floor(images_seen / interval)
    return reached if reached > math.floor((images_seen - batch_size) / interval) else 0


@dataclass(frozen=True)
class RunDir:
    """One run's folder, such as `runs/00003-celeba-64-dcgan`.

    Attributes:
        thin_from: images seen. Checkpoints before it are never deleted: an earlier part of the run has kept them,
            perhaps as every 10th of another interval.
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
            FaceganError: their folder may not be read; this must not be taken for a run without checkpoints.
        """
        paths = listing(self.path / "checkpoints")
        return sorted((int(path.stem), path) for path in paths if _CHECKPOINT_NAME.fullmatch(path.name))

    def newest_checkpoint(self) -> Path:
        """The path of the newest checkpoint. Raises: FaceganError: the run has none yet."""
        found = self.checkpoints()
        if not found:
            raise FaceganError(f"{self.path} has no checkpoint yet.", "The first is written at the end of an epoch.")
        return found[-1][1]

    def weights(self) -> Path | None:
        """The file to draw with: the newest checkpoint, else the generator alone; None if there is neither."""
        found = self.checkpoints()
        return found[-1][1] if found else self.generator if is_there(self.generator) else None

    def oldest_to_thin(self, keep: int, interval: float, batch_size: int) -> int:
        """Images seen at the oldest checkpoint that `thin_checkpoints` has so far kept only because it is new."""
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
        """Write config.json, which makes the folder a run. Call this after all else that a run must have is written."""
        write_atomic(self.config, config.to_json() + "\n")

    def read_config(self) -> Config:
        """The run's configuration. Raises: FaceganError: it is missing or damaged, or cannot be read."""
        try:
            config = read_config(self.config)
        except (FileNotFoundError, NotADirectoryError):
            what = "is not a run: it has no config.json" if is_there(self.path) else "does not exist"
            near = runs(self.path.parent)
            beside = f"Name a run, such as {near[-1].path}." if near else "Runs are the folders under runs/."
            raise FaceganError(f"{self.path} {what}.", run_in(self.path) or beside) from None
        if config.training.images is None:
            raise FaceganError(f"{self.config}: training.images must be a number, as in every run.")
        return config

    def append_metrics(self, row: dict[str, Any]) -> None:
        """Append a row to metrics.jsonl, as one line of JSON.

        Raises:
            FaceganError: the system refuses; what was in the file before is still there.
        """
        with self._metrics_refused(), self.metrics.open("a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(row) + "\n")

    def sync_metrics(self) -> None:
        """Flush the rows so far to the disk, so that a power cut does not lose them.

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
        """Raises: FaceganError: the folder or its config.json has vanished, so what is written now would be no run."""
        if not self.config.is_file():
            raise FaceganError(f"{self.path} or its config.json has vanished: nothing more can be saved there.")

    def read_metrics(self) -> list[dict[str, Any]]:
        """All complete rows of numbers. Lines that a crash cut short, or that facegan did not write, are skipped."""
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
        """Delete the metrics of steps that a run is about to do again, and unfinished files that a crash left behind.

        Sample grids stay: they are drawn again.

        Args:
            checkpoints: also delete the checkpoints of such steps, because the steps will not be done in the same way.
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
    """Read a configuration from a file.

    Raises:
        FileNotFoundError, NotADirectoryError: there is no such file.
        FaceganError: it is damaged or cannot be read.
    """
    return Config.from_dict(read_json(path), str(path))


def _all_numbers(row: dict[str, Any]) -> bool:
    return all(value is None or (isinstance(value, (int, float)) and not abs(value) > 1e300) for value in row.values())


def is_run(path: Path) -> bool:
    """Whether a folder is a run that can go on: its config.json makes it one."""
    return is_there(RunDir(path).config)


def check_name(name: str) -> None:
    """Raises: UsageError: the name cannot be part of a folder's name."""
    if name != Path(name).name or name[-1:] in ("", ".", " ") or not name.isprintable():  # Windows drops such ends
        raise UsageError(f"{name!r} cannot be the end of a folder's name.", "Choose a --name of letters and digits.")


def create_run(name: str, root: Path = RUNS) -> RunDir:
    """Make a new folder `root/NNNNN-name`, numbered one above the highest there, even if other runs start meanwhile.

    Raises:
        UsageError: the name cannot be part of a folder's name.
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
                    path.rmdir()  # another run took the number between the two looks; the later of the two sees it
            number += 1
    except OSError as error:
        raise FaceganError(
            f"No run can be made under {root}/: {error.strerror}.", "Check the folder and your permissions."
        ) from None


def start_again(run: RunDir) -> str:
    """The hint for a run whose checkpoints are lost but whose generator is left."""
    return f"Start a new run from its generator: facegan train --from {typed(run.generator)}"


def runs(root: Path = RUNS) -> list[RunDir]:
    """All runs under `root`, oldest first."""
    return [run for run in numbered(root) if is_run(run.path)]


def numbered(root: Path) -> list[RunDir]:
    """The folders under `root` that are named like runs, oldest first."""
    found = [(int(m[1]), path) for path in listing(root) if (m := _RUN_NAME.fullmatch(path.name))]
    return [RunDir(path) for _, path in sorted(found)]


def run_in(folder: Path) -> str:
    """The hint for a folder that is no run but contains runs; empty if it contains none."""
    found = runs(folder)
    return f"Name one of the runs in it, such as {found[-1].path}." if found else ""


def newest_run(root: Path = RUNS) -> RunDir:
    """The newest run under `root`. Raises: FaceganError: there is none."""
    found = runs(root)
    if not found:
        raise FaceganError(f"There is no run under {root}/.", "`facegan train` makes one.")
    return found[-1]
