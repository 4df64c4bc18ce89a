"""What a dataset is: `dataset.json` and the header of `images.npy`, written and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from facegan.core.errors import FaceganError
from facegan.core.version import __version__

FORMAT_VERSION = 1

# Magic string, version 1.0 and length take 10 bytes; a fixed total leaves room for any count, known only at the end.
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


def to_json(info: DatasetInfo) -> dict[str, Any]:
    """What stands in dataset.json; `from_json` is the inverse."""
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
    """Check the kinds of the values; ValueError or KeyError where one is wrong."""
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
    """The first HEADER_BYTES of images.npy, version 1.0 of NumPy's format; its one line is filled up with spaces."""
    shape = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({count}, {size}, {size}, 3), }}"
    text = shape.ljust(HEADER_BYTES - 11) + "\n"
    return b"\x93NUMPY\x01\x00" + (HEADER_BYTES - 10).to_bytes(2, "little") + text.encode("ascii")
