"""What a run tells while it trains, and the one thing that it is told."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SAVE: int = getattr(signal, "SIGUSR1", 0)
"""The signal that asks a run to save and to go on; others end it. 0 where the system has no such signal."""


@dataclass(frozen=True)
class Began:
    """The run's folder is there, and training begins or goes on in it."""

    run: Path


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


Event = Began | Stepped | Logged | Wrote | Noted
