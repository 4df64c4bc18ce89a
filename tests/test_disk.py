"""A disk that is full, read-only or gone: one sentence, exit 1, and the last good files are as they were."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
from conftest import cli, write_dataset
from test_world import RUN, SECONDS, TRAIN

from facegan.core import atomic
from facegan.models.checkpoint import load_checkpoint, load_generator
from facegan.runs import folder, loop
from facegan.runs.folder import RunDir

WORDS = [*TRAIN, "--checkpoint-every", "0.4", "--sample-every", "0.8"]


def good_files() -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in RUN.rglob("*") if path.is_file()}


def check_all_open() -> None:
    run = RunDir(RUN)
    for _, path in run.checkpoints():
        load_checkpoint(path)
    load_generator(run.generator)
    assert not list(RUN.rglob(".*")), "no torn temporary file stays"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dataset, and a run of four steps that has ended."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as here:
        here.chdir(folder)
        write_dataset(Path("data/d"), 10)
        code, _, err = cli(*WORDS, "--images", "16")
    assert code == 0, err
    return folder


@pytest.mark.parametrize(
    ("reason", "words"),
    [(errno.ENOSPC, "No space left"), (errno.EROFS, "Read-only"), (errno.EDQUOT, "quota"), (errno.EACCES, "denied")],
)
@pytest.mark.parametrize("file", [".pt", ".safetensors", "metrics.jsonl"])
def test_the_system_refuses_in_the_middle_of_a_file(trained, workdir, monkeypatch, reason, words, file):
    shutil.copytree(trained, workdir, dirs_exist_ok=True)
    before = good_files()

    def refuse(path):
        if str(path).endswith(file):
            raise OSError(reason, os.strerror(reason), str(path))

    sync, opened = atomic.sync_file, Path.open
    monkeypatch.setattr(atomic, "sync_file", lambda path: (refuse(path), sync(path)))  # the file is there, in part

    def unopened(self, mode="r", *rest, **more):
        if mode == "a":
            refuse(self)
        return opened(self, mode, *rest, **more)

    monkeypatch.setattr(folder.Path, "open", unopened)
    code, _, err = cli("train", "--resume", "--images", "48", "--device", "cpu")
    assert code == 1
    assert err.count("error:") == 1 and words.lower() in err.lower() and file in err
    assert "Traceback" not in err and "bug" not in err
    monkeypatch.undo()
    os.chdir(workdir)
    after = good_files()
    changed = {path.name for path in before if after.get(path) != before[path]}
    assert not {name for name in changed if name.endswith(".pt")} or file != ".pt"
    check_all_open()
    monkeypatch.setattr(loop, "plot_curves", lambda rows, path, **_: path)  # most of a tiny run's time
    code, _, err = cli("train", "--resume", "--images", "48", "--device", "cpu")
    assert code == 0, err
    assert [row["images_seen"] for row in RunDir(RUN).read_metrics()] == list(range(4, 52, 4))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limits on files")
def test_a_real_limit_on_the_size_of_files(workdir):
    """The system cuts the checkpoint short as torch writes it."""
    write_dataset(workdir / "data/d", 10)
    code, _, err = cli(*WORDS, "--images", "8")
    assert code == 0, err
    before = good_files()
    size = RunDir(RUN).newest_checkpoint().stat().st_size
    limited = (
        f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({size // 2}, {size // 2}))\n"
        "import sys; from facegan.cli.app import main\n"
        "sys.argv = ['facegan', 'train', '--resume', '--images', '16', '--device', 'cpu']; main()"
    )
    done = subprocess.run([sys.executable, "-c", limited], capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("error:") == 1
    assert "000000012.pt could not be written: the system cut it short." in done.stderr
    assert "Traceback" not in done.stderr
    assert all(good_files()[path] == content for path, content in before.items() if path.suffix == ".pt")
    check_all_open()


def vanish(monkeypatch: pytest.MonkeyPatch, folder: Path, after: int) -> None:
    """Someone deletes a folder of the run as soon as the row of `after` images is written."""
    written = RunDir.append_metrics

    def write_and_delete(self, row):
        written(self, row)
        if row["images_seen"] == after:
            shutil.rmtree(folder)

    monkeypatch.setattr(RunDir, "append_metrics", write_and_delete)


def test_a_run_that_vanishes_is_not_made_anew_in_part(workdir, monkeypatch):
    write_dataset(workdir / "data/d", 10)
    vanish(monkeypatch, RUN, after=16)
    code, _, err = cli(*TRAIN, "--images", "48", "--checkpoint-every", "1000", "--sample-every", "1000")
    assert code == 1
    assert "has vanished" in err and err.count("error:") == 1
    assert not RUN.exists()


def test_checkpoints_that_vanish_do_not_stop_the_run(workdir, monkeypatch):
    """The next one is written where they were."""
    write_dataset(workdir / "data/d", 10)
    vanish(monkeypatch, RUN / "checkpoints", after=24)
    code, _, err = cli(*WORDS, "--images", "32")
    assert code == 0, err
    assert [seen for seen, _ in RunDir(RUN).checkpoints()] == [24, 28, 32]


def test_too_little_room_is_said_before_the_run(workdir, monkeypatch):
    write_dataset(workdir / "data/d", 10)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 10**4, 10**4))
    code, _, err = cli(*TRAIN, "--images", "8")
    assert code == 0, err
    assert re.search(r"the disk has [\d.,]+ \w+ free, and this run will need about [\d.,]+ \w+", err)
    monkeypatch.undo()
    os.chdir(workdir)
    code, _, err = cli(*TRAIN, "--images", "8")
    assert "the disk has" not in err


def test_the_estimate_is_about_what_is_written(workdir):
    from facegan.runs.estimate import disk_needed
    from facegan.runs.plan import plan_new

    write_dataset(workdir / "data/d", 10)
    overrides = {"networks.width": 16, "networks.critic_width": 16, "training.batch_size": 4, "training.images": 20}
    plan = plan_new(workdir / "data/d", None, {**overrides, "training.epochs": None}, "cpu")
    needed = disk_needed(plan, plan.trainer())
    code, _, err = cli("train", "--width", "16", "--critic-width", "16", "--batch-size", "4", "--images", "20")
    assert code == 0, err
    written = sum(path.stat().st_size for path in RUN.rglob("*") if path.is_file())
    assert 0.5 * needed < written < 1.5 * needed
