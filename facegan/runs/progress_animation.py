"""The progress of a run as an animation: its sample grids, the same latents every time, each with a caption."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from facegan.core.errors import FaceganError
from facegan.pictures.animation import write_animation
from facegan.pictures.sheets import with_caption
from facegan.runs.folder import RunDir

MAX_FRAMES = 200
_HOLD = 12
"""How many times the last grid is shown, so that a viewer can look at it before the loop starts again."""


def write_progress(
    run: RunDir,
    path: Path,
    fps: float,
    *,
    new: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """The sample grids of `run` as one looping animation; at most MAX_FRAMES of them, evenly chosen, the last kept.

    Args:
        new: do not replace an existing file.
        on_progress: told how many frames are written, of how many.

    Raises:
        FaceganError: the run has no sample grids yet, one of them cannot be read, they are too many for the format or
            the memory, or `path` exists although it is to be new.
    """
    samples = run.samples()
    if not samples:
        raise FaceganError(f"{run.path} has no sample grids yet.", "The first is drawn when training starts.")
    if len(samples) > MAX_FRAMES:
        samples = [samples[i] for i in np.linspace(0, len(samples) - 1, MAX_FRAMES).round().astype(int)]
    total = len(samples) + _HOLD

    def counted() -> Iterator[np.ndarray]:
        for done, frame in enumerate(_frames(samples), 1):
            yield frame
            on_progress(done, total)

    return write_animation(counted(), path, fps=fps, expected=total, new=new)


def _frames(samples: list[tuple[float, Path]]) -> Iterator[np.ndarray]:
    frame = None
    for epoch, path in samples:
        try:
            with Image.open(path, formats=["PNG"]) as picture:
                frame = with_caption(np.asarray(picture.convert("RGB")), f"epoch {epoch:g}")
        except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
            raise FaceganError(f"{path} cannot be read as a picture.", "Delete it: the others are enough.") from error
        yield frame
    for _ in range(_HOLD):
        assert frame is not None
        yield frame
