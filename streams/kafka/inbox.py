"""What has been fetched and not been handled yet?  Counted, so that fetching can stop in time.

The poll thread puts, the main loop takes.  Each side only adds to its own counters, so none needs a lock.
One inbox belongs to one generation; the next rebalance throws it away whole.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass

from confluent_kafka import Message

MAX_RECORDS = 30_000
MAX_BYTES = 16 << 20


@dataclass(slots=True)
class Run:
    """The records of one partition that one poll returned, oldest first."""

    topic: str
    partition: int
    records: list[Message]
    bytes: int
    first: int
    next: int  # the offset after the last record
    readers: int = 1  # rooms that have not taken it in yet


@dataclass(frozen=True, slots=True)
class Bundle:
    """The runs of one topic that one poll returned.  Faust spends a few tasks on each message: this is one."""

    topic: str
    serial: int  # grows from bundle to bundle; stands where Faust expects an offset
    generation: int
    runs: list[Run]


class Inbox:
    """Runs on their way from the poll thread to the rooms, counted per topic until the last room has them."""

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self.waiting: deque[Bundle] = deque()
        self._serial = 0
        self._put_records: dict[str, int] = defaultdict(int)
        self._put_bytes: dict[str, int] = defaultdict(int)
        self._taken_records: dict[str, int] = defaultdict(int)
        self._taken_bytes: dict[str, int] = defaultdict(int)

    def put(self, runs: list[Run]) -> None:
        """Let the runs of one poll wait for Faust, one bundle per topic (main loop)."""
        by_topic: dict[str, list[Run]] = {}
        for run in runs:
            by_topic.setdefault(run.topic, []).append(run)
        for topic, bundled in by_topic.items():
            self._serial += 1
            self.waiting.append(Bundle(topic, self._serial, self.generation, bundled))

    def announce(self, run: Run) -> None:
        """Count a run that is on its way (poll thread)."""
        self._put_records[run.topic] += len(run.records)
        self._put_bytes[run.topic] += run.bytes

    def done(self, run: Run) -> None:
        """Count the run out when its last reader has taken it in (main loop)."""
        run.readers -= 1
        if run.readers == 0:
            self._taken_records[run.topic] += len(run.records)
            self._taken_bytes[run.topic] += run.bytes

    def load(self, topic: str) -> float:
        """Return how full the topic's share is: 1 is full."""
        records = self._put_records[topic] - self._taken_records[topic]
        size = self._put_bytes[topic] - self._taken_bytes[topic]
        return max(records / MAX_RECORDS, size / MAX_BYTES)

    def full(self) -> set[str]:
        """Return the topics that nothing more should be fetched of."""
        return {topic for topic in list(self._put_records) if self.load(topic) >= 1}
