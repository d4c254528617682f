"""What has been fetched and not been handled yet?  Counted, so that fetching can stop in time.

The poll thread puts, the main loop takes.  Each side only adds to its own counters, so none needs a lock.
A topic has a share of the memory, and its partitions divide it: what waits in one of them for another topic
must not keep that topic's records from coming.
One inbox belongs to one generation; the next rebalance throws it away whole.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from confluent_kafka import Message

MAX_RECORDS = 30_000
MAX_BYTES = 16 << 20


TopicPart = tuple[str, int]


@dataclass(slots=True)
class Run:
    """The records of one partition that one poll returned, oldest first."""

    topic: str
    partition: int
    records: list[Message]
    bytes: int
    first: int
    next: int  # the offset after the last record
    high: int = 0  # where the partition ended when this was fetched, if known
    readers: int = 1  # rooms that have not taken it in yet


@dataclass(frozen=True, slots=True)
class Bundle:
    """The runs that one poll returned for the same rooms.  Faust spends a few tasks on each message: this is one."""

    topic: str  # of the first; it leads to all that read the others
    serial: int  # grows from bundle to bundle; stands where Faust expects an offset
    generation: int
    runs: list[Run]


@dataclass(slots=True)
class Held:
    """What came into and what left the inbox of one partition; each side writes its own numbers."""

    records_in: int = 0
    bytes_in: int = 0
    records_out: int = 0
    bytes_out: int = 0

    @property
    def load(self) -> float:
        """Return how much of a topic's share is held: 1 is all of it."""
        return max((self.records_in - self.records_out) / MAX_RECORDS, (self.bytes_in - self.bytes_out) / MAX_BYTES)


class Inbox:
    """Runs on their way from the poll thread to the rooms, counted until the last room has them."""

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self.waiting: deque[Bundle] = deque()
        # Partitions that a room runs short of while it has something of their sisters (the main loop sets it).
        self.wanted: frozenset[TopicPart] = frozenset()
        self._serial = 0
        self._held: dict[str, dict[int, Held]] = {}

    def put(self, runs: list[Run], readers: Mapping[str, Sequence[str]]) -> None:
        """Let the runs of one poll wait for Faust, one bundle for each set of rooms that read their topics (main loop)."""
        by_readers: dict[tuple[str, ...], list[Run]] = {}
        for run in runs:
            by_readers.setdefault(tuple(readers[run.topic]), []).append(run)
        for bundled in by_readers.values():
            self._serial += 1
            self.waiting.append(Bundle(bundled[0].topic, self._serial, self.generation, bundled))

    def announce(self, run: Run) -> None:
        """Count a run that is on its way (poll thread)."""
        held = self._held.setdefault(run.topic, {}).setdefault(run.partition, Held())
        held.records_in += len(run.records)
        held.bytes_in += run.bytes

    def done(self, run: Run) -> None:
        """Count the run out when its last reader has taken it in (main loop)."""
        run.readers -= 1
        if run.readers == 0:
            held = self._held[run.topic][run.partition]
            held.records_out += len(run.records)
            held.bytes_out += run.bytes

    def load(self, topic: str, partition: int) -> float:
        """Return how full the partition's part of its topic's share is: 1 is full (poll thread)."""
        parts = self._held.get(topic, {})
        return parts[partition].load * len(parts) if partition in parts else 0.0

    def full(self) -> set[TopicPart]:
        """Return the partitions that nothing more should be fetched of (poll thread).

        Their topics are full, and these have at least their part.
        """
        found: set[TopicPart] = set()
        for topic, parts in self._held.items():
            loads = {partition: held.load for partition, held in parts.items()}
            if sum(loads.values()) >= 1:
                found |= {(topic, partition) for partition, load in loads.items() if load * len(loads) >= 1}
        return found
