"""Find the latents whose faces look like given ones: projection."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facegan.config import Networks
from facegan.core.device import exact_float32
from facegan.core.pixels import Pixels, to_images
from facegan.core.streams import Stream, rng
from facegan.editing.likeness import unlikeness
from facegan.faces.latents import Latents, prior_norm

STEPS = 400
"""Steps of Adam; the first half moves one latent for all octaves."""
_RATE, _FALL = 0.1, 0.5
"""Adam's learning rate, and over which last part of the steps it falls to zero."""
_BETAS = 0.9, 0.99
_SPREAD = 0.3
"""Weight of the variance between the rows of a face's latent: rows that differ draw faces that morph badly."""
_BEYOND = 0.3
"""Weight of ((|z| / radius of the prior) - 1)² where a row is longer than the prior's latents."""

_SAMPLES = 1500
"""Faces of the generator from which the linear start is learnt."""
_SIDE = 16
"""Side of the pictures that the linear start looks at."""
_RIDGE = 0.02
_CHUNK = 100
Progress = Callable[[int, int], None]
"""Told how many steps are done, of how many."""


def project(
    generator: nn.Module,
    networks: Networks,
    faces: Pixels,
    *,
    seed: int = 0,
    on_progress: Progress = lambda done, total: None,
) -> Latents:
    """The latents with which `generator` draws faces most like `faces`: float32 (N, latent_rows * latent_dim).

    From a start that is linear in the pixels (`linear_start`), Adam minimises for each face

        unlikeness(G(z + d), face)  +  0.3 mean d²  +  0.3 mean (|z + d| / sqrt(latent_dim) - 1)+²

    first over one latent z, then over z and a d for each place where the latent enters the generator: the space W+ of
    Abdal et al. 2019 (arXiv:1904.03189), here for self-modulation. The last two terms keep the latents where the
    generator knows its way: near each other, and not beyond the prior's norm.

    Args:
        faces: uint8 (N, S, S, 3), aligned as the generator's photos were.
        seed: of the samples that the start is learnt from.
    """
    device = next(generator.parameters()).device
    wanted = to_images(faces, device)
    with exact_float32():
        z = linear_start(generator, networks, faces, seed).requires_grad_(True)
        apart = torch.zeros(len(z), networks.latent_rows, z.shape[1], device=device, requires_grad=True)
        adam = torch.optim.Adam([{"params": [z]}, {"params": [apart]}], betas=_BETAS)
        for step in range(STEPS):
            on_progress(step, STEPS)
            rate = _RATE * min(1.0, (STEPS - step) / (STEPS * _FALL))
            adam.param_groups[0]["lr"] = rate
            adam.param_groups[1]["lr"] = rate if step >= STEPS // 2 and networks.latent_rows > 1 else 0.0
            latents = z[:, None] + apart  # (N, latent_rows, latent_dim)
            beyond = (latents.norm(dim=2) / prior_norm(z.shape[1]) - 1).clamp_min(0) ** 2
            loss = unlikeness(images(generator, networks, latents.flatten(1)), wanted)
            loss = loss + _SPREAD * (apart**2).mean((1, 2)) + _BEYOND * beyond.mean(1)
            adam.zero_grad()
            loss.sum().backward()
            adam.step()
    on_progress(STEPS, STEPS)
    return (z[:, None] + apart).detach().flatten(1).cpu().numpy()


@torch.no_grad()
def linear_start(generator: nn.Module, networks: Networks, faces: Pixels, seed: int) -> Tensor:
    """Latents (N, latent_dim) near those of `faces`, by ridge regression from the generator's own samples.

    Of 1,500 samples the pixels at 16 x 16 are known, with a 1 appended as x, and the latents z. The start is
    z = x W with W = (X'X + r I)^-1 X'Z. It saves more steps than several random starts do.
    """
    device = next(generator.parameters()).device
    z = torch.from_numpy(rng(seed, Stream.PROJECT, 0).standard_normal((_SAMPLES, networks.latent_dim), np.float32))
    z = z.to(device)
    x = torch.cat([_small(images(generator, networks, part)) for part in z.split(_CHUNK)])
    ridge = _RIDGE * len(x) / 2 * torch.eye(x.shape[1], device=device)
    w = torch.linalg.solve(x.T @ x + ridge, x.T @ z)
    return _small(to_images(faces, device)) @ w


def _small(x: Tensor) -> Tensor:
    x = F.adaptive_avg_pool2d(x, _SIDE).flatten(1)
    return torch.cat([x, torch.ones_like(x[:, :1])], dim=1)


def images(generator: nn.Module, networks: Networks, latents: Tensor) -> Tensor:
    """The generator's images (B, 3, S, S) in [-1, 1], whatever its own pixel range is."""
    low, high = networks.pixel_range
    drawn: Tensor = generator(latents)
    return drawn if low == -1 else (drawn - low) * (2 / (high - low)) - 1
