"""Measure several tasks in turn, round by round, so that slow moments of the machine affect all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

ROUNDS, LEAST_ROUNDS = 5, 3
BUDGET = 270.0
"""Seconds after which no further round begins, unless the number of rounds was given."""
SHORTEST = 0.25
"""Seconds. A task that takes less is repeated within a round until it takes this long."""


@dataclass(frozen=True)
class Spread:
    """What the rounds of one measurement gave."""

    median: float
    min: float
    max: float
    rounds: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values), tuple(values))


class Task(Protocol):
    """Something to measure; it keeps the figures of its rounds itself."""

    def warm_up(self) -> float:
        """Do once what costs more the first time. Returns roughly the seconds that a round will take."""

    def measure(self) -> None:
        """Measure one round."""


@dataclass(frozen=True)
class WarmingUp:
    """All options are valid, and the warm-up begins."""


@dataclass(frozen=True)
class WarmedUp:
    """`done` of `total` tasks are warm."""

    done: int
    total: int


@dataclass(frozen=True)
class Estimated:
    """All tasks are warm: at most `rounds` rounds will take roughly `seconds`."""

    seconds: float
    rounds: int


@dataclass(frozen=True)
class Measured:
    """`done` of `total` measurements are made; `total` counts all rounds that may be done."""

    done: int
    total: int


Event = WarmingUp | WarmedUp | Estimated | Measured


def interleave(tasks: Sequence[Task], rounds: int | None, on_event: Callable[[Event], None]) -> int:
    """Warm all tasks up, then measure each of them once per round, in turn.

    Args:
        rounds: how many; None for ROUNDS, or as many as fit into BUDGET but not fewer than LEAST_ROUNDS.

    Returns:
        The number of rounds done.
    """
    expected = 0.0
    for number, task in enumerate(tasks, start=1):
        expected += task.warm_up()
        on_event(WarmedUp(number, len(tasks)))
    asked, rounds = rounds is not None, rounds or ROUNDS
    seconds = expected * rounds
    on_event(Estimated(seconds if asked else min(seconds, max(BUDGET, LEAST_ROUNDS * expected)), rounds))
    started = time.perf_counter()
    for done in range(rounds):
        passed = time.perf_counter() - started
        if not asked and done >= LEAST_ROUNDS and passed + passed / done > BUDGET:
            return done
        for number, task in enumerate(tasks, start=1):
            task.measure()
            on_event(Measured(done * len(tasks) + number, rounds * len(tasks)))
    return rounds
