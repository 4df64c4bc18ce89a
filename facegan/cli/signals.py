"""Ctrl-C, SIGTERM and SIGHUP: any command unwinds, so that unfinished files are removed; one that trains saves first.

SIGHUP comes when a terminal is closed. SIGUSR1, with which batch systems warn, lets a training save and go on.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from facegan.cli import console
from facegan.events import SAVE
from facegan.world import World


class Stopped(BaseException):
    """By SIGINT, SIGTERM or SIGHUP.

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
    """All of them raise Stopped but SIGUSR1, which does nothing where there is nothing to save."""

    def stop(signum: int, frame: FrameType | None) -> None:
        if signum != SAVE:
            raise Stopped(signum)

    before = {number: signal.signal(number, stop) for number in _heeded()}
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is not signal.SIG_IGN:  # as `signals` leaves it
                signal.signal(number, handler)


def end_as_the_system_does(world: World) -> None:
    """Of several processes one that waits for another could not raise anything: SIGTERM and SIGHUP just end it."""
    for number in _heeded():
        if not world.alone and number not in (signal.SIGINT, SAVE):
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def signals(world: World) -> Iterator[Callable[[], int | None]]:
    """Turn the first signal into a question that the loop asks after each step; a second one stops at once.

    SIGUSR1 answers the question once. A closing terminal may send SIGHUP more than once: it is never the second.

    Of several processes one that is ending lets no further signal keep it from saying why: as soon as the first of them
    has gone, torchrun sends one to the others.
    """
    caught: list[tuple[int, float]] = []
    to_save: list[int] = []

    def remember(signum: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if signum == SAVE:
            to_save.append(signum)
        elif not caught:
            caught.append((signum, now))
            console.note("finishing the step, or the evaluation, and saving; once more to stop at once")
        elif now > caught[0][1] + _SAME and signum in (signal.SIGINT, signal.SIGTERM):
            raise Stopped(signum)

    def answer() -> int | None:
        if caught:
            return caught[0][0]
        save = SAVE if to_save else None
        to_save.clear()
        return save

    before = {number: signal.signal(number, remember) for number in _heeded()}
    after = before if world.alone else dict.fromkeys(before, signal.SIG_IGN)
    try:
        yield answer
        after = before
    finally:
        for number, handler in after.items():
            signal.signal(number, handler)


def _heeded() -> list[int]:
    """The signals that this system has and that are not ignored, as SIGHUP is under nohup."""
    known = [getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")]
    return [number for number in known if number is not None and signal.getsignal(number) is not signal.SIG_IGN]
