"""How do files of JSON lines become records?  Read, paced, sent, counted; with a progress bar on a terminal."""

from __future__ import annotations

import gzip
import io
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from zoneinfo import ZoneInfo

import msgspec
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from streams.cli.lines import Outgoing, Refused, outgoing
from streams.cli.output import stderr
from streams.cli.send import Sender
from streams.cli.settings import CheckError
from streams.events.times import instant

STDIN = "-"
_EVERY = 2_000  # lines between two looks at the clock, the child and the terminal
_LONGEST_NAP = 0.2


@dataclass
class Fed:
    """What became of the lines."""

    sent: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    first_refusal: str | None = None


class Pace:
    """Wait between events as long as occurred_at says, divided by the speed."""

    def __init__(self, speed: float, zone: ZoneInfo) -> None:
        """Begin with the first event that has a time."""
        self._speed, self._zone = speed, zone
        self._began: tuple[float, int] | None = None

    def wait(self, value: bytes, idle: Callable[[float], None]) -> None:
        """Wait until it is this event's turn; an event without a readable time goes at once."""
        at = _occurred_at(value, self._zone)
        if at is None:
            return
        if self._began is None:
            self._began = (time.monotonic(), at)
        started, first = self._began
        while (left := started + (at - first) / 1e6 / self._speed - time.monotonic()) > 0:
            idle(min(left, _LONGEST_NAP))


class _When(msgspec.Struct):
    occurred_at: str | int | float | None = None


def _occurred_at(value: bytes, zone: ZoneInfo) -> int | None:
    try:
        said = msgspec.json.decode(value, type=_When).occurred_at
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return None if said is None else instant(said, zone)


@dataclass(frozen=True)
class Source:
    """One file: its lines, and how many of its bytes (as stored) have been read."""

    name: str
    lines: Iterable[bytes]
    position: Callable[[], int]


@contextmanager
def opened(name: str) -> Iterator[Source]:
    """Open a file, .gz or standard input."""
    if name == STDIN:
        yield Source("stdin", sys.stdin.buffer, lambda: 0)
        return
    with Path(name).open("rb") as raw:
        if raw.read(2) == b"\x1f\x8b":
            raw.seek(0)
            lines: IO[bytes] = io.BufferedReader(gzip.GzipFile(fileobj=raw), 1 << 20)  # type: ignore[arg-type]  # readable
        else:
            raw.seek(0)
            lines = raw
        yield Source(name, lines, raw.tell if lines is not raw else _counted(raw))


def _counted(raw: IO[bytes]) -> Callable[[], int]:
    # tell() is allowed beside iteration on binary files, and cheap.
    return raw.tell


def feed(names: tuple[str, ...], sender: Sender, *, topic: str | None, pace: Pace | None, check: Callable[[], None]) -> Fed:
    """Send every line of the files and wait for all confirmations.  Raises CheckError."""
    fed = Fed()
    with bar(names) as advance:
        done = 0
        for name in names:
            with opened(name) as source:
                _feed_one(source, sender, fed, topic, pace, lambda at: (check(), advance(done + at, fed.sent)))  # noqa: B023
                done += source.position()
        sender.confirm()
        advance(done, fed.sent)
    return fed


def _feed_one(  # noqa: PLR0913  # one loop, all it needs
    source: Source, sender: Sender, fed: Fed, topic: str | None, pace: Pace | None, look: Callable[[int], Any]
) -> None:
    try:
        for number, line in enumerate(source.lines, 1):
            if number % _EVERY == 0:
                look(source.position())
            found = outgoing(line, topic)
            if isinstance(found, Outgoing):
                if pace is not None:
                    pace.wait(found.value, sender.poll)
                sender.send(found)
                fed.sent += 1
            elif found is not None:
                _count(fed, found, f"{source.name}:{number}")
    except (OSError, EOFError) as error:  # a torn .gz
        raise CheckError(f"{source.name}: {error}") from None


def _count(fed: Fed, refused: Refused, where: str) -> None:
    fed.refused[refused.reason.value] += 1
    if fed.first_refusal is None:
        fed.first_refusal = f"{where}: {refused.reason}: {refused.detail}"


@contextmanager
def bar(names: tuple[str, ...]) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar of bytes and events while the block runs, on a terminal only."""
    console = stderr()
    if not console.is_terminal:
        yield lambda _at, _sent: None
        return
    total = None if STDIN in names else sum(Path(name).stat().st_size for name in names)
    columns = (BarColumn(), DownloadColumn(), TextColumn("{task.fields[said]}"), TimeRemainingColumn())
    began = time.monotonic()
    with Progress(TextColumn("sending"), *columns, console=console) as progress:
        task = progress.add_task("sending", total=total, said="")

        def advance(at: int, sent: int) -> None:
            rate = sent / max(time.monotonic() - began, 1e-3)
            progress.update(task, completed=at, said=f"{sent:,} events, {rate:,.0f}/s")

        yield advance
