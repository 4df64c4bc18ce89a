"""Ctrl-C, SIGTERM and SIGHUP make a command remove its unfinished files and end; a training saves first.

SIGHUP comes when a terminal is closed. SIGUSR1, by which batch systems warn, makes a training save and go on.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from facegan.cli import console
from facegan.core.world import World
from facegan.runs.events import SAVE


class Stopped(BaseException):
    """SIGINT, SIGTERM or SIGHUP has come.

    This is no `Exception`, so that no handler of errors catches it. It is no `KeyboardInterrupt` either, because the
    library that parses the command line would end with an exit code of its own.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum

    def __str__(self) -> str:
        return "by Ctrl-C" if self.signum == signal.SIGINT else f"by {signal.Signals(self.signum).name}"


_SAME = 1.0
"""Seconds within which a second signal counts as the first again. `timeout` sends a signal to the process and to its
group, and torchrun passes on a signal that the system has sent to all processes already."""


@contextmanager
def unwinding() -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP raise Stopped. SIGUSR1 does nothing, because there is nothing to save."""

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
    """Let SIGTERM and SIGHUP end a process at once where several train together.

    A process that waits for another one runs no Python code, so it could not raise Stopped.
    """
    for number in _heeded():
        if not world.alone and number not in (signal.SIGINT, SAVE):
            signal.signal(number, signal.SIG_DFL)


@contextmanager
def signals(world: World) -> Iterator[Callable[[], int | None]]:
    """Turn the first signal into a question that the loop asks after each step; a second one stops at once.

    SIGUSR1 answers the question once. SIGHUP never counts as the second signal, because a closing terminal may send it
    more than once.

    Where several processes train together, one that ends by an exception ignores all signals from then on, so that it
    can still say why: torchrun sends signals to all others as soon as one process has gone.
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
    """The signals to handle: this system has them, and they are not ignored. Under nohup, SIGHUP is ignored."""
    known = [getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")]
    return [number for number in known if number is not None and signal.getsignal(number) is not signal.SIG_IGN]
