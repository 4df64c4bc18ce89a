"""What goes wrong for users, said in one sentence. A broken assumption of ours is an `assert` instead."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath, PureWindowsPath
from shlex import quote


def visible(text: str) -> str:
    """A text that a stranger may have chosen, with what would move a terminal's cursor or colours spelled out."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def typed(path: PurePath) -> str:
    """A path as one types it into a shell, for the commands that hints name."""
    if not isinstance(path, PureWindowsPath):
        return quote(str(path))
    text = path.as_posix()  # as good there as the backslash, which shlex would quote in a way that cmd does not know
    return f'"{text}"' if " " in text else text


class FaceganError(Exception):
    """Bad input or a failed operation: one sentence that says what and where, and one hint that says what to do.

    Args:
        message: what is wrong, naming the file or value. One sentence.
        hint: what to do about it, if there is something.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(visible(message))
        self.message = visible(message)
        self.hint = visible(hint)


class UsageError(FaceganError):
    """A value on the command line that no file could make right: the command exits with 2 instead of 1."""


class Interrupted(FaceganError):
    """Stopped by a signal after everything was saved; `signum` gives the exit code 128 + signum."""

    def __init__(self, message: str, hint: str = "", *, signum: int) -> None:
        super().__init__(message, hint)
        self.signum = signum


def first_line(error: BaseException) -> str:
    """What another library says, without the lines that follow; the name of its type where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def one_line(error: BaseException) -> str:
    """All that another library says, as one line; the name of its type where it says nothing."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


_OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "bad_alloc",
    "alloc_failed",  # cuDNN and cuBLAS
    "could not create a primitive",  # oneDNN, which says no more
)
"""How torch and the libraries below it say it, on GPU and CPU, in small letters."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception of whatever type says that memory ran out: told by its text, which needs no torch."""
    if isinstance(error, FaceganError):
        return False
    return isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in _OUT_OF_MEMORY)


@contextmanager
def needed(what: str, extra: str, packages: str, otherwise: str = "") -> Iterator[None]:
    """Import the packages of an extra inside, and do what a broken one would fail in.

    A half-working installation can raise anything: a shared library that is missing is an OSError, a package built for
    another NumPy a RuntimeError or an AttributeError.

    Args:
        what: needs them, as the sentence's subject.
        extra: of facegan.
        packages: that the extra brings, as pip knows them.
        otherwise: what to do instead, such as ", or end the name in .gif".

    Raises:
        FaceganError: a package is missing or does not load.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = f"{error.name} is missing" if error.name else one_line(error)
        raise FaceganError(
            f"{what} needs facegan's extra {extra!r}, which is not installed: {missing}.",
            f'pip install "facegan[{extra}]"{otherwise}',
        ) from error
    except Exception as error:
        raise FaceganError(
            f"{what} needs facegan's extra {extra!r}, which is installed but does not work: {one_line(error)[:300]}.",
            f"Install it again: pip install --force-reinstall --no-deps {packages}{otherwise}",
        ) from error


_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
_DAMAGED = (None, errno.EINVAL, errno.EISDIR)
"""What the system says where a damaged file leads to an impossible offset, or a folder stands where a file should."""


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn the system's refusal to read into a sentence; absence and damage pass, for the caller to tell.

    Raises:
        FaceganError: no permission, a disk that fails or has gone, and the like.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (*_ABSENT, *_DAMAGED):
            raise
        raise FaceganError(
            f"{error.filename or path} cannot be read: {error.strerror}.",
            "Check that you may read it and the folders above, and that its disk is there.",
        ) from error


def listing(folder: Path) -> list[Path]:
    """What is in a folder, in no order; nothing where there is none.

    Raises:
        FaceganError: it may not be read, which a glob would take for an empty folder.
    """
    try:
        with reading(folder):
            return list(folder.iterdir())
    except (OSError, ValueError):
        return []


def is_there(path: Path) -> bool:
    """Whether there is something at `path`.

    Raises:
        FaceganError: the system does not say, because a folder above may not be looked into. That is no absence.
    """
    try:
        with reading(path):
            path.stat()
    except (OSError, ValueError):  # a stranger's path may be none at all
        return False
    return True
