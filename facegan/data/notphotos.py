"""Recognise files beside photos that are not photos: those of systems and programs, masks, facegan's own files."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Sequence
from itertools import chain
from pathlib import Path

from facegan.core.atomic import LEFT_BY_SYSTEMS
from facegan.pictures.photos import Photo


def own(folder: Path) -> str:
    """Say what a folder is if facegan made it, such as "a run of facegan", judged by its files' names; else ""."""
    if what := _made_of(lambda name: os.path.isfile(folder / name)):  # noqa: PTH113, False where it may not be looked at
        return what
    if folder.name == "outputs" and any(_DRAWN.match(path.name) for path in folder.glob("*-[0-9]*")):
        return "pictures drawn by facegan"
    return ""


_OWN = {
    ("dataset.json", "images.npy"): "a dataset of facegan",
    ("config.json", "provenance.json"): "a run of facegan",
}
_FIRST = tuple(first for first, *_ in _OWN)
_DRAWN = re.compile(r"(sample|interpolate|arithmetic|gif|neighbours)-\d{3}")


def own_in(names: Collection[str]) -> dict[str, str]:
    """The folders in a zip that facegan has written, and what each is; see `own`."""
    found: dict[str, str] = {}
    for folder in {name[: name.rfind("/") + 1] for name in names if name.endswith(_FIRST)}:
        inside = {name for name in chain(*_OWN) if folder + name in names}
        if what := _made_of(inside.__contains__):
            found[folder] = f"{what}, not photos"
    return found


def _made_of(has: Callable[[str], bool]) -> str:
    """Say what a folder is if facegan made it, else "". `has` says whether a file of some name is in it."""
    return next((what for names, what in _OWN.items() if all(map(has, names))), "")


# fmt: off
_SYSTEM = LEFT_BY_SYSTEMS | {
    "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "$recycle.bin", "recycler", "recycled",
    "system volume information", "lost+found", "network trash folder", "temporary items",
}
# fmt: on
"""Names that systems and network disks give to their own files: thumbnails, trash, snapshots, finds of a repair."""
_LIBRARIES = (".photoslibrary/", ".photolibrary/", ".migratedphotolibrary/", ".aplibrary/")
_ORIGINALS = ("originals", "masters")


def hidden(name: str, folder: str) -> bool:
    """Whether a file or folder is not part of what a person means by "my photos".

    These are dotfiles, a system's own folders, and the smaller copies that photo programs keep in their libraries.

    Args:
        name: its name alone.
        folder: the folder that it is in, with a slash at the end.
    """
    small = name.lower()
    if folder.lower().endswith(_LIBRARIES):
        return small not in _ORIGINALS
    return name.startswith(".") or small in _SYSTEM or small.endswith(".lrdata")


def hidden_in(path: Path, parts: Sequence[str]) -> bool:
    """Whether any part of a path in the zip `path` is hidden."""
    above = f"{path.stem}/"
    for part in parts:
        if part not in (".", "..") and hidden(part, above):
            return True
        above = f"{part}/"
    return False


_MASKS = re.compile(
    r"(?:.*/)?(?:masks|.*mask-anno|segmentations?|segmentationclass|segmentationobject|trimaps|annotations|labels)/",
    re.IGNORECASE,
)
_MASK = re.compile(r"(.+)[-_.](?:mask|seg|segmentation|matte|trimap)\.[^./]+", re.IGNORECASE)
_LOSSLESS = (".png", ".bmp", ".tif", ".tiff", ".gif", ".webp")


def without_masks(photos: list[Photo]) -> tuple[list[Photo], list[tuple[str, str]]]:
    """Leave out masks: pictures that say where, for example, the hair is, as data sets for segmentation have them.

    A mask is known by its folder's name, or by its own name beside its photo's. Only files of lossless formats are
    masks, since JPEG would blur one. If all pictures seem to be masks, they are taken for photos.

    Returns:
        The photos, and (name, reason) of each folder of masks and each mask beside its photo.
    """
    masks: dict[str, str] = {}
    stems: set[str] = set()
    for photo in photos:
        if not photo.name.lower().endswith(_LOSSLESS):
            continue
        if folder := _MASKS.match(photo.name):
            masks[photo.name] = folder[0]
        elif mask := _MASK.fullmatch(photo.name):
            stems = stems or {name.rpartition(".")[0] for name, *_ in photos}
            if mask[1] in stems:
                masks[photo.name] = photo.name
    if len(masks) == len(photos):
        return photos, []
    kept = [photo for photo in photos if photo.name not in masks]
    return kept, [(name, "masks by their name, not photos") for name in sorted(set(masks.values()))]
