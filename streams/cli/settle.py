"""Has everything been processed?  Asks the broker for the first record behind what each room has committed.

Offsets alone do not tell.  A commit marker counts in a partition's end but is never delivered, so on Kafka
the committed offset stays below the end for ever; and the embedded broker names as end the beginning of the
last batch.  What can be trusted is a fetch that comes to the end without a record.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from streams.cli.read import CALL_DEADLINE, partitions
from streams.cli.settings import CheckError, Settings
from streams.topics import ACTIVITY, DELTAS, MATURED, STAGE_CHANGE, TICKS

SOURCES = (STAGE_CHANGE, ACTIVITY)
INPUTS = (*SOURCES, TICKS, DELTAS, MATURED)
PATIENCE = 120.0  # without any progress; how long the work itself takes is nobody's fault
_PAUSE = 0.1

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
        self._places = [(topic, one) for topic in topics for one in partitions(self._consumer, topic)]

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


@dataclass(frozen=True)
class Observer:
    """How the worker that is waited for is observed.

    `pulse` counts what it writes: while that rises something is still coming.  `check` raises when it has
    ended.  `progress` is told in how many partitions records wait.
    """

    pulse: Callable[[], float]
    check: Callable[[], None]
    progress: Callable[[int], None]


def settle(settings: Settings, observer: Observer, topics: tuple[str, ...] = INPUTS, hold: float | None = None) -> None:
    """Wait until nothing waits in the topics and the worker has written nothing for `hold` seconds.

    By default that is a time in which whatever is paced or lingers must have come out.  Raises CheckError when
    nothing moves although records wait.
    """
    if hold is None:
        hold = settings.definitions.publish_interval + 2 * settings.definitions.flush_interval + 1.0
    group = Group(settings, topics)
    try:
        seen, since = None, time.monotonic()
        while True:
            observer.check()
            found = (observer.pulse(), group.look())
            observer.progress(len(found[1].waiting))
            if found != seen:
                seen, since = found, time.monotonic()
            quiet = time.monotonic() - since
            if not found[1].waiting and quiet >= hold:
                return
            if quiet > PATIENCE:
                raise CheckError(f"records wait, and the worker has not moved for {PATIENCE:.0f} s")
            time.sleep(_PAUSE)
    finally:
        group.close()
