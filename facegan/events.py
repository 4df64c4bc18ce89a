"""What a run tells while it trains."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Stepped:
    """A step was done; numbers are still on the device."""

    images_seen: int


@dataclass(frozen=True)
class Logged:
    """A row went to metrics.jsonl."""

    row: dict[str, Any]


@dataclass(frozen=True)
class Wrote:
    """A file was written or replaced."""

    path: Path


@dataclass(frozen=True)
class Noted:
    """Something that the user should know, once."""

    text: str


Event = Stepped | Logged | Wrote | Noted
