"""TensorBoard logs of a run, for those who have the extra `tensorboard`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from facegan.errors import FaceganError
from facegan.events import Event, Logged, Stepped, Wrote


def check_installed() -> None:
    """Raises: FaceganError: the extra is not installed."""
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError:
        raise FaceganError("--tensorboard needs TensorBoard.", 'pip install "facegan[tensorboard]"') from None


@contextmanager
def open_log(folder: Path, images_seen: int) -> Iterator[Callable[[Event], None]]:
    """A callback for the loop that writes its rows as scalars and its sample grids as images, over images seen.

    Args:
        images_seen: where the run begins or goes on; TensorBoard forgets what an earlier part wrote beyond it, and what
            was written beyond a checkpoint that the run goes back to.

    Raises:
        FaceganError: the extra is not installed.
    """
    check_installed()
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder), purge_step=images_seen + 1 if images_seen else None)
    seen = images_seen

    def log(event: Event) -> None:
        nonlocal seen, writer
        if isinstance(event, Stepped):
            if event.images_seen <= seen:  # the run has gone back to a checkpoint
                writer.close()
                writer = SummaryWriter(str(folder), purge_step=event.images_seen)
            seen = event.images_seen
        elif isinstance(event, Logged):
            for name, value in event.row.items():
                if name != "images_seen":
                    writer.add_scalar(name, value, seen)
        elif isinstance(event, Wrote):
            if event.path.parent.name == "samples":
                with Image.open(event.path, formats=["PNG"]) as picture:
                    writer.add_image("samples", np.asarray(picture), seen, dataformats="HWC")
            writer.flush()

    try:
        yield log
    finally:
        writer.close()
