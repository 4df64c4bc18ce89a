"""What only a CUDA device can show; these tests are left out where there is none."""

import numpy as np
import pytest
import torch
from conftest import cli, tiny, write_dataset

from facegan.core.device import use_tf32
from facegan.data.dataset import Dataset
from facegan.faces import latents
from facegan.faces.synthesis import draw_faces
from facegan.networks import build_generator
from facegan.presets import PRESETS
from facegan.training.cuda_graphs import DeviceSteps
from facegan.training.noise import draw_noise
from facegan.training.trainer import Trainer

pytestmark = pytest.mark.cuda


@pytest.mark.parametrize("preset", PRESETS)
def test_a_face_is_the_same_on_both_devices(preset):
    use_tf32(True)  # drawing does without it all the same
    config = tiny(preset)
    generator = build_generator(config)
    z = latents.draw(0, range(8), 8)
    here = draw_faces(generator, config.networks, z).astype(int)
    there = draw_faces(generator.cuda(), config.networks, z).astype(int)
    assert np.abs(here - there).max() <= 2


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("preset", PRESETS)
def test_a_step_is_the_same_on_both_devices(preset, precision):
    use_tf32(False)
    config = tiny(preset).override({"training.precision": precision})
    reals = torch.rand(4, 3, 32, 32) * 2 - 1
    losses = []
    for name in ("cpu", "cuda"):
        trainer = Trainer(config, torch.device(name))
        noise = draw_noise(config, 0, trainer.critic.mask_shapes, trainer.device)
        losses.append(trainer.step(reals.to(name), noise)["critic_loss"].item())
    assert losses[1] == pytest.approx(losses[0], rel=0.1 if precision == "bf16" else 1e-3)


def test_train_and_resume_on_the_device(workdir):
    write_dataset(workdir / "data/d", 10)
    size = "--width 4 --critic-width 4 --batch-size 4 --device cuda"
    code, _, err = cli("train", *size.split(), "--epochs", "2")
    assert code == 0, err
    for path in workdir.glob("runs/*/checkpoints/*.pt"):  # of before and in the fall of the learning rates
        code, _, err = cli("sample", path, "--count", "1")
        assert code == 0, err
    code, _, err = cli("train", "--resume", "--epochs", "3")
    assert code == 0, err
    assert "not equal bit for bit" in err


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("preset", PRESETS)
def test_captured_steps_are_the_uncaptured_ones(preset, precision, tmp_path):
    """Seven steps, cycles and epochs crossed: the same noise, rates and averages from replayed graphs.

    The gradient of bilinear enlargement is summed by atomics, in any order, and Adam turns rounding into whole steps
    where a gradient is near zero: so losses are compared, and how far all weights together are apart.
    """
    use_tf32(False)
    dataset = Dataset(write_dataset(tmp_path / "d", 10), seed=0)
    config = tiny(preset).override({"training.precision": precision, "training.decay": 0.5})
    runs = []
    for capture in (True, False):
        steps = DeviceSteps(Trainer(config, torch.device("cuda")), dataset, capture=capture)
        rows = [{name: value.item() for name, value in steps.step().items()} for _ in range(7)]
        assert (steps.uncaptured is None) == capture, steps.uncaptured
        runs.append((rows, steps.trainer))
    tolerance = 0.05 if precision == "bf16" else 1e-3
    for ours, expected in zip(runs[0][0], runs[1][0], strict=True):
        assert ours == pytest.approx(expected, rel=tolerance, abs=tolerance)
    captured, plain, start = (
        torch.cat([p.detach().flatten() for p in generator.parameters()]).cpu()
        for generator in (runs[0][1].generator, runs[1][1].generator, build_generator(config))
    )
    assert (captured - plain).norm() <= (0.5 if precision == "bf16" else 0.1) * (plain - start).norm()


def test_graphs_go_on_from_a_checkpoint_of_a_cpu(tmp_path):
    dataset = Dataset(write_dataset(tmp_path / "d", 10), seed=0)
    here = Trainer(tiny("dcgan"), torch.device("cpu"))
    DeviceSteps(here, dataset, capture=False).step()
    there = Trainer(tiny("dcgan"), torch.device("cuda"))
    there.load_state(here.state())
    steps = DeviceSteps(there, dataset)
    steps.step()
    assert steps.uncaptured is None
    here.load_state(there.state())
    assert here.images_seen == 8


def test_a_dataset_that_does_not_fit_is_fetched(tmp_path, monkeypatch):
    monkeypatch.setattr("facegan.training.cuda_graphs._SHARE", 0.0)
    dataset = Dataset(write_dataset(tmp_path / "d", 10), seed=0)
    steps = DeviceSteps(Trainer(tiny("dcgan"), torch.device("cuda")), dataset)
    for _ in range(5):
        seen = steps.trainer.images_seen
        steps.step()
        assert np.array_equal(steps._pixels.gather().cpu().numpy(), dataset.batch(seen, 4))
