"""The dataset directory. It is written under another name, then renamed, so that it is whole or absent.

data/celeba-64/
    images.npy      uint8 (N, S, S, 3), a plain NumPy file, made to be memory-mapped
    dataset.json    what it is: DatasetInfo
    attributes.csv  one row per image, in the same order; the first column is the photo's name
    skipped.csv     name, reason: every photo that is not in images.npy
    duplicates.csv  name, same_as: photos that are in it twice (only if there are any)
    preview.png     up to 64 of the images, evenly spread
    features-*      what an extractor sees in the images, kept by `facegan evaluate`
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from facegan.core.errors import FaceganError, is_there, listing, one_line, reading, typed
from facegan.core.newfolder import NewFolder, disk_errors, stepped_aside
from facegan.core.strictjson import read_json
from facegan.data.datasetinfo import HEADER_BYTES, DatasetInfo, from_json, npy_header, to_json

FILES = ("images.npy", "dataset.json", "attributes.csv", "skipped.csv", "duplicates.csv", "preview.png")
FEATURES_NAME = "features-{}.safetensors"
KNOWN_FILES = (*FILES, FEATURES_NAME.format("*"))
PREVIEW_IMAGES = 64

_BLOCK_BYTES = 4 << 20
_MAX_LINE = 1 << 20
"""Characters; `attributes.MAX_ROW` and a photo's name are together shorter."""
_MAKE_ONE = "Make one: facegan preprocess SOURCE  (a folder or .zip of photos)"


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
        FaceganError: `out` is in the way, or cannot be written, from any of the methods.
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
        """Close, describe, sync and rename: from here on the dataset is there. Returns what it is."""
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


def read_dataset_json(path: Path) -> DatasetInfo:
    """What the dataset at `path` (the directory, or its dataset.json) says it is.

    Raises:
        FaceganError: there is none, it may not be read, it is broken, or a newer facegan wrote it.
    """
    folder = path.parent if path.name == "dataset.json" else path
    if not _is_dataset(folder):
        hint = f"If it holds photos: facegan preprocess {typed(folder)}" if is_there(folder) else _MAKE_ONE
        what = "its dataset.json is not facegan's" if (folder / "dataset.json").is_file() else "no dataset.json"
        raise FaceganError(f"There is no dataset at {folder}: {what}.", cut_off(folder) or hint)
    again = make_again(folder)
    try:
        facts = read_json(folder / "dataset.json", again)
        info = from_json(folder, facts)
        expected = HEADER_BYTES + info.count * info.size * info.size * 3
        with reading(info.images):
            found = info.images.stat().st_size
            header = _first_bytes(info.images) if found == expected else b""
    except FileNotFoundError as error:
        raise FaceganError(f"{folder} is damaged: it has no {Path(error.filename).name}.", again) from error
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise FaceganError(f"{folder / 'dataset.json'} is broken: {_one_line(error)}.", again) from error
    if found != expected:
        raise FaceganError(f"{info.images} has {found:,} bytes where dataset.json promises {expected:,}.", again)
    if header != npy_header(info.count, info.size):
        raise FaceganError(
            f"{info.images} is not what dataset.json promises: uint8 ({info.count}, {info.size}, {info.size}, 3), "
            "row by row.",
            again,
        )
    return info


def _is_dataset(folder: Path) -> bool:
    """Whether facegan made it, whole or damaged: StyleGAN, for one, keeps a dataset.json beside its photos too."""
    file = folder / "dataset.json"
    if not is_there(file):
        return False
    if is_there(folder / "images.npy"):
        return True
    with contextlib.suppress(OSError), file.open("rb") as facts:
        return b'"facegan"' in facts.read(1 << 16)
    return True  # whoever reads it will say why it cannot be read


def verify_pixels(info: DatasetInfo, on_progress: Callable[[int, int], None] = lambda done, total: None) -> None:
    """Read all pixels and compare them with their SHA-256, and `attributes.csv` with `dataset.json`.

    Args:
        info: from `read_dataset_json`.
        on_progress: called with (bytes read, bytes in all).

    Raises:
        FaceganError: they are not what they were when the dataset was made, or cannot be read.
    """
    again = make_again(info.path)
    total = info.count * info.size * info.size * 3
    sha256, done = hashlib.sha256(), 0
    try:
        with reading(info.images), info.images.open("rb") as file:
            file.seek(HEADER_BYTES)
            while block := file.read(min(_BLOCK_BYTES, total - done)):
                sha256.update(block)
                done += len(block)
                on_progress(done, total)
    except OSError as error:
        raise FaceganError(f"{info.images} cannot be read: {error.strerror or error}.", again) from error
    if sha256.hexdigest() != info.pixels_sha256.lower():
        raise FaceganError(
            f"{info.images} has changed: its pixels are not those of the SHA-256 in dataset.json.", again
        )
    if fault := _table_fault(info):
        raise FaceganError(f"{info.path / 'attributes.csv'} {fault}.", again)


def _table_fault(info: DatasetInfo) -> str:
    """What is wrong with `attributes.csv`, or nothing: a header, and a row of as many fields for every image."""
    columns, rows = ["name", *info.attributes], 0
    try:
        path = info.path / "attributes.csv"
        with reading(path), path.open(encoding="utf-8", newline="") as file:
            table = csv.reader(iter(lambda: file.readline(_MAX_LINE), ""))
            if next(table, None) != columns:
                return f"does not begin with the columns {', '.join(columns)}"[:300]
            for row in table:
                rows += 1
                if len(row) != len(columns):
                    return f"has {len(row)} fields in line {table.line_num} where its header has {len(columns)}"
    except (OSError, ValueError, csv.Error) as error:
        return f"cannot be read: {_one_line(error)}"
    return "" if rows == info.count else f"has {rows:,} rows, and there are {info.count:,} images"


def find_dataset(root: Path = Path("data")) -> DatasetInfo:
    """The only dataset directly under `root`.

    Raises:
        FaceganError: there is none, or there are several, which are then listed.
    """
    refused: list[FaceganError] = []

    def is_dataset(folder: Path) -> bool:
        try:
            return _is_dataset(folder)
        except FaceganError as error:  # such as lost+found, which says nothing about the others
            refused.append(error)
            return False

    folders = [folder for folder in listing(root) if not folder.name.startswith(".")]
    found = sorted([*filter(is_dataset, folders), *stepped_aside(root)])
    if not found and refused:
        raise refused[0]
    if not found:
        raise FaceganError(
            f"There is no dataset under {root}/.",
            f"{_MAKE_ONE}, or try: facegan train --data demo",
        )
    if len(found) > 1:
        names = ", ".join(str(folder) for folder in found)
        raise FaceganError(f"There are {len(found)} datasets: {names}.", f"Choose one: --data {typed(found[0])}")
    return read_dataset_json(found[0])


def cut_off(folder: Path) -> str:
    """What to do where a dataset is missing because a `preprocess --overwrite` was killed; "" where that is not so."""
    aside = stepped_aside(folder.parent).get(folder)
    if aside is None:
        return ""
    return (
        f"Its replacement was cut off, and the old one is whole: rename {aside} to {folder}, "
        f"or go on with the replacement, which does so first: facegan preprocess SOURCE --out {typed(folder)}"
    )


def make_again(folder: Path) -> str:
    """What to do about a damaged dataset; never about one that only may not be read."""
    return f"Make it again with: facegan preprocess SOURCE --out {typed(folder)} --overwrite"


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEADER_BYTES)


def _write_preview(images: Path, out: Path) -> None:
    from facegan.pictures.sheets import grid, save_png

    pixels = np.load(images, mmap_mode="r", allow_pickle=False)
    chosen = np.linspace(0, len(pixels) - 1, min(len(pixels), PREVIEW_IMAGES)).round().astype(int)
    sheet = pixels[chosen]
    pixels._mmap.close()  # Windows renames no folder with a mapped file in it
    save_png(grid(sheet), out)


def _one_line(error: BaseException) -> str:
    if isinstance(error, KeyError):
        return f"it has no {error}".replace("'", '"')
    return one_line(error)
