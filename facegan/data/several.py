"""Several sources as one: their photos one after another, under names that say where each is from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import permutations
from pathlib import Path

from facegan.core.errors import FaceganError
from facegan.data.crops import Crop
from facegan.data.decode import Job, in_chunks
from facegan.data.sources import Source, open_source
from facegan.pictures.photos import Photo


def open_sources(paths: Sequence[Path]) -> Source:
    """One source of several: first all photos of the first, each under the last part of its source's path.

    Where two sources would share that name, as many parts are taken as tell all of them apart. A table of attributes is
    not looked for.

    Raises:
        FaceganError: as `open_source`, or a source is given twice, or lies in another one.
    """
    if len(paths) == 1:
        return open_source(paths[0])
    parts = [open_source(path) for path in paths]
    places = [path.resolve() for path in paths]
    for (one, here), (other, there) in permutations(zip(paths, places, strict=True), 2):
        if here == there or (there in here.parents and here.is_dir()):
            again = "given twice" if here == there else f"in {other}: its photos would be taken twice"
            raise FaceganError(f"{one} is {again}.", "Name every folder and zip once.")
    labelled = list(zip(_labels(places), parts, strict=True))
    return Source(
        path=Path(" + ".join(map(str, paths))),
        kind="several",
        photos=[photo._replace(name=f"{label}/{photo.name}") for label, part in labelled for photo in part.photos],
        unusable=[(f"{label}/{name}", reason) for label, part in labelled for name, reason in part.unusable],
        ignored=sum(part.ignored for part in parts),
        beside=sum(part.beside for part in parts),
        celeba=all(part.celeba for part in parts),
        parts=parts,
    )


def _labels(places: Sequence[Path]) -> list[str]:
    """As many of the last parts of each path as tell all of them apart."""
    words = [place.as_posix().replace(":", "").strip("/").split("/") for place in places]
    for count in range(1, max(map(len, words)) + 1):
        labels = ["/".join(parts[-count:]) for parts in words]
        if len(set(labels)) == len(labels):
            break
    return labels


def tasks(found: Source, taken: slice, size: int, crop: Crop) -> Iterator[tuple[Job, Sequence[Photo]]]:
    """The photos that are taken, a chunk at a time, each under its name in its own source."""
    first, last = taken.start, len(found.photos) if taken.stop is None else taken.stop
    for part in found.parts or (found,):
        photos = part.photos[max(0, first) : max(0, last)]
        yield from in_chunks(Job(part.path, part.kind, size, crop), photos)
        first, last = first - len(part.photos), last - len(part.photos)
