"""The only place that prints: results to stdout, progress and notes to stderr."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.markup import escape as without_markup
from rich.text import Text

from facegan.errors import FaceganError, Interrupted, visible
from facegan.world import ALONE, World

if TYPE_CHECKING:
    from rich.progress import Progress

out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)
_world = ALONE


def speak_for(world: World) -> None:
    """Of several processes the first alone speaks. The others are silent, but for what ends them all."""
    global _world
    _world = world
    out.quiet = err.quiet = not world.first


def escape(text: str) -> str:
    """Text to be shown as it is: its brackets are no markup, and control characters but line feeds are spelled out."""
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
    """A table as wide as the terminal; in a pipe or a file no line is broken or padded, so that it can be searched."""
    if out.is_terminal:
        out.print(table, soft_wrap=False)
        return
    wide = Console(file=io.StringIO(), width=10_000, highlight=False)
    with wide.capture() as lines:
        wide.print(table, soft_wrap=False)
    data("\n".join(line.rstrip() for line in lines.get().splitlines()))


def data(text: str) -> None:
    """Text for programs, on stdout exactly as it is."""
    out.print(text, markup=False, emoji=False)


def complain(error: FaceganError) -> None:
    """An error as a sentence, and its hint below; of several processes the first to fail says it, with its number."""
    if not (_world.first if isinstance(error, Interrupted) else _world.fails_first()):
        return
    err.quiet = False
    process = "" if _world.alone or isinstance(error, Interrupted) else f"{_world}: "
    label = "[bold]stopped:[/bold]" if isinstance(error, Interrupted) else "[bold red]error:[/bold red]"
    err.print(f"{label} {process}{escape(error.message)}")
    if error.hint:
        err.print(f"[dim]hint:[/dim]  {escape(error.hint)}")


def progress(unit: str) -> Progress:
    """A progress bar with rate and time left; on a pipe it draws nothing.

    Tasks must be added with the field `rate=""`, a text such as "1,234/s". A field `detail` is shown on a line of
    its own below the bar.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    class Bar(Progress):
        def get_renderables(self) -> Iterable[RenderableType]:
            yield self.make_tasks_table(self.tasks)
            for task in self.tasks:
                if detail := task.fields.get("detail"):
                    yield Text(f"  {detail}", style="dim", no_wrap=True, overflow="ellipsis")

    return Bar(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.completed:,} " + unit),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=err,
        transient=True,
        disable=err.quiet or not err.is_terminal,
    )
