"""The steps that a CUDA device takes, run on a CPU without capture: the functions that a CUDA graph records."""

import numpy as np
import pytest
import torch
from conftest import tiny, write_dataset
from test_trainer import assert_same

from facegan.core.world import World
from facegan.data.dataset import Dataset
from facegan.presets import PRESETS
from facegan.training import cuda_graphs
from facegan.training.cuda_graphs import DeviceSteps
from facegan.training.steps import HostSteps, steps_of
from facegan.training.trainer import Trainer

CPU = torch.device("cpu")


@pytest.fixture
def dataset(tmp_path):
    return Dataset(write_dataset(tmp_path / "d", 10), seed=0)


def on_device(preset: str, dataset: Dataset) -> DeviceSteps:
    return DeviceSteps(Trainer(tiny(preset), CPU), dataset, capture=False)


@pytest.mark.parametrize("preset", PRESETS)
def test_stop_and_go_on_is_never_having_stopped(preset, dataset):
    """Inside a cycle of five and across the ends of epochs: 10 images, batches of 4."""
    whole, stopped = on_device(preset, dataset), on_device(preset, dataset)
    for _ in range(7):
        whole.step()
    for _ in range(3):
        stopped.step()
    resumed = Trainer(tiny(preset), CPU)
    resumed.load_state(stopped.trainer.state())
    going_on = DeviceSteps(resumed, dataset, capture=False)
    for _ in range(4):
        going_on.step()
    assert_same(whole.trainer.state(), resumed.state())


@pytest.mark.parametrize("fits", [True, False], ids=["pixels on the device", "pixels on the host"])
def test_the_images_are_those_of_the_host(fits, dataset, monkeypatch):
    """The same order, whether gathered on the device or fetched; across the end of the epoch too."""
    monkeypatch.setattr(cuda_graphs, "_fits", lambda *_: fits)
    steps = on_device("keras-faces-64", dataset)
    for _ in range(4):
        seen = steps.trainer.images_seen
        steps.step()
        assert np.array_equal(steps._pixels.gather().numpy(), dataset.batch(seen, 4))


@pytest.mark.parametrize("preset", PRESETS)
def test_noise_is_drawn_for_the_whole_batch(preset, dataset):
    """Each of two processes has its half of what one has."""
    augmenting = tiny(preset).override({"training.augment": 0.5})
    halves = [DeviceSteps(Trainer(augmenting, CPU), dataset, capture=False) for _ in range(3)]
    for rank in (0, 1):
        halves[rank].trainer.world = World(rank, 2)
    drawn = []
    for steps in halves:
        steps._random.manual_seed(3)
        config, shapes = steps.trainer.config, steps.trainer.critic.mask_shapes
        drawn.append(cuda_graphs.draw_noise_on_device(config, True, shapes, steps._random, steps.trainer.world))
    (first, first_mirrored), (second, second_mirrored), (whole, mirrored) = drawn
    assert torch.equal(torch.cat((first.critic_latents, second.critic_latents)), whole.critic_latents)
    assert torch.equal(torch.cat((first.mix, second.mix)), whole.mix)
    assert torch.equal(torch.cat((first.augment, second.augment), dim=1), whole.augment)
    for a, b, c in zip(first.keep, second.keep, whole.keep, strict=True):
        assert all(torch.equal(torch.cat(pair), mask) for *pair, mask in zip(a, b, c, strict=True))
    if mirrored is not None:
        assert torch.equal(torch.cat((first_mirrored, second_mirrored)), mirrored)


def test_masks_keep_their_share(dataset):
    steps = on_device("human-faces", dataset)
    shapes = steps.trainer.critic.mask_shapes
    noise, _ = cuda_graphs.draw_noise_on_device(steps.trainer.config, True, shapes, steps._random)
    kept = torch.cat([mask.flatten() for masks in noise.keep for mask in masks]).float().mean()
    assert abs(kept - 0.5) < 0.01


def test_warming_up_is_undone(dataset):
    """What a capture restores is all that a step changes."""
    steps = on_device("dcgan", dataset)
    steps.step()
    before = [tensor.clone() for tensor in cuda_graphs._tensors(steps.trainer)]
    expected = {name: t.clone() for name, t in steps.trainer.critic.state_dict().items()}
    steps.step()
    for tensor, value in zip(cuda_graphs._tensors(steps.trainer), before, strict=True):
        tensor.copy_(value)
    steps.trainer.images_seen -= 4
    assert_same(expected, steps.trainer.critic.state_dict())
    again = on_device("dcgan", dataset)
    for _ in range(2):
        again.step()
    steps.step()
    assert_same(again.trainer.state(), steps.trainer.state())


def test_a_moment_made_beforehand_changes_nothing(dataset):
    made, lazy = on_device("keras-faces-64", dataset), on_device("keras-faces-64", dataset)
    cuda_graphs._allocate(made.trainer.critic_optimiser)
    cuda_graphs._allocate(made.trainer.generator_optimiser)
    for steps in (made, lazy):
        for _ in range(6):
            steps.step()
    assert_same(made.trainer.state(), lazy.trainer.state())


def test_the_host_serves_a_cpu(dataset):
    assert isinstance(steps_of(Trainer(tiny("dcgan"), CPU), dataset), HostSteps)
