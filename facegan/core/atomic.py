"""Write files and folders that are whole or absent: under a temporary name, synced, then renamed into place."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from types import TracebackType

from facegan.core.errors import FaceganError

NOT_OFFERED = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM}
"""Error numbers with which network and FUSE file systems refuse a call that they lack, such as fsync or chmod."""

_TEMPORARY = re.compile(r"\.(.{1,40})-[0-9a-f]{8}(\.[^.]*)?")
_ASIDE = ".facegan-old"
_STEPPED_ASIDE = re.compile(rf"\.(.+)\.[a-z0-9_]{{8}}{re.escape(_ASIDE)}")
"""Name of a folder that is being replaced: a dot, its own name, a part from `tempfile`, and the ending."""

LEFT_BY_SYSTEMS = frozenset(
    (".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", ".@__thumb", "@tmp")
)
"""Files and folders, in small letters, that systems and network disks add to any folder: thumbnails, view settings.

The system makes them again, so they may be deleted with the folder. A trash is not listed: it holds the user's files.
"""


@contextmanager
def atomic_path(path: Path, *, new: bool = False) -> Iterator[Path]:
    """Give a temporary path to write to; when the block ends without error, that file becomes `path` in one step.

    The temporary file is in the same folder (made if missing), so that renaming it never copies. It has the same
    suffix, so that writers which choose a format by name choose the right one. Its name begins with a dot: a killed
    process leaves such a file behind, and code that lists the folder must skip it.

    When the block raises, or is interrupted, the temporary file is removed and a file at `path` is untouched.

    Args:
        path: where the file is to be. An existing file is replaced; permissions are those of a new file.
        new: never replace a file, not even one that another process writes there in the meantime.

    Yields:
        The path to write to. Write a file there, and close it before the block ends.

    Raises:
        FaceganError: the system refuses to write: no space, no permission, `path` is a folder.
        TakenError: with `new`, there is a file at `path` already.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem[:40]}-{secrets.token_hex(4)}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        assert temporary.exists(), f"nothing was written to the temporary path of {path}"
        sync_file(temporary)
        if new:
            _place_new(temporary, path)
        else:
            temporary.replace(path)
    except OSError as error:
        # Only errors about this very file become a sentence. An OSError about another file, such as one that the block
        # reads, passes unchanged, and so does Pillow's "image file is truncated", which has no errno.
        about_this_file = error.filename is None or Path(os.fsdecode(error.filename)) in (temporary, *path.parents)
        if error.errno is None or not about_this_file or isinstance(error, BrokenPipeError):
            raise
        raise FaceganError(
            f"{path} could not be written: {error.strerror}.",
            "Check its folder, the room on the disk and your permissions, or choose another place.",
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


class TakenError(FaceganError):
    """There is already a file where a new one was to be: another command has just written it."""


def _place_new(temporary: Path, path: Path) -> None:
    """Rename a file unless its new name is taken. The system makes or refuses a hard link in one step."""
    try:
        os.link(temporary, path)
    except OSError:  # it is there, or the file system knows no links
        if path.exists():
            raise TakenError(
                f"{path} was made by another command in the meantime, and is left as it is.",
                "Run the command again, or choose another name with --out.",
            ) from None
        temporary.replace(path)


def is_temporary(path: Path) -> bool:
    """Whether this is a temporary file of `atomic_path`. If no process is writing it, a killed one left it behind."""
    return final_name(path.name) is not None and path.is_file()


def final_name(name: str) -> str | None:
    """The name that a temporary file of `atomic_path` was to get, its stem cut to 40 letters; None for other names."""
    match = _TEMPORARY.fullmatch(name)
    return match[1] + (match[2] or "") if match else None


def write_atomic(path: Path, content: bytes | str, *, new: bool = False) -> Path:
    """Write a file in one step: afterwards `path` has the whole new content, or what it had before.

    Args:
        path: where; missing folders are made.
        content: bytes as they are, or text, written as UTF-8 with its line ends untouched on every system.

    Returns:
        `path`.

    Raises:
        FaceganError: the system refuses to write.
    """
    with atomic_path(path, new=new) as temporary:
        temporary.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return path


def sync_file(path: Path) -> None:
    """Bring a file's content to the disk, so that a power cut cannot lose it and keep something written later.

    On a disk that does not offer this, nothing happens and the file is kept.
    """
    with path.open("r+b") as file, suppress_not_offered():  # Windows syncs only files open for writing
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Bring a rename to the disk where the system offers it; Windows does not, and some network disks refuse."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def suppress_not_offered() -> Iterator[None]:
    """Ignore errors which say that a file system does not offer a call. Other errors, such as EIO, are raised."""
    try:
        yield
    except OSError as error:
        if error.errno not in NOT_OFFERED:
            raise


def free_room(folder: Path) -> int | None:
    """Bytes free on the disk of a folder; None where the file system does not say, as some FUSE ones do not."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return usage.free if usage.total else None


class NewFolder:
    """A temporary folder beside `out` to fill. `publish` renames it to `out`; without `publish` it is removed.

    Args:
        out: the folder to make. Parents are made as needed.
        overwrite: replace a folder at `out`, if there is nothing in it but `known` files.
        known: names of the files that this kind of folder consists of, `*` for any part of a name.

    Raises:
        FaceganError: something at `out` may not be replaced, or the system refuses to write.
    """

    def __init__(self, out: Path, *, overwrite: bool, known: Collection[str]) -> None:
        self.out = out
        self._overwrite, self._known = overwrite, known
        self._temporary: Path | None = None

    @property
    def path(self) -> Path:
        """Where to write the files, inside the with block and before `publish`."""
        assert self._temporary is not None, "used outside its with block"
        return self._temporary

    def __enter__(self) -> NewFolder:
        self._check_free()
        with disk_errors(self.out):
            self.out.parent.mkdir(parents=True, exist_ok=True)
            self._remove_abandoned()
            self._temporary = Path(tempfile.mkdtemp(prefix=f".{self.out.name}.", suffix=".part", dir=self.out.parent))
            with suppress_not_offered():  # mkdtemp makes it private: give it the usual permissions
                self._temporary.chmod(0o777 & ~_umask())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary = None

    def publish(self) -> None:
        """Sync every file and rename the folder to `out`. All files must be closed: Windows cannot rename open ones.

        Raises:
            FaceganError: by now there is something at `out` that may not be replaced, or the system refuses.
        """
        with disk_errors(self.out):
            for file in self.path.iterdir():
                if file.is_file():  # a network disk may have added a folder
                    sync_file(file)
            sync_folder(self.path)
            self._check_free()  # again: much may have happened since
            self._rename()
            self._temporary = None
            sync_folder(self.out.parent)

    def _rename(self) -> None:
        """Rename an old `out` out of the way, then the new folder to `out`: a rename onto a full folder would fail.

        If the process is killed between the two renames, `put_back` undoes the first.
        """
        old = self.path.with_suffix(_ASIDE)
        try:
            if self.out.exists():
                self.out.replace(old)
            self.path.replace(self.out)
        except BaseException:
            if old.exists() and not self.out.exists():
                old.replace(self.out)
            raise
        if old.exists():
            old.replace(self.path)  # `put_back` ignores this name, so a removal that stops half-way does no harm
            shutil.rmtree(self.path, ignore_errors=True)

    def _remove_abandoned(self) -> None:
        """Remove what a killed process left behind: folders that nothing was written to for an hour."""
        for folder in self.out.parent.iterdir():
            if folder.name.startswith(f".{self.out.name}.") and folder.suffix == ".part":
                with suppress(OSError, ValueError):
                    if max(file.stat().st_mtime for file in (folder, *folder.iterdir())) < time.time() - 3600:
                        shutil.rmtree(folder, ignore_errors=True)

    def _check_free(self) -> None:
        out = self.out
        other = "Choose another folder: --out FOLDER"
        if not out.name:
            raise FaceganError(f"{out} cannot be made: it is there already.", other)
        if out.is_symlink() or (out.exists() and not out.is_dir()):
            raise FaceganError(f"{out} exists and is not a folder.", other)
        if not out.exists():
            return
        with disk_errors(out):
            present = sorted(file.name for file in out.iterdir())
        foreign = [name for name in present if not _is_known(name, self._known)]
        if foreign:
            raise FaceganError(f"{out} exists and holds other files, such as {foreign[0]}.", other)
        if present and not self._overwrite:
            raise FaceganError(f"{out} exists already.", "Replace it with --overwrite, or choose another with --out")


def _is_known(name: str, known: Collection[str]) -> bool:
    name = final_name(name) or name  # half a file, which a killed process has left, counts as that file
    return name.lower() in LEFT_BY_SYSTEMS or any(fnmatchcase(name, pattern) for pattern in known)


def stepped_aside(parent: Path) -> dict[Path, Path]:
    """Find the folders in `parent` that a killed process had renamed away: the path before -> the path now.

    A folder whose replacement is in place is not listed. This changes nothing; `put_back` does.
    """
    found: dict[Path, Path] = {}
    with suppress(OSError, ValueError):  # ValueError: a stranger's path may be no valid path
        folders = [folder for folder in parent.iterdir() if folder.name.endswith(_ASIDE)]
        for folder in sorted(folders, key=lambda folder: folder.stat().st_mtime):  # the newest comes last and counts
            match = _STEPPED_ASIDE.fullmatch(folder.name)
            if match and folder.is_dir() and not os.path.lexists(parent / match[1]):
                found[parent / match[1]] = folder
    return found


def put_back(out: Path, known: Collection[str]) -> None:
    """Rename the old folder back to `out`, if the process that was replacing it was killed between its two renames.

    Only a folder that belongs to this user and holds nothing but `known` files is renamed: facegan surely made it.
    """
    if (folder := stepped_aside(out.parent).get(out)) is not None:
        with suppress(OSError):
            own = not hasattr(os, "getuid") or folder.stat().st_uid == os.getuid()
            if own and all(_is_known(file.name, known) for file in folder.iterdir()):
                folder.replace(out)


@contextmanager
def disk_errors(out: Path) -> Iterator[None]:
    """Turn the system's refusal to write into a sentence about `out`."""
    try:
        yield
    except (OSError, FaceganError) as error:
        system = error.__cause__ if isinstance(error, FaceganError) else error  # it comes from `atomic_path`
        if not isinstance(system, OSError):
            raise
        culprit = f": {system.filename}" if system.filename and Path(system.filename) in out.parents else ""
        raise FaceganError(
            f"{out} could not be written: {system.strerror or system}{culprit}.",
            "Choose a folder that you may write to, on a disk with room: --out FOLDER",
        ) from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
