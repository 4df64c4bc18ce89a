"""The best checkpoint of a run: the one whose faces were nearest to the photos, by a measure that needs no download."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from facegan.core.errors import FaceganError
from facegan.data.dataset import Dataset
from facegan.evaluation.extractors import OFFLINE, open_extractor
from facegan.evaluation.photo_features import photo_features
from facegan.evaluation.scores import FEWEST, sample_features, scores
from facegan.faces import latents
from facegan.models.checkpoint import save_checkpoint
from facegan.runs.find import open_checkpoint
from facegan.runs.folder import RunDir
from facegan.training.trainer import Trainer


class Best:
    """Evaluates a run at intervals and keeps its best checkpoint, in which the measured figures are recorded.

    Every evaluation uses the same latents and the same photos of the dataset: `output.evaluate_count` of each, or all
    photos if there are fewer. Nothing that the training computes depends on an evaluation.

    Args:
        note: called with the result of each evaluation, and with a sentence if the best checkpoint so far cannot be
            compared with later ones.

    Raises:
        FaceganError: the extra `metrics` is missing, or there are too few photos.
    """

    def __init__(self, run: RunDir, dataset: Dataset, trainer: Trainer, note: Callable[[str], None]) -> None:
        config = trainer.config
        count = config.output.evaluate_count
        photos = min(count, len(dataset))
        if photos < FEWEST:
            raise FaceganError(
                f"--evaluate-every needs at least {FEWEST} photos, and {dataset.info.path} has {photos}.",
                "Leave it out, or give it 0.",
            )
        self._path, self._networks, self._note = run.best, config.networks, note
        self._extractor = open_extractor(OFFLINE, trainer.device)
        note(f"evaluations: {count:,} samples and {photos:,} photos of the dataset, by {OFFLINE}")
        self._latents = latents.draw(config.seed, range(count), config.networks.latent_dim)
        self._photos = photo_features(dataset, self._extractor, photos, note=note)
        self._measure = {
            "extractor": OFFLINE, "library": self._extractor.library, "samples": count, "photos": photos
        }  # fmt: skip
        self._fd = self._so_far()

    def _so_far(self) -> float:
        """The distance of the best checkpoint so far; infinite if there is none, or if it was measured differently."""
        if not self._path.exists():
            return float("inf")
        found = evaluated(self._path)
        if found is not None and {key: found.get(key) for key in self._measure} == self._measure:
            return float(found["fd"])
        self._note(f"{self._path} was measured in another way than now, or is damaged: the next evaluation replaces it")
        return float("inf")

    def consider(self, trainer: Trainer, provenance: dict[str, Any]) -> tuple[dict[str, float], bool]:
        """Evaluate the trainer's generator, and keep a checkpoint if it is the best so far.

        Returns:
            `fd` and `kid`, for a row of metrics, and whether a checkpoint was kept.
        """
        samples = sample_features(trainer.sampling_generator, self._networks, self._latents, self._extractor)
        found = scores(samples, self._photos)
        row = {"fd": found.fd, "kid": found.kid}
        text = f"FD {found.fd:.1f}, KID x1000 {1000 * found.kid:.1f} at {trainer.images_seen:,} images"
        if found.fd >= self._fd:
            self._note(f"{text}; the best FD so far is {self._fd:.1f}")
            return row, False
        noted = {**provenance, "evaluated": {**row, **self._measure}}
        save_checkpoint(self._path, trainer.config, noted, trainer.state())
        self._fd = found.fd
        self._note(f"{text}, the best so far: kept as {self._path}")
        return row, True


def evaluated(path: Path) -> dict[str, Any] | None:
    """The measured figures that are recorded in a checkpoint; None if there are none, or if it cannot be read."""
    try:
        found = open_checkpoint(path).provenance.get("evaluated")
    except FaceganError:
        return None
    return found if isinstance(found, dict) and isinstance(found.get("fd"), float) else None
