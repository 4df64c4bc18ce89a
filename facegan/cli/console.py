"""The only place that prints: results to stdout, progress and notes to stderr."""

from __future__ import annotations

import errno
import io
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from rich.console import Console, RenderableType
from rich.markup import escape as without_markup

from facegan.core.errors import FaceganError, Interrupted, visible
from facegan.core.quantities import Pace, duration, size
from facegan.core.world import ALONE, World

if TYPE_CHECKING:
    from rich.live import Live

Item = TypeVar("Item")


class _Console(Console):
    @property
    def is_terminal(self) -> bool:
        """Whether the output goes to a terminal. A log file never is one, whatever FORCE_COLOR says."""
        try:
            return bool(self.file.isatty())
        except ValueError:  # it is closed
            return False


out = _Console(soft_wrap=True, highlight=False)
err = _Console(stderr=True, soft_wrap=True, highlight=False)
_world = ALONE


class _Lasting:
    """A stream whose failure never ends a command.

    A character that its encoding lacks is spelled out. When writing fails, because the terminal or the reading program
    has gone or the disk is full, everything after that is dropped.

    Attributes:
        lost: the first failure, or None.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream or open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115, it was closed
        self.lost: OSError | None = None
        if isinstance(self._stream, io.TextIOWrapper):
            self._stream.reconfigure(errors="backslashreplace")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        self._try(self._stream.write, text)
        return len(text)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def _try(self, work: Callable[..., object], *arguments: str) -> None:
        try:
            work(*arguments)
        except OSError as error:
            self.lost = self.lost or error
            with suppress(OSError, ValueError):  # a stream in memory has no number
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())  # what is left in the buffer goes there too
                os.close(nowhere)
        except RuntimeError:
            pass  # a signal came while this waited for a slow reader; Python forbids its handler to write too


@contextmanager
def lasting_streams() -> Iterator[None]:
    """Let nothing that happens to stdout and stderr end the work: see `_Lasting`."""
    number = 0
    while number <= 2:  # a closed one gives its number to the next file that is opened: here, to devnull
        number = os.open(os.devnull, os.O_RDWR)
        os.set_inheritable(number, True)
    os.close(number)
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = ours = _Lasting(before[0]), _Lasting(before[1])
    try:
        yield
    finally:
        for stream in ours:
            stream.flush()
        sys.stdout, sys.stderr = before


def check_written() -> None:
    """Raises: FaceganError: stdout is a file on a full disk, so results are missing. A closed pipe is no error."""
    sys.stdout.flush()
    lost = getattr(sys.stdout, "lost", None)
    if lost is not None and lost.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        raise FaceganError(f"stdout could not be written: {lost.strerror}.", "Make room, and run it again.")


def speak_for(world: World) -> None:
    """Where several processes train together, let only the first one print. The others print nothing but errors."""
    global _world
    _world = world
    out.quiet = err.quiet = not world.first


def escape(text: str) -> str:
    """Make a text show as it is: its brackets are no markup, and control characters but line feeds are spelled out."""
    return without_markup("\n".join(map(visible, text.split("\n"))))


def say(text: str) -> None:
    """One line on stdout, as it is: no markup, so that a path with brackets stays a path."""
    out.print(escape(text))


def note(text: str) -> None:
    """One dim line on stderr: what was chosen and why."""
    err.print(f"[dim]{escape(text)}[/dim]")


def wrote(paths: Iterable[Path]) -> None:
    """The end of every command: each file or folder it made, one path per line."""
    for path in paths:
        out.print(f"[green]wrote[/green] {escape(str(path))}")


def table(title: str, facts: Iterable[tuple[str, str]]) -> None:
    """Names and values in two columns under a title."""
    from rich.table import Table

    rows = Table(show_header=False, box=None, pad_edge=False)
    rows.add_column(style="dim", no_wrap=True)
    rows.add_column(overflow="fold")
    for name, value in facts:
        rows.add_row(escape(name), escape(value))
    out.print(f"[bold]{escape(title)}[/bold]")
    _print_whole(rows)


def columns(title: str, heads: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """A table with a head over each column; all but the first two hold numbers, set to the right."""
    from rich.table import Table

    grid = Table(box=None, pad_edge=False, header_style="dim")
    for number, head in enumerate(heads):
        grid.add_column(escape(head), justify="left" if number < 2 else "right")
    for row in rows:
        grid.add_row(*map(escape, row))
    out.print(f"[bold]{escape(title)}[/bold]")
    _print_whole(grid)


def _print_whole(table: RenderableType) -> None:
    """Print a table as wide as the terminal. A pipe or file gets unbroken, unpadded lines, which can be searched."""
    if out.is_terminal:
        out.print(table, soft_wrap=False)
        return
    wide = _Console(file=io.StringIO(), width=10_000, highlight=False)
    with wide.capture() as lines:
        wide.print(table, soft_wrap=False)
    data("\n".join(line.rstrip() for line in lines.get().splitlines()))


def data(text: str) -> None:
    """Text for programs, on stdout exactly as it is."""
    out.print(text, markup=False, emoji=False)


def complain(error: FaceganError) -> None:
    """Print an error and its hint. Of several processes, only the first to fail prints, and names itself."""
    if not (_world.first if isinstance(error, Interrupted) else _world.fails_first()):
        return
    err.quiet = False
    process = "" if _world.alone or isinstance(error, Interrupted) else f"{_world}: "
    label = "[bold]stopped:[/bold]" if isinstance(error, Interrupted) else "[bold red]error:[/bold red]"
    err.print(f"{label} {process}{escape(error.message)}")
    if error.hint:
        err.print(f"[dim]hint:[/dim]  {escape(error.hint)}")


_BAR = 24
_FIRST_LINE, _EVERY = 10.0, 30.0
"""Where no terminal shows a bar: seconds until the first line, so that quick commands print none; and between lines."""


class Progress:
    """Shows how far a command has come, its speed and the time left: a bar in a terminal, else a line now and then.

    Args:
        unit: what is counted, in the plural; "bytes" are shown in larger units.
        what: what is being done, such as "drawing".
    """

    def __init__(self, unit: str, what: str) -> None:
        self._unit, self._what, self._detail = unit, what, ""
        self._done, self._total = 0, 0
        self._pace: Pace | None = None
        self._speak_at = time.monotonic() + _FIRST_LINE
        self._live: Live | None = None

    def __enter__(self) -> Progress:
        if err.is_terminal and err.is_interactive and not err.is_dumb_terminal and not err.quiet:
            from rich.live import Live

            self._live = Live(get_renderable=self._picture, console=err, transient=True, refresh_per_second=10)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def show(self, done: int, total: int = 0, what: str = "", detail: str = "") -> None:
        """Show that `done` of `total` are done. What is left out stays as it was.

        If `done` is smaller than before, something new has begun, and its speed is measured from there.
        """
        now = time.monotonic()
        self._total, self._what, self._detail = total or self._total, what or self._what, detail or self._detail
        if self._pace is None or done < self._done:
            self._pace = Pace(done, now)
        self._done = done
        self._pace.at(done, now)
        if not self._live and now >= self._speak_at:
            self._speak_at = now + _EVERY
            note("   ".join(filter(None, (self._words(), self._detail))))

    def each(self, items: Iterable[Item], total: int) -> Iterator[Item]:
        """The same items, each counted when the next is asked for."""
        for done, item in enumerate(items, 1):
            yield item
            self.show(done, total)

    def _words(self) -> str:
        words = [self._what, self._amount(self._done)]
        if self._total:
            words[0] += f" {min(self._done / self._total, 1):.0%}"
        if self._pace and (rate := self._pace.rate):
            if self._total:
                words.insert(1, f"{duration((self._total - self._done) / rate)} left")
            words.append(f"{self._amount(rate)}/s")
        return ", ".join(words)

    def _amount(self, number: float) -> str:
        if self._unit == "bytes":
            return size(number)
        return f"{number:,.{0 if number >= 10 or number == round(number) else 1}f} {self._unit}"

    def _picture(self) -> RenderableType:
        """One line, and one for the detail. In a narrow terminal the bar shrinks first, then the words are cut off."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        line = Table.grid(padding=(0, 1))
        line.add_column(max_width=_BAR)
        line.add_column(no_wrap=True, overflow="crop")
        line.add_row(ProgressBar(self._total or None, self._done, pulse=not self._total), Text(self._words()))
        if not self._detail:
            return line
        return Group(line, Text(f"  {self._detail}", style="dim", no_wrap=True, overflow="crop"))
