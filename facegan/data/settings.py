"""What a dataset was made with, and whether one that exists was made with the same."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from facegan.core.errors import FaceganError
from facegan.data.crops import Crop
from facegan.data.folder import DatasetInfo, read_dataset_json
from facegan.data.sources import Source


def settings_of(
    found: Source,
    size: int,
    crop: Crop,
    attributes: Path | None,
    limit: int | None,
    skip: int | None,
    dedupe: bool,
) -> dict[str, Any]:
    """What was asked for, as dataset.json keeps it. Of a path that is the last part: the source may move."""
    return {
        "source": {"name": found.name, "kind": found.kind, "celeba": found.celeba, "photos": len(found.photos)},
        "photos": _fingerprint(found),
        "size": size,
        "crop": str(crop),
        "faces": crop.value if crop.kind == "face" else None,
        "attributes": attributes.name if attributes else None,
        "table": _fingerprint_of_table(attributes or found.table, found),
        "limit": limit,
        "dedupe": dedupe,
        "skip": skip or None,
    }


def _fingerprint(found: Source) -> str:
    """SHA-256 over the names, sizes and times of all photos, or for a zip their checksums; none of them is opened."""
    sha256 = hashlib.sha256()
    for part in found.parts or (found,):
        for photo in part.photos:
            if part.kind == "zip":
                facts = f"{photo.unpacked} {photo.crc}"
            else:
                facts = _fingerprint_of_file(f"{part.path}/{photo.name}") or ""
            sha256.update(f"{photo.name}\0{facts}\n".encode("utf-8", "surrogatepass"))
    return sha256.hexdigest()


def _fingerprint_of_table(table: Path | str | None, found: Source) -> str | None:
    """Size and time of the table, or its checksum if it is a member of the zip, whose name is then a text."""
    if isinstance(table, str):
        return f"{found.table_crc:08x}"
    return None if table is None else _fingerprint_of_file(table)


def _fingerprint_of_file(path: Path | str) -> str | None:
    """Size and time of a file; None if it cannot be looked at."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a Path per photo takes longer
    except OSError:
        return None
    return f"{status.st_size} {status.st_mtime_ns}"


def kept(out: Path, settings: dict[str, Any], crop: Crop) -> DatasetInfo:
    """The dataset that exists at `out`.

    Raises:
        FaceganError: it was made with other settings, of other photos, or is damaged.
    """
    info = read_dataset_json(out)
    for name, wanted in settings.items():
        had = info.settings.get(name)
        if had != wanted:
            if said := _CHANGED.get(name):
                raise FaceganError(f"{out} exists, and {said}.", _REPLACE)
            if name == "source":
                had, wanted = _source_in_words(had), _source_in_words(wanted)
            raise FaceganError(
                f"{out} exists, made with {name} {_option(had)}, not {_option(wanted)}.",
                _REPLACE,
            )
    if dict(info.crop) != crop.describe():
        raise FaceganError(f"{out} exists, and was cut by another version of facegan in another way.", _REPLACE)
    return info


_REPLACE = "Replace it with --overwrite, or keep both with --out FOLDER"
_CHANGED = {
    "photos": "was made from other photos: from another source of that name, or its photos have changed since",
    "table": "was made with another table of attributes, or with none: the table's size, time or checksum differs",
}
"""Settings that are fingerprints, and what it means if they differ."""


def _source_in_words(source: Any) -> str:
    facts = source if isinstance(source, dict) else {}
    photos = facts.get("photos")
    return f"{facts.get('name')} of {photos:,} photos" if isinstance(photos, int) else str(facts.get("name"))


def _option(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)
