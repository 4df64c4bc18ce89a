"""A generator and the photos that its faces are compared with: the part that `scores` and `neighbours` share."""

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
    """A generator, the photos that its faces are compared with, and the options of the comparison.

    Attributes:
        seed, truncation: of the faces.
        on_progress: called with what is being looked at, how many are done, and how many there are.
        note: called with each sentence that a reader of the figures must know.

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
        """Everything that the figures depend on, except the number of pictures."""
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
    """Raises: FaceganError: faces and photos differ in size, so they cannot be compared."""
    size, info = loaded.config.networks.size, dataset.info
    if info.size != size:
        raise FaceganError(
            f"{loaded.source} draws {size} px, and the photos in {info.path} have {info.size} px.",
            f"Make a dataset of that size: facegan preprocess SOURCE --size {size}",
        )


def photos_of_training(loaded: LoadedGenerator) -> dict[str, Any]:
    """What the generator's file says about the photos that it was trained on; empty if it says nothing."""
    found = loaded.provenance.get("dataset")
    return found if isinstance(found, dict) else {}


def trained_on(loaded: LoadedGenerator, dataset: DatasetInfo) -> bool:
    """Whether the generator's file says that it was trained on these photos."""
    return bool(photos_of_training(loaded).get("sha256") == dataset.pixels_sha256)


def own_photos(loaded: LoadedGenerator) -> Path | None:
    """The dataset that the generator was trained on, if it is still there, unchanged and readable; else None."""
    # The path may be from another machine, or of a folder that this user may not read.
    folder = Path(str(photos_of_training(loaded).get("path")))
    try:
        with (folder / "dataset.json").open("rb"):
            pass
    except (OSError, ValueError):
        return None
    return folder if trained_on(loaded, read_dataset_json(folder)) else None
