"""Has everything been processed?  Asks the broker for the first record behind what each room has committed.

Offsets alone do not tell.  A commit marker counts in a partition's end but is never delivered, so on Kafka
the committed offset stays below the end for ever; and the embedded broker names as end the beginning of the
last batch.  What can be trusted is a fetch that comes to the end without a record.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from streams.cli.read import CALL_DEADLINE, partitions
from streams.cli.settings import CheckError, Settings
from streams.config import Definitions
from streams.topics import ACTIVITY, ALERT_EVENTS, DELTAS, MATURED, STAGE_CHANGE, TICKS

SOURCES = (STAGE_CHANGE, ACTIVITY)
INPUTS = (*SOURCES, TICKS, DELTAS, MATURED, ALERT_EVENTS)
PATIENCE = 300.0  # without a commit; how long all of the work takes is nobody's fault
IDLE = 0.25  # of one CPU: polling, heartbeats and our own questions
# What is told in a round takes the worker about that long to work out and commit, per record.
ROUND_PAUSE = 5e-6
_PAUSE, _BUSY_PAUSE = 0.2, 0.5  # each question costs the broker and the worker a little

Place = tuple[str, int]


@dataclass(frozen=True)
class Look:
    """What the rooms have committed, and where a record waits behind that."""

    committed: dict[Place, int]
    waiting: frozenset[Place]


class Group:
    """The worker's consumer group, seen from outside; it is asked, never joined."""

    def __init__(self, settings: Settings, topics: tuple[str, ...] = INPUTS) -> None:
        """Connect."""
        self._consumer = Consumer(
            {
                **settings.client,
                "group.id": settings.environment.app_id,
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                # One record answers the question, and the end must be told at once.
                "fetch.wait.max.ms": 10,
                "fetch.message.max.bytes": 4096,
                "queued.max.messages.kbytes": 256,
                "log_level": 0,
            }
        )
        self._places = [(topic, one) for topic in topics for one in partitions(self._consumer, settings.client, topic)]

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()

    def look(self) -> Look:
        """Return how far the rooms are.  Raises CheckError."""
        try:
            asked = [TopicPartition(*place) for place in self._places]
            found = self._consumer.committed(asked, timeout=CALL_DEADLINE)
        except KafkaException as error:
            raise CheckError(f"the broker does not say how far the group is: {error.args[0].str()}") from None
        committed = {(one.topic, one.partition): max(one.offset, 0) for one in found}
        return Look(committed, self._waiting(committed))

    def _waiting(self, committed: dict[Place, int]) -> frozenset[Place]:
        starts = [TopicPartition(*place, offset or OFFSET_BEGINNING) for place, offset in committed.items()]
        self._consumer.assign(starts)
        undecided, waiting = set(committed), set()
        end = time.monotonic() + CALL_DEADLINE
        while undecided:
            for message in self._consumer.consume(1000, 0.1):
                place = (message.topic(), message.partition())
                error = message.error()
                if error is None and place in undecided:
                    waiting.add(place)
                elif error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001  # its only name
                    continue
                undecided.discard(place)
            if time.monotonic() > end:
                raise CheckError("the broker does not say whether records wait")
        self._consumer.unassign()
        return frozenset(waiting)


class Vitals(NamedTuple):
    """What a worker has done so far: transactions, KPI records, and seconds of CPU."""

    transactions: float
    records: float
    cpu: float


@dataclass(frozen=True)
class Observer:
    """How the worker that is waited for is observed.

    `check` raises when it has ended; `progress` is told in how many partitions records wait.
    """

    vitals: Callable[[], Vitals]
    check: Callable[[], None]
    progress: Callable[[int], None]


class Quiet:
    """Since when has the worker neither written nor computed, nor announced to write later?"""

    def __init__(self, pause: float) -> None:
        """Begin busy; `pause` is how long whatever lingers may take to come out."""
        self._pause = pause
        self._seen: tuple[Vitals, Look] | None = None
        self._since = self._cpu = self._announced = 0.0

    def lasts(self, vitals: Vitals, look: Look, now: float) -> bool:
        """Take in what is seen now; return whether it has been quiet for long enough."""
        if self._seen is None or vitals[:2] != self._seen[0][:2] or look != self._seen[1]:
            told = vitals.records - self._seen[0].records if self._seen else 0.0
            self._announced = max(self._announced, now + told * ROUND_PAUSE)
            self._begin(vitals, now)
        elif now - self._since >= self._pause and vitals.cpu - self._cpu > IDLE * (now - self._since):
            self._begin(vitals, now)  # it is at something that takes longer
        self._seen = (vitals, look)
        return now - self._since >= self._pause and now >= self._announced

    def _begin(self, vitals: Vitals, now: float) -> None:
        self._since, self._cpu = now, vitals.cpu


def rest(definitions: Definitions) -> float:
    """Return how long a worker may seem at rest while something lingers: then nothing is held back any more."""
    return 2 * definitions.publish_interval + 2 * definitions.flush_every + 1.0


def settle(settings: Settings, observer: Observer) -> None:
    """Wait until nothing waits in any topic and the worker has come to rest.

    Raises CheckError when nothing moves although records wait.
    """
    quiet = Quiet(rest(settings.definitions))
    _watch(settings, observer, INPUTS, lambda vitals, look: quiet.lasts(vitals, look, time.monotonic()))


def wait_until_read(settings: Settings, observer: Observer) -> None:
    """Wait until every source record has been taken in; what follows from it may still be coming."""
    _watch(settings, observer, SOURCES, lambda _vitals, _look: True)


def _watch(settings: Settings, observer: Observer, topics: tuple[str, ...], rests: Callable[[Vitals, Look], bool]) -> None:
    group = Group(settings, topics)
    moved, seen = time.monotonic(), None
    try:
        while True:
            observer.check()
            vitals, look = observer.vitals(), group.look()
            observer.progress(len(look.waiting))
            if rests(vitals, look) and not look.waiting:
                return
            if (vitals[:2], look) != seen:
                moved, seen = time.monotonic(), (vitals[:2], look)
            elif time.monotonic() - moved > PATIENCE:
                raise CheckError(f"records wait, and the worker has not moved for {PATIENCE:.0f} s")
            time.sleep(_BUSY_PAUSE if look.waiting else _PAUSE)
    finally:
        group.close()
