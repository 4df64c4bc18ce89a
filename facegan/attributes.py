"""Attribute tables: what is known of each photo, from any text table whose rows begin with names, or from the names."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path, PurePath

from facegan.errors import FaceganError
from facegan.photos import PICTURES
from facegan.zips import MAX_ZIP_TABLE, open_zip

MAX_BYTES = 100_000_000
"""Of a table; CelebA's has 27 million."""
MAX_FIELD = 10_000
"""Characters of one value."""
MAX_COLUMNS = 4_000

_ANOTHER = "Correct that line, or name another table with --attributes"
_WITHOUT_HEADER = {"identity_celeba": ("identity",), "list_eval_partition": ("partition",)}
"""Published tables that do not name their columns: file name in small letters -> names."""


@dataclass
class AttributeTable:
    """Rows by photo.

    Attributes:
        where: the file, for messages.
        columns: the names of the columns, without that of the photos' names.
        rows: name as the table has it -> its values as one CSV line, which takes a tenth of the memory of a list.
        remarks: sentences about what is odd in the table, and was not used or was guessed.
    """

    where: str
    columns: tuple[str, ...]
    rows: Mapping[str, str] = field(repr=False)
    remarks: tuple[str, ...] = ()
    _of_photo: Mapping[str, str] | None = field(default=None, repr=False)

    def for_source(self, photos: Iterable[str], folder: str = "") -> AttributeTable:
        """The same table, with its rows given to these photos.

        A photo gets the row of its own path; else the one whose path ends like its own, without regard to case and
        Unicode form; else the same without the ending, as ".png" copies of ".jpg" photos need. A row that could belong
        to several photos, or a photo that could have several rows, is left out: no row goes to the wrong photo.

        Args:
            photos: paths inside the source, with slashes.
            folder: name of the source, which the table's paths may begin with.
        """
        photos = list(photos)
        given = {photo: photo for photo in photos if photo in self.rows}
        for key in (_folded, _stem):
            if missing := [photo for photo in photos if photo not in given]:
                rows = _unique((tail, name) for name in self.rows for tail in _tails(key(name)))
                times = Counter(tail for photo in photos for tail in _tails(key(f"{folder}/{photo}")))
                for photo in missing:
                    tail = next((tail for tail in _tails(key(f"{folder}/{photo}")) if tail in rows), "")
                    if (name := rows.get(tail)) is not None and times[tail] == 1:
                        given[photo] = name
        return replace(self, _of_photo=given)

    def row(self, photo: str) -> list[str] | None:
        """The values for a photo, or None if the table has none."""
        name = photo if self._of_photo is None else self._of_photo.get(photo)
        line = None if name is None else self.rows.get(name)
        return None if line is None else next(csv.reader([line]))


def _folded(name: str) -> str:
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def _stem(name: str) -> str:
    return _folded(name.rpartition(".")[0] if _is_picture(name) else name)


def _is_picture(name: str) -> bool:
    """Whether a name ends like a picture's."""
    return f".{name.rpartition('.')[2].lower()}" in PICTURES


def _tails(path: str) -> list[str]:
    """ "c/d/1.jpg", "d/1.jpg" and "1.jpg" of "a/b/c/d/1.jpg": three parts at most, which bounds the memory."""
    parts = path.split("/")[-3:]
    return ["/".join(parts[n:]) for n in range(len(parts))]


def _unique(pairs: Iterable[tuple[str, str]]) -> dict[str, str | None]:
    """Key -> value, or None where a key has several values."""
    found: dict[str, str | None] = {}
    for key, value in pairs:
        found[key] = value if found.get(key, value) == value else None
    return found


_UTKFACE = re.compile(r"(\d{1,3})_([01])_([0-4])_\d{14,20}\D.*")


def from_names(photos: Sequence[str]) -> AttributeTable | None:
    """What UTKFace says in its files' names, as in `26_1_2_20161219204400164.jpg.chip.jpg`; None for other photos.

    The columns are age in years, gender (0 male, 1 female) and race (0 White, 1 Black, 2 Asian, 3 Indian, 4 others).
    """
    matches = {photo: _UTKFACE.fullmatch(photo.rpartition("/")[2]) for photo in photos}
    rows = {photo: ",".join(match.groups()) for photo, match in matches.items() if match}
    if 2 * len(rows) <= len(photos):
        return None
    return AttributeTable("UTKFace's file names", ("age", "gender", "race"), rows)


def read_attributes(table: Path | str, archive: Path | None = None, *, strict: bool = True) -> AttributeTable:
    """Read a table of text: a row per photo, one of its values the photo's file name.

    Values are parted by commas, semicolons, tabs or spaces, told by the first two lines. The names stand in the first
    column that has a picture's name, or in the first column. Before the rows there may be a byte-order mark, Excel's
    `sep=;`, a count of rows as in CelebA's tables, and a header, which may lack the name of the first column.

    Args:
        table: the file; or, with `archive`, the name of a member of that zip.
        archive: a zip that holds the table.
        strict: raise for a line that cannot be used. Otherwise it is left out, and a remark says so.

    Raises:
        FaceganError: it cannot be read, has no two columns, or with `strict` a damaged line.
    """
    where = f"{table} in {archive}" if archive else str(table)
    try:
        raw = _from_file(Path(table)) if archive is None else _from_zip(archive, str(table))
    except (OSError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error, KeyError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise FaceganError(f"The attribute table {where} cannot be read: {why}.", "Check --attributes") from error
    if len(raw) > MAX_BYTES:
        raise FaceganError(f"{where} is longer than {MAX_BYTES:,} bytes.", "Name another table with --attributes")
    try:
        text = raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        what = "a workbook or another zip, not text" if raw[:2] == b"PK" else "not text in UTF-8 or UTF-16"
        hint = "Save the table as CSV in UTF-8; Excel calls it 'CSV UTF-8'."
        raise FaceganError(f"{where} is {what}.", hint) from error
    return _Parser(where, PurePath(str(table)).stem, strict).parse(text)


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
"""What may precede the header: Excel's word on the separator, and CelebA's count of rows."""


class _Parser:
    """One table's lines on their way to rows, and what is found wrong with them."""

    def __init__(self, where: str, stem: str, strict: bool) -> None:
        self.where, self.stem, self.strict = where, stem, strict
        self.rows: dict[str, str] = {}
        self.unusable: list[str] = []
        self.short: list[int] = []
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
        """(line number, values) of all lines that are not blank."""
        lines = io.StringIO(text, newline="")
        if delimiter == " ":  # no quoting: a quote is part of the value
            for number, line in enumerate(lines, start=before + 1):
                if fields := line.split():
                    yield number, [_unquoted(value) for value in fields]
            return
        reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
        try:
            for fields in reader:
                if any(value.strip() for value in fields):
                    yield before + reader.line_num, [value.strip() for value in fields]
        except csv.Error as error:
            self._refuse(f"line {before + reader.line_num} is broken: {error}")

    def _columns(self, cells: list[str], at: int, *, named: bool) -> tuple[str, ...]:
        if named:
            cells = _without_blank_end(cells, at + 1)
        if len(cells) < 2:
            raise FaceganError(
                f"{self.where} has no header of at least two columns, nor rows of as many.",
                "Its first line names the columns, the first of which is the photo's file name: name,smiling,age",
            )
        if len(cells) > MAX_COLUMNS:
            raise FaceganError(f"{self.where} has more than {MAX_COLUMNS:,} columns.", "Leave some out.")
        known = () if named else _WITHOUT_HEADER.get(self.stem.lower(), ())
        columns: list[str] = []
        for number, cell in enumerate(cells, start=1):
            if number == at + 1:
                continue
            if len(known) == len(cells) - 1:
                name = known[len(columns)]
            else:
                name = (cell if named else "") or f"column_{number}"
            while name == "name" or name in columns:  # "name" is the first column of attributes.csv
                name += f"_{number}"
            columns.append(name)
        if not named and not known:
            self.remarks.append(f"{self.where} has no header: its columns are called {_listed(columns)}")
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
        if self.repeated:
            yield f"{self.where} has several rows for a name, {self.repeated:,} times: the last counts"


def _header(first: list[str], rest: list[list[str]], *, by_spaces: bool) -> tuple[list[str] | None, int]:
    """The header, a name per column, or None where the first line is a row; and the index of the column of names.

    A row has a picture's name where a header has none. Where no line has one, a header is known by having no numbers.

    Args:
        rest: the next lines, some.
        by_spaces: whether spaces part the values, as in CelebA's tables, whose headers do not name the first column.
            R writes such headers with any separator; there it takes two rows to tell them from a damaged one.
    """
    longer = sum(len(_without_blank_end(row, len(first))) == len(first) + 1 for row in rest)
    lacks_name = 2 * longer >= len(rest) > 0 if by_spaces else 2 * longer > len(rest) > 1
    if lacks_name and not any(map(_is_picture, first)):
        first = ["", *first]
    for at, value in enumerate(rest[0] if rest else []):
        if _is_picture(value):
            return (None if at < len(first) and _is_picture(first[at]) else first), at
    for at, value in enumerate(first):
        if _is_picture(value):
            return None, at
    return (None if any(map(_is_number, first)) else first), 0


def _first_lines(text: str) -> list[str]:
    """The first two lines that are not blank."""
    lines = (line for line in io.StringIO(text, newline="") if line.strip())
    return [*islice(lines, 2), "", ""][:2]


def _delimiter(first: str, second: str) -> str:
    """What parts the values: the one that parts both lines into equally many, or failing that most of the first."""

    def count(delimiter: str) -> tuple[int, int]:
        try:
            return len(next(csv.reader([first], delimiter=delimiter), [])), len(
                next(csv.reader([second], delimiter=delimiter), [])
            )
        except csv.Error:
            return 0, 0

    counts = {delimiter: count(delimiter) for delimiter in "\t;,"}
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


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value


def _without_blank_end(fields: list[str], least: int) -> list[str]:
    """The fields without the blank ones that Excel adds at the end, down to `least` of them."""
    count = len(fields)
    while count > least and not fields[count - 1]:
        count -= 1
    return fields[:count]


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[-+]?\d+(?:[.,]\d+)?", text) is not None


def _slashed(name: str) -> str:
    """A name with slashes of one kind, from the folder itself."""
    name = name.replace("\\", "/")
    while name.startswith("./"):
        name = name[2:]
    return name


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 4 else f"{names[0]}, {names[1]} ... {names[-1]}"


def _line(values: Sequence[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow([" ".join(value.splitlines()).strip() for value in values])
    return buffer.getvalue()
