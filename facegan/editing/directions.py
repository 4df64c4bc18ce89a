"""Steps in latent space that change named attributes of a face. This imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from facegan.core.errors import UsageError
from facegan.faces.latents import Latents

if TYPE_CHECKING:
    from facegan.editing.attributes import Attributes

_GIVE = 0.1
"""How much a score may miss its aim, in variances, to save one unit of distance squared."""
_REST = 0.05
"""How much the scores of attributes that are neither changed nor kept count beside the others."""
_STEPS = 8
"""Gauss-Newton steps of an edit."""


def _asked(
    attributes: Attributes, changes: Mapping[str, float], keep: Sequence[str] | None
) -> tuple[list[int], list[int], list[float]]:
    """The numbers of the attributes that are changed and of those that are kept, and by how much the score changes."""
    changed = [attributes.find(name) for name in changes]
    names = [attributes.known[at].name for at in changed]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"{twice[0]} is named twice.", "Name each attribute once.")
    if keep is None:
        kept = [at for at in map(attributes.find, attributes.keep) if at not in changed]
    else:
        kept = list(dict.fromkeys(map(attributes.find, keep)))
    if both := [attributes.known[at].name for at in kept if at in changed]:
        raise UsageError(f"{both[0]} cannot be changed and kept.", "Leave it out of one of them.")
    amounts = [amount * float(attributes.step[at]) for amount, at in zip(changes.values(), changed, strict=True)]
    return changed, kept, amounts


def edit(
    attributes: Attributes, z: Latents, changes: Mapping[str, float], keep: Sequence[str] | None = None
) -> Latents:
    """Latents near z whose faces have the scores of `changes` moved as asked, all together, and those of `keep` not.

    With s(z) (K,) the scores that are changed or kept, as `attributes.scorer` tells them, and c (K,) the changes, 0 for
    those that are kept, the result z' has the norm of z, and on that sphere is about least

        |s(z') - s(z) - c|^2 / r  +  |z' - z|^2,      r = 0.1

    Gauss-Newton: with s and its slopes J (K, latent_dim) at the point z' that was reached, the next one is
    z + J'(J J' + r I)^-1 (s(z) + c - s(z') + J (z' - z)), brought back to the norm. The changes grow to their full size
    over the first half of the steps.

    Args:
        z: (N, width) or (width,). Wide latents, which photos have, are moved by the same step at every place where a
            latent enters the generator: the step of their mean.
        changes: names of attributes -> how far, in steps. A step is `attributes.step` standard deviations of the score
            over the generator's faces.
        keep: names whose scores stay. None keeps `attributes.keep` without those that are changed.

    Raises:
        UsageError: an unknown or refused attribute, one named twice, or one both changed and kept.
    """
    changed, kept, amounts = _asked(attributes, changes, keep)
    rest = [at for at in range(len(attributes.known)) if at not in changed and at not in kept]
    rows = [*changed, *kept, *rest]
    c = np.array([*amounts, *[0] * (len(rows) - len(changed))])
    give = np.diag([_GIVE] * (len(changed) + len(kept)) + [_GIVE / _REST] * len(rest))
    latent_dim = len(attributes.weights)
    start = np.atleast_2d(z).reshape(-1, z.shape[-1] // latent_dim, latent_dim).mean(1, dtype=np.float64)
    norm = np.linalg.norm(start, axis=1, keepdims=True)
    at, before = start, np.zeros(len(rows))
    for number in range(_STEPS):
        scores, slopes = attributes.scorer.with_slopes(at, rows)
        if number == 0:
            before = scores
        wanted = before + c * min(1, 2 * (number + 1) / _STEPS)
        gram = slopes @ slopes.transpose(0, 2, 1) + give
        left = wanted - scores + (slopes @ (at - start)[..., None])[..., 0]
        at = start + (slopes.transpose(0, 2, 1) @ np.linalg.solve(gram, left[..., None]))[..., 0]
        at *= norm / np.linalg.norm(at, axis=1, keepdims=True).clip(1e-12)
    return edited(z, (at - start).reshape(*z.shape[:-1], latent_dim).astype(np.float32))


def edited(z: Latents, dz: Latents) -> Latents:
    """z + dz, scaled back to the norm that z had, so that dz = 0 changes nothing: (N, width) or (width,), as z.

    A face of the prior stays near the prior's norm. Wide latents, which photos have, get dz at every place where a
    latent enters the generator.
    """
    moved = z.astype(np.float64) + np.concatenate([dz] * (z.shape[-1] // dz.shape[-1]), axis=-1)
    norm, before = np.linalg.norm(moved, axis=-1, keepdims=True), np.linalg.norm(z, axis=-1, keepdims=True)
    return np.asarray(moved * np.divide(before, norm, out=np.ones_like(norm), where=norm > 0), np.float32)
