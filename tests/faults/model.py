"""What may happen between workers, their group and the broker?  A model of the broker below the product's own code, step by step.

Real are both rooms, the flush and its transaction, the generations and the restore; the model is what Kafka promises: transactions
whose marks come partition by partition, a group that fences by its generation, sessions and transactions that time out.  One thread
runs at a time and the dice choose which, so a seed is one history of deaths, freezes and rebalances, at any call to the broker.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from zlib import crc32

import orjson
import pytest
from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec

from streams.audit.compare import Comparison
from streams.config import Definitions
from streams.deals.room import DealsRoom
from streams.kafka import clock as world_clock
from streams.kafka import flush, flusher, restore
from streams.kafka.clients import TRANSACTION_TIMEOUT, Connection
from streams.kafka.faults import Faults
from streams.kafka.ownership import Generation, Plan, Reach, StatePartition
from streams.kafka.room import Room
from streams.kpis import room as kpis
from streams.kpis.room import KpisRoom
from streams.topics import DEAD_LETTER, KPI_HISTORY, KPI_LATEST, TICKS
from tests.faults.wide.load import Sent
from tests.faults.wide.world import NOW, Record, recomputed

Part = tuple[str, int]
SESSION = 6.0
MOST_WORKERS = 3
QUIET = 25.0  # model seconds without a record: nothing more comes
MOST_STEPS = 10_000  # until it is quiet; usually some 1,500


class Gone(BaseException):
    """The process is no more."""


@dataclass(eq=False)
class Transaction:
    """What one producer wrote since it began."""

    owner: str
    began: float
    parts: set[Part] = field(default_factory=set)
    offsets: dict[Part, tuple[int, str]] = field(default_factory=dict)
    committed: bool | None = None  # None: undecided
    unmarked: set[Part] = field(default_factory=set)
    offsets_unmarked: bool = False

    @property
    def over(self) -> bool:
        return self.committed is not None and not self.unmarked and not self.offsets_unmarked


@dataclass
class Group:
    """Who owns what, and how far are they?  An older generation and a stranger are refused."""

    generation: int = 0
    members: set[str] = field(default_factory=set)
    joined: set[str] = field(default_factory=set)
    preparing: bool = False
    committed: dict[Part, tuple[int, str]] = field(default_factory=dict)

    def join(self, name: str) -> None:
        self.preparing = True
        self.joined.add(name)
        self._complete()

    def leave(self, name: str) -> None:
        self.members.discard(name)
        self.joined.discard(name)
        self.preparing = True
        self._complete()

    def _complete(self) -> None:
        if self.joined and self.members <= self.joined:
            self.generation, self.members, self.joined, self.preparing = self.generation + 1, set(self.joined), set(), False

    def share(self, name: str, partitions: int) -> list[int]:
        names = sorted(self.members)
        return [one for one in range(partitions) if names[one % len(names)] == name]


class Broker:
    """Topics, transactions and one group."""

    def __init__(self, dice: random.Random, broken: str) -> None:
        self.dice, self.broken = dice, broken
        self.logs: dict[Part, list[tuple[Record | None, Transaction | None]]] = defaultdict(list)
        self.holding: dict[Part, dict[Transaction, int]] = defaultdict(dict)  # since which offset
        self.transactions: list[Transaction] = []  # not over
        self.fenced: set[str] = set()
        self.group = Group()
        self.clock = NOW / 1e6

    def append(self, part: Part, key: bytes | None, value: bytes | None, of: Transaction | None) -> None:
        log = self.logs[part]
        if of is not None:
            of.parts.add(part)
            self.holding[part].setdefault(of, len(log))
        log.append((Record(part, len(log), key, value, int(self.clock * 1000)), of))

    def stable(self, part: Part) -> int:
        """Return the last stable offset."""
        return min(self.holding[part].values(), default=len(self.logs[part]))

    def read(self, part: Part, begin: int, most: int = 10**9) -> tuple[list[Record], int]:
        """Return committed records from an offset on, and where reading goes on."""
        found: list[Record] = []
        at = begin
        for at in range(begin, self.stable(part)):  # where it ends is what is asked
            record, of = self.logs[part][at]
            if record is not None and (of is None or of.committed):
                found.append(record)
                if len(found) == most:
                    break
        return found, max(begin, min(at + 1, self.stable(part)))

    def everything(self, topic: str) -> Iterator[Record]:
        for part in [part for part in self.logs if part[0] == topic]:
            yield from self.read(part, 0)[0]

    def decide(self, transaction: Transaction, *, commit: bool) -> None:
        transaction.committed = commit
        transaction.unmarked = set(transaction.parts)
        transaction.offsets_unmarked = bool(transaction.offsets)

    def mark(self) -> None:
        """Write some marks of a decision, each in its own partition; that of the offsets is one of them."""
        decided = [one for one in self.transactions if one.committed is not None]
        if not decided:
            return
        one = self.dice.choice(decided)
        for part in self.dice.sample(sorted(one.unmarked), self.dice.randint(0, len(one.unmarked))):
            one.unmarked.discard(part)
            del self.holding[part][one]
            self.logs[part].append((None, one))
        if one.offsets_unmarked and self.dice.random() < 0.3:
            one.offsets_unmarked = False
            if one.committed:
                self.group.committed |= one.offsets
        if one.over:
            self.transactions.remove(one)

    def pass_time(self, seconds: float) -> None:
        """Abort what has been open for too long."""
        self.clock += seconds
        for one in self.transactions:
            if one.committed is None and self.clock - one.began > TRANSACTION_TIMEOUT:
                self.fenced.add(one.owner)
                self.decide(one, commit=False)

    def pending(self, part: Part) -> bool:
        return any(
            part in one.offsets and not (one.over or (one.committed is not None and not one.offsets_unmarked))
            for one in self.transactions
        )


class Producer:
    """A transactional producer, as confluent_kafka's.  Whoever calls may stand still in any call, or not come back."""

    def __init__(self, model: Model, name: str) -> None:
        self.model, self.broker, self.name = model, model.broker, name
        self.present: Transaction | None = None

    def begin_transaction(self) -> None:
        self._pause()
        while any(one.owner == self.name for one in self.broker.transactions):
            self._pause()  # CONCURRENT_TRANSACTIONS: the marks of the last one are still being written
        self.present = Transaction(self.name, self.broker.clock)
        self.broker.transactions.append(self.present)

    def produce(self, topic: str, value: bytes | None, key: bytes | None, partition: int, *_: Any) -> None:
        if self.model.dice.random() < self.model.pause_in_produce:
            self._pause()
        self._check()
        part = (topic, partition if partition >= 0 else crc32(key or b"") % self.model.partitions)
        self.broker.append(part, key, value, None if self.broker.broken == "plain_producing" else self.present)

    def flush(self, _deadline: float) -> int:
        self._pause()
        self._check()
        if self.model.refuses():
            raise KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE, "refused", txn_requires_abort=True))
        return 0

    def send_offsets_to_transaction(self, offsets: list[TopicPartition], metadata: tuple[str, int], _: float) -> None:
        self._pause()
        self._check()
        group = self.broker.group
        name, generation = (self.name, group.generation) if self.broker.broken == "fresh_metadata" else metadata
        if (name not in group.members or generation != group.generation) and self.broker.broken != "no_fence":
            raise KafkaException(KafkaError(KafkaError.ILLEGAL_GENERATION, "refused", txn_requires_abort=True))
        self._transaction().offsets = {(one.topic, one.partition): (one.offset, one.metadata) for one in offsets}
        self._pause()

    def commit_transaction(self, _: float) -> None:
        self._pause()
        self._check()
        self.broker.decide(self._transaction(), commit=True)
        self._pause()

    def abort_transaction(self, _: float) -> None:
        if self._transaction().committed is None:
            self.broker.decide(self._transaction(), commit=False)

    def _transaction(self) -> Transaction:
        assert self.present is not None
        return self.present

    def _check(self) -> None:
        if self.name in self.broker.fenced:
            raise KafkaException(KafkaError(KafkaError._FENCED, "fenced", fatal=True))
        if self._transaction().committed is not None:
            raise KafkaException(KafkaError(KafkaError._STATE, "no transaction is open"))

    def _pause(self) -> None:
        self.model.workers[self.name].pause()
        group = self.broker.group
        if self.broker.broken == "fresh_metadata" and group.preparing and self.name in group.members:
            group.join(self.name)  # whoever polls does not wait for the flush


class Changelogs:
    """The consumer that restores, as confluent_kafka's."""

    def __init__(self, model: Model, name: str) -> None:
        self.model, self.broker, self.name = model, model.broker, name
        self.places: dict[Part, int] = {}
        self.told: dict[Part, int] = {}

    def committed(self, asked: list[TopicPartition], _: float) -> list[TopicPartition]:
        self._pause()
        parts = [(one.topic, one.partition) for one in asked]
        if self.broker.broken != "pending_ignored" and any(map(self.broker.pending, parts)):
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        return [TopicPartition(*part, *self.broker.group.committed.get(part, (-1001, ""))) for part in parts]

    def list_topics(self, **_: Any) -> None:
        """Nothing to learn."""

    def assign(self, parts: list[TopicPartition]) -> None:
        self.places = {(one.topic, one.partition): 0 for one in parts}

    def consume(self, *_: Any) -> list[Any]:
        self._pause()
        found: list[Any] = []
        for part, at in self.places.items():
            records, self.places[part] = self.broker.read(part, at)
            found += records
            if self.told.get(part, -1) < self.places[part] == self.broker.stable(part):
                self.told[part] = self.places[part]
                found.append(End(part))
        return found

    def close(self) -> None:
        """Nothing to give back."""

    def _pause(self) -> None:
        self.model.workers[self.name].pause()


@dataclass(frozen=True)
class End:
    """The message that says that a partition has been read to its end."""

    of: Part

    def error(self) -> KafkaError:
        return KafkaError(KafkaError._PARTITION_EOF)

    def topic(self) -> str:
        return self.of[0]

    def partition(self) -> int:
        return self.of[1]


class Worker(threading.Thread):
    """One worker's life; it runs when it is resumed, until it pauses."""

    def __init__(self, model: Model, name: str) -> None:
        super().__init__(daemon=True, name=name)
        self.model, self.broker = model, model.broker
        self.turn = threading.Semaphore(0)
        self.ended: str | None = None
        self.killed = self.stopping = False
        self.frozen_until = 0.0
        self.generation: Generation | None = None

    # ------------------------------------------------------------------ turns

    def pause(self) -> None:
        """Let others go on; return when it is our turn again, or never."""
        self.model.turn.release()
        self.turn.acquire()
        if self.killed:
            raise Gone("killed")

    def run(self) -> None:
        self.turn.acquire()
        try:
            self._live()
        except Gone as end:
            self.ended = str(end)
        except BaseException as error:  # noqa: BLE001  # whatever it is, it is the model's answer
            self.ended = f"failed: {error!r}"
            self.model.failures.append(error)
        finally:
            self.ended = self.ended or "stopped"
            self.model.turn.release()

    # ------------------------------------------------------------------ life

    def _live(self) -> None:
        group = self.broker.group
        definitions = self.model.definitions
        rooms = [DealsRoom(definitions, ticks=False), KpisRoom(definitions)]
        self.plan = Plan(rooms)
        self.connection = Connection({}, "model", suffix=self.name.rpartition("-")[2])
        self.committer = flush.Transactions(self.connection, Faults())
        self.flusher = flusher.Flusher("model", rooms, self.committer, 0.1, lambda _report: None)
        while not self.stopping:
            if self.generation is None:
                self._join()
            elif self.name not in group.members and self.model.dice.random() < 0.5:
                raise Gone("lost")
            elif group.preparing and self.name in group.members:
                self._finish()
            elif self.name in group.members and self.generation.number != group.generation:
                self._forget(self.generation)  # it never comes to this where a flush is waited for
            else:
                self._work()
            self.pause()
        self._finish()
        group.leave(self.name)

    def _join(self) -> None:
        group = self.broker.group
        group.join(self.name)
        while self.name not in group.members or group.preparing:
            self.pause()
            if self.stopping and self.name not in group.members:
                return
            if self.name not in group.joined and (group.preparing or self.name not in group.members):
                group.join(self.name)  # another rebalance began, or it was missed, before it heard of this one
        metadata = (self.name, group.generation)
        ours = group.share(self.name, self.model.partitions)
        parts = frozenset((topic, one) for topic in self.plan.topics for one in ours)
        generation = Generation(group.generation, metadata, parts, self.plan)
        keys = self.plan.state_keys(parts)
        restorer = restore.Restorer(
            self.connection,
            self.plan,
            keys,
            restore.Progress(),
            lambda: metadata != (self.name, group.generation) or group.preparing,
        )
        try:
            found = restorer.run()
        except restore.Superseded:
            self.model.done["superseded"] += 1
            if self.name not in group.members:
                raise Gone("lost") from None
            return
        for (name, partition), restored in found.items():
            room, table = self.plan.by_name[name], restored.table()
            generation.states[name, partition] = StatePartition(
                room, partition, table, restored.offsets, restored.anchored, restored.flushes
            )
            room.open(partition, table)
        generation.reach = {part: Reach(at) for part, at in generation.positions().items()}
        generation.restored = True
        self.generation = generation

    def _finish(self) -> None:
        """Commit what is pending, and own nothing any more."""
        generation = self.generation
        if generation is None:
            return
        if self.model.dice.random() < 0.8:  # else it is too much, and dropped
            self._flush(generation)
        self._forget(generation)

    def _forget(self, generation: Generation) -> None:
        self.flusher._handled = flush.Handled()
        for state in generation.states.values():
            state.room.close(state.partition)
        self.generation = None

    def _work(self) -> None:
        assert self.generation is not None
        for key in self.model.dice.sample(sorted(self.generation.states), len(self.generation.states)):
            self._handle(self.generation, self.generation.states[key])
        if self.model.dice.random() < 0.6:
            self._flush(self.generation)
        elif self.model.dice.random() < 0.3:  # one that follows another is of some rooms only
            self._flush(self.generation, [self.model.dice.choice(self.plan.rooms)])

    def _handle(self, generation: Generation, state: StatePartition) -> None:
        for topic in self.model.dice.sample(state.room.sources, len(state.room.sources)):
            part = (topic, state.partition)
            records, place = self.broker.read(part, state.offsets[topic], self.model.dice.choice((3, 30, 10**9)))
            generation.reach[part] = Reach(state.offsets[topic], at_end=place == self.broker.stable(part))
            if records:
                pending = state.room.handle(state.partition, topic, records)  # type: ignore[arg-type]  # as messages are
                state.offsets[topic] = generation.reach[part].arrived = records[-1].offset() + 1
                state.handled += len(records)
                self.flusher.handled(state.room.name, topic, len(records), 0, pending)

    def _flush(self, generation: Generation, rooms: Sequence[Room] = ()) -> None:
        batch = self.flusher._compute(generation, rooms or self.plan.rooms)
        if batch is not None:
            self.committer.commit(batch)


class Model:
    """A history: events come, workers live and die, and in the end all must be as recomputed."""

    def __init__(self, definitions: Definitions, seed: int, broken: str = "") -> None:
        self.definitions, self.partitions = definitions, definitions.partitions
        self.dice = random.Random(seed)
        self.broker = Broker(self.dice, broken)
        self.turn = threading.Semaphore(0)
        self.workers: dict[str, Worker] = {}
        self.failures: list[BaseException] = []
        self.done: Counter[str] = Counter()
        self.harmful = True
        self.pause_in_produce = 0.002
        self.endless = False  # it did not come to rest
        self._gone_since: dict[str, float] = {}

    # ------------------------------------------------------------------ a history

    def run(self, feed: Iterable[Sent]) -> None:
        """Let harm be done while events come; then let all of it be processed."""
        for sent in feed:
            self.broker.append((sent.topic, crc32(sent.key or b"") % self.partitions), sent.key, sent.value, None)
            while self.dice.random() < 0.75:
                self._step()
        self.harmful = False
        self._until_quiet()
        for one in range(self.partitions):
            self.broker.append((TICKS, one), None, b'{"settle": true}', None)
        self._until_quiet()

    def end(self) -> None:
        """End every thread."""
        for worker in self.workers.values():
            if worker.ended is None:
                worker.killed = True
                self._resume(worker)

    def refuses(self) -> bool:
        """Refuse a record now and then."""
        refused = self.harmful and self.dice.random() < 0.004
        self.done["refused"] += refused
        return refused

    def _until_quiet(self) -> None:
        seen, since, steps = -1, self.broker.clock, 0
        while self.broker.clock - since < QUIET or self.broker.transactions:
            self._step()
            now = sum(map(len, self.broker.logs.values()))
            if now != seen:
                seen, since = now, self.broker.clock
            steps += 1
            if steps > MOST_STEPS:
                self.endless = True
                return

    def _step(self) -> None:
        self.broker.pass_time(self.dice.expovariate(1 / 0.02))
        self._miss_the_dead()
        if self.dice.random() < 0.4:
            self.broker.mark()
        if self.harmful and self.dice.random() < 0.004:
            self._harm()
        ready = [one for one in self._living() if one.frozen_until <= self.broker.clock]
        if len(self._living()) < MOST_WORKERS and (not ready or self.dice.random() < 0.01):
            ready = [self._start()]
        if ready:
            self._resume(self.dice.choice(ready))

    def _living(self) -> list[Worker]:
        return [one for one in self.workers.values() if one.ended is None]

    def _start(self) -> Worker:
        name = f"model-{len(self.workers)}"
        worker = self.workers[name] = Worker(self, name)
        worker.start()
        return worker

    def _resume(self, worker: Worker) -> None:
        worker.turn.release()
        self.turn.acquire()

    def _harm(self) -> None:
        living = self._living()
        if not living:
            return
        worker = self.dice.choice(living)
        kind = self.dice.choice(("kill", "kill", "freeze", "freeze", "stop"))
        self.done[kind] += 1
        if kind == "kill":
            worker.killed = True
            self._resume(worker)
        elif kind == "freeze":
            worker.frozen_until = self.broker.clock + self.dice.choice((1.0, SESSION + 1.0, TRANSACTION_TIMEOUT + 5.0))
        else:
            worker.stopping = True

    def _miss_the_dead(self) -> None:
        """Give the places of those away who have not been heard of for a session."""
        group, now = self.broker.group, self.broker.clock
        for name in sorted(group.members | group.joined):
            worker = self.workers[name]
            if worker.ended is None and worker.frozen_until <= now:
                self._gone_since.pop(name, None)
            elif now - self._gone_since.setdefault(name, now) > SESSION:
                group.leave(name)
                self.done["missed"] += 1

    # ------------------------------------------------------------------ what must hold

    def audit(self) -> Comparison:
        """Recompute everything."""
        told: dict[str, dict[bytes, dict[str, Any]]] = {KPI_LATEST: {}, KPI_HISTORY: {}}
        for topic, rows in told.items():
            for record in self.broker.everything(topic):
                if record.value() is None:
                    rows.pop(record.key() or b"", None)
                else:
                    rows[record.key() or b""] = orjson.loads(record.value() or b"")
        sources = {part: [record for record, _ in log if record is not None] for part, log in self.broker.logs.items()}
        return recomputed(self.definitions, sources, told)

    def wrong(self, refused: Counter[str]) -> list[str]:
        """Return what is not as it must be."""
        found = [
            f"{name}: {worker.ended}" for name, worker in self.workers.items() if (worker.ended or "").startswith("failed")
        ]
        if self.endless:
            found.append("it does not come to an end")
        letters = [orjson.loads(record.value() or b"") for record in self.broker.everything(DEAD_LETTER)]
        origins = Counter((letter["topic"], letter["partition"], letter["offset"]) for letter in letters)
        found += [f"{count} letters of {origin}" for origin, count in origins.items() if count > 1][:3]
        if Counter(letter["reason"] for letter in letters) != refused:
            found.append(f"{len(letters)} letters of {refused.total()}")
        audit = self.audit()
        self.done["cells"] += audit["compared"]
        if audit["different"] or audit["compared"] < 1_000:
            found.append(f"{audit['different']} of {audit['compared']} cells differ: {audit['examples'][:2]}")
        revisions: dict[tuple[str, bytes], int] = {}
        for topic in (KPI_LATEST, KPI_HISTORY):
            for record in self.broker.everything(topic):
                value, key = record.value(), (topic, record.key() or b"")
                if value is None:
                    continue
                revision = orjson.loads(value)["revision"]
                if revision <= revisions.get(key, -1):
                    found.append(f"{key} told twice as revision {revision}")
                revisions[key] = revision
        return found


@contextmanager
def modelled(definitions: Definitions, seed: int, broken: str = "") -> Iterator[Model]:
    """Put the model below the product's own code for the length of the block."""
    model = Model(definitions, seed, broken)
    by = {"transactional.id": Producer, "client.id": Changelogs}

    def made(settings: dict[str, Any]) -> Any:
        which = "transactional.id" if "transactional.id" in settings else "client.id"
        return by[which](model, str(settings[which]).removesuffix("-restorer"))

    def sleep(_seconds: float) -> None:
        model.workers[threading.current_thread().name].pause()

    def lose_place(sentence: str, _error: BaseException | None = None, **_remedy: str) -> None:
        raise Gone(sentence)

    def offsets(_self: Any, parts: Iterable[Part], spec: Any, level: IsolationLevel, _deadline: float) -> dict[Part, int]:
        if spec is OffsetSpec.earliest():
            return dict.fromkeys(parts, 0)
        committed = level == IsolationLevel.READ_COMMITTED
        return {part: model.broker.stable(part) if committed else len(model.broker.logs[part]) for part in parts}

    clock = SimpleNamespace(
        monotonic=lambda: model.broker.clock,
        time=lambda: model.broker.clock,
        time_ns=lambda: int(model.broker.clock * 1e6) * 1000,
        perf_counter=time.perf_counter,
        sleep=sleep,
    )
    with pytest.MonkeyPatch.context() as patch:
        for module in (world_clock, flush, flusher, restore):
            patch.setattr(module, "time", clock)
        patch.setattr(flush, "Producer", made)
        patch.setattr(flush, "lose_place", lose_place)
        patch.setattr(restore, "Consumer", made)
        patch.setattr(restore.Restorer, "_ask_offsets", offsets)
        patch.setattr(
            kpis, "_RECORDS_PER_FLUSH", random.Random(seed).choice((50, 500, 20_000))
        )  # rounds of many flushes, too
        if broken == "hasty_restore":
            patch.setattr(restore, "_older", lambda _own, _committed: False)
        if broken == "go_on_after_errors":
            patch.setattr(flush.Transactions, "_give_up", lambda self, *_, can_abort: self._abort() if can_abort else None)
        if broken == "commits_less":
            commits = Generation.commits
            patch.setattr(Generation, "commits", lambda self, keys: commits(self, [key for key in keys if key[0] != "kpis"]))
        try:
            yield model
        finally:
            model.end()
