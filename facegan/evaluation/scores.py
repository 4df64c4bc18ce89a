"""How far a generator's faces are from photos: Fréchet and kernel distance, precision and recall (torch-fidelity)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from facegan.config import Networks
from facegan.core.errors import FaceganError
from facegan.evaluation.comparison import Comparison, photos_of_training
from facegan.evaluation.extractors import STANDARD, Extractor, Features
from facegan.evaluation.overfitting import overfitting
from facegan.evaluation.photo_features import Progress
from facegan.faces.latents import Latents
from facegan.faces.synthesis import batches

MOST_SAMPLES = 10_000
"""Samples, and photos, if no number is given. If there are fewer photos, as many samples as photos are compared."""
FEWEST = 5
"""The fewest samples, and photos: precision and recall look at the third neighbour of each picture."""
_KID_SUBSETS, _KID_SUBSET = 100, 1000
_NEIGHBOURHOOD = 3
_ROWS = 1000
"""Rows of a matrix of distances that are in memory at a time."""


@dataclass(frozen=True)
class Scores:
    """How far two sets of pictures are apart, in an extractor's features.

    Attributes:
        fd: Fréchet distance of two Gaussians, |m - m'|² + tr(C + C' - 2 (C C')^(1/2)) (Heusel et al. 2017,
            arXiv:1706.08500). It is the FID if the extractor is STANDARD. It falls as the number of pictures grows.
        kid: squared MMD with the kernel (x·y/width + 1)³, unbiased (Bińkowski et al. 2018, arXiv:1801.01401). It is
            the mean over 100 draws of 1,000 pictures each; if there are no more than 1,000, there is one draw of all.
        kid_std: standard deviation over the draws; None if there is only one.
        precision: share of the samples that are within reach of a photo. A photo's reach is the distance to its third
            neighbour among the photos (Kynkäänniemi et al. 2019, arXiv:1904.06991).
        recall: the same with samples and photos exchanged: share of the photos that are within reach of a sample.
    """

    fd: float
    kid: float
    kid_std: float | None
    precision: float
    recall: float


def scores(samples: Features, photos: Features) -> Scores:
    """The distances between features (N, width) of samples and (M, width) of photos, each at least FEWEST."""
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric
    from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

    pair = torch.from_numpy(samples), torch.from_numpy(photos)
    statistics = [fid_features_to_statistics(features.double()) for features in pair]
    fewest = min(map(len, pair))
    subsets = _KID_SUBSETS if max(map(len, pair)) > _KID_SUBSET else 1
    found = {
        **fid_statistics_to_metric(*statistics, verbose=False),
        **kid_features_to_metric(*pair, kid_subsets=subsets, kid_subset_size=min(fewest, _KID_SUBSET), verbose=False),
        **prc_features_to_metric(
            *pair, prc_neighborhood=_NEIGHBOURHOOD, prc_batch_size=_ROWS, save_cpu_ram=True, verbose=False
        ),
    }
    return Scores(
        fd=found[KEY_METRIC_FID],
        kid=found[KEY_METRIC_KID_MEAN],
        kid_std=found[KEY_METRIC_KID_STD] if subsets > 1 else None,
        precision=found[KEY_METRIC_PRECISION],
        recall=found[KEY_METRIC_RECALL],
    )


def sample_features(
    generator: nn.Module,
    networks: Networks,
    latents: Latents,
    extractor: Extractor,
    on_progress: Progress = lambda done, total: None,
) -> Features:
    """The features (N, width) of the faces of N latents; a few faces are in memory at a time."""
    found = np.empty((len(latents), extractor.width), np.float32)
    done = 0
    on_progress(done, len(latents))
    for faces in batches(generator, networks, latents):
        found[done : done + len(faces)] = extractor(faces)
        done += len(faces)
        on_progress(done, len(latents))
    return found


@dataclass(frozen=True)
class Report:
    """The scores, how well the critic knows its photos by heart (`overfitting`), and all that they depend on."""

    scores: Scores
    overfitting: float | None
    samples: int
    photos: int
    facts: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        counts = {"samples": self.samples, "photos": self.photos}
        return {**asdict(self.scores), "overfitting": self.overfitting, **counts, **self.facts}


def evaluate(comparison: Comparison, *, count: int | None = None, photos: int | None = None) -> Report:
    """Compare a generator's faces with a dataset's photos.

    Args:
        count: samples; None for as many as there are photos, at most MOST_SAMPLES.
        photos: photos, chosen by `photo_features.order`; None for as many as samples, or all if there are fewer.

    Raises:
        FaceganError: too few photos.
    """
    loaded, dataset = comparison.loaded, comparison.dataset
    count = count or min(len(dataset), MOST_SAMPLES)
    photos = min(photos or count, len(dataset))
    if min(count, photos) < FEWEST:
        raise FaceganError(
            f"Too few pictures to compare: {min(count, photos)}; at least {FEWEST} are needed, thousands are usual.",
            "Give a larger --count and --photos, or use a larger dataset.",
        )
    crop = dict(dataset.info.crop)
    if photos_of_training(loaded).get("crop", crop) != crop:
        comparison.note("the generator was trained on photos with another crop; the figures include this difference")
    reals = comparison.photo_features(photos)
    fakes = sample_features(
        loaded.module,
        loaded.config.networks,
        comparison.latents(count),
        comparison.extractor,
        partial(comparison.on_progress, "samples"),
    )
    return Report(scores(fakes, reals), overfitting(comparison), count, photos, comparison.facts())


def name_of_distance(extractor: str) -> str:
    """FID with the extractor STANDARD; with any other one the Fréchet distance is called FD."""
    return "FID" if extractor == STANDARD else "FD"
