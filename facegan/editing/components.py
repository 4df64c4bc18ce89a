"""The strongest directions of a generator's latent, found from its weights alone: for generators without a table."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from facegan.core.errors import FaceganError
from facegan.faces.latents import Latents


def components(generator: nn.Module) -> Latents:
    """The directions in which the layers that see the latent change most, strongest first: (K, latent_dim).

    With A (outputs, latent_dim) the weights of these layers, one below the other, the directions are the eigenvectors
    of A'A, which are the right singular vectors of A: unit vectors n, each with the largest |A n| of all that are
    perpendicular to those before (Shen and Zhou 2021, arXiv:2007.06600, section 3.2). Each layer is first divided by
    its Frobenius norm, so that none counts more than another because its outputs are many or large.

    A singular vector has no sign of its own: here the component with the largest absolute value is positive.

    Raises:
        FaceganError: the generator is of a family that names no such layers.
    """
    layers: Any = getattr(generator, "latent_layers", None)
    if layers is None:
        raise FaceganError("This generator's network does not say which of its layers see the latent.")
    weights = [layer.weight.detach().cpu().double().numpy() for _, layer in layers()]
    stacked = np.concatenate([weight / max(np.linalg.norm(weight), 1e-12) for weight in weights])
    _, found = np.linalg.eigh(stacked.T @ stacked)
    found = found.T[::-1]
    sign = np.sign(np.take_along_axis(found, np.abs(found).argmax(1)[:, None], 1))
    return np.asarray(found * sign, np.float32)


def component(found: Latents, changes: dict[int, float]) -> Latents:
    """The step (latent_dim,) along components of these numbers, 1 the strongest, in deviations of the prior.

    Args:
        found: from `components`, which takes far longer than this.

    Raises:
        FaceganError: there is no component of that number.
    """
    dz = np.zeros(found.shape[1], np.float32)
    for number, amount in changes.items():
        if not 1 <= number <= len(found):
            raise FaceganError(f"There is no component {number}.", f"This generator has 1 to {len(found)}.")
        dz += np.float32(amount) * found[number - 1]
    return dz
