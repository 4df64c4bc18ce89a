"""Find photos and tables of attributes: in a folder, in a zip read in place, in CelebA in any of its layouts.

Nothing is ever unpacked to disk, and no picture is decoded here: a source is a sorted list of names with a way to
get each one's bytes.
"""

from __future__ import annotations

import os
import stat
import unicodedata
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from facegan.core.errors import FaceganError, typed
from facegan.core.zips import MAX_ZIP_TABLE, member_name, open_zip
from facegan.data.notphotos import hidden, hidden_in, own, own_in, without_masks
from facegan.pictures.photos import DEFLATED, MAX_FILE_BYTES, PICTURES, STORED, Photo

ARCHIVES = (".7z", ".rar", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst")

# The folders of CelebA's aligned photos, the usual one first: the PNG copies are taken only where there are no JPEGs.
CELEBA_FOLDERS = ("img_align_celeba", "img_align_celeba_png")
_CELEBA_NAMES = ("celeba", "img", "archive")
"""Names of CelebA's downloads, and of the folders that hold the ones above."""
CELEBA_TABLES = ("list_attr_celeba.txt", "list_attr_celeba.csv")


@dataclass(frozen=True)
class Source:
    """Photos that were found, not yet read.

    Attributes:
        path: the folder or the zip.
        kind: "folder", "zip", or "several".
        celeba: whether the photos are CelebA's aligned ones.
        photos: sorted by name.
        unusable: (name, reason) of files and folders that cannot be used, as far as that is known without reading them.
        ignored: how many other files there are, whose names are not those of pictures.
        beside: in a source that is CelebA, how many pictures are left out because they are not the aligned ones.
        table: where the CelebA layout has its attributes: a file, or the name of a member of the zip, or None.
        table_crc: checksum of a table that is a member of the zip.
        parts: the sources that a source of kind "several" consists of. Their photos have the same order, and the names
            that they have in their own source.
    """

    path: Path
    kind: str
    photos: Sequence[Photo]
    unusable: Sequence[tuple[str, str]] = ()
    ignored: int = 0
    beside: int = 0
    celeba: bool = False
    table: Path | str | None = None
    table_crc: int = 0
    inner_zips: Sequence[str] = field(default=(), repr=False)
    parts: Sequence[Source] = ()

    @property
    def name(self) -> str:
        """The name of the folder or zip, without its path."""
        return " + ".join(part.name for part in self.parts) or self.path.resolve().name

    @property
    def title(self) -> str:
        """A short name for files: lower case, words joined by hyphens; "celeba" for CelebA under a name of its own."""
        if self.parts:
            first, *others = (part.title for part in self.parts)
            return "-and-".join((first, *others)) if len(others) == 1 else f"{first}-and-{len(others)}-more"
        stem = unicodedata.normalize("NFC", self.path.resolve().name)  # else a letter and its accent become two words
        stem = stem[:-4] if stem.lower().endswith(".zip") else stem
        if self.celeba and stem.lower() in (*CELEBA_FOLDERS, *_CELEBA_NAMES):
            return "celeba"
        words = "".join(letter if letter.isalnum() else " " for letter in stem.lower()).split()
        return "-".join(words) or "photos"


def open_source(path: Path) -> Source:
    """List the photos at `path`: a folder, searched to the bottom, or a .zip, read in place.

    Raises:
        FaceganError: there is nothing at `path`, it is neither a folder nor a zip, it holds no photo, or facegan itself
            has made it.
    """
    if path.is_dir():
        if made := own(path):
            raise FaceganError(f"{path} holds no photos, but {made}.", "Name a folder of photos or a .zip of them.")
        source = _folder(path)
    elif not path.exists():
        raise FaceganError(f"There is nothing at {path}.", "Name a folder of photos or a .zip of them.")
    elif path.is_file() and zipfile.is_zipfile(path):
        source = _zip(path)
    else:
        raise FaceganError(f"{path} is neither a folder nor a zip.", _advice(path))
    if not source.photos and not source.unusable:
        others = f", only other files ({source.ignored:,})" if source.ignored else ": it is empty"
        hint = "Photos are found by their names: .jpg, .png, .webp and the like, at any depth."
        if source.inner_zips:
            hint = f"There is a zip in it: facegan preprocess {typed(path / source.inner_zips[0])}"
            if source.kind == "zip":
                hint = f"There is a zip in it, {source.inner_zips[0]}: unpack the outer one first."
        raise FaceganError(f"{path} holds no photos{others}.", hint)
    return source


def _folder(root: Path) -> Source:
    photos: list[Photo] = []
    unusable: list[tuple[str, str]] = []
    tables: list[str] = []
    zips: list[str] = []
    ignored = 0
    for name, fault in _walk(root):
        suffix = _suffix(name)
        if fault and (suffix in PICTURES or fault != _NOT_A_FILE):
            unusable.append((name, fault))
        elif suffix in PICTURES:
            photos.append(Photo(name))
        else:
            ignored += 1
            if name.rpartition("/")[2] in CELEBA_TABLES:
                tables.append(name)
            elif suffix == ".zip":
                zips.append(name)
    photos, others, celeba = _only_celeba(photos, root.resolve().name, bool(tables))
    photos, masks = without_masks(photos)
    table: Path | None = None
    if celeba:
        table = root / min(tables, key=_by_layout) if tables else _table_near(root)
    photos.sort(key=_by_name)
    unusable = sorted(unusable + masks)
    return Source(root, "folder", photos, unusable, ignored, others, celeba, table, inner_zips=sorted(zips))


_NOT_A_FILE = "not a file: a broken link or a device"


def _walk(root: Path) -> Iterator[tuple[str, str]]:
    """Yield (name, fault) of every file under `root` that is not hidden. Links are followed, but not in circles.

    A folder that facegan has written is itself yielded with a fault; its pictures are not photos.
    """
    seen: set[object] = set()
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            status = (root / folder).stat()
            # Some file systems give folders no number. There the path with its links resolved tells them apart.
            itself = (status.st_dev, status.st_ino) if status.st_ino else os.path.realpath(root / folder)
            if itself in seen:
                continue
            seen.add(itself)
            entries = os.scandir(root / folder)
        except OSError as error:
            yield folder or ".", f"the folder cannot be read: {error.strerror or error}"
            continue
        with entries:
            if made := own(root / folder):
                yield folder, f"{made}, not photos"
                continue
            inside = folder or f"{root.resolve().name}/"
            for entry in entries:
                if hidden(entry.name, inside):
                    continue
                try:
                    is_file, is_folder = entry.is_file(), entry.is_dir()
                except OSError:  # a link to itself
                    is_file = is_folder = False
                if is_file:
                    yield folder + entry.name, ""
                elif is_folder:
                    folders.append(f"{folder}{entry.name}/")
                else:
                    yield folder + entry.name, _NOT_A_FILE


def _suffix(name: str) -> str:
    """ ".jpg" of "a/B.JPG". PurePosixPath would take longer than finding the file does."""
    dot = name.rfind(".")
    return name[dot:].lower() if dot >= 0 else ""


def _by_name(photo: Photo) -> tuple[str, str]:
    """A key for the same order on every system, although a Mac writes a letter and its accent as two characters."""
    name = photo.name
    return (name if name.isascii() else unicodedata.normalize("NFC", name)), name


def _zip(path: Path) -> Source:
    photos: list[Photo] = []
    unusable: list[tuple[str, str]] = []
    tables: dict[str, zipfile.ZipInfo] = {}
    zips: list[str] = []
    ignored = 0
    try:
        with open_zip(path, MAX_ZIP_TABLE) as archive:
            members = [(member_name(member), member) for member in archive.infolist()]
    except (zipfile.BadZipFile, OSError) as error:
        raise FaceganError(
            f"{path} is damaged, or not a zip that can be read in place: {str(error).rstrip('.')}.",
            "Download or pack it again, or unpack it and name the folder.",
        ) from error
    last = dict(members)  # of two with one name, unpacking would leave the last
    made = own_in(last)
    made_in = tuple(made)
    for name, member in members:
        parts = name.split("/")
        suffix = _suffix(name)
        if name.endswith("/") or hidden_in(path, parts):
            continue
        if suffix in PICTURES:
            fault = _fault(member, parts) or (_TWICE if last[name] is not member else "")
            if fault:
                unusable.append((name, fault))
            elif not name.startswith(made_in):
                packing = (member.header_offset, member.compress_size, member.file_size)
                photos.append(Photo(name, *packing, member.compress_type, member.CRC))
            continue
        ignored += 1
        if parts[-1] in CELEBA_TABLES:
            tables[name] = member
        elif suffix == ".zip":
            zips.append(name)
    if unusable and not photos and all(reason == _ENCRYPTED for _, reason in unusable):
        raise FaceganError(
            f"The photos in {path} are encrypted.", "Unpack it with its password, and name the folder instead."
        )
    photos, others, celeba = _only_celeba(photos, path.resolve().stem, bool(tables))
    photos, masks = without_masks(photos)
    table: Path | str | None = None
    table_crc = 0
    if celeba and tables:
        member = tables[min(tables, key=_by_layout)]
        table, table_crc = member.filename, member.CRC
    elif celeba:
        table = _table_near(path)
    photos.sort(key=_by_name)
    unusable = sorted([*unusable, *masks, *((folder or ".", what) for folder, what in made.items())])
    return Source(path, "zip", photos, unusable, ignored, others, celeba, table, table_crc, sorted(zips))


_ENCRYPTED = "encrypted in the zip"
_TWICE = "replaced by a later photo of the same name in the zip"
_METHODS = {9: "Deflate64", 12: "bzip2", 14: "LZMA", 93: "Zstandard", 95: "XZ", 96: "JPEG", 98: "PPMd"}


def _fault(member: zipfile.ZipInfo, parts: Sequence[str]) -> str:
    """Why a member of a zip cannot be used; "" if it can."""
    if ".." in parts or parts[0] == "" or parts[0].endswith(":"):
        return "its path in the zip climbs out of it"
    if member.flag_bits & 0x1:
        return _ENCRYPTED
    if stat.S_ISLNK(member.external_attr >> 16):
        return "a link, not a photo"
    if member.compress_type not in (STORED, DEFLATED):
        method = _METHODS.get(member.compress_type, f"method {member.compress_type}")
        return f"packed with {method}, which cannot be read in place: unpack the zip first"
    if max(member.file_size, member.compress_size) > MAX_FILE_BYTES:
        return f"too large for a photo: {max(member.file_size, member.compress_size):,} bytes"
    return ""


def _only_celeba(photos: list[Photo], root: str, has_table: bool) -> tuple[list[Photo], int, bool]:
    """Keep only CelebA's aligned photos if there is a folder of them: (photos, how many others, whether CelebA)."""
    for folder in CELEBA_FOLDERS:
        inside = [photo for photo in photos if folder in photo.name.split("/")[:-1]]
        if inside:
            return inside, len(photos) - len(inside), True
    return photos, 0, root in CELEBA_FOLDERS or (has_table and bool(photos))


def _by_layout(name: str) -> tuple[int, int]:
    """A key that prefers the table nearest to the top, and of two there the official one."""
    return name.count("/"), CELEBA_TABLES.index(name.rpartition("/")[2])


def _table_near(path: Path) -> Path | None:
    """The attribute table beside the photos or above them: CelebA keeps it in Anno/, Kaggle beside the folder."""
    here = path.resolve()
    for above in list(here.parents)[:3]:
        for place in (above, above / "Anno"):
            for name in CELEBA_TABLES:
                if os.path.isfile(place / name):  # noqa: PTH113, False where it may not be looked at
                    return place / name
    return None


def _advice(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix == ".zip":
        return "It is damaged, or was not downloaded whole."
    if suffix in ARCHIVES:
        return "Unpack it first, and name the folder."
    if suffix in PICTURES:
        return f"Name the folder that the photos are in: facegan preprocess {typed(path.parent)}"
    return "Name a folder of photos or a .zip of them."
