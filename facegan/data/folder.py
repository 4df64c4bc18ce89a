"""Read and check a dataset directory. `data.writer` lists its files.

`facegan preprocess` makes the directory, which is whole or absent.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from facegan.core.atomic import stepped_aside
from facegan.core.errors import FaceganError, is_there, listing, one_line, reading, typed
from facegan.core.strictjson import read_json
from facegan.core.version import __version__

FORMAT_VERSION = 1

# Magic string, version 1.0 and length take 10 bytes. The count is known only at the end; a fixed total has room for it.
HEADER_BYTES = 128

_UPGRADE = "Upgrade: pip install --upgrade facegan"
_MOST = 10**12
_KINDS: dict[str, type] = {
    **dict.fromkeys(("format_version", "count", "size", "skipped", "duplicates"), int),
    **dict.fromkeys(("facegan", "filter", "pixels_sha256"), str),
    **dict.fromkeys(("source", "crop", "settings"), dict),
    "attributes": list,
}
_KIND_WORDS = {int: "a number", str: "text", dict: "an object", list: "a list"}

FILES = ("images.npy", "dataset.json", "attributes.csv", "skipped.csv", "duplicates.csv", "preview.png")
FEATURES_NAME = "features-{}.safetensors"
KNOWN_FILES = (*FILES, FEATURES_NAME.format("*"))

_BLOCK_BYTES = 4 << 20
_MAX_LINE = 1 << 20
"""Most characters of a line; `attributes.MAX_ROW` and a photo's name are together shorter."""
_MAKE_ONE = "Make one: facegan preprocess SOURCE  (a folder or .zip of photos)"


@dataclass(frozen=True)
class DatasetInfo:
    """The content of `dataset.json`, checked.

    Attributes:
        path: the dataset directory.
        size: S, the side of the square images in pixels.
        count: N, the number of images.
        source: where the photos came from: at least `name`.
        crop: how they were cut: at least `name`.
        filter: how they were resized, such as "lanczos".
        skipped, duplicates: how many photos were left out; how many images have the pixels of an earlier one.
        attributes: names of the columns of `attributes.csv` after the first.
        pixels_sha256: of the N*S*S*3 bytes that follow the header of images.npy. It identifies the dataset.
        settings: what was asked for; it tells whether an existing dataset is the one that is wanted.
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


def to_json(info: DatasetInfo) -> dict[str, Any]:
    """The content of dataset.json; `from_json` is the inverse."""
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


def from_json(folder: Path, facts: Mapping[str, Any]) -> DatasetInfo:
    """Read the content of dataset.json, checked. A wrong value raises a ValueError, a missing one a KeyError."""
    version = facts["format_version"]
    if type(version) is not int or version < 1:
        raise ValueError('"format_version" is unknown')
    if version > FORMAT_VERSION:
        raise FaceganError(
            f"{folder} was written by a newer facegan (format {version}; this one reads {FORMAT_VERSION}).", _UPGRADE
        )
    if unknown := sorted(facts.keys() - _KINDS.keys()):
        raise FaceganError(f"{folder} has an unknown entry {unknown[0][:80]!r}, perhaps of a newer facegan.", _UPGRADE)
    for key, kind in _KINDS.items():
        if type(facts[key]) is not kind:
            raise ValueError(f'"{key}" is not {_KIND_WORDS[kind]}')
    if not (1 <= facts["count"] <= _MOST and 1 <= facts["size"] <= _MOST):
        raise ValueError("it holds no images, or more than there can be")
    if not (0 <= facts["skipped"] <= _MOST and 0 <= facts["duplicates"] <= _MOST):
        raise ValueError('"skipped" or "duplicates" is not a count')
    if not re.fullmatch("[0-9a-fA-F]{64}", facts["pixels_sha256"]):
        raise ValueError('"pixels_sha256" is no SHA-256')
    if not all(isinstance(name, str) for name in facts["attributes"]):
        raise ValueError('"attributes" are not names')
    taken = {key: facts[key] for key in _KINDS if key not in ("format_version", "facegan", "attributes")}
    return DatasetInfo(path=folder, attributes=tuple(facts["attributes"]), **taken)


def npy_header(count: int, size: int) -> bytes:
    """The first HEADER_BYTES of images.npy, in version 1.0 of NumPy's format; spaces fill up its only line."""
    shape = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({count}, {size}, {size}, 3), }}"
    text = shape.ljust(HEADER_BYTES - 11) + "\n"
    return b"\x93NUMPY\x01\x00" + (HEADER_BYTES - 10).to_bytes(2, "little") + text.encode("ascii")


def read_dataset_json(path: Path) -> DatasetInfo:
    """Read and check the description of the dataset at `path`, the directory or its dataset.json.

    Raises:
        FaceganError: there is no dataset, it may not be read, it is broken, or a newer facegan wrote it.
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
    """Whether facegan made the folder, now whole or damaged. StyleGAN, for one, keeps a dataset.json too."""
    file = folder / "dataset.json"
    if not is_there(file):
        return False
    if is_there(folder / "images.npy"):
        return True
    with contextlib.suppress(OSError), file.open("rb") as facts:
        return b'"facegan"' in facts.read(1 << 16)
    return True  # the caller reads it, and then says why that fails


def verify_pixels(info: DatasetInfo, on_progress: Callable[[int, int], None] = lambda done, total: None) -> None:
    """Read all pixels and compare them with their SHA-256, and `attributes.csv` with `dataset.json`.

    Args:
        info: from `read_dataset_json`.
        on_progress: called with (bytes read, bytes in all).

    Raises:
        FaceganError: the files have changed since the dataset was made, or cannot be read.
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
    """What is wrong with `attributes.csv`, or "". It must have a header, and a row of as many fields for each image."""
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
        FaceganError: there is no dataset, or there are several, which the message lists.
    """
    refused: list[FaceganError] = []

    def is_dataset(folder: Path) -> bool:
        try:
            return _is_dataset(folder)
        except FaceganError as error:  # such as lost+found: the other folders may be readable
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
    """A hint for a dataset that is missing because a `preprocess --overwrite` was killed; "" for any other folder."""
    aside = stepped_aside(folder.parent).get(folder)
    if aside is None:
        return ""
    return (
        f"Its replacement was interrupted, but the old dataset is whole. Rename {aside} to {folder}, "
        f"or start the replacement again, which does that first: facegan preprocess SOURCE --out {typed(folder)}"
    )


def make_again(folder: Path) -> str:
    """A hint for a damaged dataset. It must not be given for a dataset that only may not be read."""
    return f"Make it again with: facegan preprocess SOURCE --out {typed(folder)} --overwrite"


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEADER_BYTES)


def _one_line(error: BaseException) -> str:
    if isinstance(error, KeyError):
        return f"it has no {error}".replace("'", '"')
    return one_line(error)
