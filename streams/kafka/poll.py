"""Who talks to the consumer group?  A thread of its own, so that a busy main loop never misses a rebalance.

It polls without a pause, groups what came by partition, and hands it to the main loop.  Its callbacks
run inside poll() and wait for the main loop where the group has to wait for us.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from streams.kafka.clients import Connection, group_consumer, librdkafka_log
from streams.kafka.exits import lose_place
from streams.kafka.inbox import Inbox, Run, TopicPart
from streams.kafka.rights import remedy

BATCH = 20_000
MAX_RUN = 4_000
WAIT = 0.1  # how long to wait for a first record
# How long to wait for more once there is one, at most: fewer, longer runs.  The broker gathers already, so it is at most a
# fiftieth of what a flush lingers.
GATHER = 0.02
# Nothing else serves rebalances while we wait for the rooms, so then pause and go on polling.
MAX_STALL = 1.0
HIGHS_EVERY = 1.0

# Passing troubles with a connection: librdkafka goes on by itself.
_PASSING = {
    KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001  # librdkafka's own codes begin with an underscore
    KafkaError._TRANSPORT,  # noqa: SLF001
    KafkaError._RESOLVE,  # noqa: SLF001
    KafkaError._TIMED_OUT,  # noqa: SLF001
    KafkaError._WAIT_COORD,  # noqa: SLF001
}


class Owner(Protocol):
    """What the poll thread needs of the main loop; every method is called on the poll thread."""

    def assigned(self, parts: frozenset[TopicPart], metadata: Any) -> Inbox:
        """Begin a generation; return when Faust knows."""

    def revoked(self) -> None:
        """End the generation; return when nothing of it is left."""

    def fail(self, sentence: str, error: BaseException | None = None) -> None:
        """End the process."""

    def arrived(self, inbox: Inbox, runs: list[Run], ends: dict[TopicPart, int]) -> None:
        """Take runs in, and which partitions were read to their end."""

    def highs(self, highs: dict[TopicPart, int]) -> None:
        """Learn the newest known end offsets."""


class PollThread(threading.Thread):
    """The group consumer and the thread that polls it."""

    def __init__(
        self, connection: Connection, owner: Owner, linger: float, until: Mapping[TopicPart, int] | None = None
    ) -> None:
        """Nothing is read at the offset that `until` gives for a partition, or beyond: it ends there for us."""
        super().__init__(name="dealpulse-poll", daemon=True)
        self._consumer = Consumer(group_consumer(connection, linger) | {"error_cb": _on_client_error})
        self._owner = owner
        self._gather = min(GATHER, linger / 50)
        self._commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._closing = False
        self.beats = 0  # rounds of the loop: the watchdog looks whether they go on
        self._inbox: Inbox | None = None
        self._fetching: frozenset[TopicPart] = frozenset()
        self._next: dict[TopicPart, int] = {}  # the offset after the last record, or the end, that was read
        self._heard_of: set[TopicPart] = set()  # partitions that something came of, if only that they end
        self._paused: set[TopicPart] = set()
        self._until = until or {}
        self._over: set[TopicPart] = set()  # of the paused ones, those that were read as far as they shall be
        self._highs_at = 0.0

    # ------------------------------------------------------------------ asked for by the main loop

    def subscribe(self, topics: Iterable[str]) -> None:
        """Join the group (again) with these topics."""
        wanted = list(topics)
        self._commands.put(
            lambda: self._consumer.subscribe(
                wanted, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
        )

    def fetch(self, inbox: Inbox, positions: dict[TopicPart, int]) -> None:
        """Start to fetch at these offsets, if the generation is still the inbox's."""
        self._commands.put(lambda: self._start_fetching(inbox, positions))

    def commit_plainly(self, offsets: list[TopicPartition]) -> None:
        """Commit outside any transaction: the negative control of the fault tests."""
        self._consumer.commit(offsets=offsets, asynchronous=False)

    def reached(self) -> dict[TopicPart, int]:
        """Return the offset up to which each partition was fetched, but of those that are paused."""
        return {part: at for part, at in self._next.copy().items() if part not in self._paused}

    def leave(self) -> None:
        """Leave the group and end the thread; join it to wait."""
        self._closing = True

    # ------------------------------------------------------------------ the thread

    def run(self) -> None:
        """Poll until told to leave."""
        try:
            while not self._closing:
                self.beats += 1
                self._obey()
                self._regulate()
                self._hand_over(self._inbox, self._poll())
                self._look_at_ends()
            self._consumer.close()
        except Exception as error:  # noqa: BLE001  # whatever it is, nobody polls any more
            lose_place(f"the poll thread failed: {error}", error)

    def _obey(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._commands.get_nowait()()

    def _poll(self) -> list[Message]:
        first = self._consumer.poll(WAIT)
        if first is None:
            return []
        return [first, *self._consumer.consume(BATCH - 1, self._gather)]

    def _hand_over(self, inbox: Inbox | None, messages: list[Message]) -> None:
        """Give what was polled to the main loop; `inbox` is that of before, since a rebalance may have come in between."""
        if not messages:
            return
        groups, ends = _by_partition(messages)
        if inbox is None or inbox is not self._inbox or not self._fetching:
            return
        for part in self._until.keys() & groups.keys():
            if groups[part][-1].offset() >= self._until[part]:
                ends[part] = self._read_enough(part, groups)
        runs = [run for part, records in groups.items() for run in _runs(part, records, self._end_of(part))]
        for run in runs:
            inbox.announce(run)
        self._next |= {(run.topic, run.partition): run.next for run in runs} | ends
        self._heard_of |= groups.keys() | ends.keys()
        self._owner.arrived(inbox, runs, ends)

    def _read_enough(self, part: TopicPart, groups: dict[TopicPart, list[Message]]) -> int:
        """Drop what is beyond the offset up to which the partition is read, and fetch no more of it; return that offset."""
        end = self._until[part]
        groups[part] = [message for message in groups[part] if message.offset() < end]
        self._consumer.pause(_places([part]))
        self._paused.add(part)
        self._over.add(part)
        return end

    def _regulate(self) -> None:
        """Wait for the rooms a moment; what they still cannot take is paused, which drops what is prefetched.

        While a room waits for another partition there is no sense in waiting for the room.
        """
        inbox = self._inbox
        if inbox is None:
            return
        end = time.monotonic() + MAX_STALL
        while over := {part for part in inbox.full() - self._paused if not self._is_wanted(inbox, part)}:
            if self._closing or not self._commands.empty():
                return
            if inbox.wanted or time.monotonic() >= end:
                self._consumer.pause(_places(over))
                self._paused |= over
                break
            time.sleep(0.005)
        under = {part for part in self._paused - self._over if inbox.load(*part) < 0.5 or self._is_wanted(inbox, part)}
        if under:
            self._resume(under)
            self._paused -= under

    @staticmethod
    def _is_wanted(inbox: Inbox, part: TopicPart) -> bool:
        """Tell whether a room runs short of the partition: it may go over its part, not beyond all bounds."""
        return part in inbox.wanted and inbox.load(*part) < 2

    def _resume(self, parts: set[TopicPart]) -> None:
        # librdkafka goes on behind the last thing that consume() gave, and takes the end of a partition for a
        # record: without the seek the next record would be skipped (librdkafka issue 4844).
        for part in parts:
            self._consumer.seek(TopicPartition(*part, self._next[part]))
        self._consumer.resume(_places(parts))

    def _look_at_ends(self) -> None:
        now = time.monotonic()
        if now - self._highs_at < HIGHS_EVERY or not self._fetching:
            return
        self._highs_at = now
        # Of one that we had before librdkafka knows the end of then, until it is fetched again.
        highs = {part: self._end_of(part) for part in self._heard_of}
        self._owner.highs({part: high for part, high in highs.items() if high >= 0})

    def _end_of(self, part: TopicPart) -> int:
        """Return where the partition ended when it was last fetched; negative while nobody knows."""
        if part not in self._fetching:
            return -1
        known = self._consumer.get_watermark_offsets(TopicPartition(*part), cached=True)
        return -1 if known is None else int(known[1])

    # ------------------------------------------------------------------ the group's callbacks, inside poll()

    def _on_assign(self, consumer: Consumer, assigned: list[TopicPartition]) -> None:
        if self._closing:
            return
        metadata = consumer.consumer_group_metadata()
        # Without this the binding starts at the committed offsets by itself; so nothing is fetched yet.
        consumer.assign([])
        self._reset()
        self._inbox = self._owner.assigned(frozenset((part.topic, part.partition) for part in assigned), metadata)

    def _on_revoke(self, _consumer: Consumer, _revoked: list[TopicPartition]) -> None:
        if self._closing:
            return
        self._reset()
        self._owner.revoked()

    def _on_lost(self, _consumer: Consumer, _lost: list[TopicPartition]) -> None:
        if not self._closing:
            # A flush under way is refused now; it aborts, so that nobody waits for its time-out.
            self._owner.fail("the group gave our partitions away while we did not answer (frozen, overloaded or cut off)")

    def _reset(self) -> None:
        # librdkafka goes on to pause a partition that is taken away and given back.
        self._consumer.resume(_places(self._paused))
        self._inbox = None
        self._fetching = frozenset()
        self._next = {}
        self._heard_of = set()
        self._paused, self._over = set(), set()

    def _start_fetching(self, inbox: Inbox, positions: dict[TopicPart, int]) -> None:
        if self._inbox is not inbox:
            return
        self._consumer.assign([TopicPartition(topic, partition, at) for (topic, partition), at in positions.items()])
        self._fetching = frozenset(positions)
        self._next = dict(positions)


def _places(parts: Iterable[TopicPart]) -> list[TopicPartition]:
    return [TopicPartition(topic, partition) for topic, partition in parts]


def _by_partition(messages: list[Message]) -> tuple[dict[TopicPart, list[Message]], dict[TopicPart, int]]:
    """Return the records of each partition, and which partitions were read to their end, with its offset."""
    groups: dict[TopicPart, list[Message]] = {}
    ends: dict[TopicPart, int] = {}
    records: list[Message] = []
    topic, partition = None, None
    for message in messages:
        # Records of one partition come in long stretches; these three are all that is asked of each.
        if message.partition() != partition or message.topic() != topic or message.error() is not None:
            topic, partition = part = message.topic(), message.partition()
            if message.error() is not None:
                topic = None
                if _is_end(message):
                    ends[part] = message.offset()
                continue
            ends.pop(part, None)
            records = groups.setdefault(part, [])
        records.append(message)
    return groups, {part: at for part, at in ends.items() if part not in groups or groups[part][-1].offset() < at}


def _runs(part: TopicPart, records: list[Message], high: int) -> Iterator[Run]:
    """Yield runs that are counted out of the inbox, and forgotten, one by one."""
    topic, partition = part
    for at in range(0, len(records), MAX_RUN):
        cut = records[at : at + MAX_RUN] if len(records) > MAX_RUN else records
        yield Run(topic, partition, cut, sum(map(len, cut)), cut[0].offset(), cut[-1].offset() + 1, high)


def _is_end(message: Message) -> bool:
    """Tell the end of a partition from an error; an error that does not pass ends the process."""
    error = message.error()
    if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # its only name
        return True
    # What is wrong with the group itself, such as the right to join it, has no topic.
    where = "as a member of the group" if message.topic() is None else f"{message.topic()}[{message.partition()}]"
    if error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001
        lose_place(
            f"{where} no longer holds the next record we need: input was lost (retention?): {error.str()}",
            remedy="compute what is left: dealpulse rebuild --from-what-is-left",
        )
    if error.code() == KafkaError._MAX_POLL_EXCEEDED:  # noqa: SLF001
        lose_place("the poll thread was stuck for longer than max.poll.interval.ms and the group went on without us")
    if error.fatal() or error.code() not in _PASSING:
        lose_place(f"reading {where} failed: {error.name()}: {error.str()}", remedy=remedy(error))
    librdkafka_log.warning("%s: %s", where, error)
    return False


def _on_client_error(error: KafkaError) -> None:
    if error.fatal():
        lose_place(f"the consumer failed for good: {error.name()}: {error.str()}")
    librdkafka_log.warning("consumer: %s", error)


def describe(error: BaseException) -> str:
    """Return an error of librdkafka as NAME: what it says."""
    if isinstance(error, KafkaException) and isinstance(error.args[0], KafkaError):
        return f"{error.args[0].name()}: {error.args[0].str()}"
    return f"{type(error).__name__}: {error}"
