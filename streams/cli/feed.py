"""How do files of JSON lines become records?  Read, paced, sent, counted; with a progress bar on a terminal."""

from __future__ import annotations

import gzip
import io
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from zoneinfo import ZoneInfo

import msgspec
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from streams.cli.lines import MAX_LINE, Outgoing, Refused, outgoing
from streams.cli.output import stderr
from streams.cli.send import Sender
from streams.cli.settings import CheckError
from streams.cli.times import latest
from streams.config import Definitions
from streams.events.contract import EARLIEST
from streams.events.times import instant

STDIN = "-"
_EVERY = 2_000  # lines between two looks at the worker and at the terminal
_LONGEST_NAP = 0.2
_GZIP, _BOM = b"\x1f\x8b", b"\xef\xbb\xbf"


@dataclass
class Fed:
    """What became of the lines."""

    sent: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    first_refusal: str | None = None

    def refuse(self, refused: Refused, where: str) -> None:
        """Count a line that cannot be sent."""
        self.refused[refused.reason.value] += 1
        if self.first_refusal is None:
            self.first_refusal = f"{where}: {refused.reason}: {refused.detail}"

    def refusals(self, done: str = "sent") -> str:
        """Say with how many lines nothing was done, and which was the first."""
        return f"lines that were not {done}: {self.refused.total()}; the first: {self.first_refusal}"


class Pace:
    """Wait between events as long as occurred_at says, divided by the speed."""

    def __init__(self, speed: float, definitions: Definitions) -> None:
        """Begin with the first event that has a time."""
        self._speed, self._definitions = speed, definitions
        self._began: tuple[float, int] | None = None

    def wait(self, value: bytes, idle: Callable[[float], None]) -> None:
        """Wait until it is this event's turn; an event without a readable time, or with one that no worker accepts, goes at once."""
        at = occurred_at(value, self._definitions.zone)
        if at is None or not EARLIEST <= at <= latest(time.time(), self._definitions):
            return
        if self._began is None:
            self._began = (time.monotonic(), at)
        started, first = self._began
        while (left := started + (at - first) / 1e6 / self._speed - time.monotonic()) > 0:
            idle(min(left, _LONGEST_NAP))


class _When(msgspec.Struct):
    occurred_at: str | int | float | None = None


def occurred_at(value: bytes, zone: ZoneInfo) -> int | None:
    """Return when an event says that it happened, µs; None if that cannot be read."""
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
        piped = sys.stdin.buffer
        yield Source("stdin", _bounded(_unpacked(piped)), lambda: 0)
        return
    with Path(name).open("rb") as raw:
        yield Source(name, _bounded(_unpacked(raw)), raw.tell if raw.seekable() else lambda: 0)


def _unpacked(raw: BinaryIO) -> BinaryIO:
    packed = isinstance(raw, io.BufferedReader) and raw.peek(2)[:2] == _GZIP
    return gzip.GzipFile(fileobj=raw) if packed else raw  # type: ignore[return-value]  # it reads as one


def _bounded(raw: BinaryIO) -> Iterator[bytes]:
    """Yield the lines; of one that is longer than any that is sent only so much that this is seen."""
    while line := raw.readline(MAX_LINE + 2):
        rest = line
        while len(rest) > MAX_LINE + 1 and not rest.endswith(b"\n"):
            rest = raw.readline(MAX_LINE + 2)
        yield line


def lines(source: Source, topic: str | None, fed: Fed) -> Iterator[Outgoing | None]:
    """Yield what each line sends; None for one that sends nothing, and is counted if it was refused.  Raises CheckError."""
    try:
        for number, line in enumerate(source.lines, 1):
            found = outgoing(line.removeprefix(_BOM) if number == 1 else line, topic)
            if isinstance(found, Refused):
                fed.refuse(found, f"{source.name}:{number}")
                yield None
            else:
                yield found
    except (OSError, EOFError, zlib.error) as error:  # a torn or damaged .gz
        raise CheckError(f"{source.name}: {error}") from None


@dataclass(frozen=True)
class Feed:
    """How lines are sent: where bare events go, at what pace, and what is looked at on the way."""

    sender: Sender
    topic: str | None = None
    pace: Pace | None = None
    check: Callable[[], None] = lambda: None

    def files(self, names: tuple[str, ...]) -> Fed:
        """Send every line of the files and wait for all confirmations.  Raises CheckError."""
        fed = Fed()
        with bar(names) as advance:
            done = 0
            for name in names:
                with opened(name) as source:
                    for _ in self._lines(source, fed):
                        self.check()
                        advance(done + source.position(), fed.sent)
                    done += source.position()
            self.sender.confirm()
            advance(done, fed.sent)
        return fed

    def _idle(self, seconds: float) -> None:
        self.check()
        self.sender.poll(seconds)

    def _lines(self, source: Source, fed: Fed) -> Iterator[None]:
        """Send the lines; yield now and then, so that the caller can look at other things."""
        for number, found in enumerate(lines(source, self.topic, fed), 1):
            if found is not None:
                if self.pace is not None:
                    self.pace.wait(found.value, self._idle)
                self.sender.send(found)
                fed.sent += 1
            if number % _EVERY == 0 or self.pace is not None:
                yield


@contextmanager
def bar(names: tuple[str, ...], doing: str = "sending") -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar of bytes and events while the block runs, on a terminal only."""
    console = stderr()
    if not console.is_terminal:
        yield lambda _at, _sent: None
        return
    total = None if STDIN in names else sum(Path(name).stat().st_size for name in names)
    columns = (BarColumn(), DownloadColumn(), TextColumn("{task.fields[said]}"), TimeRemainingColumn())
    began = time.monotonic()
    with Progress(TextColumn(doing), *columns, console=console) as progress:
        task = progress.add_task(doing, total=total, said="")

        def advance(at: int, sent: int) -> None:
            rate = sent / max(time.monotonic() - began, 1e-3)
            progress.update(task, completed=at, said=f"{sent:,} events, {rate:,.0f}/s")

        yield advance
