"""Photos in, a dataset directory out: list them, decode them in parallel, write them in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facegan.config import SIZES
from facegan.core.atomic import free_room, put_back
from facegan.core.errors import FaceganError, UsageError, is_there
from facegan.core.quantities import size as in_bytes
from facegan.core.workers import in_order, processors
from facegan.data.attributes import AttributeTable, from_names, read_attributes
from facegan.data.crops import parse_crop
from facegan.data.decode import Decoded, decode_chunk
from facegan.data.faces import NO_FACE, check_installed
from facegan.data.folder import KNOWN_FILES, DatasetInfo
from facegan.data.settings import kept, settings_of
from facegan.data.several import open_sources, tasks
from facegan.data.sources import Source
from facegan.data.trial import PHOTOS, draw, framing, look
from facegan.data.writer import DatasetWriter
from facegan.pictures.photos import Photo

FILTER = "lanczos"


@dataclass(frozen=True)
class PreprocessResult:
    """What became of a source.

    Attributes:
        path: the dataset directory.
        info: what its dataset.json says.
        count: photos in it.
        skipped: photos left out, each with its reason in skipped.csv.
        reasons: reason -> how many, the most frequent first; numbers within reasons are left out.
        duplicates: photos with the same pixels as an earlier one: in it all the same, or with `dedupe` among `skipped`.
        crop: how they were cut, as `--crop` takes it.
        ignored: other files of the source: neither pictures by their names nor the table.
        beside: pictures beside CelebA's aligned ones, which are left out.
        enlarged: photos whose crop had fewer pixels than the images have.
        animated: animated files of which the first frame was taken.
        beyond: found faces so near the edge that more than a quarter of the image lies beyond the photo.
        table: where the attributes came from, or None.
        without_attributes: photos that the table has no row for.
        remarks: sentences about the table: what in it could not be used, or was guessed.
        reused: an existing dataset was kept, and nothing was written. All from `reasons` to `remarks` is then empty.
    """

    path: Path
    info: DatasetInfo
    count: int
    skipped: int
    duplicates: int
    crop: str
    reasons: tuple[tuple[str, int], ...] = ()
    ignored: int = 0
    beside: int = 0
    enlarged: int = 0
    animated: int = 0
    beyond: int = 0
    table: str | None = None
    without_attributes: int = 0
    remarks: tuple[str, ...] = ()
    reused: bool = False


def preprocess(
    source: Path | Sequence[Path],
    *,
    size: int,
    crop: str = "square",
    faces: str | None = None,
    attributes: Path | None = None,
    limit: int | None = None,
    skip: int | None = None,
    workers: int | None = None,
    out: Path | None = None,
    dedupe: bool = False,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> PreprocessResult:
    """Make a dataset of S x S images from a folder or zip of photos.

    Images are in the order of the photos' names, whatever the number of workers, and the same bytes every time.
    Memory does not grow with their number, but for their names and attributes. Every photo is either in the dataset
    or in skipped.csv with a reason.

    Args:
        source: a folder, a .zip, or CelebA in any of its layouts; or several of them, see `open_sources`.
        size: S, one of SIZES.
        crop: face, square, none, PIXELS, a FRACTION or a protocol's name; see `crops.parse_crop`.
        faces: for crop "face": "largest", the default, or "all" faces of a photo, each in a row of its own.
        attributes: a table of text; see `attributes.read_attributes`. CelebA's own is found by itself, and UTKFace's
            attributes are read from its names.
        limit: take only the first so many photos by name.
        skip: leave out so many photos before that.
        workers: processes; the number of processors that this one may use by default.
        out: where to; data/<name>-<size> by default.
        dedupe: leave out photos with the same pixels as an earlier one.
        overwrite: replace an existing dataset. Otherwise it is kept, if it was made with these settings.
        progress: called with (photos done, photos in all).

    Raises:
        UsageError: a value that is not legal, whatever the source.
        FaceganError: the source holds no usable photo, the dataset cannot be written, or what crop "face" needs is not
            installed.
    """
    _check_numbers(size, limit, skip, workers)
    how = parse_crop(crop, faces)
    found = open_sources([source] if isinstance(source, Path) else source)
    out = out or Path("data") / f"{found.title}-{size}"
    settings = settings_of(found, size, how, attributes, limit, skip, dedupe)
    put_back(out, KNOWN_FILES)
    if is_there(out / "dataset.json") and not overwrite:
        info = kept(out, settings, how)
        return PreprocessResult(out, info, info.count, info.skipped, info.duplicates, str(how), reused=True)
    if how.kind == "face":
        check_installed()
    table, remarks = _table(found, attributes)
    taken = _taken(found, limit, skip)
    photos = found.photos[taken]
    tally = _Tally(dedupe, table)
    with DatasetWriter(out, size, columns=table.columns if table else (), overwrite=overwrite) as writer:
        _check_room(out, len(photos) * size * size * 3)
        for name, reason in found.unusable:
            tally.skip(writer, name, reason)
        done = 0
        with closing(in_order(decode_chunk, tasks(found, taken, size, how), workers or processors())) as results:
            for result in results:
                tally.take(writer, result, photos[done : done + result.photos])
                done += result.photos
                if progress:
                    progress(done, len(photos))
        if not writer.count:
            raise _none_usable(found, tally)
        if note := framing(found, taken, size, how):
            remarks = (*remarks, note)
        info = writer.finish(source=settings["source"], crop=how.describe(), filter=FILTER, settings=settings)
    return PreprocessResult(
        path=out,
        info=info,
        count=info.count,
        skipped=info.skipped,
        duplicates=tally.duplicates,
        crop=str(how),
        reasons=tuple(sorted(tally.reasons.items(), key=lambda item: (-item[1], item[0]))),
        ignored=found.ignored - _is_inside(attributes or found.table, found) if table else found.ignored,
        beside=found.beside,
        enlarged=tally.enlarged,
        animated=tally.animated,
        beyond=tally.beyond,
        table=table.where if table else None,
        without_attributes=tally.without_attributes,
        remarks=remarks,
    )


@dataclass(frozen=True)
class Trial:
    """What `try_out` saw.

    Attributes:
        sheet: a picture (H, W, 3) of it.
        photos: photos of the source that would be taken, or skipped, by `preprocess`.
        seen: how many of them were looked at.
        faces: images that they would become.
        reasons: reason -> how many would be skipped, the most frequent first.
    """

    sheet: np.ndarray
    photos: int
    seen: int
    faces: int
    reasons: tuple[tuple[str, int], ...]


def try_out(
    source: Path | Sequence[Path],
    *,
    size: int,
    crop: str = "square",
    faces: str | None = None,
    limit: int | None = None,
    skip: int | None = None,
    workers: int | None = None,
) -> Trial:
    """Look at a few dozen photos, evenly spread, and draw what `preprocess` would make of them. Nothing is written.

    Args:
        As those of `preprocess`.

    Raises:
        UsageError, FaceganError: as `preprocess`.
    """
    _check_numbers(size, limit, skip, workers)
    how = parse_crop(crop, faces)
    found = open_sources([source] if isinstance(source, Path) else source)
    if how.kind == "face":
        check_installed()
    taken = _taken(found, limit, skip)
    photos = len(found.photos[taken])
    if not photos:
        raise FaceganError(f"{found.path} holds no photos that can be read.", "Photos are found by their names.")
    looks = look(found, taken, size, how, workers or processors())
    faces_taken = sum(not one.reason for one in looks)
    seen = min(photos, PHOTOS)
    title = f"What --crop {how} takes of {seen} of {photos:,} photos" if seen < photos else f"What --crop {how} takes"
    reasons = Counter(_kind(one.reason) for one in looks if one.reason)
    return Trial(draw(looks, title), photos, seen, faces_taken, tuple(reasons.most_common()))


def _check_numbers(size: int, limit: int | None, skip: int | None, workers: int | None) -> None:
    if size not in SIZES:
        raise UsageError(
            f"--size {size} is not a power of two from {SIZES[0]} to {SIZES[-1]}.",
            f"Choose one of {', '.join(map(str, SIZES[:-1]))} and {SIZES[-1]}",
        )
    if limit is not None and limit < 1:
        raise UsageError(f"--limit {limit} leaves no photos.", "Give a number of at least 1, or leave it out.")
    if skip is not None and skip < 0:
        raise UsageError(f"--skip {skip} is not a number of photos.", "Give a number, or leave it out.")
    if workers is not None and workers < 1:
        raise UsageError(f"--workers {workers} is not a number of processes.", "Give at least 1, or leave it out.")


def _taken(found: Source, limit: int | None, skip: int | None) -> slice:
    """Which of the photos are wanted."""
    taken = slice(skip or 0, None if limit is None else (skip or 0) + limit)
    if found.photos and not found.photos[taken]:
        raise FaceganError(f"--skip {skip} leaves none of the {len(found.photos):,} photos.", "Skip fewer.")
    return taken


def _kind(reason: str) -> str:
    """A reason without what differs from photo to photo."""
    return "same pixels as another photo" if reason.startswith("same pixels as ") else reason.partition(":")[0]


class _Tally:
    """Counts what happens to the photos while they are written."""

    def __init__(self, dedupe: bool, table: AttributeTable | None) -> None:
        self.dedupe, self.table = dedupe, table
        self.duplicates = self.enlarged = self.animated = self.beyond = self.without_attributes = 0
        self.reasons: dict[str, int] = {}
        self._first: dict[bytes, str] = {}

    def take(self, writer: DatasetWriter, result: Decoded, photos: Sequence[Photo]) -> None:
        """Write a chunk: its faces to the dataset, its faults to skipped.csv."""
        for row, reason in result.faults.items():
            self.skip(writer, photos[row.photo].name + row.mark, reason)
        rows = result.rows
        names = [photos[row.photo].name + row.mark for row in rows]
        images = np.frombuffer(result.pixels, np.uint8).reshape(len(names), writer.size, writer.size, 3)
        keep = []
        for index, (name, digest) in enumerate(zip(names, result.digests, strict=True)):
            first = self._first.setdefault(digest, name)
            if first is not name:
                self.duplicates += 1
                if self.dedupe:
                    self.skip(writer, name, f"same pixels as {first}")
                    continue
                writer.duplicate(name, first)
            keep.append(index)
        if len(keep) < len(names):
            images, names, rows = images[keep], [names[index] for index in keep], [rows[index] for index in keep]
        if names:
            writer.write(images, names, self._attributes([photos[row.photo].name for row in rows]))
        self.enlarged += result.enlarged
        self.animated += result.animated
        self.beyond += result.beyond

    def skip(self, writer: DatasetWriter, name: str, reason: str) -> None:
        writer.skip(name, reason)
        kind = _kind(reason)
        self.reasons[kind] = self.reasons.get(kind, 0) + 1

    def _attributes(self, names: Sequence[str]) -> list[list[str]] | None:
        if self.table is None:
            return None
        rows = [self.table.row(name) for name in names]
        self.without_attributes += rows.count(None)
        return [[""] * len(self.table.columns) if row is None else row for row in rows]


def _table(found: Source, attributes: Path | None) -> tuple[AttributeTable | None, tuple[str, ...]]:
    """The attributes, and remarks on them. Only a table that was named is an error where it cannot be used."""
    names = [photo.name for photo in found.photos]
    try:
        if attributes is not None:
            table = read_attributes(attributes)
        elif isinstance(found.table, str):
            table = read_attributes(found.table, archive=found.path, strict=False)
        elif found.table is not None:
            table = read_attributes(found.table, strict=False)
        else:
            return from_names(names), ()
    except FaceganError as error:
        if attributes is not None:
            raise
        return None, (f"no attributes: {error.message}",)
    table = table.for_source(names, found.path.resolve().name.removesuffix(".zip"))
    if not names or any(table.row(name) for name in names):
        return table, table.remarks
    missing = f"{table.where} has no row for any photo in {found.path}, such as {names[0]}"
    if attributes is None:
        return None, (*table.remarks, f"no attributes: {missing}")
    raise FaceganError(f"{missing}.", "A column of it must hold the photos' file names.")


def _is_inside(table: Path | str | None, found: Source) -> bool:
    """Whether the table is one of the files of the source. A table in a zip, whose name is a text, always is."""
    if table is None or isinstance(table, str):
        return table is not None
    return any(part.path.resolve() in table.resolve().parents for part in found.parts or (found,))


def _check_room(out: Path, needed: int) -> None:
    """Raise before an hour's work, not after it, if the disk is too small."""
    free = free_room(out.absolute().parent)
    if free is not None and needed > free:
        raise FaceganError(
            f"The dataset needs {in_bytes(needed)}, and the disk of {out} has {in_bytes(free)} free.",
            "Make room, choose another disk with --out, or take fewer photos with --limit",
        )


def _none_usable(found: Source, tally: _Tally) -> FaceganError:
    total = sum(tally.reasons.values())
    reason, times = max(tally.reasons.items(), key=lambda item: item[1])
    hint = next((hint for part, hint in _HINTS.items() if part in reason), "See whether a picture viewer opens them.")
    which = "all" if times == total else f"{times:,} of them"
    return FaceganError(f"{found.path}: none of its photos ({total:,}) could be used; {which}: {reason}.", hint)


_HINTS = {
    "smaller than the crop": "Choose a smaller --crop, or --crop square",
    "too small to show": "Choose a larger --crop, such as square, if the photos themselves are larger.",
    "CelebA": "Named crops are for CelebA's aligned photos; for others use --crop square, PIXELS or a FRACTION",
    NO_FACE: "Are faces in them, of 20 pixels or more? If a face fills each photo to the edge, try --crop square",
    "face too small": "Choose a smaller --size.",
    "packed with": "Unpack the zip, and name the folder instead.",
    "cannot be read": "Check that you may read them.",
    "facegan": "Name the folder that the photos are in.",
}
