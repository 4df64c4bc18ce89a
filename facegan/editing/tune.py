"""Change a generator so that it draws given faces, and all others as before: pivotal tuning.

After Roich et al. 2021 (arXiv:2106.05744). It differs in the first stage, which tunes the layers that see the latent in
closed form: that changes other faces five times less, for the same likeness.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from facegan.config import Networks
from facegan.core.device import exact_float32
from facegan.core.pixels import Pixels, to_images
from facegan.core.random_streams import Stream, rng
from facegan.editing.likeness import difference, unlikeness
from facegan.editing.project import images
from facegan.faces.compose import Progress
from facegan.faces.latents import Latents
from facegan.faces.synthesis import at_once

OFFSET_STEPS, WEIGHT_STEPS = 150, 150
_BETAS = 0.9, 0.99
_FALL = 0.5
"""Over this last part of each stage the learning rates fall to zero."""
_OFFSET_RATE, _LATENT_RATE, _WEIGHT_RATE = 0.05, 0.02, 4e-4
_LEAK = 0.3
"""Weight of the squared offsets: they are what other faces are changed by."""
_OTHERS, _KEPT = 60, 3
"""Random faces that are held to their pictures, and how many of them in each step."""
_KEEP = 0.3
"""Weight of their difference."""


def tune_steps() -> int:
    """How many steps `tune` takes."""
    return OFFSET_STEPS + WEIGHT_STEPS


def tune(
    generator: nn.Module,
    networks: Networks,
    latents: Latents,
    faces: Pixels,
    *,
    seed: int = 0,
    on_progress: Progress = lambda done, total: None,
) -> tuple[nn.Module, Latents]:
    """A copy of `generator` that draws `faces` at latents near `latents`, and those latents.

    First the layers that see the latent (`_tune_offsets`), then all others (`_tune_weights`).

    Args:
        latents: (N, latent_rows * latent_dim), from `project`.
        faces: uint8 (N, S, S, 3).
        seed: of the faces that are held to their pictures.
    """
    device = next(generator.parameters()).device
    tuned = copy.deepcopy(generator)
    wanted, z = to_images(faces, device), torch.from_numpy(latents).to(device)
    total = tune_steps()
    with exact_float32():
        z = _tune_offsets(tuned, networks, z, wanted, lambda step: on_progress(step, total))
        _tune_weights(generator, tuned, networks, z, wanted, seed, lambda step: on_progress(OFFSET_STEPS + step, total))
    on_progress(total, total)
    return tuned.requires_grad_(False), z.cpu().numpy()


def _tune_offsets(
    tuned: nn.Module, networks: Networks, z: Tensor, wanted: Tensor, on_step: Callable[[int], None]
) -> Tensor:
    """Change what each layer y = W z that sees the latent says of the faces, and of others as little as possible.

    Adam looks for an offset o_n of y for each face n, so that the layer says W z_n + o_n. The smallest change of W that
    brings this about for all n is O' (Z^+)', with the offsets as the rows of O, the latents as those of Z, and Z^+ the
    pseudo-inverse. A latent of the prior is nearly orthogonal to each z_n: a change of rank one, o z_n' / |z_n|², moves
    its y by o times a number of size 1 / sqrt(latent_dim). Gradient steps on W itself would keep this form, but Adam's,
    which scale each weight alone, would not.

    Returns:
        The faces' latents, which move too, slowly.
    """
    layers = tuned.latent_layers()  # type: ignore[operator]
    scales = [_variance(layer) for _, layer in layers]
    offsets = [torch.zeros(len(z), layer.out_features, device=z.device, requires_grad=True) for _, layer in layers]
    z = z.clone().requires_grad_(True)
    handles = [_add(layer, offset) for (_, layer), offset in zip(layers, offsets, strict=True)]
    adam = torch.optim.Adam([{"params": offsets}, {"params": [z]}], betas=_BETAS)
    for step in range(OFFSET_STEPS):
        on_step(step)
        for group, rate in zip(adam.param_groups, (_OFFSET_RATE, _LATENT_RATE), strict=True):
            group["lr"] = rate * _fall(step, OFFSET_STEPS)
        leak = torch.stack([(o**2).mean() / scale for o, scale in zip(offsets, scales, strict=True)]).sum()
        loss = unlikeness(images(tuned, networks, z), wanted).sum() + _LEAK * len(z) * leak
        adam.zero_grad()
        loss.backward()
        adam.step()
    for handle in handles:
        handle.remove()
    z = z.detach()
    with torch.no_grad():
        for (row, layer), offset in zip(layers, offsets, strict=True):
            layer.weight += offset.T @ torch.linalg.pinv(z.unflatten(1, (networks.latent_rows, -1))[:, row]).T
    return z


def _tune_weights(
    generator: nn.Module,
    tuned: nn.Module,
    networks: Networks,
    z: Tensor,
    wanted: Tensor,
    seed: int,
    on_step: Callable[[int], None],
) -> None:
    """Change all other weights by Adam, while random faces, a few of them in each step, are held to their pictures."""
    tuned.requires_grad_(True)
    for _, layer in tuned.latent_layers():  # type: ignore[operator]
        layer.requires_grad_(False)
    weights = [parameter for parameter in tuned.parameters() if parameter.requires_grad]
    adam = torch.optim.Adam(weights, betas=_BETAS)
    latents = rng(seed, Stream.PROJECT, 1).standard_normal((_OTHERS, networks.latent_dim), np.float32)
    others = torch.from_numpy(latents).to(z.device).repeat(1, networks.latent_rows)
    with torch.no_grad():
        pictures = torch.cat([images(generator, networks, some) for some in others.split(at_once(networks.size))])
    held = list(zip(others.split(_KEPT), pictures.split(_KEPT), strict=True))
    for step in range(WEIGHT_STEPS):
        on_step(step)
        adam.param_groups[0]["lr"] = _WEIGHT_RATE * _fall(step, WEIGHT_STEPS)
        kept, before = held[step % len(held)]
        drawn = images(tuned, networks, torch.cat([z, kept]))
        loss = (
            unlikeness(drawn[: len(z)], wanted).sum() / len(z) ** 0.5
            + _KEEP * difference(drawn[len(z) :], before).mean()
        )
        adam.zero_grad()
        loss.backward()
        adam.step()


def _variance(layer: nn.Linear) -> float:
    """Of what a layer says of latents of the prior: the mean squared norm of its rows."""
    return max(float((layer.weight**2).sum(1).mean()), 1e-12)


def _add(layer: nn.Linear, offset: Tensor) -> RemovableHandle:
    return layer.register_forward_hook(lambda module, inputs, output: output + offset)


def _fall(step: int, steps: int) -> float:
    return min(1.0, (steps - step) / (steps * _FALL))
