"""What only a CUDA device can show; these tests are left out where there is none."""

import numpy as np
import pytest
import torch
from conftest import cli, tiny, write_dataset

from facegan import latents
from facegan.launch import use_tf32
from facegan.networks import build_generator
from facegan.noise import draw_noise
from facegan.presets import PRESETS
from facegan.synthesis import draw_faces
from facegan.trainer import Trainer

pytestmark = pytest.mark.cuda


@pytest.mark.parametrize("preset", PRESETS)
def test_a_face_is_the_same_on_both_devices(preset):
    use_tf32(False)
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
    code, _, err = cli("train", "--resume", "--epochs", "3")
    assert code == 0, err
    assert "not equal bit for bit" in err
