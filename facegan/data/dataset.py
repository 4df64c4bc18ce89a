"""Read a dataset directory in batches, whose order is a function of (seed, images seen)."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from facegan.core.errors import FaceganError, reading
from facegan.core.pixels import Pixels
from facegan.core.random_streams import Stream, rng
from facegan.data.folder import DatasetInfo, make_again, read_dataset_json


class Batches(Protocol):
    """The images that training steps read, in an order that is a function of how many were seen."""

    images: Pixels

    def __len__(self) -> int: ...

    def batch(self, images_seen: int, size: int) -> Pixels:
        """The `size` images that follow `images_seen`: uint8 (size, S, S, 3)."""

    def order_of(self, epoch: int) -> NDArray[np.int64]:
        """The indices of all images in the order of one epoch."""


class NoiseImages:
    """Random pixels in memory instead of a dataset, to measure speed, which does not depend on what images show."""

    def __init__(self, count: int, size: int) -> None:
        self.images: Pixels = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)

    def __len__(self) -> int:
        return len(self.images)

    def order_of(self, epoch: int) -> NDArray[np.int64]:
        return np.arange(len(self))

    def batch(self, images_seen: int, size: int) -> Pixels:
        return self.images[np.arange(images_seen, images_seen + size) % len(self.images)]


class Dataset:
    """The memory-mapped images of a dataset directory.

    Args:
        path: a directory that `facegan preprocess` wrote.
        seed: of the order. Every epoch has its own permutation, and batches run across the ends of epochs, so each
            image is seen once per epoch and every batch is full.

    Raises:
        FaceganError: it is not a dataset, or a damaged one.
    """

    def __init__(self, path: Path, seed: int) -> None:
        self.info: DatasetInfo = read_dataset_json(path)
        self.images: Pixels = _open(self.info)
        self._seed = seed
        self._order = -1, np.empty(0, np.int64)

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, images_seen: int, size: int) -> Pixels:
        """The `size` images that follow `images_seen`: uint8 (size, S, S, 3)."""
        wanted = []
        while size:
            epoch, start = divmod(images_seen, len(self))
            indices = self.order_of(epoch)[start : start + size]
            wanted.append(indices)
            images_seen += len(indices)
            size -= len(indices)
        return np.asarray(self.images[np.concatenate(wanted)])

    def order_of(self, epoch: int) -> NDArray[np.int64]:
        """The indices of all images in the order of one epoch."""
        known, order = self._order  # read as one value: two threads may ask for different epochs
        if known != epoch:
            order = rng(self._seed, Stream.ORDER, epoch).permutation(len(self))
            self._order = epoch, order
        return order


def _open(info: DatasetInfo) -> Pixels:
    """The pixels, mapped; their type and shape were checked with `info`."""
    try:
        with reading(info.images):
            images: Pixels = np.load(info.images, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise FaceganError(f"{info.images} cannot be read: {error}.", make_again(info.path)) from None
    return images


def flip_mask(seed: int, step: int, batch_size: int, rollbacks: int = 0) -> NDArray[np.bool_]:
    """Which images of a step are mirrored: (batch_size,), each with probability one half."""
    return rng(seed, Stream.FLIP, step, rollbacks).random(batch_size) < 0.5
