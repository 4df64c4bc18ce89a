"""Write a dataset directory, under a temporary name until it is whole.

data/celeba-64/
    images.npy      uint8 (N, S, S, 3), a plain NumPy file, made to be memory-mapped
    dataset.json    what it is: DatasetInfo
    attributes.csv  one row per image, in the same order; the first column is the photo's name
    skipped.csv     name, reason: every photo that is not in images.npy
    duplicates.csv  name, same_as: photos that are in it twice (only if there are any)
    preview.png     up to 64 of the images, evenly spread
    features-*      an extractor's features of the images, kept by `facegan evaluate`
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from facegan.core.atomic import NewFolder, disk_errors
from facegan.data.folder import KNOWN_FILES, DatasetInfo, npy_header, to_json

PREVIEW_IMAGES = 64


class DatasetWriter:
    """Writes a dataset directory in bounded memory; until `finish` nothing has its final name.

    Use it as a context manager: leaving it without `finish` (an error, Ctrl-C) removes everything it wrote.

        with DatasetWriter(Path("data/mine-64"), 64) as writer:
            writer.write(images, names)
            info = writer.finish(source={"name": "mine"}, crop={"name": "square"}, filter="lanczos")

    Args:
        out: the directory to make. Parents are made as needed.
        size: side of the images in pixels.
        columns: names of attribute columns; `write` then takes one row of values per image.
        overwrite: replace an existing dataset at `out`. A directory with foreign files in it is never replaced.

    Raises:
        FaceganError: from any method: something at `out` may not be replaced, or the system refuses to write.
    """

    def __init__(self, out: Path, size: int, *, columns: Sequence[str] = (), overwrite: bool = False) -> None:
        self.out, self.size, self.columns = out, size, tuple(columns)
        self.count = self.skipped = self.duplicates = 0
        self._sha256 = hashlib.sha256()
        self._folder = NewFolder(out, overwrite=overwrite, known=KNOWN_FILES)
        self._files = contextlib.ExitStack()
        self._same: list[tuple[str, str]] = []

    def __enter__(self) -> DatasetWriter:
        with contextlib.ExitStack() as undo:
            undo.enter_context(self._folder)
            undo.callback(self._close)
            with disk_errors(self.out):
                self._pixels: IO[bytes] = self._files.enter_context((self._folder.path / "images.npy").open("wb"))
                self._pixels.write(npy_header(0, self.size))
                self._attributes = self._csv("attributes.csv", ("name", *self.columns))
                self._skipped = self._csv("skipped.csv", ("name", "reason"))
            self._undo = undo.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._undo.close()

    def _close(self) -> None:
        with contextlib.suppress(OSError):  # a full disk fails again when the last buffer is flushed
            self._files.close()

    def write(self, images: np.ndarray, names: Sequence[str], rows: Sequence[Sequence[str]] | None = None) -> None:
        """Append images (K, S, S, 3) uint8, their names, and with `columns` one row of values each."""
        assert images.dtype == np.uint8, images.dtype
        assert images.shape == (len(names), self.size, self.size, 3), (images.shape, len(names))
        pixels = np.ascontiguousarray(images).data
        with disk_errors(self.out):
            self._pixels.write(pixels)
            if self.columns:
                assert rows is not None
                assert len(rows) == len(names)
                self._attributes.writerows([name, *row] for name, row in zip(names, rows, strict=True))
            else:
                self._attributes.writerows([name] for name in names)
        self._sha256.update(pixels)
        self.count += len(names)

    def skip(self, name: str, reason: str) -> None:
        """Note a photo that is not in the dataset, and why."""
        with disk_errors(self.out):
            self._skipped.writerow((name, reason))
        self.skipped += 1

    def duplicate(self, name: str, same_as: str) -> None:
        """Note that a photo just written has the same pixels as an earlier one."""
        self._same.append((name, same_as))
        self.duplicates += 1

    def finish(
        self,
        *,
        source: Mapping[str, Any],
        crop: Mapping[str, Any],
        filter: str,
        settings: Mapping[str, Any] | None = None,
    ) -> DatasetInfo:
        """Complete the dataset: close its files, describe, sync and rename them to `out`. Returns the description."""
        assert self.count, "an empty dataset is the caller's to report"
        folder = self._folder.path
        with disk_errors(self.out):
            if self._same:
                self._csv("duplicates.csv", ("name", "same_as")).writerows(self._same)
            self._pixels.seek(0)
            self._pixels.write(npy_header(self.count, self.size))
            self._files.close()
            _write_preview(folder / "images.npy", folder / "preview.png")
            info = DatasetInfo(
                path=self.out,
                size=self.size,
                count=self.count,
                source=dict(source),
                crop=dict(crop),
                filter=filter,
                pixels_sha256=self._sha256.hexdigest(),
                skipped=self.skipped,
                duplicates=self.duplicates,
                attributes=self.columns,
                settings=dict(settings or {}),
            )
            text = json.dumps(to_json(info), indent=2, ensure_ascii=False) + "\n"
            (folder / "dataset.json").write_text(text, encoding="utf-8", errors="backslashreplace")
        self._folder.publish()
        return info

    def _csv(self, name: str, header: Sequence[str]) -> Any:
        # A file name that is no valid text is still listed, with its bytes spelled out.
        file = (self._folder.path / name).open("w", encoding="utf-8", errors="backslashreplace", newline="")
        table = csv.writer(self._files.enter_context(file), lineterminator="\n")
        table.writerow(header)
        return table


def _write_preview(images: Path, out: Path) -> None:
    from facegan.pictures.sheets import grid, save_png

    pixels = np.load(images, mmap_mode="r", allow_pickle=False)
    chosen = np.linspace(0, len(pixels) - 1, min(len(pixels), PREVIEW_IMAGES)).round().astype(int)
    sheet = pixels[chosen]
    pixels._mmap.close()  # Windows cannot rename a folder with a mapped file in it
    save_png(grid(sheet), out)
