"""The columns of a dataset's attributes.csv as numbers to learn from."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facegan.core.errors import FaceganError, reading
from facegan.data.folder import DatasetInfo, make_again

_MAX_LINE = 1 << 20
_LARGEST = 1e12
"""Larger numbers have no square that fits well into float32."""
_YES_NO = {"1": 1.0, "0": 0.0, "-1": 0.0, "yes": 1.0, "no": 0.0, "true": 1.0, "false": 0.0}


@dataclass(frozen=True)
class Column:
    """One attribute of all photos.

    Attributes:
        name: of the column.
        numeric: whether its values are numbers such as an age; else they are 1 for yes and 0 for no.
        values: float32 (N,), one for each photo; NaN where the table is blank.
    """

    name: str
    numeric: bool
    values: NDArray[np.float32]

    def standardised(self) -> NDArray[np.float32]:
        """Numbers with mean 0 and standard deviation 1; yes and no as they are."""
        if not self.numeric:
            return self.values
        return ((self.values - np.nanmean(self.values)) / np.nanstd(self.values)).astype(np.float32)


def read_columns(info: DatasetInfo) -> tuple[list[Column], dict[str, str]]:
    """The columns of a dataset that can be learnt, and the names of the others with the reason.

    A column of yes and no has two values, which are 1 and -1, 1 and 0, yes and no, or true and false. All others must
    hold numbers.

    Raises:
        FaceganError: the dataset has no table of attributes, or its table is damaged.
    """
    if not info.attributes:
        raise FaceganError(
            f"{info.path} has no attributes to learn.",
            "Make it with a table of them: facegan preprocess SOURCE --attributes table.csv",
        )
    texts = _texts(info)
    columns, others = [], {}
    for name, values in zip(info.attributes, zip(*texts, strict=True), strict=True):
        found = _column(name, values)
        if isinstance(found, Column):
            columns.append(found)
        else:
            others[name] = found
    return columns, others


def _texts(info: DatasetInfo) -> list[list[str]]:
    """The rows without the photos' names."""
    path, wanted = info.path / "attributes.csv", ["name", *info.attributes]
    fault = "does not fit dataset.json"
    try:
        with reading(path), path.open(encoding="utf-8", newline="") as file:
            table = csv.reader(iter(lambda: file.readline(_MAX_LINE), ""))
            header = next(table, None)
            rows = [row[1:] for row in table]
    except (OSError, ValueError, csv.Error) as error:
        header, rows, fault = None, [], f"cannot be read: {error}"
    if header != wanted or len(rows) != info.count or any(len(row) != len(wanted) - 1 for row in rows):
        raise FaceganError(f"{path} {fault}.", make_again(info.path))
    return rows


def _column(name: str, texts: Sequence[str]) -> Column | str:
    """The column of these values, or why it cannot be learnt."""
    words = [text.strip().lower() for text in texts]
    kinds = set(words) - {""}
    if len(kinds) < 2:
        return "all photos have the same value" if kinds else "it is blank"
    if kinds <= _YES_NO.keys() and len({_YES_NO[kind] for kind in kinds}) == 2 and len(kinds) == 2:
        return Column(name, False, np.array([_YES_NO.get(word, np.nan) for word in words], np.float32))
    try:
        values = np.array([float(word) if word else np.nan for word in words], np.float64)
    except ValueError:
        return "it holds words, and only yes and no or numbers can be learnt"
    known = values[~np.isnan(values)]
    if not (np.abs(known) <= _LARGEST).all():
        return "it holds numbers that are too large"
    if not known.astype(np.float32).std() > 0:
        return "its numbers are all nearly the same"
    return Column(name, True, values.astype(np.float32))
