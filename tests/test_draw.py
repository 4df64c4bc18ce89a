"""Sheets: truncation for every preset, and the order of the critic's scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import cli, tiny

from facegan.checkpoint import load_generator, save_checkpoint
from facegan.draw import sample_latents, sample_sheet
from facegan.images import sheet
from facegan.presets import PRESETS
from facegan.synthesis import critic_scores, draw_faces
from facegan.trainer import Trainer


@pytest.fixture(params=PRESETS)
def loaded(request, tmp_path):
    """A checkpoint of a generator whose faces have some contrast, as after training."""
    trainer = Trainer(tiny(request.param), torch.device("cpu"))
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for network in (trainer.generator, trainer.critic):
            for weight in network.parameters():
                weight.add_(0.2 * torch.randn(weight.shape, generator=rng))
    if trainer.average:
        trainer.average.module.load_state_dict(trainer.generator.state_dict())
    return load_generator(save_checkpoint(tmp_path / "000000004.pt", trainer.config, {}, trainer.state()))


def test_truncation_brings_the_faces_of_every_preset_together(loaded):
    def spread(truncation: float) -> float:
        z = sample_latents(loaded, 0, range(32), truncation)
        return float(draw_faces(loaded.module, loaded.config.networks, z).std(axis=0).mean())

    spreads = [spread(truncation) for truncation in (1.0, 0.7, 0.4, 0.0)]
    assert spreads == sorted(spreads, reverse=True)
    assert spreads[0] > 1.3 * spreads[2] > 0
    assert spreads[3] == 0


def test_a_sorted_sheet_has_the_best_first_and_the_latents_numbers(loaded):
    z = sample_latents(loaded, 3, range(9), 1.0)
    faces = draw_faces(loaded.module, loaded.config.networks, z)
    trainer = Trainer(loaded.config, torch.device("cpu"))
    trainer.critic.load_state_dict(loaded.critic)
    scores = critic_scores(trainer.critic, loaded.config.networks, faces)
    with torch.no_grad():  # one by one, with the critic's own unit
        reals = torch.from_numpy(faces).permute(0, 3, 1, 2).float() / 127.5 - 1
        alone = torch.cat([trainer.critic(trainer._to_network_unit(face[None])) for face in reals])
    np.testing.assert_allclose(scores, alone.numpy(), rtol=1e-4, atol=1e-5)
    best_first = np.argsort(-scores)
    assert best_first.tolist() != list(range(9))
    picture = sample_sheet(loaded, count=9, seed=3, numbers=True, by_score=True)
    np.testing.assert_array_equal(picture, sheet(faces[best_first], numbers=best_first.tolist()))
    assert not np.array_equal(picture, sheet(faces[best_first], numbers=True))


def test_the_command_sorts(loaded, workdir):
    for words in (["--sort"], []):
        code, _, err = cli("sample", loaded.source, "--count", "9", "--number", *words, "--out", f"{len(words)}.png")
        assert code == 0, err
    assert (workdir / "0.png").read_bytes() != (workdir / "1.png").read_bytes()
