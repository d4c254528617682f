"""What does the edge ask of a room?  The one contract between Kafka and the plain code.

A room is synchronous, single-threaded and free of I/O.  The edge restores its state, hands it runs
of records, and from time to time asks for everything it wants to make visible; that goes out in one
transaction together with the offsets of every record handed over so far.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

from confluent_kafka import Message

from streams.kafka.resting import Resting

Headers = list[tuple[str, bytes]]
# topic, partition (-1: by the key, murmur2 as Java clients do), key, value, headers
Output = tuple[str, int, bytes | None, bytes | None, Headers | None]


class StopError(Exception):
    """A room ends the worker on purpose: the text says why, `remedy` what to do."""

    def __init__(self, why: str, remedy: str) -> None:
        super().__init__(why)
        self.remedy = remedy


class StateTable:
    """The state of one partition of one room: bytes by key, and which keys changed since the last flush.

    The table runs ahead of Kafka while a flush is in flight.  That is sound because a flush that does
    not commit ends the process or the generation, and the table with it.

    A room may let rows rest that it has not touched for a while (`resting`).  A row is in one place only, and one that
    changed since the last flush in `rows`.
    """

    __slots__ = ("changed", "resting", "rows")

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}
        self.changed: set[bytes] = set()
        self.resting: Resting | None = None

    def get(self, key: bytes) -> bytes | None:
        """Return the value, or None.  One that rested does so no longer."""
        value = self.rows.get(key)
        if value is None and self.resting is not None:
            value = self.resting.pop(key)
            if value is not None:
                self.rows[key] = value
        return value

    def put(self, key: bytes, value: bytes) -> None:
        """Set the value; it reaches the changelog with the next flush."""
        if self.resting is not None and key not in self.rows:
            self.resting.pop(key)
        self.rows[key] = value
        self.changed.add(key)

    def delete(self, key: bytes) -> None:
        """Take the key away; a tombstone reaches the changelog with the next flush."""
        if self.get(key) is not None:
            del self.rows[key]
            self.changed.add(key)

    def items(self) -> Iterable[tuple[bytes, bytes]]:
        """Return every key and value; those that rest go on resting."""
        return self.rows.items() if self.resting is None else chain(self.rows.items(), self.resting.items())

    def count(self) -> int:
        """Return how many keys there are."""
        return len(self.rows) if self.resting is None else len(self.rows) + self.resting.count()

    def lay_down(self) -> None:
        """Let all rows rest but those that changed since the last flush; call when none waits to be packed."""
        if self.resting is not None:
            waiting, self.rows = self.rows, {}
            for key in self.changed:
                value = waiting.pop(key, None)
                if value is not None:
                    self.rows[key] = value
            self.resting.waiting = waiting


@dataclass(frozen=True, slots=True)
class Moment:
    """What the edge knows when it asks for output.  `now` is wall-clock µs since 1970 UTC, and never goes back."""

    now: int
    caught_up: frozenset[int]  # partitions of this room whose every source has been read to its end
    ended: frozenset[tuple[str, int]] = frozenset()  # (topic, partition) of sources that have been read to their end
    put_back: int = 0  # µs by which the world's clock was put back, and `now` was not


class Room(Protocol):
    """One room: deals, kpis, alerts or notify."""

    name: str
    sources: tuple[str, ...]

    def open(self, partition: int, state: StateTable) -> None:
        """Start to own a partition; its state is restored."""

    def close(self, partition: int) -> None:
        """Stop to own a partition; forget all about it."""

    def handle(self, partition: int, topic: str, run: Sequence[Message]) -> int:
        """Take in a run of records of one partition; return how many bytes of work are now pending.

        A bad record does not raise; too many of them may.  Whatever is raised ends the process.
        """

    def drain(self, moment: Moment) -> list[Output]:
        """Write the changed state into the tables, and return every record to send."""

    def due(self, moment: Moment) -> bool:
        """Is there something to send although no record came in?"""

    def owes(self, moment: Moment) -> bool:
        """Will there be something to send, now or later, although no record comes in?  What the world's clock brings is not owed."""


class DeliveringRoom(Room, Protocol):
    """A room that waits for the outside world: it is handed its records by `deliver` instead of `handle`."""

    async def deliver(self, partition: int, topic: str, record: Message) -> int:
        """As handle, but of one record, and may wait.  Later ones of this partition wait for it, nobody else does.

        The record counts as handled when it returns.  What it puts into its table before that may be
        flushed earlier.  When the partition is taken away or the worker stops it is cancelled after a
        moment, and the record is delivered again, perhaps elsewhere.
        """
