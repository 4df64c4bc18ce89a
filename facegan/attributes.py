"""Attribute tables: what is known of each photo, as CelebA's official .txt or any .csv with a header."""

from __future__ import annotations

import csv
import io
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from facegan.errors import FaceganError
from facegan.zips import MAX_ZIP_TABLE, open_zip

MAX_BYTES = 100_000_000
"""Of a table; CelebA's has 27 million."""
MAX_FIELD = 10_000
"""Characters of one value."""


@dataclass
class AttributeTable:
    """Rows by photo.

    Attributes:
        where: the file, for messages.
        columns: the names of the columns after the first.
        rows: photo name -> its values as one CSV line, which takes a tenth of the memory of a list.
    """

    where: str
    columns: tuple[str, ...]
    rows: dict[str, str] = field(repr=False)
    _ambiguous: frozenset[str] = frozenset()

    def for_source(self, names: Iterable[str]) -> AttributeTable:
        """The same table, prepared to be asked for these photos.

        Tables name photos by their last part ("000001.jpg"). Where two photos of the source share it, only their
        whole path finds a row: a row is never given to the wrong photo.
        """
        last = Counter(name.rpartition("/")[2] for name in names)
        twice = frozenset(name for name, times in last.items() if times > 1)
        return AttributeTable(self.where, self.columns, self.rows, twice)

    def row(self, name: str) -> list[str] | None:
        """The values for a photo, or None if the table has none."""
        line = self.rows.get(name)
        last = name.rpartition("/")[2]
        if line is None and last not in self._ambiguous:
            line = self.rows.get(last)
        return None if line is None else next(csv.reader([line]))


def read_attributes(table: Path | str, archive: Path | None = None) -> AttributeTable:
    """Read a table: CelebA's official .txt (a count, a line of names, rows parted by spaces) or a .csv with a header.

    Args:
        table: the file; or, with `archive`, the name of a member of that zip.
        archive: a zip that holds the table.

    Raises:
        FaceganError: it cannot be read, has no header, or a row of another length than the header.
    """
    where = f"{table} in {archive}" if archive else str(table)
    try:
        raw = _from_file(Path(table)) if archive is None else _from_zip(archive, str(table))
        if len(raw) > MAX_BYTES:
            raise FaceganError(f"{where} is longer than {MAX_BYTES:,} bytes.", "Name another table with --attributes")
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FaceganError(f"{where} is not text in UTF-8.", "Save the table again as CSV in UTF-8.") from error
    except (OSError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error, KeyError) as error:
        raise FaceganError(f"The attribute table {where} cannot be read: {error}.", "Check --attributes") from error
    official = text.lstrip().partition("\n")[0].strip().isdigit()
    return _official(where, text) if official else _comma_separated(where, text)


def _from_file(path: Path) -> bytes:
    if path.exists() and not path.is_file():
        raise FaceganError(f"The attribute table {path} is not a file.", "Check --attributes")
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def _from_zip(archive: Path, name: str) -> bytes:
    with open_zip(archive, MAX_ZIP_TABLE) as found, found.open(name) as file:
        return file.read(MAX_BYTES + 1)


def _official(where: str, text: str) -> AttributeTable:
    lines = io.StringIO(text.lstrip())
    next(lines)  # the count: of a table cut to size it says too much
    columns = tuple(next(lines, "").split())
    rows: dict[str, str] = {}
    for number, line in enumerate(lines, start=3):
        fields = line.split()
        if fields:
            _check(where, number, fields, columns)
            rows[fields[0]] = _line(fields[1:])
    return AttributeTable(where, columns, rows)


def _comma_separated(where: str, text: str) -> AttributeTable:
    reader = csv.reader(io.StringIO(text, newline=""))
    rows: dict[str, str] = {}
    try:
        columns = tuple(name.strip() for name in next(reader, [])[1:])
        if not columns:
            raise FaceganError(
                f"{where} has no header of at least two columns.",
                "Its first line names the columns, the first of which is the photo's file name: name,smiling,age",
            )
        for fields in reader:
            if fields:
                _check(where, reader.line_num, fields, columns)
                rows[fields[0].strip()] = _line(fields[1:])
    except csv.Error as error:
        raise FaceganError(f"{where} is broken in line {reader.line_num}: {error}.", "Check the table.") from error
    return AttributeTable(where, columns, rows)


def _check(where: str, number: int, fields: Sequence[str], columns: Sequence[str]) -> None:
    if len(fields) != len(columns) + 1:
        raise FaceganError(
            f"{where} has {len(fields)} fields in line {number} where its header has {len(columns) + 1}.",
            "Correct that line, or name another table with --attributes",
        )
    if max(map(len, fields)) > MAX_FIELD or any("\0" in field for field in fields):
        raise FaceganError(
            f"{where} has a field in line {number} that is no text or longer than {MAX_FIELD:,} characters.",
            "Correct that line, or name another table with --attributes",
        )


def _line(values: Sequence[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow([" ".join(value.splitlines()).strip() for value in values])
    return buffer.getvalue()
