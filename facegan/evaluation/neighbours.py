"""The photos nearest to generated faces, to see whether the faces are new."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facegan.core.errors import FaceganError
from facegan.core.pixels import Pixels
from facegan.evaluation import photo_features
from facegan.evaluation.comparison import Comparison
from facegan.faces.latents import face_name
from facegan.faces.synthesis import draw_faces
from facegan.pictures.sheets import check_size, labelled, layout

SAMPLES = 10
"""How many faces are compared if no number is given."""
MOST_SAMPLES = 100
SHOWN = 3
"""Photos that the picture shows for each face and kind of distance."""
_COMPARED = 100
"""Photos whose distance to their own nearest photo is measured too, to compare the faces' distances with."""
_CHUNK = 512

Rows = NDArray[np.float32]


class Nearest:
    """Finds the `k` points nearest to each of Q queries, while the points come in chunks.

    A query is two points, a picture's and its mirror image's. The nearer one counts, because a face that the generator
    has memorised may come out mirrored.

    Args:
        queries, mirrored: (Q, D).
        own: (Q,), the index of the point that is the query itself and does not count; -1 if there is none.
    """

    def __init__(self, queries: Rows, mirrored: Rows, k: int, own: NDArray[np.int64]) -> None:
        self._queries, self._own, self._k = (queries, mirrored), own, k
        self.indices = np.empty((len(queries), 0), np.int64)
        self.squared = np.empty((len(queries), 0), np.float32)

    def look_at(self, indices: NDArray[np.int64], points: Rows) -> None:
        """Take in the next chunk: points (n, D) and their indices (n,)."""
        squares = (points**2).sum(1)
        squared = np.minimum(*((q**2).sum(1)[:, None] + squares - 2 * q @ points.T for q in self._queries))
        squared = np.where(indices == self._own[:, None], np.inf, squared.clip(0))
        squared = np.concatenate([self.squared, squared], axis=1)
        every = np.concatenate([self.indices, np.broadcast_to(indices, (len(squared), len(indices)))], axis=1)
        best = squared.argsort(axis=1, kind="stable")[:, : self._k]
        self.squared = np.take_along_axis(squared, best, axis=1)
        self.indices = np.take_along_axis(every, best, axis=1)


@dataclass(frozen=True)
class Space:
    """The photos nearest to N samples, by one kind of distance.

    Attributes:
        photos: (N, SHOWN), indices in images.npy, nearest first.
        distances: (N, SHOWN), from each sample to these photos.
        between_photos: (M,), from each of M photos to its nearest other photo.
    """

    photos: NDArray[np.int64]
    distances: Rows
    between_photos: Rows

    @property
    def nearer(self) -> int:
        """How many samples are nearer to a photo than 95 % of photos are to another one."""
        return int((self.distances[:, 0] < np.quantile(self.between_photos, 0.05)).sum())

    def to_dict(self) -> dict[str, Any]:
        return {
            "photos": self.photos.tolist(),
            "distances": self.distances.tolist(),
            "between_photos": dict(zip(("5%", "50%", "95%"), self.quantiles(), strict=True)),
            "samples_nearer_than_photos": self.nearer,
        }

    def quantiles(self) -> list[float]:
        """Three quantiles of `between_photos`: 5 %, the median and 95 %."""
        return [float(value) for value in np.quantile(self.between_photos, (0.05, 0.5, 0.95))]


@dataclass(frozen=True)
class Neighbours:
    """Nearest photos by pixels (root mean square of differences, in levels of 0 to 255) and by features (Euclidean)."""

    faces: Pixels
    pixels: Space
    features: Space
    looked_at: int
    facts: dict[str, Any]
    _photos: Pixels

    def names(self) -> list[str]:
        """The samples' names, such as "sample 7:44", where 7:44 is the SPEC of the face."""
        return [f"sample {face_name(self.facts['seed'], n)}" for n in range(len(self.faces))]

    def picture(self) -> Pixels:
        """A row for each sample: the sample, the photos nearest by pixels, those nearest by features, and distances."""
        pictures: list[Pixels] = []
        labels: list[str] = []
        for n, (face, name) in enumerate(zip(self.faces, self.names(), strict=True)):
            pictures.append(face)
            labels.append(name)
            for space in (self.pixels, self.features):
                pictures += [self._photos[i] for i in space.photos[n]]
                labels += [f"{distance:.1f}" for distance in space.distances[n]]
        shown = self.pixels.photos.shape[1]
        marks = [label.startswith("sample") for label in labels]
        title = f"sample · {shown} photos nearest in pixels · {shown} nearest in features"
        return labelled(np.stack(pictures), labels, 1 + 2 * shown, marks=marks, title=title)

    def to_dict(self) -> dict[str, Any]:
        spaces = {"pixels": self.pixels.to_dict(), "features": self.features.to_dict()}
        return {**spaces, "samples": len(self.faces), "photos": self.looked_at, **self.facts}


def find_neighbours(
    comparison: Comparison,
    *,
    count: int | None = None,
    photos: int | None = None,
    out: Path = Path("neighbours.png"),
) -> Neighbours:
    """Find the photos nearest to the first `count` faces of a seed.

    Args:
        count: faces; None for SAMPLES.
        photos: how many photos are searched; None for all.
        out: the file that the picture will be written to; it is not written here.

    Raises:
        FaceganError: there are fewer than two photos, or the picture is too large for the format of `out`.
    """
    loaded, dataset, extractor = comparison.loaded, comparison.dataset, comparison.extractor
    count = count or SAMPLES
    columns, side = 1 + 2 * SHOWN, loaded.config.networks.size
    size = layout(count * columns, side, side, ["sample"], columns, title="nearest").size
    check_size(out, size, "Give a smaller --count, or end the name in .png.")
    photos = min(photos or len(dataset), len(dataset))
    if photos < 2:
        raise FaceganError("One photo has no neighbours: at least two photos are needed.")
    chosen = photo_features.order(dataset)[:photos]
    known = comparison.photo_features(photos)
    faces = draw_faces(loaded.module, loaded.config.networks, comparison.latents(count))
    compared = chosen[:_COMPARED]
    queries = np.concatenate([faces, dataset.images[compared]])
    own = np.concatenate([np.full(len(faces), -1, np.int64), compared])
    mirrored = queries[:, :, ::-1]
    k = min(SHOWN, photos - 1)
    by_pixels = Nearest(_flat(queries), _flat(mirrored), k, own)
    by_features = Nearest(extractor(queries), extractor(mirrored), k, own)
    for start in range(0, photos, _CHUNK):
        part = chosen[start : start + _CHUNK]
        comparison.on_progress("neighbours", start, photos)
        by_pixels.look_at(part, _flat(dataset.images[part]))
        by_features.look_at(part, known[start : start + _CHUNK])
    comparison.on_progress("neighbours", photos, photos)
    return Neighbours(
        faces,
        _space(by_pixels, len(faces), faces[0].size),
        _space(by_features, len(faces), 1),
        photos,
        comparison.facts(),
        dataset.images,
    )


def _flat(pixels: Pixels) -> Rows:
    return pixels.reshape(len(pixels), -1).astype(np.float32) - 127.5  # squares of small numbers lose fewer digits


def _space(found: Nearest, samples: int, numbers: int) -> Space:
    """Split the queries' results into those of the samples, which come first, and those of the photos.

    Args:
        numbers: how many numbers a distance is averaged over; 1 leaves it as it is.
    """
    distances = np.sqrt(found.squared / numbers)
    return Space(found.indices[:samples], distances[:samples], distances[samples:, 0])
