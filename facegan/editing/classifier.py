"""A small network that tells the attributes of a face: learnt from photos, used on the generator's faces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from facegan.core.device import exact_float32
from facegan.core.pixels import Pixels, to_images
from facegan.core.random_streams import Stream, rng
from facegan.data.columns import Column
from facegan.faces.compose import Progress

SIDE = 64
"""Faces of other sizes are brought to this many pixels a side, so that one network serves generators of all sizes."""
WIDTHS = 16, 32, 64, 128
"""Channels of each octave."""
STEPS = 1600
BATCH = 64
_RATE = 2e-3
_DECAY = 1e-2
_DROPOUT = 0.3
_SHIFT = 3
"""Photos are shifted by up to so many pixels each way."""
_CHUNK = 128


class Classifier(nn.Module):
    """Images (B, 3, S, S) in [-1, 1] -> (B, A): a logit for each yes/no column, a standardised number for others.

    For each octave, two 3x3 convolutions, of which the first has stride 2, each with batch norm and ReLU; then the
    averages over the four quarters of the last map, from which one linear layer tells all attributes.
    """

    def __init__(self, outputs: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, width in zip((3, *WIDTHS), WIDTHS, strict=False):
            layers += _convolution(before, width, stride=2) + _convolution(width, width, stride=1)
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(4 * WIDTHS[-1], outputs)
        self.to(memory_format=torch.channels_last)

    def features(self, images: Tensor) -> Tensor:
        """The numbers that the last layer sees: (B, 512)."""
        if images.shape[-1] > SIDE:
            images = F.adaptive_avg_pool2d(images, SIDE)
        elif images.shape[-1] < SIDE:
            images = F.interpolate(images, size=(SIDE, SIDE), mode="bilinear")
        return F.adaptive_avg_pool2d(self.layers(images.contiguous(memory_format=torch.channels_last)), 2).flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(F.dropout(self.features(images), _DROPOUT, self.training))


def _convolution(before: int, width: int, stride: int) -> list[nn.Module]:
    layer = nn.Conv2d(before, width, 3, stride, padding=1, bias=False)
    return [layer, nn.BatchNorm2d(width), nn.ReLU()]


@torch.no_grad()
def outputs(classifier: Classifier, faces: Pixels) -> NDArray[np.float32]:
    """What the classifier says of faces, uint8 (N, S, S, 3): (N, A). It does not change."""
    device = next(classifier.parameters()).device
    classifier.eval()
    found = []
    for start in range(0, len(faces), _CHUNK):
        images = to_images(np.array(faces[start : start + _CHUNK]), device)  # a copy: faces may be read-only
        with exact_float32():
            found.append(classifier(images).cpu().numpy())
    return np.concatenate(found)


def learn(
    photos: Pixels,
    columns: Sequence[Column],
    chosen: NDArray[np.int64],
    *,
    seed: int = 0,
    steps: int = STEPS,
    on_progress: Progress = lambda done, total: None,
) -> Classifier:
    """Train a classifier on the photos with the numbers `chosen`: in eval mode, its weights rounded to half precision.

    It minimises the mean over columns of the cross-entropy of yes/no columns, and of half the squared error of numbers
    that are standardised to mean 0 and standard deviation 1. A blank counts as nothing. AdamW with a one-cycle rate
    (Smith and Topin 2019, arXiv:1708.07120). Photos are mirrored, shifted, and their brightness and contrast changed.

    Args:
        photos: uint8 (N, S, S, 3); they may be memory-mapped.
        columns: of N values each.
        seed: of the initial weights, the order and the changes.
    """
    yes_no = torch.tensor([not column.numeric for column in columns])
    values = np.stack([column.standardised() for column in columns], axis=1)
    noise = rng(seed, Stream.CLASSIFIER, 0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(noise.integers(2**63)))
        network = Classifier(len(columns)).train()
        adam = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=_DECAY)
        rate = torch.optim.lr_scheduler.OneCycleLR(adam, _RATE, total_steps=steps)
        for step in range(steps):
            on_progress(step, steps)
            rows = np.sort(noise.choice(chosen, BATCH, replace=len(chosen) < BATCH))
            images = _changed(to_images(np.asarray(photos[rows]), torch.device("cpu")), noise)
            loss = _loss(network(images), torch.from_numpy(values[rows]), yes_no)
            adam.zero_grad()
            loss.backward()
            adam.step()
            rate.step()
    on_progress(steps, steps)
    return rounded(network.eval().requires_grad_(False))


Network = TypeVar("Network", bound=nn.Module)


def rounded(network: Network) -> Network:
    """The network as a file has it: every number is one of half precision."""
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(tensor.half())
    return network


def _changed(images: Tensor, noise: np.random.Generator) -> Tensor:
    """Images mirrored, shifted, and brighter or darker, with more or less contrast, each as it falls."""
    count, side = len(images), images.shape[-1]
    mirrored = torch.from_numpy(noise.random(count) < 0.5).view(-1, 1, 1, 1)
    images = torch.where(mirrored, images.flip(-1), images)
    padded = F.pad(images, [_SHIFT] * 4, mode="replicate")
    down, across = noise.integers(0, 2 * _SHIFT + 1, (2, count))
    images = torch.stack([padded[n, :, down[n] : down[n] + side, across[n] : across[n] + side] for n in range(count)])
    contrast, brightness = torch.from_numpy(noise.uniform(-0.1, 0.1, (2, count, 1, 1, 1)).astype(np.float32))
    return images * (1 + contrast) + brightness


def _loss(found: Tensor, wanted: Tensor, yes_no: Tensor) -> Tensor:
    known = ~wanted.isnan()
    wanted = wanted.nan_to_num()
    each = torch.where(
        yes_no, F.binary_cross_entropy_with_logits(found, wanted, reduction="none"), 0.5 * (found - wanted) ** 2
    )
    return (each * known).sum() / known.sum().clamp_min(1)
