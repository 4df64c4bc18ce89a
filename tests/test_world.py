"""Several processes that train one run, started as a user starts them."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import cli, tiny, write_dataset

from facegan.cli.signals import Stopped, end_as_the_system_does, unwinding
from facegan.core import world
from facegan.core.errors import FaceganError
from facegan.core.world import World, joined, leave
from facegan.runs.folder import RunDir
from facegan.runs.plan import plan_new
from facegan.training.noise import draw_noise

pytestmark = pytest.mark.precision

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
TRAIN = [
    "train",
    "--width",
    "4",
    "--critic-width",
    "4",
    "--batch-size",
    "4",
    "--set",
    "output.log_every=1",
    "--device",
    "cpu",
]
TRAIN += ["--precision", "fp32"]  # numbers of two processes and of one are compared
RUN = Path("runs/00001-d-dcgan-r3gan")
SECONDS = 120
"""After so long something hangs."""

posix = pytest.mark.skipif(
    sys.platform == "win32", reason="Windows has no signals that a parent can send and a child can catch"
)


def start(command: list[str], **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, env={**os.environ, **more}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


FACEGAN = ("-m", "facegan")


def start_two(
    words: list[str], second: tuple[str, ...] = (), program: tuple[str, ...] = FACEGAN
) -> list[subprocess.Popen[str]]:
    """Two processes as torchrun would start them, but watched by nobody: each one's words and exit code can be seen.

    Args:
        second: further words for the second one.
        program: what Python runs.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    command = [sys.executable, *program, *words]
    return [
        start([*command, *more], **place, RANK=str(rank), LOCAL_RANK=str(rank))
        for rank, more in enumerate([(), second])
    ]


def wait_for_rows(processes: list[subprocess.Popen[str]], beyond: int = 0) -> None:
    deadline = time.monotonic() + SECONDS
    while not any(row["images_seen"] > beyond for row in RunDir(RUN).read_metrics()):
        assert time.monotonic() < deadline and all(p.poll() is None for p in processes), [p.kill() for p in processes]
        time.sleep(0.05)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    said, _ = process.communicate(timeout=SECONDS)
    return process.returncode, said


def test_training_in_two_processes_is_training_in_one():
    """Ten steps of every preset in float64, and more: world_worker.py."""
    both = start_two([], program=(str(Path(__file__).with_name("world_worker.py")),))
    for rank, (code, said) in enumerate(map(ended, both)):
        assert code == 0, said
        assert f"process {rank} of 2: all equal" in said


@posix
def test_stop_with_two_go_on_with_one(workdir):
    """Ctrl-C on torchrun: every process stops at the same step, and the first alone has spoken and written."""
    write_dataset(workdir / "data/d", 10)
    two = start([*TORCHRUN, "-m", "facegan", *TRAIN, "--images", "100k", "--sample-every", "1000"])
    wait_for_rows([two])
    two.send_signal(signal.SIGINT)
    _, said = ended(two)
    assert said.count("everything is saved") == said.count("run: ") == said.count("preset: ") == 1
    assert "process 1 of 2" not in said and 'File "' not in said.split("stopped:")[0]
    (run,) = Path("runs").iterdir()
    (checkpoint,) = (run / "checkpoints").iterdir()
    assert json.loads(RunDir(run).provenance.read_text())["processes"] == 2
    code, _, err = cli("train", "--resume", "--images", str(int(checkpoint.stem) + 8), "--device", "cpu")
    assert code == 0, err
    assert "processes was 2 and is 1" in err


@posix
def test_go_on_with_two_and_stop_one(workdir):
    """A signal that reaches one process alone saves or stops both, with the code of the signal."""
    write_dataset(workdir / "data/d", 10)
    code, _, err = cli(*TRAIN, "--images", "8")
    assert code == 0, err
    two = start_two(["train", "--resume", "--images", "100k", "--device", "cpu"])
    wait_for_rows(two, beyond=8)
    two[1].send_signal(signal.SIGUSR1)
    wait_for_rows(two, beyond=RunDir(RUN).read_metrics()[-1]["images_seen"] + 8)
    two[1].send_signal(signal.SIGTERM)
    (code, said), (other_code, other_said) = map(ended, two)
    assert (code, other_code, other_said) == (143, 143, "")
    assert "processes was 1 and is 2" in said
    assert said.count("everything is saved") == 1 and "Traceback" not in said
    (saved,) = re.findall(r"^saved at (\d+) images, as SIGUSR1 asks", said, re.MULTILINE)
    assert int(saved) in dict(RunDir(RUN).checkpoints())
    assert RunDir(RUN).read_metrics()[-1]["images_seen"] == RunDir(RUN).checkpoints()[-1][0]


@posix
@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_process_ends_the_other(workdir, killed):
    write_dataset(workdir / "data/d", 10)
    two = start_two([*TRAIN, "--images", "100k"])
    wait_for_rows(two)
    two[killed].kill()
    since = time.monotonic()
    code, said = ended(two[1 - killed])
    ended(two[killed])
    assert time.monotonic() - since < 60, "it noticed, and did not wait for a timeout of minutes"
    assert code == 1
    assert f"error: process {1 - killed} of 2: another process of this run has ended" in said
    assert "Traceback" not in said
    assert "Exception" not in said


def test_a_whole_run_of_two(workdir):
    """The same numbers as of one process."""
    write_dataset(workdir / "data/d", 10)
    code, _, err = cli(*TRAIN, "--images", "16", "--name", "one")
    assert code == 0, err
    first, second = map(ended, start_two([*TRAIN, "--images", "16", "--name", "two"]))
    assert first[0] == second[0] == 0, first[1] + second[1]
    assert second[1] == ""
    one, two = (RunDir(Path("runs") / name) for name in ("00001-one", "00002-two"))
    assert {path.name for path in one.path.iterdir()} == {path.name for path in two.path.iterdir()}
    for row, other in zip(one.read_metrics(), two.read_metrics(), strict=True):
        assert row["images_seen"] == other["images_seen"]
        assert row["critic_loss"] == pytest.approx(other["critic_loss"], rel=1e-2)


def test_processes_that_differ_are_refused_once(workdir):
    write_dataset(workdir / "data/d", 10)
    first, second = map(ended, start_two(TRAIN, second=("--seed", "1")))
    assert first[0] == second[0] == 1
    assert (first[1] + second[1]).count("do not have the same configuration") == 1
    assert (first[1] + second[1]).count("error:") == 1
    assert not Path("runs").exists()


def test_parts_make_the_whole():
    config = tiny("human-faces")
    shapes, cpu = [(4, 2, 2)], torch.device("cpu")
    whole, *parts = (draw_noise(config, 3, shapes, cpu, world) for world in (World(), World(0, 2), World(1, 2)))
    assert torch.equal(whole.critic_latents, torch.cat([part.critic_latents for part in parts]))
    assert torch.equal(whole.mix, torch.cat([part.mix for part in parts]))
    assert torch.equal(whole.keep[2][0], torch.cat([part.keep[2][0] for part in parts]))


def test_an_uneven_batch_is_refused_before_anything_is_written(workdir, monkeypatch):
    write_dataset(workdir / "data/d", 10)
    monkeypatch.setattr(World, "check_same", lambda self, facts: None)
    with pytest.raises(FaceganError, match="A batch of 4 cannot be shared evenly by 3 processes"):
        plan_new(
            workdir / "data/d", None, {"training.batch_size": 4, "training.precision": "fp32"}, "cpu", world=World(0, 3)
        )
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("left_over", "says"),
    [
        ({"WORLD_SIZE": "2"}, "RANK=''"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE='two'"),
        ({"WORLD_SIZE": "0", "RANK": "0", "LOCAL_RANK": "0"}, "RANK=0, .* WORLD_SIZE=0"),
        ({"WORLD_SIZE": "2", "RANK": "5", "LOCAL_RANK": "0"}, "RANK=5, .* WORLD_SIZE=2"),
        ({"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}, "process 0 of 2 cannot reach the others"),
    ],
)
def test_an_environment_that_is_not_torchruns(monkeypatch, left_over, says):
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in left_over.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(FaceganError, match=f"(?i){says}") as caught, joined():
        pass
    assert "for one process remove WORLD_SIZE" in caught.value.hint
    with pytest.raises(SystemExit):
        leave(0)


IMPATIENT = """
from facegan.core import world
from facegan.cli import app
world._SAID_AFTER = 0.5
app.main()
"""


@posix
@pytest.mark.parametrize("rank", ["0", "1"])
def test_a_left_over_world_size_is_explained_and_can_be_ended(workdir, rank):
    """The others never come, whether they would have been waited for or looked for."""
    place = {"WORLD_SIZE": "2", "RANK": rank, "LOCAL_RANK": rank, "MASTER_ADDR": "127.0.0.1"}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place["MASTER_PORT"] = str(free.getsockname()[1])
    process = start([sys.executable, "-c", IMPATIENT, *TRAIN], **place)
    assert process.stdout is not None
    first = process.stdout.readline()
    assert first.startswith(f"process {rank} of 2 waits for 1 other process: WORLD_SIZE is 2 in the environment")
    process.send_signal(signal.SIGINT)
    code, said = ended(process)
    assert code == 130 and said.endswith("stopped: by Ctrl-C.\n")


@posix
def test_a_left_over_world_size_concerns_training_alone(workdir, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    write_dataset(workdir / "data/d", 3)
    assert cli("info", "data/d")[0] == 0
    with pytest.raises(Stopped), unwinding():
        os.kill(os.getpid(), signal.SIGTERM)


@posix
def test_what_waits_for_others_is_ended_by_the_system(workdir):
    """It could raise nothing while it waits in C++; only Ctrl-C may come while it is alone."""
    with unwinding():
        end_as_the_system_does(World(0, 2))
        assert signal.getsignal(signal.SIGTERM) == signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
        os.kill(os.getpid(), signal.SIGUSR1)


@pytest.mark.parametrize(
    ("rank", "local", "count", "seen", "takes"),
    [
        (1, 1, 2, ["b", "a"], 1),
        (1, 1, 1, ["b", "a"], 0),  # a batch system shows each process its own GPU alone
        (1, 1, 1, ["a", "a"], "Processes 0 and 1 have the same GPU"),
        (2, 2, 2, ["a", "b", None], "Process 2 has no GPU"),
        (0, 0, 2, ["a", "b", None], "Process 2 has no GPU"),
    ],
)
def test_each_process_takes_a_gpu_of_its_own(monkeypatch, rank, local, count, seen, takes):
    """`seen`: the GPU that each process would take."""
    taken = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid=seen[rank]))
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    numbers = [0 if name is None else world._digest(name.encode()) for name in seen]

    def from_all(self: World, number: int) -> list[int]:
        assert number == numbers[rank]
        return numbers

    monkeypatch.setattr(World, "_from_all", from_all)
    monkeypatch.setattr(World, "check_same", lambda self, facts: None)
    place = World(rank, len(seen), local)
    if isinstance(takes, str):
        with pytest.raises(FaceganError, match=takes):
            place.take_device(torch.device("cuda"))
    else:
        place.take_device(torch.device("cuda"))
    assert taken == ([] if isinstance(takes, str) else [takes])


def test_a_process_that_is_alone_has_no_group(workdir):
    code = (
        "import facegan.cli.train, facegan.core.world, sys\n"
        "with facegan.core.world.joined(): assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "WORLD_SIZE": "1"})
