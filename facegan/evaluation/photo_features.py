"""The features of a dataset's photos, kept in a file in its folder so that they are computed once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from facegan.core.atomic import write_atomic
from facegan.core.errors import FaceganError
from facegan.core.random_streams import Stream, rng
from facegan.data.dataset import Dataset
from facegan.data.folder import FEATURES_NAME
from facegan.evaluation.extractors import Extractor, Features
from facegan.models.checkpoint import check_header
from facegan.models.torchzip import DamagedError

FORMAT, VERSION = "facegan-features", 1
_CHUNK = 256

Progress = Callable[[int, int], None]
"""Called with how many are done, and how many there are."""


def order(dataset: Dataset) -> NDArray[np.int64]:
    """A random order of all photos that depends only on their number: for every n, the first n are a fair choice."""
    return rng(0, Stream.ORDER, 0).permutation(len(dataset))


def cache_path(dataset: Dataset, extractor: Extractor) -> Path:
    """Where the features are kept: `features-<extractor>.safetensors` in the dataset's folder."""
    return dataset.info.path / FEATURES_NAME.format(extractor.name)


def photo_features(
    dataset: Dataset,
    extractor: Extractor,
    count: int,
    on_progress: Progress = lambda done, total: None,
    note: Callable[[str], None] = lambda text: None,
) -> Features:
    """The features of the first `count` photos in `order`, (count, width).

    Features are read from the cache if it was made from the same pixels, by the same extractor, with the same versions.
    The others are computed and added to the cache, even if the work is interrupted.

    Args:
        note: called with a sentence if the cache cannot be written; the features are returned all the same.
    """
    path, belongs = cache_path(dataset, extractor), _belongs(dataset, extractor)
    known = _read(path, belongs, extractor.width, count) if path.is_file() else _none(extractor.width)
    if len(known) == count:
        return known
    found, chosen, begun = [known], order(dataset)[:count], len(known)
    done = begun
    try:
        while done < count:
            on_progress(done, count)
            found.append(extractor(dataset.images[chosen[done : done + _CHUNK]]))
            done += len(found[-1])
        on_progress(done, count)
    finally:
        if done > begun:
            _write(path, np.concatenate(found), belongs, note)
    return np.concatenate(found)


def _belongs(dataset: Dataset, extractor: Extractor) -> dict[str, str]:
    """What the features depend on, as the metadata of the cache."""
    return {
        "format": FORMAT,
        "format_version": str(VERSION),
        "pixels_sha256": dataset.info.pixels_sha256,
        "crop": json.dumps(dict(dataset.info.crop), sort_keys=True),
        "filter": dataset.info.filter,
        "extractor": extractor.name,
        "layer": extractor.layer,
        "library": extractor.library,
    }


def _none(width: int) -> Features:
    return np.empty((0, width), np.float32)


def _read(path: Path, belongs: dict[str, str], width: int, count: int) -> Features:
    """Up to `count` rows of the cache; no rows if it is damaged or its metadata is not `belongs`."""
    try:
        check_header(path)
        with safe_open(path, framework="np") as file:
            if file.metadata() != belongs:
                return _none(width)
            kept = file.get_slice("features")
            if len(shape := kept.get_shape()) != 2 or shape[1] != width:
                return _none(width)
            features: Features = kept[: min(count, shape[0])]
    except (SafetensorError, OSError, DamagedError, ValueError, KeyError, TypeError):
        return _none(width)
    return features if features.dtype == np.float32 and np.isfinite(features).all() else _none(width)


def _write(path: Path, features: Features, belongs: dict[str, str], note: Callable[[str], None]) -> None:
    try:
        write_atomic(path, save({"features": features}, belongs))
    except FaceganError as error:
        note(f"the photos' features cannot be kept and will be computed again each time: {error.message}")
