"""The dataset directory: whole or absent. Written as a stream under another name, then renamed.

data/celeba-64/
    images.npy      uint8 (N, S, S, 3), a plain NumPy file, made to be memory-mapped
    dataset.json    what it is: DatasetInfo
    attributes.csv  one row per image, in the same order; the first column is the photo's name
    skipped.csv     name, reason: every photo that is not in images.npy
    duplicates.csv  name, same_as: photos that are in it twice (only if there are any)
    preview.png     up to 64 of the images, evenly spread
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from facegan import __version__
from facegan.errors import FaceganError
from facegan.newfolder import NewFolder, disk_errors

FORMAT_VERSION = 1
FILES = ("images.npy", "dataset.json", "attributes.csv", "skipped.csv", "duplicates.csv", "preview.png")
PREVIEW_IMAGES = 64

# Magic string, version 1.0 and length take 10 bytes; a fixed total leaves room for any count, known only at the end.
_HEADER_BYTES = 128


@dataclass(frozen=True)
class DatasetInfo:
    """What `dataset.json` says, checked.

    Attributes:
        path: the dataset directory.
        size: S, the side of the square images in pixels.
        count: N, the number of images.
        source: where the photos came from: at least `name`.
        crop: how they were cut: at least `name`.
        filter: how they were resized, such as "lanczos".
        skipped, duplicates: how many photos were left out; how many images occur more than once.
        attributes: names of the columns of `attributes.csv` after the first.
        pixels_sha256: of the N*S*S*3 bytes that follow the header of images.npy. The identity of a dataset.
        settings: what was asked for, to tell whether an existing dataset is the one wanted.
    """

    path: Path
    size: int
    count: int
    source: Mapping[str, Any]
    crop: Mapping[str, Any]
    filter: str
    pixels_sha256: str
    skipped: int = 0
    duplicates: int = 0
    attributes: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def images(self) -> Path:
        """The file `images.npy`."""
        return self.path / "images.npy"


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
        self._folder = NewFolder(out, overwrite=overwrite, known=FILES)
        self._files = contextlib.ExitStack()
        self._same: list[tuple[str, str]] = []

    def __enter__(self) -> DatasetWriter:
        with contextlib.ExitStack() as undo:
            undo.enter_context(self._folder)
            undo.callback(self._close)
            with disk_errors(self.out):
                self._pixels: IO[bytes] = self._files.enter_context((self._folder.path / "images.npy").open("wb"))
                self._pixels.write(_npy_header(0, self.size))
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
            self._pixels.write(_npy_header(self.count, self.size))
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
            text = json.dumps(_to_json(info), indent=2, ensure_ascii=False) + "\n"
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
        FaceganError: there is none, it is broken, or a newer facegan wrote it.
    """
    folder = path.parent if path.name == "dataset.json" else path
    if not (folder / "dataset.json").is_file():
        hint = f"If it holds photos: facegan preprocess {folder}" if folder.exists() else "facegan preprocess SOURCE"
        raise FaceganError(f"There is no dataset at {folder}: no dataset.json.", hint)
    again = f"Make it again with: facegan preprocess SOURCE --out {folder} --overwrite"
    try:
        facts = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
        version = facts["format_version"]
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise FaceganError(
                f"{folder} was written by a newer facegan (format {version}; this one reads {FORMAT_VERSION}).",
                "Upgrade: pip install --upgrade facegan",
            )
        info = _from_json(folder, facts)
        expected = _HEADER_BYTES + info.count * info.size * info.size * 3
        found = info.images.stat().st_size
    except FileNotFoundError as error:
        raise FaceganError(f"{folder} is damaged: it has no {Path(error.filename).name}.", again) from error
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise FaceganError(f"{folder / 'dataset.json'} is broken: {_one_line(error)}.", again) from error
    if found != expected:
        raise FaceganError(f"{info.images} has {found:,} bytes where dataset.json promises {expected:,}.", again)
    return info


def find_dataset(root: Path = Path("data")) -> DatasetInfo:
    """The only dataset directly under `root`.

    Raises:
        FaceganError: there is none, or there are several, which are then listed.
    """
    found = sorted(file.parent for file in root.glob("*/dataset.json") if not file.parent.name.startswith("."))
    if not found:
        raise FaceganError(
            f"There is no dataset under {root}/.",
            "Make one: facegan preprocess SOURCE  (a folder or .zip of photos), or try: facegan train --data demo",
        )
    if len(found) > 1:
        names = ", ".join(str(folder) for folder in found)
        raise FaceganError(f"There are {len(found)} datasets: {names}.", f"Choose one: --data {found[0]}")
    return read_dataset_json(found[0])


def _to_json(info: DatasetInfo) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "facegan": __version__,
        "count": info.count,
        "size": info.size,
        "source": dict(info.source),
        "crop": dict(info.crop),
        "filter": info.filter,
        "skipped": info.skipped,
        "duplicates": info.duplicates,
        "attributes": list(info.attributes),
        "pixels_sha256": info.pixels_sha256,
        "settings": dict(info.settings),
    }


def _from_json(folder: Path, facts: Mapping[str, Any]) -> DatasetInfo:
    """Check the kinds of the values; ValueError, KeyError or TypeError where one is wrong."""
    for key, kind in {"count": int, "size": int, "skipped": int, "duplicates": int, "filter": str}.items():
        if not isinstance(facts[key], kind) or isinstance(facts[key], bool):
            raise ValueError(f'"{key}" is not {"a number" if kind is int else "text"}')
    if facts["count"] < 1 or facts["size"] < 1:
        raise ValueError("it holds no images")
    if len(bytes.fromhex(facts["pixels_sha256"])) != hashlib.sha256().digest_size:
        raise ValueError('"pixels_sha256" is no SHA-256')
    return DatasetInfo(
        path=folder,
        size=facts["size"],
        count=facts["count"],
        source=dict(facts["source"]),
        crop=dict(facts["crop"]),
        filter=facts["filter"],
        pixels_sha256=facts["pixels_sha256"],
        skipped=facts["skipped"],
        duplicates=facts["duplicates"],
        attributes=tuple(facts["attributes"]),
        settings=dict(facts["settings"]),
    )


def _npy_header(count: int, size: int) -> bytes:
    shape = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({count}, {size}, {size}, 3), }}"
    text = shape.ljust(_HEADER_BYTES - 11) + "\n"
    return b"\x93NUMPY\x01\x00" + (_HEADER_BYTES - 10).to_bytes(2, "little") + text.encode("ascii")


def _write_preview(images: Path, out: Path) -> None:
    from facegan.images import grid, save_png

    pixels = np.load(images, mmap_mode="r")
    chosen = np.linspace(0, len(pixels) - 1, min(len(pixels), PREVIEW_IMAGES)).round().astype(int)
    sheet = pixels[chosen]
    pixels._mmap.close()  # Windows renames no folder with a mapped file in it
    save_png(grid(sheet), out)


def _one_line(error: BaseException) -> str:
    if isinstance(error, KeyError):
        return f"it has no {error}".replace("'", '"')
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
