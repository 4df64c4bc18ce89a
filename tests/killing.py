"""Kill trainings with -9 at random moments, go on with them, and compare them with one that was never killed.

    python tests/killing.py --kills 50 --seed 0

Training writes a checkpoint, a generator and a row after every step and a grid after every fifth, so that most of its
time, and so most kills, fall into the writing of files.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from conftest import cli, write_dataset
from PIL import Image
from test_trainer import assert_same

from facegan.data.dataset import Dataset
from facegan.data.folder import verify_pixels
from facegan.models.checkpoint import load_checkpoint
from facegan.runs.folder import RunDir, runs

STEPS_PER_KILL = 20
TRAIN = (
    "train --width 4 --critic-width 4 --batch-size 4 --device cpu --seed 3 --keep 2 --set output.log_every=1 "
    "--checkpoint-every 0.4 --sample-every 2"
)
"""Of 10 images: one step is 0.4 epochs."""
PREPROCESS = "preprocess photos --size 32 --workers 1 --out data/killed"
SECONDS = 120
"""After so long something hangs."""


def start(folder: Path, words: str) -> subprocess.Popen[bytes]:
    with (folder / "said.txt").open("ab") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "facegan", *words.split()],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent.parent)},
            stdout=said,
            stderr=said,
        )


def in_this_process(folder: Path, words: str) -> None:
    """What nobody kills: no other process need be started for it."""
    torch.set_num_threads(1)
    before = Path.cwd()
    os.chdir(folder)
    try:
        code, _, err = cli(*words.split())
    finally:
        os.chdir(before)
    assert code == 0, f"{words}: {code}\n{err[-2000:]}"


def kill_training(folder: Path, kills: int, seed: int) -> Counter[str]:
    """Train once in peace and once under fire, and compare.

    Returns:
        What the killed processes left behind: in how many cases which.

    Raises:
        AssertionError: something is not as it would have been.
    """
    random_moment = random.Random(seed)  # noqa: S311
    images = 4 * STEPS_PER_KILL * kills
    for name in ("peace", "fire"):
        write_dataset(folder / name / "data/d", 10)
    in_this_process(folder / "peace", f"{TRAIN} --images {images}")
    left: Counter[str] = Counter()
    for _ in range(kills):
        process = start(folder / "fire", going_on(folder / "fire") or f"{TRAIN} --images {images}")
        if random_moment.random() < 0.85:  # else anywhere, while it starts too
            wait_for_change(folder / "fire/runs", process)
            time.sleep(random_moment.uniform(0, 0.3))
        else:
            time.sleep(random_moment.uniform(0, 4))
        assert process.poll() is None, f"it ended by itself: {(folder / 'fire/said.txt').read_text('utf-8')[-2000:]}"
        process.kill()
        process.wait(SECONDS)
        look(folder / "fire", left)
    in_this_process(folder / "fire", going_on(folder / "fire") or f"{TRAIN} --images {images}")
    compare(runs(folder / "peace/runs")[-1], runs(folder / "fire/runs")[-1], images)
    return left


def going_on(folder: Path) -> str:
    """The command that continues the newest run; none was made yet if the kill came early."""
    return "train --resume --device cpu" if runs(folder / "runs") else ""


def wait_for_change(folder: Path, process: subprocess.Popen[bytes]) -> None:
    """Until the process has written something, which is when its training begins."""
    before, deadline = newest_change(folder), time.monotonic() + SECONDS
    while newest_change(folder) == before:
        assert process.poll() is None and time.monotonic() < deadline, "nothing is written"
        time.sleep(0.01)


def newest_change(folder: Path) -> float:
    times = [0.0]
    for path in folder.glob("*/checkpoints"):
        times.append(path.stat().st_mtime)
    return max(times)


def look(folder: Path, left: Counter[str]) -> None:
    """What a kill has left: the newest checkpoint opens, whatever else lies about."""
    for run in runs(folder / "runs"):
        if found := run.checkpoints():
            load_checkpoint(found[-1][1])
        left["temporary file"] += bool(list(run.path.rglob(".*")))
        left["lock"] += (run.path / "lock").exists()
        text = run.metrics.read_bytes() if run.metrics.exists() else b""
        left["row cut short"] += bool(text) and not text.endswith(b"\n")
        rows = run.read_metrics()
        left["rows beyond the checkpoint"] += bool(rows) and rows[-1]["images_seen"] > (found[-1][0] if found else 0)
    left["folder without a run"] += len(list((folder / "runs").glob("*"))) > len(runs(folder / "runs"))
    left["no run"] += not runs(folder / "runs")


def compare(peace: RunDir, fire: RunDir, images: int) -> None:
    a, b = load_checkpoint(peace.newest_checkpoint()), load_checkpoint(fire.newest_checkpoint())
    assert a.images_seen == b.images_seen == images
    assert_same(a.state, b.state)
    rows = [[{**row, "images_per_second": 0} for row in run.read_metrics()] for run in (peace, fire)]
    assert [row["images_seen"] for row in rows[1]] == list(range(4, images + 4, 4)), "each step once"
    assert rows[0] == rows[1]
    for (epoch, grid), (other_epoch, other) in zip(peace.samples(), fire.samples(), strict=True):
        assert epoch == other_epoch
        assert grid.read_bytes() == other.read_bytes()
    assert peace.generator.stat().st_size > 0
    names = [{str(path.relative_to(run.path)) for path in run.path.rglob("*")} for run in (peace, fire)]
    assert names[0] == names[1], "nothing is left over"


def kill_preprocessing(folder: Path, kills: int, seed: int) -> Counter[str]:
    """Make a dataset again and again, killed each time; it is absent or whole, and the last one is as ever.

    Raises:
        AssertionError: it was there and not whole.
    """
    random_moment = random.Random(seed)  # noqa: S311
    noise = np.random.default_rng(seed)
    (folder / "photos").mkdir(parents=True)
    for n in range(200):
        Image.fromarray(noise.integers(0, 256, (40, 40, 3), np.uint8)).save(folder / f"photos/{n:03d}.png")
    began = time.monotonic()
    code = start(folder, PREPROCESS.replace("killed", "peace")).wait(SECONDS)
    assert code == 0, (folder / "said.txt").read_text("utf-8")
    whole = time.monotonic() - began
    expected, left = Dataset(folder / "data/peace", 0).info.pixels_sha256, Counter[str]()
    for n in range(kills):
        if n % 2:  # else the old one is to be replaced
            shutil.rmtree(folder / "data/killed", ignore_errors=True)
        process = start(folder, f"{PREPROCESS} --overwrite")
        time.sleep(random_moment.uniform(0.2, 1.05) * whole)
        process.kill()
        process.wait(SECONDS)
        there = (folder / "data/killed").exists()
        left["whole dataset" if there else "no dataset"] += 1
        left["temporary folder"] += bool(list((folder / "data").glob(".killed.*")))
        if there:
            verify_pixels(Dataset(folder / "data/killed", 0).info)
    in_this_process(folder, f"{PREPROCESS} --overwrite")
    info = Dataset(folder / "data/killed", 0).info
    verify_pixels(info)
    assert info.pixels_sha256 == expected
    return left


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        for name, work in (("preprocess", kill_preprocessing), ("train", kill_training)):
            started = time.monotonic()
            found = work(Path(place) / name, given.kills, given.seed)
            print(f"{name}: {given.kills} kills, all as if never killed, {time.monotonic() - started:.0f} s")
            print("  left behind: " + ", ".join(f"{what} {count}" for what, count in found.items() if count))
