"""Batches that do not fit the memory, simulated by a generator that refuses them, and once for real."""

from __future__ import annotations

import gc
import json
import os
import re
import subprocess
import sys
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import cli, tiny, write_dataset
from torch import Tensor

from facegan.core.errors import FaceganError, is_out_of_memory
from facegan.core.world import World
from facegan.faces import latents
from facegan.faces.synthesis import batches, draw_faces
from facegan.networks import build_generator
from facegan.networks.dcgan import Generator
from facegan.presets import PRESETS
from facegan.runs import memory
from facegan.runs.plan import plan_new
from facegan.training.steps import steps_of
from facegan.training.trainer import Trainer

pytestmark = pytest.mark.precision

CPU = torch.device("cpu")
CPU_ERROR = RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")
ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    CPU_ERROR,
    RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),  # Windows
    RuntimeError("could not create a primitive"),
    MemoryError(),
]
TRAIN = ["train", "--width", "4", "--critic-width", "4", "--images", "64", "--device", "cpu"]


def trainers() -> list[Trainer]:
    return [thing for thing in gc.get_objects() if type(thing) is Trainer]


@pytest.fixture
def memory_for(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """Leave memory for so many images at once; returns the batches that trials will have been made with."""

    def leave(images: int, error: Exception = CPU_ERROR) -> list[int]:
        trials: list[int] = []
        forward = Generator.forward
        before = weakref.WeakSet(trainers())

        def refusing(self: Generator, z: Tensor) -> Tensor:
            if len(z) > images:
                raise type(error)(*error.args)  # a new one each time: they hold on to the tensors of their frames
            return forward(self, z)

        def here(work: object, trial: memory.Trial) -> bool:
            """A trial in this process, where the generator is one that refuses."""
            assert not [trainer for trainer in trainers() if trainer not in before], "what failed is still there"
            trials.append(trial.batch)
            return memory.try_cycle(trial)

        monkeypatch.setattr(Generator, "forward", refusing)
        monkeypatch.setattr(memory, "apart", here)
        return trials

    return leave


@pytest.fixture
def dataset(workdir: Path) -> Path:
    return write_dataset(workdir / "data/d", 64)


def with_batch(batch: int) -> memory.Trial:
    return memory.Trial(tiny("dcgan").override({"training.batch_size": batch}), CPU, images=64)


@pytest.mark.parametrize("error", ERRORS, ids=str)
def test_the_largest_half_that_fits(memory_for, error):
    trials = memory_for(11, error)
    assert memory.fits(with_batch(11))
    assert not memory.fits(with_batch(12))
    trials.clear()
    assert memory.largest_batch(with_batch(64)) == 8
    assert trials == [32, 16, 8]


def test_not_even_two(memory_for):
    trials = memory_for(1)
    assert memory.largest_batch(with_batch(9)) is None
    assert trials == [4, 2]


@pytest.mark.parametrize("error", [RuntimeError("sizes do not match"), FaceganError("not enough memory")])
def test_other_errors_go_through(memory_for, error):
    memory_for(1, error)
    with pytest.raises(type(error), match=str(error)):
        memory.fits(with_batch(4))
    assert not is_out_of_memory(error)


def test_a_trial_has_as_many_images_as_the_dataset(monkeypatch):
    """On a GPU they lie beside the networks."""
    seen = []
    monkeypatch.setattr(memory, "steps_of", lambda trainer, images: seen.append(images) or steps_of(trainer, images))
    assert memory.try_cycle(replace(with_batch(4), images=1_000_000))
    (images,) = seen
    assert images.images.nbytes == len(images) * 3 * 32 * 32 == 1_000_000 * 3 * 32 * 32


def crash(trial: object) -> None:
    os._exit(3)


def test_a_trial_has_a_process_of_its_own(monkeypatch):
    assert memory.fits(with_batch(4))
    monkeypatch.setattr(memory, "try_cycle_and_die_first", crash)
    assert not memory.fits(with_batch(4))


def test_training_names_a_batch_that_fits(dataset, memory_for):
    memory_for(5)
    for more in ([], ["--dry-run"]):
        code, _, err = cli(*TRAIN, "--batch-size", "32", *more)
        assert code == 1
        assert "A batch of 32 images does not fit the memory of this machine; one of 4 does" in err
        assert "--batch-size 4, or --batch-size auto" in err and "changes the training" in err
        assert re.findall(r"trying a batch of (\d+)", err) == ([] if more else ["16", "8", "4"])
    code, _, err = cli(*TRAIN, "--batch-size", "4")
    assert code == 0, err


def test_nothing_fits(dataset, memory_for):
    memory_for(1)
    for batch in ("32", "auto"):
        code, _, err = cli(*TRAIN, "--batch-size", batch)
        assert code == 1
        assert "Not even a batch of 2 images fits" in err and "--width" in err


def test_a_run_that_goes_on_keeps_its_batch(dataset, memory_for):
    assert cli(*TRAIN, "--batch-size", "8")[0] == 0
    memory_for(4)
    code, _, err = cli("train", "--resume", "--images", "128", "--device", "cpu")
    assert code == 1
    assert "one of 4 does" in err and "--from and --batch-size 4" in err and "auto" not in err


def test_auto(dataset, memory_for):
    own = PRESETS["dcgan"].training.batch_size
    memory_for(own)
    code, _, err = cli(*TRAIN, "--batch-size", "auto")
    assert code == 0, err
    assert f"batch size: {own}, which fits the memory" in err
    memory_for(own // 2 + 1)
    code, _, err = cli(*TRAIN, "--batch-size", "auto", "--name", "less")
    assert code == 0, err
    assert f"batch size: {own // 2}, as {own} does not fit" in err
    assert re.findall(r"trying a batch of (\d+)", err) == [str(own), str(own // 2)]
    configs = [next(Path("runs").glob(f"*-{name}/config.json")) for name in ("r3gan", "less")]
    written = [json.loads(path.read_text()) for path in configs]
    assert [config["training"]["batch_size"] for config in written] == [own, own // 2]


@dataclass(frozen=True)
class Others(World):
    """Other processes, which have memory for 4 images each."""

    tried: list[int] = field(default_factory=list)

    def agree(self, number: int) -> int:
        return max(number, int(self.tried[-1] > 4))

    def check_same(self, facts: object) -> None:
        pass


def test_processes_agree_on_a_multiple_of_their_number(dataset, memory_for):
    world = Others(0, 3, tried=memory_for(12))
    narrow = {"networks.width": 4, "networks.critic_width": 4, "training.precision": "fp32"}
    plan = plan_new(dataset, None, narrow, "cpu", world=world, auto_batch=lambda text: None)
    own = PRESETS["dcgan"].training.batch_size
    assert world.tried == [own // 3, own // 3 // 2], "each tries its share"
    assert plan.config.training.batch_size == own // 3 // 2 * 3


def test_drawing_falls_back_to_fewer_faces(memory_for):
    config = tiny("dcgan")
    generator, z = build_generator(config), latents.draw(0, range(10), 8)
    whole = draw_faces(generator, config.networks, z)
    memory_for(3)
    drawn = list(batches(generator, config.networks, z))
    assert [len(faces) for faces in drawn] == [2] * 5
    assert np.abs(np.concatenate(drawn).astype(int) - whole).max() <= 1
    memory_for(0)
    with pytest.raises(FaceganError, match="not enough memory to draw a single face of 32 px"):
        draw_faces(generator, config.networks, z)
    assert generator.training


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not limit a process's memory when asked to")
def test_memory_that_really_runs_out(dataset):
    """A process may have 0.7 GB beside what torch takes, and so may its trials."""
    code = (
        "import resource, torch, facegan.runs.memory\n"
        "from facegan.cli.app import main\n"
        "pages = int(open('/proc/self/statm').read().split()[0])\n"
        "limit = pages * resource.getpagesize() + 700 * 10**6\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        "main()"
    )
    # In bf16 oneDNN now and then crashes where an allocation fails, instead of saying so.
    command = [sys.executable, "-c", code, *TRAIN, "--batch-size", "3000", "--precision", "fp32"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert re.search(r"A batch of 3000 images does not fit the memory of this machine; one of \d+ does", done.stderr)
