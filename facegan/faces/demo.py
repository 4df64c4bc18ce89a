"""The demo dataset: faces drawn from the packaged generator, so that training needs nothing but the package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from facegan.core.errors import FaceganError
from facegan.data.folder import read_dataset_json
from facegan.data.writer import DatasetWriter
from facegan.faces import latents
from facegan.faces.synthesis import batches
from facegan.models.checkpoint import load_generator
from facegan.models.pretrained import PATH as GENERATOR

PATH = Path("data/demo-64")
COUNT = 2000
SEED = 2026
"""The dataset has faces 0 to COUNT - 1 of this seed, which people are unlikely to look at otherwise."""


def make_demo(path: Path = PATH, progress: Callable[[int, int], None] = lambda done, total: None) -> Path:
    """Draw the demo dataset, unless it is there already; the same faces on every machine, up to the rounding of pixels.

    Raises:
        FaceganError: the folder cannot be written, or holds a damaged dataset.
    """
    if path.exists():
        return read_dataset_json(path).path
    try:
        _draw(path, progress)
    except FaceganError as error:
        if not (path / "dataset.json").exists():  # else another process has made it in the meantime
            raise FaceganError(
                error.message, "Run it in a folder that you may write to, on a disk with room: cd FOLDER"
            ) from error
    return read_dataset_json(path).path


def _draw(path: Path, progress: Callable[[int, int], None]) -> None:
    loaded = load_generator(GENERATOR)
    networks = loaded.config.networks
    done = 0
    with DatasetWriter(path, networks.size) as writer:
        for faces in batches(loaded.module, networks, latents.draw(SEED, range(COUNT), networks.latent_dim)):
            writer.write(faces, [f"{SEED}:{done + n}" for n in range(len(faces))])
            done += len(faces)
            progress(done, COUNT)
        writer.finish(source={"name": "demo", "kind": "generator"}, crop={"name": "none"}, filter="none")
