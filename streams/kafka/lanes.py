"""Which records does a room take in next?  What happened first, of all its sources in one partition.

A lane is what has been fetched for one state partition and not been handled yet.  While a worker catches
up its topics are read at different speeds; the lane puts them back in step by their Kafka timestamps.  So
events come nearly in the order in which they happened, which costs a room least.  Any other order gives the
same numbers: nothing here has to be right for law 1 but that no record is lost, repeated or overtaken by a
later one of its own topic.  Only a deal whose record is full refuses what comes too late, so for such deals a topic
must not run ahead by much: it does by LEAST records while both have come.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import methodcaller
from typing import NamedTuple

from confluent_kafka import Message

from streams.kafka.inbox import Run
from streams.kafka.ownership import StatePartition
from streams.topics import TICKS

# The main loop also serves metrics and signals: it is not held longer than such a piece takes.
PIECE = 2_000
# A piece is cut where another topic goes on, but not smaller than this: each has its price.
LEAST = 250
# So long a lane waits for a topic that may hold something earlier; then it goes on without.
PATIENCE = 1.0
# One look counts as no more than this, so that a main loop that was busy elsewhere does not lose patience.
LOOK = 0.1

_offset = methodcaller("offset")


def _timestamp(message: Message) -> int:
    at: int = message.timestamp()[1]
    return at


class Piece(NamedTuple):
    """Records of one topic, to be handled next."""

    topic: str
    records: list[Message]
    bytes: int  # of the records, nearly
    finished: list[Run]  # runs that end with it


@dataclass(slots=True)
class Source:
    """What waits of one topic."""

    topic: str
    rank: int  # who goes first at one and the same millisecond
    least: int  # records of a piece, if there are as many
    next: int  # the offset after the last record that came in
    runs: deque[Run] = field(default_factory=deque)
    records: list[Message] = field(default_factory=list)  # of the first run: what the room has not seen
    at: int = 0  # the first of them that waits
    waiting: int = 0  # records
    given_up: bool = False  # nothing came for too long
    # Of ticks: what of the other topics was here before each run, by topic.
    behind: deque[dict[str, int]] = field(default_factory=deque)


class Lane:
    """The line of one state partition."""

    def __init__(self, state: StatePartition, more: Callable[[str, int], bool]) -> None:
        """Begin empty; `more` tells whether a topic may hold more than what came in up to an offset."""
        self.state = state
        self._more = more
        self._sources = {
            topic: Source(topic, rank, 1 if topic == TICKS else LEAST, state.offsets[topic])
            for rank, topic in enumerate(state.room.sources)
        }
        # A tick says how late it was: events before it go first, one by one.  No event waits for a tick.
        self._awaited = [source for source in self._sources.values() if source.topic != TICKS]
        self._waited = 0.0
        self._looked: float | None = None  # when we last saw that we have to wait

    def put(self, run: Run) -> None:
        """Let a run wait behind those of its topic."""
        source = self._sources[run.topic]
        if run.topic == TICKS:
            source.behind.append({one.topic: one.next for one in self._awaited})
        source.next = run.next
        source.given_up = False
        source.waiting += len(run.records)
        source.runs.append(run)

    def next(self, now: float) -> Piece | None:
        """Take the next piece out; None when nothing waits, or when something earlier is on its way.

        `now` is seconds on any clock that does not go back.
        """
        finished: list[Run] = []
        heads = [source for source in self._sources.values() if self._open(source, finished)]
        if heads and not self._waits(now):
            free = self._free(heads)
            source = min(free, key=lambda one: (_timestamp(one.records[one.at]), one.rank))
            run = source.runs[0]
            records = self._cut(source, free, finished)
            return Piece(source.topic, records, run.bytes * len(records) // len(run.records), finished)
        return Piece("", [], 0, finished) if finished else None

    def empty(self) -> bool:
        """Tell whether nothing waits here."""
        return not any(source.runs for source in self._sources.values())

    def waiting(self) -> int:
        """Return how many records wait here."""
        return sum(source.waiting for source in self._sources.values())

    def short_of(self) -> list[str]:
        """Return the topics that should be fetched first: others of this partition will have to wait for them."""
        if len(self._awaited) == 1 or self.empty():
            return []
        return [one.topic for one in self._awaited if one.waiting < PIECE and self._more(one.topic, one.next)]

    def _open(self, source: Source, finished: list[Run]) -> bool:
        """Let the first run that has something new be at hand; false when none has."""
        while not source.records and source.runs:
            run = source.runs[0]
            source.records, source.at = new_records(run, self.state), 0
            source.waiting -= len(run.records) - len(source.records)
            if not source.records:
                self._shut(source, finished)
        return bool(source.records)

    @staticmethod
    def _shut(source: Source, finished: list[Run]) -> None:
        finished.append(source.runs.popleft())
        source.records = []
        if source.behind:
            source.behind.popleft()

    def _waits(self, now: float) -> bool:
        """Tell whether something earlier may be on its way; not for ever."""
        if len(self._awaited) == 1:
            return False
        missing = [one for one in self._awaited if not one.runs and not one.given_up and self._more(one.topic, one.next)]
        if not missing:
            self._waited, self._looked = 0.0, None
            return False
        if self._looked is not None:
            self._waited += min(LOOK, now - self._looked)
        self._looked = now
        if self._waited < PATIENCE:
            return True
        for one in missing:
            one.given_up = True
        self._waited, self._looked = 0.0, None
        return False

    def _free(self, heads: list[Source]) -> list[Source]:
        """Leave out ticks that came behind something that still waits."""
        return [one for one in heads if not one.behind or self._is_past(one.behind[0])] or heads

    def _is_past(self, places: dict[str, int]) -> bool:
        return all(not self._sources[topic].runs or self._position(topic) >= place for topic, place in places.items())

    def _position(self, topic: str) -> int:
        source = self._sources[topic]
        return _offset(source.records[source.at]) if source.records else source.runs[0].first

    @staticmethod
    def _cut(source: Source, heads: Sequence[Source], finished: list[Run]) -> list[Message]:
        """Take from the source until another's head is earlier."""
        records, begin = source.records, source.at
        end = min(len(records), begin + PIECE)
        least = min(end, begin + source.least)
        for other in heads:
            if other is not source and least < end:
                find = bisect_right if source.rank < other.rank else bisect_left
                end = find(records, _timestamp(other.records[other.at]), least, end, key=_timestamp)
        source.waiting -= end - begin
        if end == len(records):
            Lane._shut(source, finished)
        else:
            source.at = end
        return records[begin:end] if begin or end < len(records) else records


def new_records(run: Run, state: StatePartition) -> list[Message]:
    """Return the records that the room has not seen, one by one: runs are cut differently after a restart."""
    position = state.offsets[run.topic]
    if run.first >= position:
        return run.records
    return run.records[bisect_left(run.records, position, key=_offset) :]
