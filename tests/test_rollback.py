"""Two processes, of which one diverges: both go back together, and go on as a single process does after the same."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest
from conftest import cli, write_dataset
from rollback_worker import spoiled
from test_world import TRAIN, ended, start

from facegan.core.world import World
from facegan.models.checkpoint import load_checkpoint
from facegan.runs.folder import RunDir
from facegan.training.trainer import Trainer

pytestmark = pytest.mark.precision

WORDS = [*TRAIN, "--images", "48", "--checkpoint-every", "1", "--on-nan", "rollback"]


def test_both_go_back(workdir, monkeypatch):
    write_dataset(workdir / "data/d", 10)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [sys.executable, str(Path(__file__).with_name("rollback_worker.py")), *WORDS, "--name"]
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    both = [start([*command, "two"], **place, RANK=str(n), LOCAL_RANK=str(n)) for n in (0, 1)]
    (code, said), (other_code, other_said) = map(ended, both)
    assert (code, other_code, other_said) == (0, 0, ""), said + other_said
    assert said.count("000000020.pt with other noise, rollback 1 of at most 3") == 1
    assert "2 processes, which share each batch: 2 images for each of them" in said
    monkeypatch.setattr(Trainer, "compute", spoiled)
    code, _, said = cli(*WORDS, "--name", "one")
    assert code == 0 and said.count("rollback 1 of at most 3") == 1, said
    two, one = (RunDir(next(Path("runs").glob(f"*-{name}"))) for name in ("two", "one"))
    assert [row["images_seen"] for row in two.read_metrics()] == list(range(4, 52, 4))
    for row, other in zip(two.read_metrics(), one.read_metrics(), strict=True):
        assert row["critic_loss"] == pytest.approx(other["critic_loss"], rel=1e-2)
    for run in (two, one):
        checkpoint = load_checkpoint(run.newest_checkpoint())
        assert (checkpoint.images_seen, checkpoint.state["rollbacks"]) == (48, 1)


TORCHRUN = {"TORCHELASTIC_RUN_ID": "x"}


@pytest.mark.parametrize(
    ("size", "environment", "words"),
    [
        (1, {}, "facegan train --resume"),
        (2, {**TORCHRUN, "LOCAL_WORLD_SIZE": "2"}, "torchrun --standalone --nproc-per-node 2 -m facegan train"),
        (8, {**TORCHRUN, "LOCAL_WORLD_SIZE": "4"}, "torchrun ... --nproc-per-node 4 -m facegan train"),
        (2, {}, "facegan train --resume  (in 2 processes"),
    ],
)
def test_how_to_go_on_is_how_it_was_started(monkeypatch, size, environment, words):
    for name in ("TORCHELASTIC_RUN_ID", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert World(0, size).command("train --resume").startswith(words)
