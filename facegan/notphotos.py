"""What stands beside photos and is none: systems' and programs' own files, masks, and what facegan has written."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path

from facegan.photos import Photo


def own(folder: Path) -> str:
    """What facegan has made of a folder, told by the names of its files; nothing if it has not."""
    for names, what in _OWN.items():
        if all(os.path.isfile(folder / name) for name in names):  # noqa: PTH113, False where it may not be looked at
            return what
    if folder.name == "outputs" and any(_DRAWN.match(path.name) for path in folder.glob("*-[0-9]*")):
        return "pictures drawn by facegan"
    return ""


_OWN = {
    ("dataset.json", "images.npy"): "a dataset of facegan",
    ("config.json", "provenance.json"): "a run of facegan",
}
_DRAWN = re.compile(r"(sample|interpolate|arithmetic|gif|neighbours)-\d{3}")


def own_in(names: Collection[str]) -> dict[str, str]:
    """The folders in a zip that facegan has written, and what each is; see `own`."""
    found: dict[str, str] = {}
    for (first, *others), what in _OWN.items():
        for name in names:
            folder, slash, last = name.rpartition("/")
            if last == first and all(f"{folder}{slash}{other}" in names for other in others):
                found[folder + slash] = f"{what}, not photos"
    return found


# fmt: off
_SYSTEM = frozenset((
    "__macosx", "@eadir", "@tmp", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "$recycle.bin", "recycler",
    "recycled", "system volume information", "lost+found", "network trash folder", "temporary items", "thumbs.db",
    "ehthumbs.db", "desktop.ini",
))
# fmt: on
"""What systems and network disks keep beside the files: thumbnails, trash, snapshots, what a repair found."""
_LIBRARIES = (".photoslibrary/", ".photolibrary/", ".migratedphotolibrary/", ".aplibrary/")
_ORIGINALS = ("originals", "masters")


def hidden(name: str, folder: str) -> bool:
    """What nobody means: dotfiles, a system's own folders, and the smaller copies in libraries of photo programs.

    `folder` is the one that it is in, with a slash at its end.
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
    """The photos without what data sets for segmentation keep beside them: a picture that says where the hair is.

    Such pictures are told by the names of their folders, or by their own name beside the photo's, and by their format,
    since JPEG would blur them. Where there is nothing else, they are taken for photos.

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
