"""Ctrl-C and SIGTERM while a run trains."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from facegan.cli import console
from facegan.world import World


@contextmanager
def signals(world: World) -> Iterator[Callable[[], int | None]]:
    """Turn the first SIGINT or SIGTERM into a question that the loop asks after each step; the second stops at once.

    Of several processes one that is ending lets no further signal keep it from saying why: as soon as the first of them
    has gone, torchrun sends one to the others.
    """
    caught: list[int] = []

    def remember(signum: int, frame: FrameType | None) -> None:
        if caught:
            raise KeyboardInterrupt
        caught.append(signum)
        console.note("finishing the step and saving; once more to stop at once")

    before = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    after = before if world.alone else dict.fromkeys(before, signal.SIG_IGN)
    try:
        yield lambda: caught[0] if caught else None
        after = before
    finally:
        for number, handler in after.items():
            signal.signal(number, handler)
