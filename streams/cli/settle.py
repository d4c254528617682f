"""Has everything been processed?  Asks the broker for the first record behind what each room has committed, and the worker.

Offsets alone do not tell.  A commit marker counts in a partition's end but is never delivered, so on Kafka
the committed offset stays below the end for ever; and the embedded broker names as end the beginning of the
last batch.  What can be trusted is a fetch that comes to the end without a record.  That end is the last stable offset: while a
transaction is open behind it (its worker was killed), what stands there waits, too, and the partition's end tells.

What a room has taken in may still be told later: rounds take their time, and wide windows are held back.  Only the
worker knows of that; how long it has been silent, or how busy it is, says nothing on a machine that others use.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition

from streams.cli.read import CALL_DEADLINE, partitions
from streams.cli.settings import CheckError, Settings
from streams.kafka.inbox import TopicPart
from streams.kafka.reading import high
from streams.topics import ALERT_EVENTS, DELTAS, JUDGED, MATURED, SOURCES, TICKS

INPUTS = (*SOURCES, TICKS, DELTAS, MATURED, ALERT_EVENTS, JUDGED)
# Without a commit, beside what a flush and a round linger; how long all of the work takes is nobody's fault.
PATIENCE = 300.0
# The broker may be silent that long: a coordinator moves, a transaction whose worker died is decided.
SILENCE = 60.0
_PAUSE, _BUSY_PAUSE = 0.2, 0.5  # each question costs the broker and the worker a little


@dataclass(frozen=True)
class Look:
    """What the rooms have committed, and where a record waits behind that."""

    committed: dict[TopicPart, int]
    waiting: frozenset[TopicPart]


class Group:
    """The worker's consumer group, seen from outside; it is asked, never joined."""

    def __init__(
        self, settings: Settings, topics: tuple[str, ...] = INPUTS, until: Mapping[TopicPart, int] | None = None
    ) -> None:
        """Connect.  What stands at the offset that `until` gives for a partition, or beyond, is not waited for."""
        self._until = until or {}
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

    def _waiting(self, committed: dict[TopicPart, int]) -> frozenset[TopicPart]:
        starts = [TopicPartition(*place, offset or OFFSET_BEGINNING) for place, offset in committed.items()]
        self._consumer.assign(starts)
        undecided, waiting = set(committed), set()
        end = time.monotonic() + CALL_DEADLINE
        while undecided:
            for message in self._consumer.consume(1000, 0.1):
                place = (message.topic(), message.partition())
                error = message.error()
                if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001  # its only name
                    continue
                ends = high(self._consumer, place) if error is not None else message.offset() + 1
                if place in undecided and message.offset() < min(ends, self._until.get(place, ends)):
                    waiting.add(place)
                undecided.discard(place)
            if time.monotonic() > end:
                raise CheckError(
                    f"the broker does not say within {CALL_DEADLINE:.0f} s whether records wait; look at its log"
                )
        self._consumer.unassign()
        return frozenset(waiting)


class Said(NamedTuple):
    """What workers say: how many transactions they have committed, and whether everything is out that follows from their input."""

    commits: int
    idle: bool


@dataclass(frozen=True)
class Observer:
    """How the workers that are waited for are observed.

    `says` returns None while one does not answer; `check` raises when one has ended; `progress` is told how far they are.
    """

    says: Callable[[], Said | None]
    check: Callable[[], None]
    progress: Callable[[Look], None]


def together(said: Iterable[Said | None]) -> Said | None:
    """Return what several workers say as one; None when one of them says nothing."""
    commits, idle = 0, True
    for one in said:
        if one is None:
            return None
        commits, idle = commits + one.commits, idle and one.idle
    return Said(commits, idle)


def is_settled(before: Said | None, look: Look, after: Said | None) -> bool:
    """Tell whether nothing more will come: no record waits, and the workers owe nothing and have committed nothing meanwhile.

    What a commit made visible between the look and the second answer would else be missed.
    """
    return after is not None and after.idle and before == after and not look.waiting


def settle(
    settings: Settings, observer: Observer, topics: tuple[str, ...] = INPUTS, until: Mapping[TopicPart, int] | None = None
) -> None:
    """Wait until nothing waits in any topic and nothing more will come out of the workers.

    What stands at the offset that `until` gives for a partition, or beyond, is not waited for.  Raises CheckError when
    nothing moves although records wait.
    """
    _watch(settings, observer, Group(settings, topics, until), is_settled)


def wait_until_read(settings: Settings, observer: Observer, until: Mapping[TopicPart, int] | None = None) -> None:
    """Wait until every source record has been taken in; what follows from it may still be coming."""
    _watch(settings, observer, Group(settings, SOURCES, until), lambda _before, look, _after: not look.waiting)


def _watch(
    settings: Settings, observer: Observer, group: Group, is_reached: Callable[[Said | None, Look, Said | None], bool]
) -> None:
    moved, heard, seen = time.monotonic(), time.monotonic(), None
    patience = PATIENCE + 2 * (settings.definitions.flush_every + settings.definitions.publish_interval)
    try:
        while True:
            observer.check()
            before = observer.says()
            try:
                look = group.look()
            except CheckError:
                if time.monotonic() - heard > SILENCE:
                    raise
                time.sleep(_BUSY_PAUSE)
                continue
            heard, after = time.monotonic(), observer.says()
            observer.progress(look)
            if is_reached(before, look, after):
                return
            if (after, look) != seen:
                moved, seen = time.monotonic(), (after, look)
            elif time.monotonic() - moved > patience:
                raise CheckError(
                    f"the worker has more to do, and has not moved for {patience:.0f} s; look at its log, and ask dealpulse doctor"
                )
            time.sleep(_BUSY_PAUSE if look.waiting else _PAUSE)
    finally:
        group.close()
