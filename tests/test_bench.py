"""`facegan bench` and the textbook step that it compares with."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from conftest import cli, tiny
from test_trainer import in_double
from test_world import SECONDS, ended, posix, start
from torch.testing import assert_close

from facegan.bench import measure as bench_module
from facegan.bench.flops import FlopCounter, needed_flops
from facegan.bench.measure import bench
from facegan.bench.rounds import Estimated, Measured, WarmingUp, interleave
from facegan.bench.textbook import SparingLeakyReLU, Textbook, torch_noise
from facegan.networks import build_critic
from facegan.presets import PRESETS
from facegan.training.noise import draw_noise
from facegan.training.trainer import Trainer

CPU = torch.device("cpu")
SMALL = "--batch-size 2 --rounds 1 --device cpu"


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a figure is steady is of no interest here."""
    for module in ("rates", "steps"):
        monkeypatch.setattr(f"facegan.bench.{module}.SHORTEST", 0.01)


@pytest.mark.parametrize("sparing", [False, True])
@pytest.mark.parametrize("preset", ["keras-faces-64", "dcgan", "dcgan-r3gan", "human-faces"])
def test_the_baseline_computes_what_facegan_computes(preset, sparing):
    """Same images and noise, same gradients and updates: the rows of the table differ in nothing but speed.

    `human-faces` is compared in its critic: facegan updates both networks from the same fakes, algorithm 1 does not.
    The textbook has no schedules.
    """
    changes = {"training.n_critic": 1, "training.precision": "fp32", "training.critic_warm_up": 0}
    config = tiny(preset).override(changes)
    trainer, textbook = Trainer(config, CPU), Textbook(config, CPU, sparing=sparing)
    averaged = [trainer.average.module] if trainer.average else []
    for network in (trainer.generator, trainer.critic, textbook.generator, textbook.critic, *averaged):
        network.double()
    reals = torch.rand(4, 3, 32, 32, dtype=torch.float64) * 2 - 1
    noise = in_double(draw_noise(config, 0, trainer.critic.mask_shapes, CPU))
    trainer.step(reals, noise)
    textbook.step(reals, replace(noise, generator_latents=None))
    for ours, theirs in zip(trainer.critic.parameters(), textbook.critic.parameters(), strict=True):
        assert_close(ours.grad, theirs.grad)
        assert_close(ours, theirs)
    if noise.generator_latents is None:
        return
    textbook.update_generator(noise.generator_latents, reals)
    for ours, theirs in zip(trainer.generator.parameters(), textbook.generator.parameters(), strict=True):
        assert_close(ours.grad, theirs.grad)
        assert_close(ours, theirs)


def test_sparing_leaky_relu_has_the_same_derivatives():
    """Through a layer before and one after, as the penalty's second backward takes it."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(5, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    first = torch.randn(4, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    second = torch.randn(6, 1, generator=generator, dtype=torch.float64, requires_grad=True)
    results = []
    for activation in (lambda a: F.leaky_relu(a, 0.2), SparingLeakyReLU(0.2)):
        out = activation(x @ first) @ second
        (slope,) = torch.autograd.grad(out.sum(), x, create_graph=True)
        penalty = ((slope.norm(dim=1) - 1) ** 2).mean()
        results.append((out, slope, *torch.autograd.grad(penalty, (first, second))))
    for expected, spared in zip(*results, strict=True):
        assert_close(spared, expected)


def hand_count(preset: str = "keras-faces-64") -> tuple[int, int]:
    """A critic on one image: 2·k·k·C_in·C_out·H_out·W_out per layer; all of it, and the first."""
    k, widths = {"keras-faces-64": (5, (3, 64, 128, 256, 512)), "dcgan": (4, (3, 24, 48, 96, 192))}[preset]
    layers = [2 * k * k * a * b * s * s for a, b, s in zip(widths, widths[1:], (32, 16, 8, 4), strict=False)]
    return sum(layers) + 2 * widths[-1] * 4 * 4, layers[0]


def test_operations_of_the_critic_by_hand():
    critic = build_critic(PRESETS["keras-faces-64"]).to("meta")
    with FlopCounter() as counter:
        critic(torch.empty(3, 3, 64, 64, device="meta"))
    assert counter.flops == 3 * hand_count()[0]


def test_operations_that_a_critic_update_needs():
    """Ten passes over the critic, and two more for ATen's zero sweep.

    Counted are the operations that run, of a critic without the padding that makes autograd compute a 6x6 gradient for
    a 5x5 kernel. The last layer is linear, so that its share of the passes for the penalty is not quite whole.
    """
    config, (whole, first) = PRESETS["dcgan"].override({"training.batch_size": 2}), hand_count("dcgan")
    passes = {}
    for sparing in (True, False):
        textbook = Textbook(config, torch.device("meta"), sparing=sparing)
        noise = torch_noise(textbook.config, textbook.critic, textbook.device, generator=False)
        images = torch.empty(2, 3, 64, 64, device="meta")
        with FlopCounter() as counter:
            textbook.critic_loss(images, images, noise).backward()
        passes[sparing] = (counter.flops / 2 + 2 * first) / whole
    assert passes[True] == pytest.approx(10, abs=0.01)
    assert passes[False] == pytest.approx(12, abs=0.01)


def test_operations_of_a_whole_cycle():
    """Proportional to images, and each critic update more is ten passes and the fakes."""
    config = PRESETS["keras-faces-64"].override({"training.batch_size": 2})
    assert needed_flops(config.override({"training.batch_size": 64})) == 32 * needed_flops(config)
    update = (needed_flops(config) - needed_flops(config.override({"training.n_critic": 1}))) / 4
    whole, first = hand_count()
    fakes = 2 * 2 * (100 * 8192 + 25 * (512 * 256 * 16 + 256 * 128 * 64 + 128 * 64 * 256 + 64 * 3 * 1024))
    assert update == pytest.approx(2 * (10 * whole - 2 * first) + fakes, rel=1e-9)


class Counted:
    """A task that takes no time and notes when it was measured."""

    def __init__(self, name: str, log: list[str], seconds: float = 1.0) -> None:
        self.name, self.log, self.seconds = name, log, seconds

    def warm_up(self) -> float:
        return self.seconds

    def measure(self) -> None:
        self.log.append(self.name)


def test_tasks_are_measured_in_turn():
    log: list[str] = []
    events: list[object] = []
    assert interleave([Counted("a", log), Counted("b", log)], 2, events.append) == 2
    assert log == ["a", "b", "a", "b"]
    assert Estimated(seconds=4, rounds=2) in events
    assert events[-1] == Measured(4, 4)


@pytest.mark.parametrize(("rounds", "done"), [(None, 3), (4, 4)])
def test_rounds_stop_when_time_is_used_up(rounds, done, monkeypatch):
    """Unless a number was asked for; and never before there are three."""
    monkeypatch.setattr("facegan.bench.rounds.BUDGET", 0.0)
    assert interleave([Counted("a", [])], rounds, lambda event: None) == done


def test_the_command_prints_json_alone(monkeypatch):
    for name in ("keras-faces-64", "human-faces"):
        monkeypatch.setitem(PRESETS, name, tiny(name))
    which = "--preset keras-faces-64 --preset human-faces --only step --only sample --json"
    code, out, err = cli("bench", *SMALL.split(), *which.split())
    assert code == 0, err
    report = json.loads(out)
    assert report["rounds"] == 1 and report["machine"]["torch"] == torch.__version__
    rows = {(row["preset"], row["variant"], row["precision"]): row for row in report["steps"]}
    for preset in ("keras-faces-64", "human-faces"):
        textbook, ours = rows[preset, "textbook", "fp32"], rows[preset, "facegan", "fp32"]
        assert textbook["ratio"] == 1
        speeds = [row["images_per_second"]["median"] for row in (ours, textbook)]
        assert ours["ratio"] == pytest.approx(speeds[0] / speeds[1])
        expected = report["gflops_per_image"][preset] * speeds[0] / report["peak_gflops"]["fp32"]["median"]
        assert ours["share_of_peak"] == pytest.approx(expected)
        assert 0 < ours["inputs"] < 1
        bf16 = rows[preset, "facegan", "bf16"]
        assert (bf16["images_per_second"] is None) == bool(bf16["absent"])
    assert rows["keras-faces-64", "facegan", "fp32"]["critic"] and not rows["human-faces", "facegan", "fp32"]["critic"]
    assert report["sample"][0]["per_second"]["rounds"][0] > 0
    assert not report["preprocess"]


def test_the_table_names_every_row_and_why_one_is_missing(monkeypatch):
    monkeypatch.setitem(PRESETS, "keras-faces-64", tiny("keras-faces-64"))
    monkeypatch.setattr(bench_module, "computes_bf16", lambda device: False)
    which = "--preset keras-faces-64 --only step"
    code, out, err = cli("bench", *SMALL.split(), *which.split())
    assert code == 0, err
    for words in ("textbook, fp32", "textbook, no sweep, fp32", "facegan, fp32", "facegan, bf16", "bf16: not measured"):
        assert words in out
    assert "1 round, about" in err


def test_preprocessing_is_measured_and_tidied_away(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    events: list[object] = []
    report = bench(only=["preprocess"], rounds=1, photos=16, device="cpu", on_event=events.append)
    assert events[0] == WarmingUp()
    assert [row.name for row in report.preprocess] == ["plain Pillow, one process", "facegan preprocess"]
    assert all(row.per_second.median > 0 for row in report.preprocess)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--preset dcgna", "There is no preset 'dcgna'."),
        ("--only steps", "There is no part 'steps'."),
        ("--device tpu", "'tpu' is not a device."),
        ("--batch-size 1", "batch-size"),
        ("--preset dcgan --only sample", "--preset is for the training step, which --only leaves out."),
        ("--batch-size 64 --only sample --only preprocess", "--batch-size is for the training step"),
    ],
)
def test_wrong_usage(words, sentence):
    code, out, err = cli("bench", *words.split())
    assert code == 2 and not out
    assert sentence in err
    assert "warming up" not in err, "before anything is begun"


@posix
def test_a_signal_leaves_no_photos_behind(tmp_path):
    command = [sys.executable, "-m", "facegan", "bench", "--only", "preprocess", "--device", "cpu"]
    process = start(command, TMPDIR=str(tmp_path))
    deadline = time.monotonic() + SECONDS
    while not list(tmp_path.glob("facegan-bench-*/photos/*")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    process.terminate()
    code, said = ended(process)
    assert code == 143 and "stopped: by SIGTERM." in said and "Traceback" not in said
    assert not list(tmp_path.glob("facegan-bench-*"))
