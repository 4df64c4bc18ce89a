"""How well a critic knows its photos by heart."""

from __future__ import annotations

import numpy as np

from facegan.data.dataset import Dataset
from facegan.evaluation.comparison import Comparison, own_photos, trained_on
from facegan.evaluation.photo_features import order
from facegan.faces.compose import critic_of
from facegan.faces.synthesis import critic_scores, draw_faces

MOST = 1000
"""Photos and faces of each kind that the critic looks at."""


def overfitting(comparison: Comparison) -> float | None:
    """The share of the critic's gap that only the photos which it was trained on have.

    (mean D(own photos) - mean D(other photos)) / (mean D(own photos) - mean D(faces)), where D is the critic, the other
    photos are those of the comparison, and the faces are the generator's: 0 if the critic scores other photos as it
    does its own, 1 if it scores them as it does faces (Karras et al. 2020, arXiv:2006.06676, eq. 1, r_v).

    Returns:
        None if the file has no critic, the photos that it was trained on are not there or are those of the comparison,
        or the critic scores faces as high as these.
    """
    loaded, networks = comparison.loaded, comparison.loaded.config.networks
    if loaded.critic is None or trained_on(loaded, comparison.dataset.info) or (folder := own_photos(loaded)) is None:
        return None
    photos = [
        np.asarray(dataset.images[np.sort(order(dataset)[:MOST])])
        for dataset in (Dataset(folder, seed=0), comparison.dataset)
    ]
    critic, faces = critic_of(loaded), draw_faces(loaded.module, networks, comparison.latents(MOST))
    own, other, drawn = (float(critic_scores(critic, networks, some).mean()) for some in (*photos, faces))
    return (own - other) / (own - drawn) if own > drawn else None
