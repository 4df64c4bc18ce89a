"""Directions in latent space that change named attributes of a face, and steps along them. This needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from facegan.core.errors import UsageError
from facegan.faces.latents import Latents

if TYPE_CHECKING:
    from facegan.editing.attributes import Attributes

_LEAST = 1e-6
"""The attributes that are changed must differ from each other and from those that are kept by more than this."""


def direction(attributes: Attributes, changes: Mapping[str, float], keep: Sequence[str] | None = None) -> Latents:
    """The shortest step dz that changes the scores as asked, all together, and those of `keep` not at all.

    With W (latent_dim, K) the weights of the K scores that are changed or kept, and c (K,) the changes, 0 for those
    that are kept, dz is the solution of W'dz = c with the least norm:

        dz = W (W'W)^-1 c

    Args:
        changes: names of attributes -> how far, in standard deviations of the score over the generator's faces.
        keep: names whose scores stay. None keeps `attributes.keep` without those that are changed.

    Returns:
        float32 (latent_dim,).

    Raises:
        UsageError: an unknown or refused attribute, one named twice, one both changed and kept, or attributes that are
            one and the same to this generator.
    """
    changed = [attributes.find(name) for name in changes]
    if keep is None:
        kept = [at for at in map(attributes.find, attributes.keep) if at not in changed]
    else:
        kept = list(dict.fromkeys(map(attributes.find, keep)))
    names = [attributes.known[at].name for at in changed]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"{twice[0]} is named twice.", "Name each attribute once.")
    if both := [attributes.known[at].name for at in kept if at in changed]:
        raise UsageError(f"{both[0]} cannot be changed and kept.", "Leave it out of one of them.")
    w = attributes.weights[:, [*changed, *kept]].astype(np.float64)
    c = np.array([*changes.values(), *[0] * len(kept)], np.float64)
    gram = w.T @ w
    size = np.sqrt(np.diag(gram))
    if len(size) and np.linalg.eigvalsh(gram / np.outer(size, size)).min() < _LEAST:
        raise UsageError(
            f"{' and '.join(names)} cannot be changed by themselves: to this generator they are the same as each other "
            "or as what is kept.",
            "Change one of them, or keep less.",
        )
    return (w @ np.linalg.solve(gram, c)).astype(np.float32)


def edited(z: Latents, dz: Latents) -> Latents:
    """z + dz, scaled back to the norm that z had, so that dz = 0 changes nothing: (N, width) or (width,), as z.

    A face of the prior stays near the prior's norm. Wide latents, which photos have, get dz at every place where a
    latent enters the generator.
    """
    moved = z.astype(np.float64) + np.tile(dz, z.shape[-1] // dz.shape[-1])
    norm, before = np.linalg.norm(moved, axis=-1, keepdims=True), np.linalg.norm(z, axis=-1, keepdims=True)
    return np.asarray(moved * np.divide(before, norm, out=np.ones_like(norm), where=norm > 0), np.float32)
