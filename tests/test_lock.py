"""Two processes at once: each new run has a directory of its own, and a run has one process at a time."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import cli, write_dataset
from test_world import RUN, SECONDS, TRAIN, ended, start, start_two, wait_for_rows

from facegan.core.errors import FaceganError
from facegan.models.checkpoint import load_checkpoint
from facegan.runs import lock as runlock
from facegan.runs.folder import RunDir, create_run
from facegan.runs.lock import locked

STEADY = [*TRAIN, "--decay", "0", "--set", "training.critic_warm_up=0", "--checkpoint-every", "1"]
"""Learning rates that stay the same: a run's first rows are then the same whatever its length."""
LONG = [sys.executable, "-m", "facegan", *STEADY, "--images", "100k", "--sample-every", "1000"]
GO_ON = ["train", "--run", str(RUN), "--images", "100k", "--device", "cpu"]


def test_runs_that_start_together_get_directories_of_their_own(workdir):
    code = (
        "import sys, time\nfrom facegan.runs.folder import create_run\n"
        "while time.time() < float(sys.argv[1]): pass\n"
        "for _ in range(20): print(create_run('d').path)"
    )
    at = str(time.time() + 1.5)
    processes = [start([sys.executable, "-c", code, at]) for _ in range(4)]
    found = [path for process in processes for path in ended(process)[1].split()]
    assert len(found) == len(set(found)) == 80
    assert len({Path(path).name[:5] for path in found}) == 80, "nor do two of them share a number"


def test_two_trainings_started_together(workdir):
    write_dataset(workdir / "data/d", 10)
    both = [start([sys.executable, "-m", "facegan", *TRAIN, "--images", "8"]) for _ in range(2)]
    for code, said in map(ended, both):
        assert code == 0, said
    one, two = (RunDir(path) for path in sorted(Path("runs").iterdir()))
    assert [run.path.name[:6] for run in (one, two)] == ["00001-", "00002-"]
    assert [path.name for path in sorted(one.path.iterdir())] == [path.name for path in sorted(two.path.iterdir())]
    rows = [[{**row, "images_per_second": 0} for row in run.read_metrics()] for run in (one, two)]
    assert rows[0] == rows[1] and len(rows[0]) == 2
    for run in (one, two):
        assert load_checkpoint(run.newest_checkpoint()).images_seen == 8


def test_two_at_once(workdir):
    """Another run does not meet the first; the same run is refused, with the number of the process that trains it.

    And a killed one leaves no lock behind, whatever the file says. Of two processes both are refused.
    """
    write_dataset(workdir / "data/d", 10)
    first = start(LONG)
    wait_for_rows([first], beyond=12)
    code, _, err = cli(*STEADY, "--images", "16")
    assert code == 0, err
    assert first.poll() is None
    one, two = (RunDir(path) for path in sorted(Path("runs").iterdir()))
    assert one.path == RUN
    strip = [[{**row, "images_per_second": 0} for row in run.read_metrics()] for run in (one, two)]
    assert strip[0][:4] == strip[1] and len(strip[1]) == 4
    assert not (two.path / "lock").exists()

    code, _, err = cli(*GO_ON)
    assert code == 1
    assert f"is being trained by process {first.pid} on " in err
    assert first.poll() is None
    first.kill()
    ended(first)
    assert json.loads((RUN / "lock").read_text())["process"] == first.pid
    with locked(one):  # by a process that does not take the others' time by training
        both = list(map(ended, start_two(GO_ON)))
    assert [code for code, _ in both] == [1, 1]
    assert f"is being trained by process {os.getpid()}" in "".join(said for _, said in both)
    assert "has ended" not in "".join(said for _, said in both), "the refusal reaches all processes"
    length = RunDir(RUN).checkpoints()[-1][0] + 8
    code, _, err = cli("train", "--run", RUN, "--images", length, "--device", "cpu")
    assert code == 0, err
    assert not (RUN / "lock").exists()


@pytest.mark.parametrize(
    "left", [b"", b"{", b'{"process": 1, "host": "elsewhere", "since": "2020-01-01"}', b"\xff" * 99]
)
def test_what_a_dead_process_left_is_taken_over(workdir, left):
    """Process 1 lives on every machine: the number says nothing."""
    run = create_run("d")
    (run.path / "lock").write_bytes(left)
    with locked(run) as held:
        assert held
        assert json.loads((run.path / "lock").read_text())["process"] == os.getpid()
        with pytest.raises(FaceganError, match=f"process {os.getpid()} on "), locked(run):
            pass
    with locked(run):
        pass
    assert list(run.path.iterdir()) == []


def test_nobody_holds_a_lock_that_another_has_removed(workdir):
    """Processes that take it and give it back all the time are never two inside."""
    run = create_run("d")
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom facegan.core.errors import FaceganError\n"
        "from facegan.runs.folder import RunDir\nfrom facegan.runs.lock import locked\n"
        "run, got = RunDir(Path(sys.argv[1])), 0\nend = time.time() + 1.5\n"
        "while time.time() < end:\n"
        "    try:\n"
        "        with locked(run):\n"
        "            (run.path / 'inside').mkdir(); got += 1; (run.path / 'inside').rmdir()\n"
        "    except FaceganError: pass\n"
        "print(got)"
    )
    for process in [start([sys.executable, "-c", code, str(run.path)]) for _ in range(3)]:
        exit_code, said = ended(process)
        assert exit_code == 0 and int(said) > 0, said


def test_a_file_system_without_locks_is_said(workdir, monkeypatch):
    def refuse(file):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(runlock, "_lock", refuse)
    write_dataset(workdir / "data/d", 10)
    code, _, err = cli(*TRAIN, "--images", "8")
    assert code == 0, err
    assert "has no locks" in err


@pytest.mark.parametrize("number", [lambda: 0, iter(range(1, 99)).__next__], ids=["all 0", "new each time"])
def test_a_file_system_that_numbers_its_files_badly_has_locks(workdir, monkeypatch, number):
    run, stat = create_run("d"), Path.stat

    def misnumbered(self, **more):
        found = stat(self, **more)
        return os.stat_result((found[0], number(), *found[2:]))

    monkeypatch.setattr(runlock.Path, "stat", misnumbered)
    monkeypatch.setattr(runlock.os, "fstat", lambda descriptor: misnumbered(Path(f"/proc/self/fd/{descriptor}")))
    with locked(run) as held:
        assert held
        with pytest.raises(FaceganError, match="is being trained by process"), locked(run):
            pass


def test_a_stale_handle_is_tried_again_and_not_called_a_refusal(workdir, monkeypatch):
    """NFS: another machine has removed the file since it was opened here."""
    run, lock, stale = create_run("d"), runlock._lock, iter([True] * 3)

    def lock_after_a_while(file):
        if next(stale, False):
            raise OSError(errno.ESTALE, "Stale file handle")
        lock(file)

    monkeypatch.setattr(runlock, "_PAUSE", 0)
    monkeypatch.setattr(runlock, "_lock", lock_after_a_while)
    with locked(run) as held:
        assert held
    stale = iter(lambda: True, False)
    with pytest.raises(FaceganError, match="keeps losing sight of its files: Stale file handle"), locked(run):
        pass


def test_a_lock_does_not_outlive_its_process(workdir):
    run = create_run("d")
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from facegan.runs.folder import RunDir\nfrom facegan.runs.lock import locked\n"
        "with locked(RunDir(Path(sys.argv[1]))):\n    print('held', flush=True)\n    sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(run.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout and process.stdout.readline() == "held\n"
    with pytest.raises(FaceganError, match=f"process {process.pid} on "), locked(run):
        pass
    process.kill()
    process.communicate(timeout=SECONDS)
    with locked(run) as held:
        assert held
