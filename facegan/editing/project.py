"""Find the latents whose faces look like given ones: projection."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from facegan.config import Networks
from facegan.core.device import exact_float32
from facegan.core.pixels import Pixels, from_range, to_images
from facegan.core.random_streams import Stream, rng
from facegan.editing.likeness import unlikeness
from facegan.faces.compose import Progress
from facegan.faces.latents import Latents, prior_norm
from facegan.faces.synthesis import at_once

TRIALS = (6, 40), (2, 120)
"""How many of a face's starts are followed, the better ones, and for how many steps of Adam."""
FINAL_STEPS = 200
"""Steps of the best one, with a latent for each place where latents enter."""
_RATE = 0.1
_BETAS = 0.9, 0.99
_SPREAD = 0.3
"""Weight of the variance between the latents of one face: the more they differ, the worse the face morphs."""
_BEYOND = 0.3
"""Weight of ((|z| / radius of the prior) - 1)² where a latent is longer than the prior's."""

_LOOK = 10
"""Steps from one look at the faces so far to the next."""

_SAMPLES = 1000
"""Faces of the generator from which the starts are learnt."""
_SIDE = 16
"""Side of the pictures that the starts look at."""
_RIDGE = 0.02


def project_steps() -> int:
    """How many steps `project` takes."""
    return sum(steps for _, steps in TRIALS) + FINAL_STEPS


def project(
    generator: nn.Module,
    networks: Networks,
    faces: Pixels,
    *,
    seed: int = 0,
    on_progress: Progress = lambda done, total: None,
    on_look: Callable[[Latents], None] = lambda latents: None,
) -> Latents:
    """The latents with which `generator` draws faces most like `faces`: float32 (N, latent_rows * latent_dim).

    Adam minimises for each face, with G(w) the image of a latent w, or of one latent w_k for each of K places where
    latents enter the generator,

        unlikeness(G(w), face)  +  0.3 mean_k |w_k - mean w|² / d  +  0.3 mean_k ((|w_k| / sqrt(d) - 1)+)²

    with d the number of a latent's components, and x+ = max(x, 0).

    First the w_k are equal, and several `starts` of each face are followed, the better ones longer (TRIALS). Then the
    best one gets K latents: the space W+ of Abdal et al. 2019 (arXiv:1904.03189), here for self-modulation. The last
    two terms keep the w_k near each other and within the prior's norm, where the generator was trained.

    Args:
        faces: uint8 (N, S, S, 3), aligned as the generator's photos were.
        seed: of the samples that the starts are learnt from.
        on_look: told every 10 steps the best latents so far, (N, latent_dim) or (N, latent_rows * latent_dim).
    """
    wanted = to_images(faces, next(generator.parameters()).device)
    total, done = project_steps(), 0

    def part(before: int) -> Callable[[int], None]:
        return lambda step: on_progress(before + step, total)

    def best_of(count: int) -> Callable[[Tensor, Tensor], None]:
        def look(z: Tensor, loss: Tensor) -> None:
            best = loss.view(-1, count).argmin(1)
            on_look(z.unflatten(0, (-1, count))[torch.arange(len(best)), best].cpu().numpy())

        return look

    with exact_float32():
        z = starts(generator, networks, faces, seed)
        loss = torch.zeros(z.shape[:2])
        for count, steps in TRIALS:
            best = loss.argsort(1)[:, :count]
            z = torch.take_along_dim(z, best.to(z.device)[:, :, None], dim=1)
            targets = wanted.repeat_interleave(count, 0)
            flat, loss = _descend(generator, networks, z.flatten(0, 1), targets, steps, part(done), best_of(count))
            z, loss = flat.view_as(z), loss.view(-1, count).cpu()
            done += steps
        z = z[torch.arange(len(z)), loss.argmin(1)].repeat(1, networks.latent_rows)
        z, _ = _descend(generator, networks, z, wanted, FINAL_STEPS, part(done), best_of(1), fall=True)
    on_progress(total, total)
    return z.cpu().numpy()


def _descend(
    generator: nn.Module,
    networks: Networks,
    z: Tensor,
    wanted: Tensor,
    steps: int,
    on_step: Callable[[int], None],
    on_look: Callable[[Tensor, Tensor], None],
    fall: bool = False,
) -> tuple[Tensor, Tensor]:
    """Steps of Adam from latents (B, width): the latents then, and the loss of each, (B,).

    Args:
        on_look: told every `_LOOK` steps the latents, and the loss of each before that step.
        fall: let the learning rate fall to zero.
    """
    z, few = z.clone().requires_grad_(True), at_once(networks.size)
    adam = torch.optim.Adam([z], betas=_BETAS)
    for step in range(steps):
        on_step(step)
        adam.param_groups[0]["lr"] = _RATE * (1 - step / steps if fall else 1)
        adam.zero_grad()
        losses = []
        for some, faces in zip(z.split(few), wanted.split(few), strict=True):
            rows = some.unflatten(1, (-1, networks.latent_dim))
            spread = ((rows - rows.mean(1, keepdim=True)) ** 2).mean((1, 2))
            beyond = (rows.norm(dim=2) / prior_norm(networks.latent_dim) - 1).clamp_min(0) ** 2
            loss = unlikeness(images(generator, networks, some), faces) + _SPREAD * spread + _BEYOND * beyond.mean(1)
            loss.sum().backward()
            losses.append(loss.detach())
        adam.step()
        if step % _LOOK == 0:
            on_look(z.detach(), torch.cat(losses))
    return z.detach(), torch.cat(losses)


@torch.no_grad()
def starts(generator: nn.Module, networks: Networks, faces: Pixels, seed: int) -> Tensor:
    """Latents near each of `faces`, (N, 6, latent_dim), learnt from 1,000 of the generator's own samples.

    Of these the latents z are known, and as x the pixels at 16 x 16 with a 1 appended. The first start is linear,
    x W with W = (X'X + r I)^-1 X'Z, ridge regression; the others are the z of the five samples whose x are nearest.
    """
    device = next(generator.parameters()).device
    z = torch.from_numpy(rng(seed, Stream.PROJECT, 0).standard_normal((_SAMPLES, networks.latent_dim), np.float32))
    z = z.to(device)
    x = torch.cat([_small(images(generator, networks, part)) for part in z.split(at_once(networks.size))])
    ridge = _RIDGE * len(x) / 2 * torch.eye(x.shape[1], device=device)
    w = torch.linalg.solve(x.T @ x + ridge, x.T @ z)
    wanted = _small(to_images(faces, device))
    nearest = torch.cdist(wanted, x).topk(TRIALS[0][0] - 1, largest=False).indices
    return torch.cat([(wanted @ w)[:, None], z[nearest]], dim=1)


def _small(x: Tensor) -> Tensor:
    x = F.adaptive_avg_pool2d(x, _SIDE).flatten(1)
    return torch.cat([x, torch.ones_like(x[:, :1])], dim=1)


def images(generator: nn.Module, networks: Networks, latents: Tensor) -> Tensor:
    """The generator's images (B, 3, S, S) in [-1, 1], whatever its own pixel range is."""
    return from_range(generator(latents), *networks.pixel_range)
