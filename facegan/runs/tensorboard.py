"""TensorBoard logs of a run, for those who have the extra `tensorboard`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from facegan.core.errors import needed, one_line
from facegan.runs.events import Event, Logged, Stepped, Wrote

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


def check_installed() -> None:
    """Raises: FaceganError: the extra is not installed, or does not load."""
    with needed("--tensorboard", "tensorboard", "tensorboard"):
        import torch.utils.tensorboard  # noqa: F401


@contextmanager
def open_log(
    folder: Path, images_seen: int, note: Callable[[str], None] = lambda text: None
) -> Iterator[Callable[[Event], None]]:
    """A callback for the loop that writes its rows as scalars and its sample grids as images, over images seen.

    A failure to write never ends the run. It gives one note, and rows are left out until the run next writes a file,
    which starts a new log. Call `check_installed` first.

    Args:
        images_seen: where the run begins or goes on. TensorBoard drops what an earlier part of the run wrote beyond it;
            when the run goes back to a checkpoint, TensorBoard drops what was written beyond that one.
        note: called with a sentence when the log cannot be written; it is not called again until writing has worked.
    """
    log = _Log(folder, images_seen, note)
    with _quiet_thread():
        try:
            yield log
        finally:
            log.close()


class _Log:
    """The callback of `open_log`. After a failure it has no writer until the run writes a file."""

    def __init__(self, folder: Path, images_seen: int, note: Callable[[str], None]) -> None:
        self._folder, self._seen, self._note = folder, images_seen, note
        self._forgotten_from = images_seen + 1 if images_seen else None
        self._writer: SummaryWriter | None = None
        self._failed = False

    def __call__(self, event: Event) -> None:
        try:
            self._write(event)
        except Exception as error:  # its own, the system's, and Pillow's about the sample grid
            if not self._failed:
                self._note(
                    f"TensorBoard's logs cannot be written: {one_line(error)}; the run goes on without them for now"
                )
            self._failed = True
            self.close()

    def _write(self, event: Event) -> None:
        if isinstance(event, Stepped):
            if event.images_seen <= self._seen:  # the run has gone back to a checkpoint
                self._forgotten_from = event.images_seen
                self.close()
            self._seen = event.images_seen
        elif isinstance(event, Logged) and not self._failed:
            writer = self._open()
            for name, value in event.row.items():
                if name != "images_seen":
                    writer.add_scalar(name, value, self._seen)
        elif isinstance(event, Wrote):
            writer = self._open()
            if event.path.parent.name == "samples":
                with Image.open(event.path, formats=["PNG"]) as picture:
                    writer.add_image("samples", np.asarray(picture), self._seen, dataformats="HWC")
            writer.flush()
            self._failed = False

    def _open(self) -> SummaryWriter:
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._folder), purge_step=self._forgotten_from)
            self._forgotten_from = None
        return self._writer

    def close(self) -> None:
        with suppress(Exception):  # what could not be written before cannot be written now
            if self._writer is not None:
                self._writer.close()
        self._writer = None


@contextmanager
def _quiet_thread() -> Iterator[None]:
    """Print no exception of TensorBoard's writing thread: TensorBoard raises it again when the next row is written."""
    usual = threading.excepthook

    def hook(args: threading.ExceptHookArgs) -> None:
        if type(args.thread).__module__ != "tensorboard.summary.writer.event_file_writer":
            usual(args)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = usual
