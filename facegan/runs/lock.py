"""Only one process at a time writes in a run directory.

The system's own lock on the file `lock` decides. It ends with the process that holds it, however that process ends, so
a lock is never stale. The text in the file is used only in the error message for a second process.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from io import BufferedRandom
from pathlib import Path

from facegan.core.errors import FaceganError
from facegan.core.world import World
from facegan.runs.folder import RunDir

_FAR = 1 << 30
"""The byte that is locked on Windows. It is beyond the file's text, as other processes cannot read a locked part."""
_NO_LOCKS_HERE = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}
_TRIES, _PAUSE = 50, 0.02
"""How many times, and how many seconds apart, locking is tried again when the file was replaced meanwhile."""


@contextmanager
def locked(run: RunDir) -> Iterator[bool]:
    """Hold a run for this process as long as the block lasts.

    The file is removed at the end. A killed process leaves the file behind, but not the lock. The next process takes
    the file over, even if it names another machine, or a process number that is in use again.

    Yields:
        Whether the run is locked; False on a file system that has no locks, where a second process is not noticed.

    Raises:
        FaceganError: another process holds the run, or the system refuses to write there.
    """
    path = run.path / "lock"
    file = _open_locked(path, run)
    try:
        yield file is not None
    finally:
        if file is not None:
            _remove(path)  # before unlocking, so that no other process locks a file that is then removed
            with suppress(OSError):  # a network disk may have lost sight of it; all that counts is written by now
                file.close()
            if sys.platform == "win32":  # it removes no open file, and so none that another process holds by now
                _remove(path)


def check_free(run: RunDir, world: World) -> None:
    """Raises: FaceganError: another process holds the run now; the message is the same in all processes of `world`."""
    refusal = ""
    if world.first:
        try:
            with locked(run):
                pass
        except FaceganError as error:
            refusal = f"{error.message}\n{error.hint}"
    if refusal := world.tell(refusal):
        raise FaceganError(*refusal.split("\n"))


def _open_locked(path: Path, run: RunDir) -> BufferedRandom | None:
    """Open and lock the file, trying again if it is replaced meanwhile; None where there are no locks."""
    for left in reversed(range(_TRIES)):
        try:
            return _try_to_open(path, run)
        except OSError as error:
            if error.errno in _NO_LOCKS_HERE:
                _remove(path)
                return None
            if error.errno != errno.ESTALE:
                raise FaceganError(
                    f"{run.path} cannot be written to: {error.strerror}.", "Check the folder and your permissions."
                ) from None
            if not left:
                raise FaceganError(
                    f"{run.path} is on a network disk that keeps losing sight of its files: {error.strerror}.",
                    "Try again; if that does not help, mount the disk again.",
                ) from None
        time.sleep(_PAUSE)
    raise AssertionError


def _try_to_open(path: Path, run: RunDir) -> BufferedRandom:
    """Open and lock the file.

    Raises:
        FaceganError: another process holds the lock.
        OSError: ESTALE: the holder, here or on another machine, removed the file while it was being opened. Others:
            what the system says.
    """
    file = path.open("a+b")
    try:
        try:
            _lock(file)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
                raise
            raise FaceganError(
                f"{run.path} is being trained by {_holder(file)}.",
                "Wait until it ends, or stop it with Ctrl-C: it saves first. For a new run, leave out --resume/--run.",
            ) from None
        file.truncate(0)
        file.write(mine := _myself())
        file.flush()
        if not _still_there(file, path, mine):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
    except BaseException:
        with suppress(OSError):
            file.close()
        raise
    return file


def _lock(file: BufferedRandom) -> None:
    """Raises: OSError: EACCES, EAGAIN or EDEADLK if another process holds the lock."""
    if sys.platform == "win32":
        import msvcrt

        file.seek(_FAR)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _still_there(file: BufferedRandom, path: Path, written: bytes) -> bool:
    """Whether the file that was locked is still the one at `path`.

    On a file system without lasting file numbers, the text that this process has written decides.
    """
    try:
        held, found = os.fstat(file.fileno()), path.stat()
        return (held.st_ino != 0 and os.path.samestat(held, found)) or path.read_bytes() == written
    except FileNotFoundError:
        return False


def _myself() -> bytes:
    since = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return json.dumps({"process": os.getpid(), "host": platform.node(), "since": since}).encode()


def _holder(file: BufferedRandom) -> str:
    """Who holds the lock, in words. The holder may not have written its name yet."""
    try:
        file.seek(0)
        facts = json.loads(file.read(1000))
        return f"process {facts['process']} on {facts['host']} since {facts['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
