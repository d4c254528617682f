"""What is one flush?  One transaction: state changes, derived records and source offsets, all or nothing.

The main loop computes a batch; a thread commits it while the next one is computed.  Any failure ends the
process: what was handled since is ahead of Kafka and must not be kept.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, NoReturn

import msgspec
from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from streams.kafka.clients import MAX_RECORD, MAX_STATE_VALUE, TRANSACTION_TIMEOUT, Connection, producer
from streams.kafka.exits import RESTART, lose_place
from streams.kafka.faults import Faults, die
from streams.kafka.ownership import FLUSHES, OFFSETS_KEY, Generation, StateKey
from streams.kafka.poll import describe
from streams.kafka.rights import remedy
from streams.kafka.room import Output
from streams.kafka.transaction import StartError, register
from streams.topics import changelog

INIT_DEADLINE = 20.0
ABORT_DEADLINE = 2.0
REASON_DEADLINE = 1.0


@dataclass(frozen=True, slots=True)
class Batch:
    """Everything that one transaction makes visible."""

    outputs: list[Output]
    rows: list[Output]
    offsets: list[TopicPartition]
    metadata: Any
    handled: dict[tuple[str, str], int]  # (room, source topic) -> records
    compute_seconds: float  # in the rooms: taking in, and working out what is sent


@dataclass(frozen=True, slots=True)
class FlushReport:
    """What one committed flush did, for metrics."""

    handled: dict[tuple[str, str], int]  # (room, source topic) -> records
    produced: dict[str, int]  # topic -> records
    rows: int  # changelog records
    partitions: int  # source partitions whose offsets it carried
    compute_seconds: float
    produce_seconds: float
    commit_seconds: float  # delivery, offsets and decision
    at: float  # wall clock, seconds since 1970


@dataclass(slots=True)
class Handled:
    """Counts what was handed to rooms since the last batch."""

    records: int = 0
    by_source: dict[tuple[str, str], int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)  # by room

    def add(self, room: str, topic: str, records: int) -> None:
        """Count records of a run."""
        self.records += records
        self.by_source[room, topic] = self.by_source.get((room, topic), 0) + records

    def took(self, room: str, seconds: float) -> None:
        """Count the time that a room took for a run."""
        self.seconds[room] = self.seconds.get(room, 0.0) + seconds

    def take(self, rooms: Collection[str]) -> Handled:
        """Take out what these rooms were handed."""
        by_source = {source: records for source, records in self.by_source.items() if source[0] in rooms}
        for source in by_source:
            del self.by_source[source]
        seconds = {room: self.seconds.pop(room) for room in rooms if room in self.seconds}
        taken = Handled(sum(by_source.values()), by_source, seconds)
        self.records -= taken.records
        return taken


def collect_rows(app_id: str, generation: Generation, touched: Iterable[StateKey]) -> list[Output]:
    """Take the changed rows out of the tables, each partition's offsets with them."""
    rows: list[Output] = []
    for key in touched:
        state = generation.states[key]
        table, topic, partition = state.table, changelog(app_id, key[0]), state.partition
        changed, table.changed = table.changed, set()
        rows += [(topic, partition, row, table.rows.get(row), None) for row in changed]
        state.flushes += 1
        offsets = msgspec.json.encode(state.offsets | {FLUSHES: state.flushes})
        rows.append((topic, partition, OFFSETS_KEY, offsets, None))
        state.handled, state.anchored, state.written = 0, True, state.offsets.copy()
    return rows


def refuse_oversized(batch: Batch) -> str | None:
    """Return a sentence about the first record that is too large; the broker would refuse it again and again."""
    for records, limit, what in ((batch.rows, MAX_STATE_VALUE, "state row"), (batch.outputs, MAX_RECORD, "record")):
        for topic, _, key, value, _ in records:
            if value is not None and len(value) > limit:
                return f"a {what} of {len(value)} bytes for {topic}, key {key!r}, is over the limit of {limit}"
    return None


class Transactions:
    """The one transactional producer of this worker."""

    def __init__(self, connection: Connection, faults: Faults) -> None:
        self._producer = Producer(producer(connection) | {"error_cb": _on_producer_error})
        self._faults = faults

    def begin(self, deadline: float = INIT_DEADLINE) -> None:
        """Register with the broker.  Raises StartError."""
        register(self._producer, deadline)

    def commit(self, batch: Batch) -> FlushReport:
        """Make the batch visible, or end the process.  Blocks."""
        oversized = refuse_oversized(batch)
        if oversized:
            lose_place(oversized, remedy="and a restart meets it again: report it")
        end = time.monotonic() + TRANSACTION_TIMEOUT
        started = time.perf_counter()
        self._faults.hit("C1")
        self._call("begin_transaction")
        self._produce(batch)
        produced = time.perf_counter()
        if self._call("flush", _left(end)):
            self._give_up("flush", f"records are not delivered after {TRANSACTION_TIMEOUT:.0f} s", can_abort=True)
        self._faults.hit("C3")
        self._call("send_offsets_to_transaction", batch.offsets, batch.metadata, _left(end))
        self._faults.hit("C4")
        if self._faults.strikes("C5"):
            threading.Thread(target=self._producer.commit_transaction, daemon=True).start()
            time.sleep(0.002)
            die()
        self._call("commit_transaction", _left(end))
        self._faults.hit("C6")
        return report(batch, produced - started, time.perf_counter() - produced)

    def _produce(self, batch: Batch) -> None:
        produce = self._producer.produce
        dies = self._faults.strikes("C2")
        records = batch.outputs + batch.rows
        try:
            for topic, partition, key, value, headers in records[: (len(records) + 1) // 2] if dies else records:
                produce(topic, value, key, partition, None, None, 0, headers)
        except (KafkaException, BufferError) as error:
            # librdkafka knows only what it accepted: a commit would succeed without this record.
            if isinstance(error, KafkaException) and error.args[0].code() == KafkaError._STATE:  # noqa: SLF001
                # The transaction had failed before, of which the next call to the broker tells the reason.
                self._call("send_offsets_to_transaction", batch.offsets, batch.metadata, REASON_DEADLINE)
            what = remedy(error.args[0]) if isinstance(error, KafkaException) else RESTART
            self._give_up("produce", describe(error), can_abort=True, remedy=what)
        if dies:
            self._producer.flush(5)
            die()

    def _call(self, name: str, *arguments: Any) -> Any:
        try:
            return getattr(self._producer, name)(*arguments)
        except KafkaException as error:
            found = error.args[0]
            can_abort = not found.fatal() and found.code() != KafkaError._FENCED  # noqa: SLF001
            self._give_up(name, describe(error), can_abort=can_abort, remedy=remedy(found))

    def _give_up(self, call: str, why: str, *, can_abort: bool, remedy: str = RESTART) -> NoReturn:
        sentence = f"the transaction failed in {call}: {why}"
        if can_abort:
            # Else readers of what we wrote wait for the transaction's time-out.
            aborting = threading.Thread(target=self._abort, args=(sentence, remedy), daemon=True)
            aborting.start()
            aborting.join(ABORT_DEADLINE + 0.5)
        lose_place(sentence, remedy=remedy)

    def _abort(self, sentence: str, remedy: str = RESTART) -> None:
        try:
            self._producer.abort_transaction(ABORT_DEADLINE)
        except KafkaException as error:
            lose_place(f"{sentence}; its abort failed, too: {describe(error)}", remedy=remedy)


class PlainProducing:
    """The negative control of the fault tests: the same records without a transaction.  Loses and repeats."""

    def __init__(
        self, connection: Connection, faults: Faults, commit_offsets: Callable[[list[TopicPartition]], None]
    ) -> None:
        if not faults.plain_producing:
            raise StartError("producing without transactions gives wrong numbers; only fault tests may ask for it")
        self._producer = Producer(producer(connection, transactions=False))
        self._faults = faults
        self._commit_offsets = commit_offsets

    def begin(self, deadline: float = INIT_DEADLINE) -> None:
        """Nothing to register."""

    def commit(self, batch: Batch) -> FlushReport:
        """Produce, then commit the offsets, then say that both went well."""
        started = time.perf_counter()
        self._faults.hit("C1")
        for records, point in ((batch.outputs, "C2"), (batch.rows, "C3")):
            for topic, partition, key, value, headers in records:
                self._producer.produce(topic, value, key, partition, None, None, 0, headers)
            self._producer.flush(TRANSACTION_TIMEOUT)
            self._faults.hit(point)
        produced = time.perf_counter()
        self._commit_offsets(batch.offsets)
        for point in ("C4", "C5", "C6"):
            self._faults.hit(point)
        return report(batch, produced - started, time.perf_counter() - produced)


def report(batch: Batch, produce_seconds: float, commit_seconds: float) -> FlushReport:
    """Return what the committed batch did."""
    return FlushReport(
        handled=batch.handled,
        produced=dict(Counter(output[0] for output in batch.outputs)),
        rows=len(batch.rows),
        partitions=len(batch.offsets),
        compute_seconds=batch.compute_seconds,
        produce_seconds=produce_seconds,
        commit_seconds=commit_seconds,
        at=time.time(),
    )


def _left(end: float) -> float:
    """Return what is left of the flush's time; a call without any would wait for ever."""
    return max(0.1, end - time.monotonic())


def _on_producer_error(error: KafkaError) -> None:
    """A fatal error is met again, with its name, by the next call; anything else passes."""
