"""Packages that only some commands need: where one is missing, or is there and does not load, a sentence says so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from facegan.errors import FaceganError, one_line


@contextmanager
def needed(what: str, extra: str, packages: str, otherwise: str = "") -> Iterator[None]:
    """Import the packages of an extra inside, and do what a broken one would fail in.

    A half-working installation can raise anything: a shared library that is missing is an OSError, a package built for
    another NumPy a RuntimeError or an AttributeError.

    Args:
        what: needs them, as the sentence's subject.
        extra: of facegan.
        packages: that the extra brings, as pip knows them.
        otherwise: what to do instead, such as " or end the name in .gif".

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
