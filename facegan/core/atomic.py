"""Files and folders that are whole or absent: written under a temporary name, synced, then renamed into place."""

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
"""How network and FUSE file systems refuse what they do not know, such as fsync and chmod."""

_TEMPORARY = re.compile(r"\.(.{1,40})-[0-9a-f]{8}(\.[^.]*)?")
_ASIDE = ".facegan-old"
_STEPPED_ASIDE = re.compile(rf"\.(.+)\.[a-z0-9_]{{8}}{re.escape(_ASIDE)}")
"""Name of a folder that is being replaced: a dot, its own name, a part from `tempfile`, and the ending."""

LEFT_BY_SYSTEMS = frozenset(
    (".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", ".@__thumb", "@tmp")
)
"""Files and folders, in small letters, that systems and network disks add to any folder: thumbnails, how to show it.

They can be made again, so that they may go with the folder. A trash has files of the user's, and is not among them.
"""


@contextmanager
def atomic_path(path: Path, *, new: bool = False) -> Iterator[Path]:
    """Lend a temporary path to write to; when the block ends well, its file becomes `path` in one step.

    The temporary file stands in the same folder (made if missing), so that renaming it never copies, and has the same
    suffix, so that writers which choose a format by name choose the right one. Its name begins with a dot: whoever
    lists a folder for such files must skip those, as a killed process leaves one behind.

    When the block raises, or is interrupted, the temporary file is removed and what stood at `path` is untouched.

    Args:
        path: where the file shall be. An existing file is replaced; permissions are those of a new file.
        new: replace nothing, even what another process has written there in the meantime.

    Yields:
        The path to write to. Write a file there, and close it before the block ends.

    Raises:
        FaceganError: the system refuses to write: no space, no permission, `path` is a folder.
        TakenError: it exists and is to be new.
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
        # Only the system's word on this very file: an OSError about something read inside the block passes unchanged,
        # and so does Pillow's "image file is truncated", which has no errno.
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
    """A file that was to be new is there: another command has just written it."""


def _place_new(temporary: Path, path: Path) -> None:
    """Give a file its name unless there is one of that name: a link is made or refused in one step."""
    try:
        os.link(temporary, path)
    except OSError:  # it is there, or the file system knows no links
        if path.exists():
            raise TakenError(
                f"{path} was made by another command in the meantime, and is left as it is.",
                "Do it again, or choose another name with --out.",
            ) from None
        temporary.replace(path)


def is_temporary(path: Path) -> bool:
    """Whether `atomic_path` made this file; with nobody at work on it, a killed process left it behind."""
    return final_name(path.name) is not None and path.is_file()


def final_name(name: str) -> str | None:
    """The name that a temporary file of `atomic_path` was to get, its stem at most 40 long; None for any other name."""
    match = _TEMPORARY.fullmatch(name)
    return match[1] + (match[2] or "") if match else None


def write_atomic(path: Path, content: bytes | str) -> Path:
    """Write a whole file in one step, or leave what is there.

    Args:
        path: where; missing folders are made.
        content: bytes as they are, or text, written as UTF-8 with its line ends untouched on every system.

    Returns:
        `path`.

    Raises:
        FaceganError: the system refuses to write.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return path


def sync_file(path: Path) -> None:
    """Bring a file's content to the disk, so that what is written after it cannot outlive it in a power cut.

    A disk that offers no such thing keeps the file all the same.
    """
    with path.open("r+b") as file, suppress_not_offered():  # Windows syncs only what is open for writing
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
    """Go on without what the file system does not offer; what it offers and fails in, such as EIO, goes through."""
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
    """A folder beside `out` to fill; `publish` gives it its name. Left without that, it is removed.

    Args:
        out: the folder to make. Parents are made as needed.
        overwrite: replace what is at `out`, if there is nothing in it but `known` files.
        known: names of the files that this kind of folder consists of, `*` for any part of a name.

    Raises:
        FaceganError: `out` is in the way, or the system refuses to write.
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
            with suppress_not_offered():  # mkdtemp makes it private; this is to be like any other folder
                self._temporary.chmod(0o777 & ~_umask())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary = None

    def publish(self) -> None:
        """Sync every file and rename the folder to `out`. All files must be closed: Windows renames no open ones.

        Raises:
            FaceganError: something has come to `out` meanwhile that may not be replaced, or the system refuses.
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
        """Rename an old folder out of the way first: no folder can be renamed onto one that is not empty.

        `put_back` undoes that after a kill between the two renames.
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
    name = final_name(name) or name  # a killed process has left half of it
    return name.lower() in LEFT_BY_SYSTEMS or any(fnmatchcase(name, pattern) for pattern in known)


def stepped_aside(parent: Path) -> dict[Path, Path]:
    """Folders of `parent` that a killed process left renamed: the name that each had -> where it is now.

    A folder whose successor is there is not among them. Nothing is changed; see `put_back`.
    """
    found: dict[Path, Path] = {}
    with suppress(OSError, ValueError):  # a stranger's path may be none at all
        folders = [folder for folder in parent.iterdir() if folder.name.endswith(_ASIDE)]
        for folder in sorted(folders, key=lambda folder: folder.stat().st_mtime):  # of several the newest
            match = _STEPPED_ASIDE.fullmatch(folder.name)
            if match and folder.is_dir() and not os.path.lexists(parent / match[1]):
                found[parent / match[1]] = folder
    return found


def put_back(out: Path, known: Collection[str]) -> None:
    """Give `out` its name again, if the process that was replacing it was killed after it had stepped aside.

    Only a folder of this user is renamed, and only if it holds nothing but `known` files: it is surely ours.
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
        system = error.__cause__ if isinstance(error, FaceganError) else error  # of `atomic_path`, about a file in it
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
