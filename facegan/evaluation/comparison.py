"""A generator's faces and a dataset's photos, side by side: what every figure about both depends on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from facegan.core.errors import FaceganError
from facegan.data.dataset import Dataset
from facegan.data.folder import DatasetInfo, read_dataset_json
from facegan.evaluation.extractors import Extractor, Features
from facegan.evaluation.photo_features import photo_features
from facegan.faces.compose import sample_latents
from facegan.faces.latents import Latents
from facegan.models.checkpoint import LoadedGenerator


@dataclass(frozen=True)
class Comparison:
    """A generator and the photos that its faces are compared with, of one size.

    Attributes:
        seed, truncation: of the faces.
        on_progress: told what is being looked at, how much of it is done, and how much there is.
        note: told, in words, what a reader of the figures must know.

    Raises:
        FaceganError: faces and photos differ in size.
    """

    loaded: LoadedGenerator
    dataset: Dataset
    extractor: Extractor
    seed: int = 0
    truncation: float = 1.0
    on_progress: Callable[[str, int, int], None] = lambda what, done, total: None
    note: Callable[[str], None] = lambda text: None

    def __post_init__(self) -> None:
        check_match(self.loaded, self.dataset)

    def latents(self, count: int) -> Latents:
        """The first `count` latents of the seed, truncated."""
        return sample_latents(self.loaded, self.seed, range(count), self.truncation)

    def photo_features(self, count: int) -> Features:
        """The features (count, width) of the photos that come first in `photo_features.order`."""
        return photo_features(self.dataset, self.extractor, count, partial(self.on_progress, "photos"), self.note)

    def facts(self) -> dict[str, Any]:
        """What figures depend on, beside the number of pictures."""
        info = self.dataset.info
        return {
            "seed": self.seed,
            "truncation": self.truncation,
            "generator": str(self.loaded.source),
            "weights": self.loaded.weights,
            "images_seen": self.loaded.images_seen,
            "dataset": str(info.path),
            "pixels_sha256": info.pixels_sha256,
            "trained_on": trained_on(self.loaded, info),
            "crop": dict(info.crop),
            "filter": info.filter,
            "size": info.size,
            "extractor": self.extractor.name,
            "layer": self.extractor.layer,
            "library": self.extractor.library,
        }


def check_match(loaded: LoadedGenerator, dataset: Dataset) -> None:
    """Raises: FaceganError: faces and photos differ in size, so they could not be compared."""
    size, info = loaded.config.networks.size, dataset.info
    if info.size != size:
        raise FaceganError(
            f"{loaded.source} draws {size} px, and the photos in {info.path} have {info.size} px.",
            f"Make a dataset of that size: facegan preprocess SOURCE --size {size}",
        )


def photos_of_training(loaded: LoadedGenerator) -> dict[str, Any]:
    """What the generator's file says of the photos that it learnt from; empty where it says nothing."""
    found = loaded.provenance.get("dataset")
    return found if isinstance(found, dict) else {}


def trained_on(loaded: LoadedGenerator, dataset: DatasetInfo) -> bool:
    """Whether these are the photos that the generator learnt from, as far as its file says."""
    return bool(photos_of_training(loaded).get("sha256") == dataset.pixels_sha256)


def own_photos(loaded: LoadedGenerator) -> Path | None:
    """The dataset that the generator was trained on, where it still is as it was and may be read; else None."""
    folder = Path(
        str(photos_of_training(loaded).get("path"))
    )  # perhaps of another machine, or of somebody who keeps it private
    try:
        with (folder / "dataset.json").open("rb"):
            pass
    except (OSError, ValueError):
        return None
    return folder if trained_on(loaded, read_dataset_json(folder)) else None
