"""Files that are whole or absent: written under a temporary name, synced, then renamed into place."""

import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from facegan.core.errors import FaceganError

NOT_OFFERED = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EPERM}
"""How network and FUSE file systems refuse what they do not know, such as fsync and chmod."""

_TEMPORARY = re.compile(r"\.(.{1,40})-[0-9a-f]{8}(\.[^.]*)?")


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
