"""What `facegan edit` is asked to change, read and checked before torch is loaded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from facegan.core.errors import UsageError

FARTHEST = 6.0
"""Largest change, in steps (`Attributes.step`), or of a component in deviations of the prior."""
FAR = 2.0
"""Beyond this change of an attribute faces begin to dissolve, which is said."""
STEPS = 7
"""Faces of a range, unless another number is asked for."""
MOST = 2500
"""Most faces of a picture."""


@dataclass(frozen=True)
class Change:
    """A change that was asked for.

    Attributes:
        name: of an attribute, as it was typed; or the number of a component.
        start, end: how far, in the units of FARTHEST; equal for a single value.
        component: whether `name` is the number of a component.
    """

    name: str
    start: float
    end: float
    component: bool = False

    @property
    def is_range(self) -> bool:
        return self.start != self.end

    def at(self, share: float) -> float:
        """How far it goes at a share of the way from start to end."""
        return self.start + (self.end - self.start) * share

    @property
    def label(self) -> str:
        return f"component {self.name}" if self.component else self.name


_CHANGE = re.compile(r"([^=]+)=([^=]+?)(?:\.\.([^=]+))?")


def parse_change(text: str, *, component: bool = False) -> Change:
    """Read `smiling=+2` or `smiling=-3..3`; of a component `3=+2` or `3=-3..3`.

    Raises:
        UsageError: it is not written so, or goes farther than FARTHEST.
    """
    example = "--component 3=+2 or 3=-3..3" if component else "--attr smiling=+2 or smiling=-3..3"
    match = _CHANGE.fullmatch(text.strip())
    if not match or (component and not re.fullmatch(r"0*[1-9]\d{0,5}", match[1].strip(), re.ASCII)):
        what = "a component's number and how far" if component else "an attribute and how far"
        raise UsageError(f"{text[:80]!r} is not {what}.", f"Such as {example}.")
    start, end = _amount(match[2], text), _amount(match[3] or match[2], text)
    return Change(match[1].strip(), start, end, component)


def _amount(digits: str, text: str) -> float:
    try:
        amount = float(digits)
    except ValueError:
        raise UsageError(f"{digits[:40]!r} in {text[:80]!r} is not a number.", "Such as +2, -1.5 or -3..3.") from None
    return checked_amount(amount, text)


def checked_amount(amount: float, what: str) -> float:
    """How far something is changed. Raises: UsageError: farther than FARTHEST, or not a number."""
    if not abs(amount) <= FARTHEST:
        raise UsageError(
            f"{what[:80]!r} goes too far: beyond {FARTHEST:g} there is no face any more.",
            f"Stay within {FAR:g}.",
        )
    return amount + 0.0  # -0 becomes 0


def check_changes(changes: Sequence[Change], *, steps: int, film: bool) -> list[Change]:
    """Refuse what `edit` refuses, before a generator is opened. Returns the changes that are ranges.

    Raises:
        UsageError: nothing is changed, or one thing twice; three ranges; an animation of two; too many faces.
    """
    if not changes:
        raise UsageError("There is nothing to change.", "Such as --attr smiling=+2, or --component 3=-3..3.")
    names = [(change.component, change.name.casefold()) for change in changes]
    for change, name in zip(changes, names, strict=True):
        if names.count(name) > 1:
            raise UsageError(f"{change.label} is named twice.", "Name it once.")
    ranges = [change for change in changes if change.is_range]
    if len(ranges) > 2:
        named = ", ".join(change.label for change in ranges)
        raise UsageError(
            f"{len(ranges)} ranges ({named}) do not fit on paper: one is a row, two are a grid.",
            "Give the others a value each, such as --attr young=+1.",
        )
    if film and len(ranges) == 2:
        raise UsageError("An animation goes along one range, and two are given.", "Give one of them a value.")
    if (count := steps ** len(ranges)) > MOST:
        raise UsageError(f"A picture holds at most {MOST:,} faces, not {count:,}.", "Give a smaller --steps.")
    return ranges


def far(changes: Sequence[Change]) -> str:
    """A sentence if a change goes so far that faces begin to dissolve; else ""."""
    attributes = [change for change in changes if not change.component]
    beyond = [change.name for change in attributes if max(abs(change.start), abs(change.end)) > FAR]
    return f"beyond {FAR:g} ({', '.join(beyond)}) faces begin to dissolve" if beyond else ""
