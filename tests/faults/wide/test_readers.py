"""How long do readers of numbers stand still when a worker dies in the middle of a flush?  Seen by a reader of committed records.

The dead worker's transaction stays open; whatever its flush had written to can be read on only when it is decided: by the broker,
after transaction.timeout.ms and its scan, or by whoever comes back under the same transactional id.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from confluent_kafka import Consumer, TopicPartition

from streams.kafka.clients import TRANSACTION_TIMEOUT
from streams.topics import DELTAS, KPI_LATEST
from tests.faults import workers
from tests.faults.wide.crew import Crew, open_transactions
from tests.faults.wide.dose import SEED, dose, only_heavy, patience
from tests.faults.wide.progress import quantile

pytestmark = [*patience(300, 1200), only_heavy]

ROUNDS = dose("READER_STALLS", 3, 8)
SCAN = 1.0  # transaction.abort.timed.out.transaction.cleanup.interval.ms of the brokers here
SLACK = 7.0  # a session, and a restore
RATE = 100  # the fewer the better: how long a flush takes is not what is asked
POINTS = ("C3", "C4")  # all is written; the offsets too


@dataclass(eq=False)
class Reader(threading.Thread):
    """A subscriber to all of a KPI topic, who waits in each partition for something that was written after an instant."""

    crew: Crew
    since: float = float("inf")
    waited: dict[int, float] = field(default_factory=dict)  # by partition, in seconds

    def __post_init__(self) -> None:
        """Prepare the thread."""
        super().__init__(daemon=True)
        self._over = threading.Event()
        self._partitions = range(self.crew.installation.settings.definitions.partitions)

    def run(self) -> None:
        """Read."""
        settings = {"group.id": "a-reader", "enable.auto.commit": False, "isolation.level": "read_committed", "log_level": 0}
        consumer = Consumer({**self.crew.installation.client, **settings, "fetch.wait.max.ms": 20})
        consumer.assign([TopicPartition(KPI_LATEST, partition, 0) for partition in self._partitions])
        while not self._over.is_set():
            for message in consumer.consume(10_000, 0.02):
                if message.error() is None and message.timestamp()[1] > self.since * 1000:
                    self.waited.setdefault(message.partition(), time.time() - self.since)
        consumer.close()

    def end(self) -> None:
        self._over.set()
        self.join(20)

    def begin(self, since: float) -> None:
        """Wait from this instant on."""
        self.since = float("inf")
        self.waited = {}
        self.since = since

    def stood_still_for(self, deadline: float) -> list[float]:
        """Return how long it took in each partition."""
        end = time.monotonic() + deadline
        while len(self.waited) < len(self._partitions):
            assert time.monotonic() < end, f"nothing new in {set(self._partitions) - self.waited.keys()}"
            time.sleep(0.02)
        return list(self.waited.values())


@contextlib.contextmanager
def reading(crew: Crew) -> Iterator[Reader]:
    """Read for the length of the block."""
    reader = Reader(crew)
    reader.start()
    try:
        yield reader
    finally:
        reader.end()


@pytest.mark.parametrize("slots", [False, True], ids=["another-name", "the-same-name"])
def test_readers_stand_still_for_a_bounded_time(crew, slots):
    """A worker dies in a flush and is started again at once: under a new name all wait for the time-out; under its own, for its start."""
    two = crew()
    first, second = ("0", "1") if slots else (None, None)
    two.join(slot=first).wait_until_ready()
    two.feed(1_000, SEED + 72, RATE)
    waits, worst, held = [], [], []
    with reading(two) as reader:
        for number in range(ROUNDS):
            point = POINTS[number % len(POINTS)]
            dying = two.join(slot=second, failpoint=f"{point}:15")
            assert dying.wait(90) == workers.KILLED, dying.last_words()
            reader.begin(time.time())
            two.harm(f"death at {point}")
            again = two.join(slot=second)
            held.append(_held(two))
            found = reader.stood_still_for(60)
            waits += found
            worst.append(max(found))
            again.wait_until_ready()
            if not slots:
                again.stop()  # its place is free for the next; a static member keeps its own
            elif number + 1 < ROUNDS:
                again.kill()
                time.sleep(0.5)
    two.fed_up()
    if not slots:
        two.join_ready()
    two.assert_exact()
    two.report(
        f"readers-{'same' if slots else 'another'}-name",
        "how long readers of the latest topic stand still when a worker dies in a flush and is started again "
        + ("under its own transactional id" if slots else "under a new one"),
        a_partition_s={"p50": quantile(waits, 0.5), "p95": quantile(waits, 0.95), "max": max(waits), "of": len(waits)},
        the_last_partition_of_a_death_s={"p50": quantile(worst, 0.5), "max": max(worst), "of": len(worst)},
        partitions_held_by_the_dead=[f"{latest} of latest and {deltas} of deltas" for latest, deltas in held],
    )
    assert max(worst) < TRANSACTION_TIMEOUT + SCAN + SLACK


def _held(crew: Crew) -> tuple[int, int]:
    """Return in how many partitions of the KPI topic and of the deltas something is undecided."""
    undecided = open_transactions(crew.installation)
    return tuple(sum(place.startswith(f"{topic}[") for place in undecided) for topic in (KPI_LATEST, DELTAS))
