"""Ctrl-C and SIGTERM: any command unwinds, so that unfinished files are removed; one that trains saves first."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from facegan.cli import console
from facegan.world import World


class Stopped(BaseException):
    """By SIGINT or SIGTERM.

    It is no `Exception`, as what handles errors must not handle it, and no `KeyboardInterrupt`, which the library that
    parses the command line would turn into an exit code of its own.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum

    def __str__(self) -> str:
        return "by Ctrl-C" if self.signum == signal.SIGINT else f"by {signal.Signals(self.signum).name}"


_SAME = 1.0
"""Seconds within which a second signal is the first one again: `timeout` sends it to a process and to its group, and
torchrun hands on what the system has sent to all."""


@contextmanager
def unwinding() -> Iterator[None]:
    """Both signals raise Stopped. One that is ignored, as Ctrl-C is in a shell's background, stays so.

    Of several processes each ends as the system ends it: one that waits for another could not raise anything.
    """
    if os.environ.get("WORLD_SIZE", "1") != "1":
        yield
        return

    def stop(signum: int, frame: FrameType | None) -> None:
        raise Stopped(signum)

    before = {number: signal.signal(number, stop) for number in _heeded()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def signals(world: World) -> Iterator[Callable[[], int | None]]:
    """Turn the first SIGINT or SIGTERM into a question that the loop asks after each step; the second stops at once.

    Of several processes one that is ending lets no further signal keep it from saying why: as soon as the first of them
    has gone, torchrun sends one to the others.
    """
    caught: list[tuple[int, float]] = []

    def remember(signum: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not caught:
            caught.append((signum, now))
            console.note("finishing the step, or the evaluation, and saving; once more to stop at once")
        elif now > caught[0][1] + _SAME:
            raise Stopped(signum)

    before = {number: signal.signal(number, remember) for number in _heeded()}
    after = before if world.alone else dict.fromkeys(before, signal.SIG_IGN)
    try:
        yield lambda: caught[0][0] if caught else None
        after = before
    finally:
        for number, handler in after.items():
            signal.signal(number, handler)


def _heeded() -> list[signal.Signals]:
    """Those of the two signals that are not ignored."""
    return [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is not signal.SIG_IGN]
