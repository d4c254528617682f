"""How does a worker take over a partition?  It rebuilds the state exactly as of the group's committed offset.

The state carries its own source offsets, written in the same transactions.  committed() does not answer
while a transaction's offsets are undecided; after that the changelog is read on until the state's own
offsets have reached the committed ones, since the two become visible separately.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, IsolationLevel, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from streams.kafka.clients import BROKER_SCAN, TRANSACTION_TIMEOUT, Connection, librdkafka_log, restore_consumer
from streams.kafka.exits import log
from streams.kafka.inbox import TopicPart
from streams.kafka.offsets import ask_offsets
from streams.kafka.ownership import FLUSHES, FORM_KEY, OFFSETS_KEY, Plan, StateKey, committed_flushes, committed_places
from streams.kafka.poll import describe
from streams.kafka.room import StateTable
from streams.topics import changelog

T = TypeVar("T")

# A dead owner's transaction is decided by then at the latest.
DEADLINE = TRANSACTION_TIMEOUT + BROKER_SCAN + 10.0
CALL = 5.0
BATCH = 5_000  # records; more at once are no faster, and all of them are in memory beside the rows
# Nothing new for so long, and nothing open: nothing will come.
QUIET = 1.0
_HANGS = "a transaction hangs; look for it with kafka-transactions.sh find-hanging"


class RestoreError(Exception):
    """The state cannot be restored; the text says why and what to do."""


class Superseded(Exception):  # noqa: N818  # no error: the group moved on
    """The group has a newer generation; nobody wants this restore any more."""


@dataclass
class Progress:
    """How far restoring is; written by its thread, read by whoever shows it."""

    partitions: int = 0
    restored: int = 0  # partitions whose changelog was read to its end
    records: int = 0
    started: float = field(default_factory=time.monotonic)
    seconds: float | None = None  # how long it took, once it is over


@dataclass
class Restored:
    """One state partition as read back."""

    rows: dict[bytes, bytes] = field(default_factory=dict)
    offsets: dict[str, int] = field(default_factory=dict)
    anchored: bool = False  # the changelog holds all of its offsets
    flushes: int = 0  # that wrote to its changelog, ever
    unwritten: set[bytes] = field(default_factory=set)  # keys of rows that the changelog does not hold yet

    def table(self) -> StateTable:
        """Return the rows as a table; what the changelog does not hold yet counts as changed."""
        table = StateTable()
        table.rows, table.changed = self.rows, self.unwritten
        return table


@dataclass(frozen=True)
class Restorer:
    """Restores the state partitions of one generation; blocks, so it belongs in a thread."""

    connection: Connection
    plan: Plan
    keys: Sequence[StateKey]
    progress: Progress
    superseded: Callable[[], bool]
    accept_older_state: bool = False  # the operator's explicit answer to a group that was set forward

    def run(self) -> dict[StateKey, Restored]:
        """Return every state partition with a position for each source.  Raises RestoreError, Superseded."""
        self.progress.partitions = len(self.keys)
        consumer = Consumer(restore_consumer(self.connection))
        try:
            deadline = time.monotonic() + DEADLINE
            committed = self._committed(consumer, deadline)
            found = self._read_changelogs(consumer, committed, deadline)
        finally:
            consumer.close()
        self._check_form(found)
        self._begin_where_nothing_is_known(found)
        self.progress.seconds = time.monotonic() - self.progress.started
        return found

    # ------------------------------------------------------------------ where does the group stand?

    def _committed(self, consumer: Consumer, deadline: float) -> dict[StateKey, dict[str, int]]:
        parts = {(topic, partition) for name, partition in self.keys for topic in self.plan.by_name[name].sources}
        asked = [TopicPartition(topic, partition) for topic, partition in sorted(parts)]
        places: dict[StateKey, dict[str, int]] = {key: {} for key in self.keys}
        for part in self._ask_committed(consumer, asked, deadline):
            if part.error is not None:
                raise RestoreError(f"the committed offset of {part.topic}[{part.partition}] is unknown: {part.error}")
            for name, offset in committed_places(part, self.plan.readers[part.topic]).items():
                places[name, part.partition][part.topic] = offset
            for name, flushes in committed_flushes(part, self.plan.readers[part.topic]).items():
                places[name, part.partition][FLUSHES] = flushes
        return places

    def _ask_committed(self, consumer: Consumer, asked: list[TopicPartition], deadline: float) -> list[TopicPartition]:
        if not asked:
            return []
        return self._answer(
            lambda: list(consumer.committed(asked, CALL)),
            deadline,
            "the group's committed offsets",
            f"they stay undecided for {DEADLINE:.0f} s: {_HANGS}",
        )

    def _ask_offsets(
        self, parts: Sequence[TopicPart], spec: OffsetSpec, level: IsolationLevel, deadline: float
    ) -> dict[TopicPart, int]:
        admin = AdminClient(dict(self.connection.client))  # gone with this call: to end a client blocks, here in a thread
        return self._answer(lambda: ask_offsets(admin, parts, spec, level, CALL), deadline, f"the offsets of {parts[0][0]}")

    def _answer(
        self, ask: Callable[[], T], deadline: float, what: str, in_vain: str = "the broker does not tell them in time"
    ) -> T:
        """Ask until there is an answer: a coordinator or leader that moves, or is new, refuses at once, again and again."""
        while True:
            self._check_generation()
            try:
                return ask()
            except KafkaException as error:
                why = describe(error)
                if not _passing(error.args[0]):
                    raise RestoreError(f"{what} cannot be read: {why}") from error
                if time.monotonic() > deadline:
                    raise RestoreError(f"{what} cannot be read: {in_vain} ({why})") from error
                time.sleep(0.05)

    # ------------------------------------------------------------------ what does the state say?

    def _read_changelogs(
        self, consumer: Consumer, committed: Mapping[StateKey, dict[str, int]], deadline: float
    ) -> dict[StateKey, Restored]:
        found = {key: Restored() for key in self.keys}
        logs = {(changelog(self.connection.app_id, name), partition): (name, partition) for name, partition in self.keys}
        by_log = {part: found[key] for part, key in logs.items()}
        # A topic that the client has not heard of costs up to a second in assign().
        self._answer(lambda: consumer.list_topics(timeout=CALL), deadline, "the topics")
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for topic, partition in logs])
        at_end: set[TopicPart] = set()
        behind = dict(by_log)
        quiet, decided = time.monotonic(), False
        while behind:
            self._check_generation()
            messages = consumer.consume(BATCH, 0.02)
            at_end |= self._apply(messages, by_log)
            for part in at_end & behind.keys():
                if not _older(found[logs[part]].offsets, committed[logs[part]]):
                    del behind[part]
            self.progress.restored = len(logs) - len(behind)
            if messages or not at_end >= behind.keys():
                quiet = time.monotonic()
            elif time.monotonic() - quiet > QUIET and behind and self._nothing_comes(list(behind), quiet + DEADLINE):
                if not decided:  # perhaps only since we last looked: whatever there is can be read now
                    decided, quiet = True, time.monotonic()
                    continue
                key = logs[next(iter(behind))]
                self._still_older(key, found[key].offsets, committed[key])
                break
        return found

    def _apply(self, messages: list[Message], by_log: Mapping[TopicPart, Restored]) -> set[TopicPart]:
        ended = set()
        last: TopicPart | None = None
        rows: dict[bytes, bytes] = {}
        for message in messages:
            part = (message.topic(), message.partition())
            error = message.error()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # its only name
                    ended.add(part)
                    continue
                _complain(part, error)
                continue
            if part != last:
                rows, last = by_log[part].rows, part
            key, value = message.key(), message.value()
            if value is None:
                rows.pop(key, None)
            else:
                rows[key] = value
        self.progress.records += len(messages) - len(ended)
        for part in ended:
            offsets = by_log[part].rows.pop(OFFSETS_KEY, None)
            if offsets is not None:
                by_log[part].offsets = msgspec.json.decode(offsets, type=dict[str, int])
        return ended

    def _nothing_comes(self, parts: list[TopicPart], deadline: float) -> bool:
        """Tell whether waiting is in vain: nothing is open on the changelogs.  Raises RestoreError when something stays open."""
        time.sleep(0.2)
        decided = self._ask_offsets(parts, OffsetSpec.latest(), IsolationLevel.READ_COMMITTED, deadline)
        written = self._ask_offsets(parts, OffsetSpec.latest(), IsolationLevel.READ_UNCOMMITTED, deadline)
        still_open = [
            f"{topic}[{partition}]" for topic, partition in parts if decided[topic, partition] != written[topic, partition]
        ]
        if still_open and time.monotonic() > deadline:
            raise RestoreError(
                f"the state cannot be read: {', '.join(still_open)} stays undecided for {DEADLINE:.0f} s: {_HANGS}"
            )
        return not still_open

    def _still_older(self, key: StateKey, own: dict[str, int], committed: dict[str, int]) -> None:
        sentence = (
            f"the state of {key[0]}[{key[1]}] stands at {own or 'nothing'}, but the group has committed {committed}: "
            "the group's offsets were set forward, or the changelog lost data"
        )
        if not self.accept_older_state:
            raise RestoreError(
                f"{sentence}; set the group's offsets back to where the state stands, or compute it anew: dealpulse rebuild"
            )
        log.warning("%s; going on from the state, as asked", sentence)

    # ------------------------------------------------------------------ is it state of ours?

    def _check_form(self, found: Mapping[StateKey, Restored]) -> None:
        """Refuse rows that were computed with other definitions; mark what is new with ours."""
        form = self.connection.form
        if form is None:
            return
        for (name, partition), restored in found.items():
            if not restored.rows:
                restored.rows[FORM_KEY] = form
                restored.unwritten.add(FORM_KEY)
            elif restored.rows.get(FORM_KEY) != form:
                raise RestoreError(
                    f"the state of {name}[{partition}] was computed with other definitions or by another version of "
                    "dealpulse; compute it anew with: dealpulse rebuild"
                )

    # ------------------------------------------------------------------ where nothing was ever read

    def _begin_where_nothing_is_known(self, found: Mapping[StateKey, Restored]) -> None:
        """Begin at the first record that is still there; a position of our own that is gone stays an error."""
        for (name, _), restored in found.items():
            restored.flushes = restored.offsets.get(FLUSHES, 0)
            # A topic that the room no longer reads is no part of its position.
            kept = {topic: restored.offsets[topic] for topic in self.plan.by_name[name].sources if topic in restored.offsets}
            restored.anchored, restored.offsets = len(kept) == len(self.plan.by_name[name].sources), kept
        unknown = {
            (topic, key[1])
            for key, restored in found.items()
            for topic in self.plan.by_name[key[0]].sources
            if topic not in restored.offsets
        }
        if not unknown:
            return
        deadline = time.monotonic() + DEADLINE
        first = self._ask_offsets(sorted(unknown), OffsetSpec.earliest(), IsolationLevel.READ_COMMITTED, deadline)
        for (name, partition), restored in found.items():
            for topic in self.plan.by_name[name].sources:
                restored.offsets.setdefault(topic, first.get((topic, partition), 0))

    def _check_generation(self) -> None:
        if self.superseded():
            raise Superseded


def _older(own: Mapping[str, int], committed: Mapping[str, int]) -> bool:
    """Tell whether the state has not reached what the group committed.

    A state that is ahead is right: somebody set the group back, or the group's offsets expired.
    """
    return any(own.get(topic, 0) < offset for topic, offset in committed.items())


def _passing(error: KafkaError) -> bool:
    return bool(error.retriable()) or error.code() in {
        KafkaError._TIMED_OUT,  # noqa: SLF001
        KafkaError._TRANSPORT,  # noqa: SLF001
        KafkaError._WAIT_COORD,  # noqa: SLF001
        KafkaError._ALL_BROKERS_DOWN,  # noqa: SLF001
        # Retriable in the protocol, but this client does not say so.
        KafkaError.NOT_COORDINATOR,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    }


def _complain(part: TopicPart, error: KafkaError) -> None:
    if not _passing(error):
        raise RestoreError(f"the changelog {part[0]}[{part[1]}] cannot be read: {error.name()}: {error.str()}")
    librdkafka_log.warning("%s[%s]: %s", *part, error)
