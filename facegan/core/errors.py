"""Errors for users, each in one sentence. A broken assumption of the code itself is an `assert` instead."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath, PureWindowsPath
from shlex import quote


def visible(text: str) -> str:
    """Spell out the unprintable characters of a stranger's text: they could move a terminal's cursor or colours."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def typed(path: PurePath) -> str:
    """A path as one types it into a shell, for the commands that hints name."""
    if not isinstance(path, PureWindowsPath):
        return quote(str(path))
    text = path.as_posix()  # Windows takes slashes too; shlex would quote backslashes in a way unknown to cmd
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
    """A value on the command line that is wrong whatever the files hold: the command exits with 2 instead of 1."""


class Interrupted(FaceganError):
    """Stopped by a signal after everything was saved; `signum` gives the exit code 128 + signum."""

    def __init__(self, message: str, hint: str = "", *, signum: int) -> None:
        super().__init__(message, hint)
        self.signum = signum


def first_line(error: BaseException) -> str:
    """The first line of an exception's text without its full stop; the exception's type if the text is empty."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def one_line(error: BaseException) -> str:
    """The whole text of an exception as one line without its full stop; the exception's type if the text is empty."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


_OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "bad_alloc",
    "alloc_failed",  # cuDNN and cuBLAS
    "could not create a primitive",  # oneDNN, which gives no reason
)
"""Words, in small letters, by which torch and the libraries below it say that memory ran out, on GPU and CPU."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception of any type says that memory ran out. Only its text is read, so torch is not needed."""
    if isinstance(error, FaceganError):
        return False
    return isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in _OUT_OF_MEMORY)


@contextmanager
def needed(what: str, extra: str, packages: str, otherwise: str = "") -> Iterator[None]:
    """Report an extra that is missing or broken. Inside this block import its packages, and try what might fail.

    A half-working installation can raise anything: a missing shared library raises an OSError, a package built for
    another NumPy a RuntimeError or an AttributeError.

    Args:
        what: what needs the packages; the subject of the error's sentence.
        extra: the name of facegan's extra.
        packages: the extra's packages, as pip knows them.
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
"""Error numbers for an impossible offset, to which a damaged file leads, and for a folder in the place of a file."""


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn the system's refusal to read into a FaceganError. Errors of absence or damage pass: the caller reports them.

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
    """The paths in a folder, in no order; an empty list if there is no such folder.

    Raises:
        FaceganError: the folder may not be read; a glob would take it for an empty one.
    """
    try:
        with reading(folder):
            return list(folder.iterdir())
    except (OSError, ValueError):
        return []


def is_there(path: Path) -> bool:
    """Whether there is something at `path`.

    Raises:
        FaceganError: the system does not say, because a folder above may not be entered. The file may still be there.
    """
    try:
        with reading(path):
            path.stat()
    except (OSError, ValueError):  # ValueError: a stranger's path may be no valid path
        return False
    return True
