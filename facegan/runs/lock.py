"""One process at a time writes in a run directory.

The system's own lock on the file `lock` is what counts: it ends with the process that holds it, however that ends, so a
lock is never stale. What stands in the file only serves the sentence for the second one who comes.
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
"""The byte that Windows locks: beyond the file's text, which others could not read otherwise."""
_NO_LOCKS_HERE = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}
_TRIES, _PAUSE = 50, 0.02
"""How often, and after how many seconds, a lock is taken again whose file is no longer the one of its name."""


@contextmanager
def locked(run: RunDir) -> Iterator[bool]:
    """Hold a run for this process as long as the block lasts.

    The file is removed at the end. A killed process leaves it behind, but not the lock: the next one takes it over,
    whichever process has the number now, and on whichever machine it was.

    Yields:
        Whether the lock holds; False on a file system that knows no locks, where a second process is not noticed.

    Raises:
        FaceganError: another process holds the run, or the system refuses to write there.
    """
    path = run.path / "lock"
    file = _open_locked(path, run)
    try:
        yield file is not None
    finally:
        if file is not None:
            _remove(path)  # while it is held, so that nobody can hold it and then lose it
            with suppress(OSError):  # a network disk may have lost sight of it; all that counts is written by now
                file.close()
            if sys.platform == "win32":  # which removes no open file, and so none that someone else holds by now
                _remove(path)


def check_free(run: RunDir, world: World) -> None:
    """Raises: FaceganError: someone else holds the run at this moment; the same words in all processes of `world`."""
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
    """The lock's file, open and held; None where there are no locks."""
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
    """The lock's file, open and held.

    Raises:
        FaceganError: another process holds it.
        OSError: ESTALE: its holder, here or on another machine, removed it as it was opened. Or what the system says.
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
                "Wait until it is done, or stop it with Ctrl-C: it saves first. A new run needs no --resume.",
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
    """Raises: OSError: EACCES, EAGAIN or EDEADLK where someone else holds it."""
    if sys.platform == "win32":
        import msvcrt

        file.seek(_FAR)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _still_there(file: BufferedRandom, path: Path, written: bytes) -> bool:
    """Whether the file that was locked is still the one of that name.

    Where the file system numbers no files, or numbers them anew each time, what was written tells.
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
    """Who holds it, in words; it may have opened the file only now."""
    try:
        file.seek(0)
        facts = json.loads(file.read(1000))
        return f"process {facts['process']} on {facts['host']} since {facts['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
