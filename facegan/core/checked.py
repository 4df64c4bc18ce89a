"""Dataclasses that check themselves: each field carries the legal range of its values, and one loop checks them all.

A number is judged by the same rule whether it comes from a preset, a flag or a file that a stranger wrote.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, cast

from facegan.core.errors import FaceganError


def in_range(
    low: float, high: float, *, above: bool = False, or_word: str | None = None, default: float | None = None
) -> Any:
    """A field whose number is in [low, high], or in (low, high] with `above`; or it is `or_word`.

    Args:
        default: of a field that older files lack.
    """
    return _field({"low": low, "high": high, "above": above, "word": or_word}, default)


def one_of(*choices: object, default: object = None) -> Any:
    """A field whose value is one of these; `default` is that of a field that older files lack."""
    return _field({"choices": choices}, default)


def _field(rule: dict[str, object], default: object) -> Any:
    return field(metadata=rule) if default is None else field(metadata=rule, default=default)


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A frozen dataclass whose values are checked when it is made.

    Raises:
        FaceganError: a value has another type than its field, or is outside the field's range.
    """

    def __post_init__(self) -> None:
        for f in fields(self):
            _check(f.name, getattr(self, f.name), str(f.type), f.metadata)


_TYPES: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,), "str": (str,)}


def _check(name: str, value: object, kind: str, rule: Mapping[str, Any]) -> None:
    if kind.endswith("| None"):
        if value is None:
            return
        kind = kind.removesuffix("| None").strip()
    if word := rule.get("word"):
        if value == word:
            return
        kind = kind.removesuffix("| str").strip()
    if kind.startswith("tuple["):
        items = value if isinstance(value, tuple) else ()
        if not items or len(items) > 16:
            raise FaceganError(f"{name} must be a short list of numbers, not {shown(value)}.")
        for item in items:
            _check(name, item, kind.removeprefix("tuple[").split(",")[0], rule)
        return
    if kind not in _TYPES:  # a nested configuration, which has checked itself
        return
    if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "bool"):
        either = f"{word!r} or " if word else ""
        raise FaceganError(f"{name} must be {either}of type {kind}, not {shown(value)}.")
    if "choices" in rule and value not in rule["choices"]:
        raise FaceganError(f"{name} must be one of {', '.join(map(str, rule['choices']))}, not {shown(value)}.")
    if "low" in rule:
        number, low, high = cast(float, value), rule["low"], rule["high"]
        if not low <= number <= high or (rule["above"] and number == low):  # this refuses NaN too
            bound = "above" if rule["above"] else "at least"
            raise FaceganError(f"{name} must be {bound} {low:g} and at most {high:g}, not {shown(number)}.")


def shown(value: object) -> str:
    """A value as an error message quotes it, cut short if it is long."""
    try:
        text = repr(value)
    except ValueError:  # Python does not write numbers of more than 4300 digits
        text = "a number of thousands of digits"
    return text if len(text) <= 80 else f"{text[:80]}…"
