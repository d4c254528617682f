"""How do results reach people and programs?  Results on stdout, messages on stderr, colours on terminals."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
import orjson
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from streams.panes.text import printable

PIPED_WIDTH = 200  # rich would cut a piped table at 80 columns
_EDGE = 3  # columns of the terminal that each one of a table takes beside its text
_WORDS = 4  # letters in a line are the least


def stdout() -> Console:
    """Return a console for results."""
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False)


def stderr() -> Console:
    """Return a console for messages and progress."""
    return Console(file=sys.stderr, width=None if sys.stderr.isatty() else PIPED_WIDTH, highlight=False)


@contextmanager
def counted(doing: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how many of a number are done while the block runs, on a terminal only."""
    console = stderr()
    if not console.is_terminal:
        yield lambda _done: None
        return
    columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(doing, total=total)
        yield lambda done: progress.update(task, completed=done)


def shown(text: str) -> str:
    """Return text from outside as a table may show it: it is no markup, and does not speak to the terminal."""
    return escape(printable(text))


def print_table(table: RenderableType) -> None:
    """Print a table, or several in a group, on stdout."""
    console = stdout()
    for one in table.renderables if isinstance(table, Group) else (table,):
        console.print(fitted(one, console.width) if isinstance(one, Table) else one)


def fitted(table: Table, width: int) -> Table:
    """Let words go over several lines where a terminal is narrow, instead of being cut, and give way to numbers, which stay whole."""
    numbers = [column for column in table.columns if column.justify == "right"]
    words = [column for column in table.columns if column.justify != "right"]
    for column in words:
        column.overflow = "ellipsis" if column.no_wrap else "fold"
    taken = sum(_EDGE + max(cell_len(str(text)) for text in (column.header, *column.cells)) for column in numbers)
    if width - taken >= (_EDGE + _WORDS) * len(words):
        for column in numbers:
            column.no_wrap = True
    return table


def print_json(value: Any) -> None:
    """Print one JSON value on stdout, on one line: in UTF-8, as JSON is, whatever the terminal's encoding is."""
    click.echo(orjson.dumps(value))


def say(message: str) -> None:
    """Tell people something, on stderr."""
    click.echo(message, err=True)
