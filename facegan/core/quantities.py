"""Numbers as people type and read them: 200k, 1.5M, 3 h 20 min, 1.2 GB, and a rate that does not jump."""

from __future__ import annotations

import math
import re

from facegan.core.errors import UsageError

_SUFFIXES = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000}
_NUMBER = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)([kmg]?)", re.IGNORECASE)
_BETWEEN_THOUSANDS = re.compile(r"(?<=\d)[,_](?=\d{3}(?:\D|$))")
_WRITTEN = "Write it as 8500, 200k or 1.5M."


def parse_count(text: str) -> int:
    """`1.5M` -> 1500000, `200k` -> 200000, `8,500` -> 8500.

    Raises:
        UsageError: the text is not such a number, or the number is less than 1.
    """
    match = _NUMBER.fullmatch(_BETWEEN_THOUSANDS.sub("", text.strip()))
    if not match:
        raise UsageError(f"{text!r} is not a count.", _WRITTEN)
    if (count := round(float(match[1]) * _SUFFIXES[match[2].lower()])) < 1:
        raise UsageError(f"{text!r} is too few: it must be at least 1.", _WRITTEN)
    return count


def duration(seconds: float) -> str:
    """42 s, 3 min 5 s, 2 h 10 min, 3 d 4 h; `?` where it is not known."""
    if not math.isfinite(seconds) or seconds < 0:
        return "?"
    total = round(seconds)
    for unit, name, below, below_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if total >= unit:
            rest = total % unit // below
            return f"{total // unit} {name}" + (f" {rest} {below_name}" if rest else "")
    return f"{total} s"


def size(count: float) -> str:
    """Bytes in decimal units: 812 kB, 1.2 GB."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:,.0f} {unit}" if unit == "bytes" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError


_SHORTEST, _SHARE = 20.0, 0.25
"""The half-life of a `Pace`: _SHORTEST seconds, or _SHARE of the time since its beginning, whichever is longer."""


class Pace:
    """How fast some work goes: an average in which older work counts exponentially less.

    Its half-life grows with the time that the work has lasted. So recurring pauses, such as a run's evaluations, are
    part of the rate and do not make it jump.

    Args:
        done: how many are done.
        now: seconds, of any clock.
    """

    def __init__(self, done: int, now: float) -> None:
        self._start = self._now = now
        self._done, self._counted, self._seconds = done, 0.0, 0.0

    def at(self, done: int, now: float) -> None:
        """Note that `done` are done at the time `now`."""
        passed = now - self._now
        fade = 0.5 ** (passed / max(_SHORTEST, _SHARE * (now - self._start)))
        self._counted = self._counted * fade + done - self._done
        self._seconds = self._seconds * fade + passed
        self._done, self._now = done, now

    @property
    def rate(self) -> float:
        """Per second; 0 while it is not known."""
        return self._counted / self._seconds if self._seconds > 0 else 0.0
