"""Timing what is not training: photos to a dataset, and latents to faces."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from facegan.bench.rounds import SHORTEST
from facegan.data.preprocess import preprocess
from facegan.faces import latents
from facegan.faces.synthesis import draw_faces
from facegan.models.checkpoint import load_generator
from facegan.models.pretrained import PATH

PHOTOS = 4000
_PHOTO_SIZE, _PHOTO_QUALITY = (178, 218), 92
"""Those of CelebA's aligned photos: pixels wide and high, and JPEG quality."""
_FACES = 256


class RateTask:
    """Something done `count` times per call, repeated until a round takes long enough."""

    def __init__(self, name: str, count: int, work: Callable[[], object]) -> None:
        self.name, self.rounds = name, list[float]()
        self._count, self._work, self._repeat = count, work, 1

    def warm_up(self) -> float:
        took = self._seconds()
        self._repeat = math.ceil(SHORTEST / took)
        return took * self._repeat

    def measure(self) -> None:
        self.rounds.append(self._count * self._repeat / self._seconds())

    def _seconds(self) -> float:
        started = time.perf_counter()
        for _ in range(self._repeat):
            self._work()
        return time.perf_counter() - started


def decoding(folder: Path, count: int) -> list[RateTask]:
    """Two tasks: plain Pillow in this process, on a part of the photos as it has no start-up time, and `preprocess`."""
    photos, out = folder / "photos", folder / "dataset"
    make_photos(photos, count)
    some = sorted(photos.iterdir())[: max(1, count // 8)]
    return [
        RateTask("plain Pillow, one process", len(some), lambda: _plain_pillow(some)),
        RateTask("facegan preprocess", count, lambda: preprocess(photos, size=64, out=out, overwrite=True)),
    ]


def make_photos(folder: Path, count: int) -> None:
    """Make JPEGs of CelebA's size and a usual quality: smooth random colours with finer detail, each one four times."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)

    def colours(width: int, height: int) -> Image.Image:
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        return Image.fromarray(pixels).resize(_PHOTO_SIZE, Image.Resampling.BICUBIC)

    for n in range(count):
        path = folder / f"{n:06d}.jpg"
        if n % 4 == 0:
            Image.blend(colours(7, 9), colours(45, 55), 0.15).save(path, quality=_PHOTO_QUALITY)
            data = path.read_bytes()
        path.write_bytes(data)


def _plain_pillow(paths: Sequence[Path]) -> None:
    width, height = _PHOTO_SIZE
    top = (height - width) // 2
    for path in paths:
        with Image.open(path, formats=["JPEG"]) as photo:
            square = photo.convert("RGB").resize((64, 64), Image.Resampling.LANCZOS, (0, top, width, top + width))
            np.asarray(square)


def drawing(device: torch.device) -> RateTask:
    """Faces drawn per second with the generator in the package."""
    loaded = load_generator(PATH, device)
    dim = loaded.config.networks.latent_dim

    def draw() -> None:
        draw_faces(loaded.module, loaded.config.networks, latents.draw(0, range(_FACES), dim))

    return RateTask("facegan sample", _FACES, draw)
