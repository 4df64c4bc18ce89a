"""A few kills in the suite, many on request: python -m pytest -m slow tests/test_killing.py"""

import os
import signal
import sys
import time

import pytest
from conftest import cli, write_dataset
from killing import kill_preprocessing, kill_training
from test_world import RUN, TRAIN, ended, posix, start, wait_for_rows

from facegan.cli import signals
from facegan.core.world import ALONE
from facegan.models.checkpoint import load_checkpoint
from facegan.runs.folder import RunDir

pytestmark = pytest.mark.precision


def test_training_killed_and_resumed_equals_training_in_peace(tmp_path):
    kill_training(tmp_path, kills=2, seed=1)


def test_a_dataset_is_whole_or_absent_whenever_the_process_dies(tmp_path):
    kill_preprocessing(tmp_path, kills=4, seed=1)


HASTY = """
from facegan.cli import app, signals
signals._SAME = 0.001  # seconds; steps as small as these are saved before a second has passed
app.main()
"""


@posix
def test_a_signal_that_comes_twice_at_once_is_one(capsys):
    """As `timeout` sends it, to the process and to its group."""
    with signals.signals(ALONE) as stopped:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
        assert stopped() == signal.SIGTERM
        time.sleep(1.1)
        with pytest.raises(signals.Stopped):
            os.kill(os.getpid(), signal.SIGTERM)
    assert capsys.readouterr().err.count("once more to stop at once") == 1


@posix
def test_a_terminal_that_closes_may_say_so_twice(monkeypatch):
    monkeypatch.setattr(signals, "_SAME", 0.0)
    with signals.signals(ALONE) as stopped:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGHUP)
        assert stopped() == signal.SIGHUP


@posix
def test_sigusr1_is_answered_once_and_ends_nothing():
    with signals.unwinding():
        os.kill(os.getpid(), signal.SIGUSR1)  # while nothing is there to save
        with signals.signals(ALONE) as stopped:
            assert stopped() is None
            os.kill(os.getpid(), signal.SIGUSR1)
            assert [stopped(), stopped()] == [signal.SIGUSR1, None]
            for number in (signal.SIGUSR1, signal.SIGTERM):
                os.kill(os.getpid(), number)
            assert [stopped(), stopped()] == [signal.SIGTERM] * 2


@posix
@pytest.mark.parametrize("name", ["SIGHUP", "SIGINT", "SIGTERM", "SIGUSR1"])
def test_a_signal_that_was_ignored_stays_so(name):
    """SIGHUP is, under nohup; Ctrl-C is, in the background of a shell."""
    number = getattr(signal, name)
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with signals.unwinding(), signals.signals(ALONE) as stopped:
            os.kill(os.getpid(), number)
            assert stopped() is None
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


@posix
def test_a_closed_terminal_unwinds_what_does_not_train():
    with pytest.raises(signals.Stopped, match="by SIGHUP"), signals.unwinding():
        os.kill(os.getpid(), signal.SIGHUP)


@posix
def test_a_second_ctrl_c_stops_at_once_without_harm(workdir):
    write_dataset(workdir / "data/d", 10)
    words = [*TRAIN, "--images", "100k", "--sample-every", "1000", "--checkpoint-every", "0.4"]
    process = start([sys.executable, "-c", HASTY, *words])
    wait_for_rows([process], beyond=8)  # a checkpoint is there
    process.send_signal(signal.SIGINT)
    time.sleep(0.003)
    process.send_signal(signal.SIGINT)
    code, said = ended(process)
    assert code == 130, said
    assert "Traceback" not in said
    seen = load_checkpoint(RunDir(RUN).newest_checkpoint()).images_seen
    code, _, err = cli("train", "--resume", "--images", seen + 8, "--device", "cpu")
    assert code == 0, err
    rows = [row["images_seen"] for row in RunDir(RUN).read_metrics()]
    assert rows == list(range(4, seen + 12, 4))


@pytest.mark.slow
@pytest.mark.parametrize("work", [kill_training, kill_preprocessing])
def test_fifty_kills(tmp_path, work):
    print(work(tmp_path, kills=50, seed=0), file=sys.stderr)
