"""The events that a run reports while it trains, and the signal that tells it to save."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SAVE: int = getattr(signal, "SIGUSR1", 0)
"""The signal that makes a run save and go on; other signals end it. 0 on a system that has no such signal."""


@dataclass(frozen=True)
class Began:
    """The run's folder exists, and training begins or goes on in it."""

    run: Path


@dataclass(frozen=True)
class Stepped:
    """A step was done; its metrics have not been read from the device."""

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


Event = Began | Stepped | Logged | Wrote | Noted
