"""How long does a fault keep numbers waiting?  Watches what the group commits, partition by partition."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaException, TopicPartition

from streams.cli.settings import Settings
from streams.topics import DELTAS, STAGE_CHANGE

EVERY = 0.2
Place = tuple[str, int]


class Move(NamedTuple):
    """Something was committed: after `since`, when it was asked in vain last, and before `at`, when it was seen."""

    since: float
    at: float


@dataclass(eq=False)
class Progress(threading.Thread):
    """When did the group's committed offset of each partition move?  Asked all the time, until `end`.

    Both what the deals and what the kpis read: a worker is back when both rooms are.
    """

    settings: Settings
    moves: dict[Place, list[Move]] = field(default_factory=dict)
    failed: int = 0

    def __post_init__(self) -> None:
        """Prepare the thread."""
        super().__init__(daemon=True)
        self._over = threading.Event()
        count = self.settings.definitions.partitions
        self.moves = {(topic, partition): [] for topic in (STAGE_CHANGE, DELTAS) for partition in range(count)}

    def run(self) -> None:
        """Ask."""
        consumer = Consumer(
            {
                **self.settings.client,
                "group.id": self.settings.environment.app_id,
                "enable.auto.commit": False,
                "isolation.level": "read_uncommitted",  # an undecided transaction must not keep us waiting
                "socket.timeout.ms": 3000,
                "log_level": 0,
            }
        )
        seen: dict[Place, int] = {}
        since = time.monotonic()
        asked = [TopicPartition(*place) for place in self.moves]
        while not self._over.wait(EVERY):
            asking = time.monotonic()
            try:
                found = consumer.committed(asked, 3.0)
            except KafkaException:
                self.failed += 1
                continue
            now = time.monotonic()
            for one in found:
                place = (one.topic, one.partition)
                if one.offset > seen.get(place, -1):
                    seen[place] = one.offset
                    self.moves[place].append(Move(since, now))
            since = asking
        with contextlib.suppress(KafkaException):
            consumer.close()

    def end(self) -> None:
        self._over.set()
        self.join(20)

    def recoveries(self, faults: Iterable[float]) -> list[float]:
        """Return for each fault how long it took until every partition had moved again; those never seen are left out.

        A move counts if it was certainly made after the fault: what a look right after it finds may have been made before.
        """
        found = []
        for fault in faults:
            nexts = [next((move.at for move in moves if move.since >= fault), None) for moves in self.moves.values()]
            if None not in nexts:
                found.append(max(at - fault for at in nexts if at is not None))
        return found

    def longest_wait(self) -> float:
        """Return the longest time in which a partition did not move, between its first and last move."""
        waits = [after.at - before.at for moves in self.moves.values() for before, after in itertools.pairwise(moves)]
        return max(waits, default=0.0)


def quantile(values: Iterable[float], share: float) -> float | None:
    """Return the nearest-rank quantile, None of nothing."""
    found = sorted(values)
    return found[min(len(found) - 1, int(share * len(found)))] if found else None
