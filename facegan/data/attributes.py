"""Attributes of photos, such as age or a smile: read from a table of text, or from the names of the files."""

from __future__ import annotations

import codecs
import csv
import io
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path, PurePath

from facegan.core.errors import FaceganError
from facegan.core.zips import MAX_ZIP_TABLE, open_zip
from facegan.data.rowmatch import is_picture, rows_of_photos

MAX_BYTES = 100_000_000
"""Most bytes of a table; CelebA's has 27 million."""
MAX_FIELD = 10_000
"""Most characters of one value."""
MAX_COLUMNS = 4_000
MAX_ROW = 500_000
"""Most characters of one row or of all column names, since `attributes.csv` and `dataset.json` have limits too."""

_ANOTHER = "Correct that line, or name another table with --attributes"
_WITHOUT_HEADER = {"identity_celeba": ("identity",), "list_eval_partition": ("partition",)}
"""Published tables that do not name their columns: file name in small letters -> names."""


@dataclass
class AttributeTable:
    """A table with one row for each photo.

    Attributes:
        where: the file, for messages.
        columns: the names of the columns, without the column of the photos' names.
        rows: the photo's name as the table has it -> the values as one line of CSV. A list of them would take ten times
            the memory.
        remarks: sentences about what is odd in the table: what was left out, and what was guessed.
    """

    where: str
    columns: tuple[str, ...]
    rows: Mapping[str, str] = field(repr=False)
    remarks: tuple[str, ...] = ()
    _of_photo: Mapping[str, str] | None = field(default=None, repr=False)

    def for_source(self, photos: Iterable[str], folder: str = "") -> AttributeTable:
        """The same table, with its rows given to these photos; see `rows_of_photos`."""
        return replace(self, _of_photo=rows_of_photos(self.rows, photos, folder))

    def row(self, photo: str) -> list[str] | None:
        """The values for a photo, or None if the table has none."""
        name = photo if self._of_photo is None else self._of_photo.get(photo)
        line = None if name is None else self.rows.get(name)
        return None if line is None else next(csv.reader([line]))


_UTKFACE = re.compile(r"(\d{1,3})_([01])_([0-4])_\d{14,20}\D.*")


def from_names(photos: Sequence[str]) -> AttributeTable | None:
    """The attributes in names such as UTKFace's `26_1_2_20161219204400164.jpg.chip.jpg`; None for other photos.

    More than half of the photos must have such a name.

    The columns are age in years, gender (0 male, 1 female) and race (0 White, 1 Black, 2 Asian, 3 Indian, 4 others).
    """
    matches = {photo: _UTKFACE.fullmatch(photo.rpartition("/")[2]) for photo in photos}
    rows = {photo: ",".join(match.groups()) for photo, match in matches.items() if match}
    if 2 * len(rows) <= len(photos):
        return None
    return AttributeTable("UTKFace's file names", ("age", "gender", "race"), rows)


def read_attributes(table: Path | str, archive: Path | None = None, *, strict: bool = True) -> AttributeTable:
    """Read a table of text with one row per photo.

    The first two lines tell whether commas, semicolons, tabs or spaces part the values. The photos' names are in the
    first column that has a picture's name, else in the first column. Before the rows there may be a byte-order mark,
    Excel's `sep=;`, a count of rows as in CelebA's tables, and a header, which may lack the name of the first column.

    Args:
        table: the file; or, with `archive`, the name of a member of that zip.
        archive: a zip that holds the table.
        strict: raise for a line that cannot be used. Otherwise the line is left out, and a remark says so.

    Raises:
        FaceganError: the table cannot be read, or has fewer than two columns, or with `strict` has a damaged line.
    """
    where = f"{table} in {archive}" if archive else str(table)
    try:
        raw = _from_file(Path(table)) if archive is None else _from_zip(archive, str(table))
    except (OSError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error, KeyError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise FaceganError(f"The attribute table {where} cannot be read: {why}.", "Check --attributes") from error
    if len(raw) > MAX_BYTES:
        raise FaceganError(f"{where} is longer than {MAX_BYTES:,} bytes.", "Name another table with --attributes")
    parser = _Parser(where, PurePath(str(table)).stem, strict)
    try:
        text, guessed = _decoded(raw)
    except UnicodeDecodeError as error:
        what = "a workbook or another zip, not text" if raw[:2] == b"PK" else "not text in UTF-8 or UTF-16"
        hint = "Save the table as CSV in UTF-8; Excel calls it 'CSV UTF-8'."
        raise FaceganError(f"{where} is {what}.", hint) from error
    if guessed:
        parser.remarks.append(f"{where} is not in UTF-8, and was read as {guessed}: check letters beyond ASCII")
    return parser.parse(text)


def _decoded(raw: bytes) -> tuple[str, str]:
    """The text, and its encoding if that was guessed: Excel's plain "CSV" is in Windows-1252 in Western Europe.

    Raises:
        UnicodeDecodeError: it is not text.
    """
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return raw.decode("utf-16"), ""
    try:
        return raw.decode("utf-8-sig"), ""
    except UnicodeDecodeError:
        if raw.startswith((codecs.BOM_UTF8, b"PK")) or _NOT_IN_TEXT.search(raw):
            raise
        return raw.decode("cp1252"), "Windows-1252"


_NOT_IN_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f]")
"""Bytes that occur in pictures and programs, but not in text of any encoding with one byte per letter."""


def _from_file(path: Path) -> bytes:
    if path.exists() and not path.is_file():
        raise FaceganError(f"The attribute table {path} is not a file.", "Check --attributes")
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def _from_zip(archive: Path, name: str) -> bytes:
    with open_zip(archive, MAX_ZIP_TABLE) as found, found.open(name) as file:
        return file.read(MAX_BYTES + 1)


_EMPTY_LINES = r"(?:[ \t\r\n]*[\r\n])?"
_PREAMBLE = re.compile(
    rf'{_EMPTY_LINES}(?:"?sep=(?P<sep>[^\r\n])"?[ \t]*(?:\r\n?|\n))?{_EMPTY_LINES}'
    rf"(?:\d+[,;\t ]*(?:\r\n?|\n))?{_EMPTY_LINES}"
)
"""What may stand before the header: Excel's line that names the separator, and CelebA's count of rows."""


class _Parser:
    """Turns one table's lines into rows, and notes what is wrong with them."""

    def __init__(self, where: str, stem: str, strict: bool) -> None:
        self.where, self.stem, self.strict = where, stem, strict
        self.rows: dict[str, str] = {}
        self.unusable: list[str] = []
        self.short: list[int] = []
        self.spread: list[int] = []
        self.repeated = 0
        self.remarks: list[str] = []

    def parse(self, text: str) -> AttributeTable:
        preamble = _PREAMBLE.match(text)
        assert preamble is not None
        before, text = max(map(preamble[0].count, "\r\n")), text[preamble.end() :]
        delimiter = preamble["sep"] or _delimiter(*_first_lines(text))
        lines = self._fields(text, delimiter, before)
        start = list(islice(lines, 6))
        first, *rest = [fields for _, fields in start] or [[]]
        header, at = _header(first, rest, by_spaces=delimiter == " ")
        columns = self._columns(header or first, at, named=header is not None)
        for number, fields in chain(start if header is None else start[1:], lines):
            self._add(number, fields, at, len(columns), padded=delimiter != " ")
        if not self.rows:
            raise FaceganError(f"{self.where} has no row below its header.", "Name another table with --attributes")
        return AttributeTable(self.where, columns, self.rows, tuple(self._all_remarks()))

    def _fields(self, text: str, delimiter: str, before: int) -> Iterator[tuple[int, list[str]]]:
        """Yield (line number, values) of all rows that are not blank; the number is that of a row's first line.

        A quote that is not closed spoils one line only: reading goes on in the next one.
        """
        lines = io.StringIO(text, newline="")
        if delimiter == " ":  # no quoting: a quote is part of the value
            for number, line in enumerate(lines, start=before + 1):
                if fields := line.split():
                    yield number, [_unquoted(value) for value in fields]
            return
        reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
        number = before + 1
        while True:
            start, lines_before = lines.tell(), reader.line_num
            fault = ""
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                fault = str(error)
            taken = reader.line_num - lines_before
            if fault or taken > 1:
                end = lines.tell()
                lines.seek(start)
                line = lines.readline()
                if fault or any(_has_picture(lines.readline(), delimiter) for _ in range(1, taken)):
                    lines.seek(start + len(line))
                    taken, fields = 1, self._alone(line, delimiter, number, fault)
                else:
                    lines.seek(end)
                    self.spread.append(number)
            if any(value.strip() for value in fields):
                yield number, [value.strip() for value in fields]
            number += taken

    def _alone(self, line: str, delimiter: str, number: int, fault: str) -> list[str]:
        """The values of a line that breaks the rules of CSV. If they cannot be read, the line is refused."""
        if line.count('"') % 2:
            fault = "a quote in it is not closed"
        else:
            try:
                return next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))
            except csv.Error as error:
                fault = str(error)
        self._refuse(f"line {number} is broken: {fault}")
        return []

    def _columns(self, cells: list[str], at: int, *, named: bool) -> tuple[str, ...]:
        if named:
            cells = _without_blank_end(cells, at + 1)
        if len(cells) < 2:
            raise FaceganError(
                f"{self.where} has fewer than two columns.",
                "Its first line names the columns, beginning with the photo's file name: name,smiling,age",
            )
        if len(cells) > MAX_COLUMNS:
            raise FaceganError(f"{self.where} has more than {MAX_COLUMNS:,} columns.", "Leave some out.")
        if named and (sum(map(len, cells)) > MAX_ROW or any(len(cell) > MAX_FIELD or "\0" in cell for cell in cells)):
            raise FaceganError(f"{self.where} has names of columns that are no text or too long.", "Shorten them.")
        cells = [" ".join(cell.split()) for cell in cells]
        known = () if named else _WITHOUT_HEADER.get(self.stem.lower(), ())
        columns: list[str] = []
        for number, cell in enumerate(cells, start=1):
            if number == at + 1:
                continue
            if len(known) == len(cells) - 1:
                name = known[len(columns)]
            else:
                name = (cell if named else "") or f"column_{number}"
            while name == "name" or name in columns:  # the first column of attributes.csv is called "name"
                name += f"_{number}"
            columns.append(name)
        if not named and not known:
            named_so = ", ".join(columns if len(columns) <= 4 else (*columns[:2], "...", columns[-1]))
            self.remarks.append(f"{self.where} has no header: its columns are called {named_so}")
        return tuple(columns)

    def _add(self, number: int, fields: list[str], at: int, width: int, *, padded: bool) -> None:
        fields = _without_blank_end(fields, width + 1)
        if len(fields) != width + 1 and not (padded and at < len(fields) <= width):
            found = "1 field" if len(fields) == 1 else f"{len(fields):,} fields"
            self._refuse(f"line {number} has {found} where its header has {width + 1:,}")
            return
        if max(map(len, fields)) > MAX_FIELD or any("\0" in value for value in fields):
            self._refuse(f"line {number} has a field that is no text or longer than {MAX_FIELD:,} characters")
            return
        if len(fields) <= width:
            self.short.append(number)
            fields += [""] * (width + 1 - len(fields))
        name = _slashed(fields.pop(at))
        line = _line(fields)
        if len(line) > MAX_ROW:
            self._refuse(f"line {number} has more than {MAX_ROW:,} characters")
            return
        self.repeated += self.rows.get(name, line) != line
        self.rows[name] = line

    def _refuse(self, what: str) -> None:
        if self.strict:
            raise FaceganError(f"{self.where} is damaged: {what}.", _ANOTHER)
        self.unusable.append(what)

    def _all_remarks(self) -> Iterator[str]:
        yield from self.remarks
        if self.unusable:
            lines = "1 line was" if len(self.unusable) == 1 else f"{len(self.unusable):,} lines were"
            yield f"{self.where} is damaged: {lines} left out; {self.unusable[0]}"
        if self.short:
            lines = "a line has" if len(self.short) == 1 else f"{len(self.short):,} lines have"
            such = f"such as line {self.short[0]}"
            yield f"{self.where}: {lines} fewer fields than the header, {such}; the rest is left blank"
        if self.spread:
            rows = "a row goes" if len(self.spread) == 1 else f"{len(self.spread):,} rows go"
            such = f"such as the one in line {self.spread[0]}"
            yield f"{self.where}: {rows} over several lines, {such}; check that its quotes are closed"
        if self.repeated:
            yield f"{self.where} has several rows for a name, {self.repeated:,} times: the last row counts"


def _header(first: list[str], rest: list[list[str]], *, by_spaces: bool) -> tuple[list[str] | None, int]:
    """Find the header and the column of the photos' names.

    A row has a picture's name, and a header has none. If no line has one, the first line is a header if none of its
    values is a number.

    Args:
        first: values of the first line.
        rest: values of a few lines that follow.
        by_spaces: whether spaces separate the values. They do in CelebA's tables, whose headers do not name the first
            column, so one row that is longer than the header shows this. R leaves out that name too, with any
            separator; there two rows must be longer, since a single one may be damaged.

    Returns:
        The header, with a name for each column, or None if the first line is a row; and the index of the column.
    """
    longer = sum(len(_without_blank_end(row, len(first))) == len(first) + 1 for row in rest)
    lacks_name = 2 * longer >= len(rest) > 0 if by_spaces else 2 * longer > len(rest) > 1
    if lacks_name and not any(map(is_picture, first)):
        first = ["", *first]
    for at, value in enumerate(rest[0] if rest else []):
        if is_picture(value):
            return (None if at < len(first) and is_picture(first[at]) else first), at
    for at, value in enumerate(first):
        if is_picture(value):
            return None, at
    return (None if any(map(_is_number, first)) else first), 0


def _first_lines(text: str) -> list[str]:
    """The first two lines that are not blank."""
    lines = (line for line in io.StringIO(text, newline="") if line.strip())
    return [*islice(lines, 2), "", ""][:2]


def _delimiter(first: str, second: str) -> str:
    """The separator that splits both lines into equally many values, else the one that splits the first into most."""

    def count(line: str, delimiter: str) -> int:
        try:
            return len(next(csv.reader([line], delimiter=delimiter), []))
        except csv.Error:
            return 0

    counts = {delimiter: (count(first, delimiter), count(second, delimiter)) for delimiter in "\t;,"}
    spaces = len(first.split()), len(second.split())
    rules: tuple[Callable[[int, int], bool], ...] = (
        lambda a, b: a == b >= 2,
        lambda a, b: b == a + 1 >= 3,  # the header lacks the name of the first column
        lambda a, b: a >= 2,
    )
    for rule in rules:
        if fitting := [delimiter for delimiter, (a, b) in counts.items() if rule(a, b)]:
            return max(fitting, key=lambda delimiter: counts[delimiter])
    short = [delimiter for delimiter, (a, b) in counts.items() if (a, b) == (1, 2)]
    return short[0] if short and spaces[0] != spaces[1] else " "


def _has_picture(line: str, delimiter: str) -> bool:
    """Whether a value of a line is a picture's name, which means that the line is a row."""
    return any(is_picture(value.strip(' "\r\n')) for value in line.split(delimiter))


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value


def _without_blank_end(fields: list[str], least: int) -> list[str]:
    """The fields without the blank ones that Excel adds at the end; `least` of them stay in any case."""
    count = len(fields)
    while count > least and not fields[count - 1]:
        count -= 1
    return fields[:count]


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[-+]?\d+(?:[.,]\d+)?", text) is not None


def _slashed(name: str) -> str:
    """A name with forward slashes only, and without "./" in front."""
    name = name.replace("\\", "/")
    while name.startswith("./"):
        name = name[2:]
    return name


def _line(values: Sequence[str]) -> str:
    """The values as one line of CSV; line breaks in them become spaces."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow([" ".join(value.splitlines()).strip() for value in values])
    return buffer.getvalue()
