"""Does each record reach its room once, in order, and not faster than it is flushed?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace

import pytest
import toy
from confluent_kafka import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.kafka import intake as intake_module
from streams.kafka import lanes
from streams.kafka.flush import Batch, FlushReport
from streams.kafka.flusher import Flusher
from streams.kafka.inbox import MAX_RECORDS, Bundle, Inbox, Run
from streams.kafka.intake import LATEST, Deliveries, Intake, new_records
from streams.kafka.ownership import OFFSETS_KEY, Generation, Plan, Reach, StatePartition
from streams.kafka.room import StateTable

SOURCE = toy.names("app")[0]


class Record:
    """A record as librdkafka hands it out, as far as rooms look."""

    def __init__(self, offset: int, key: bytes = b"k", value: bytes = b"1") -> None:
        self._offset, self._key, self._value = offset, key, value

    def offset(self) -> int:
        return self._offset

    def key(self) -> bytes:
        return self._key

    def value(self) -> bytes:
        return self._value

    def timestamp(self) -> tuple[int, int]:
        return 1, 1_000 + self._offset

    def __len__(self) -> int:
        return len(self._value)


def run(offsets: list[int], topic: str = SOURCE, partition: int = 0) -> Run:
    records = [Record(offset) for offset in offsets]
    return Run(topic, partition, records, len(records), offsets[0], offsets[-1] + 1)


class Kept:
    """A committer that keeps what it is given."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.blocked = False

    def begin(self, deadline: float = 0) -> None:
        """Nothing."""

    def commit(self, batch: Batch) -> FlushReport:
        """Keep it."""
        self.batches.append(batch)
        return FlushReport(batch.handled, {}, len(batch.rows), len(batch.offsets), 0, 0, 0, 1.0)


class Bench:
    """One room at offset 10 of partition 0, its flusher and its committer."""

    def __init__(self, room: object | None = None) -> None:
        self.room = room or toy.rooms("app")[0]
        self.committer, self.reports, self.failures = Kept(), [], []
        self.flusher = Flusher("app", [self.room], self.committer, 0.01, self.reports.append)
        self.intake = Intake(self.flusher, lambda sentence, error: self.failures.append(sentence))
        self.generation = Generation(1, "metadata", frozenset({(SOURCE, 0)}), Plan([self.room]))
        table = StateTable()
        self.state = StatePartition(self.room, 0, table, {SOURCE: 10}, anchored=True)
        self.room.open(0, table)
        self.generation.states[self.room.name, 0] = self.state
        self.generation.reach = {(SOURCE, 0): Reach(10)}
        self.generation.restored = True
        self.intake.generation = self.generation
        self.acked = 0

    def ack(self) -> None:
        self.acked += 1

    async def take(self, *runs: Run, generation: int = 1) -> None:
        for one in runs:
            one.readers = 1
            self.generation.inbox.announce(one)
        await self.intake.take(self.room, Bundle(SOURCE, 1, generation, list(runs)), self.ack)
        await self.turns()

    @staticmethod
    async def turns() -> None:
        """Let what can be handled be handled."""
        for _ in range(10):
            await asyncio.sleep(0)

    @staticmethod
    async def until(true: Callable[[], object]) -> None:
        """Wait, for five seconds at most, until something is true."""
        end = time.monotonic() + 5
        while not true() and time.monotonic() < end:  # noqa: ASYNC110  # another thread may make it so
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("offsets", "kept"),
    [([10, 11], [10, 11]), ([8, 9, 10], [10]), ([7, 12], [12]), ([3, 4], []), ([15, 17], [15, 17])],
)
def test_records_below_the_rooms_position_are_skipped_one_by_one(offsets, kept):
    """Runs are cut differently after a restart; gaps are control records."""
    state = SimpleNamespace(offsets={SOURCE: 10})
    assert [record.offset() for record in new_records(run(offsets), state)] == kept


async def test_what_is_handled_is_flushed_once_with_its_offsets():
    """State, output and offsets are one batch."""
    bench = Bench()
    await bench.take(run([8, 10, 12]))
    await bench.flusher.finish(bench.generation)
    [batch] = bench.committer.batches
    assert [(row[2], row[3]) for row in batch.rows] == [
        (b"k", b"2"),
        (OFFSETS_KEY, b'{"%s":13,"flushes":1}' % SOURCE.encode()),
    ]
    assert [output[2:4] for output in batch.outputs] == [(b"k", b"2")]
    assert [(one.topic, one.partition, one.offset) for one in batch.offsets] == [(SOURCE, 0, 13)]
    assert batch.metadata == "metadata"
    assert batch.handled == {("counts", SOURCE): 2}
    assert len(bench.reports) == 1


async def test_nothing_new_is_no_transaction():
    """An idle worker asks the broker nothing."""
    bench = Bench()
    await bench.flusher.finish(bench.generation)
    assert bench.committer.batches == []


async def test_output_without_input_carries_the_offsets_of_the_room():
    """Else nobody would ask the broker whether the partition is still ours."""
    bench = Bench()
    bench.room.due = lambda _moment: True
    bench.room.drain = lambda _moment: [("out", -1, b"k", b"v", None)]
    await bench.flusher.finish(bench.generation)
    [batch] = bench.committer.batches
    assert [(one.topic, one.offset) for one in batch.offsets] == [(SOURCE, 10)]
    assert batch.rows == []


async def test_the_first_batch_writes_down_where_everything_stands():
    """A position that only the group knows could not be compared with the state's own."""
    bench = Bench()
    bench.state.anchored = False
    bench.room.due = lambda _moment: True
    bench.room.drain = lambda _moment: [("out", -1, b"k", b"v", None)]
    await bench.flusher.finish(bench.generation)
    assert [row[2] for row in bench.committer.batches[0].rows] == [OFFSETS_KEY]
    assert bench.state.anchored


async def test_runs_of_an_old_generation_are_dropped():
    """Acked, so that Faust forgets them, and never handled."""
    bench = Bench()
    await bench.take(run([10]), generation=7)
    assert bench.state.offsets == {SOURCE: 10}
    assert bench.acked == 1


async def test_faust_forgets_a_bundle_at_once():
    """What is committed when is not Faust's to know, and an agent that waited would only hold records back."""
    bench = Bench()
    await bench.take(run([10]))
    assert bench.acked == 1


async def test_a_full_batch_stops_the_intake_until_it_is_taken(monkeypatch):
    """What is pending is bounded by the flush, whatever comes in."""
    monkeypatch.setattr("streams.kafka.flusher.FULL_RECORDS", 3)
    bench = Bench()
    await bench.take(run([10, 11, 12]))
    await bench.take(run([13]))
    assert bench.state.offsets == {SOURCE: 13}
    await bench.flusher.finish(bench.generation)
    await bench.turns()
    assert bench.state.offsets == {SOURCE: 14}


async def test_bytes_fill_a_batch_as_records_do(monkeypatch):
    """Whatever a room says of its own work."""
    monkeypatch.setattr("streams.kafka.flusher.FULL_BYTES", 3)
    bench = Bench()
    bench.room.handle = lambda *_: 0
    await bench.take(run([10, 11, 12]))
    await bench.take(run([13]))
    assert bench.state.offsets == {SOURCE: 13}


async def test_a_flush_waits_for_more_only_while_more_is_there_and_all_of_it_is_late(monkeypatch):
    """A fifth of the time by which it is late already, and never beyond a bound; live it does not wait."""
    monkeypatch.setattr("streams.kafka.flusher.FULL_RECORDS", 1)
    bench = Bench()
    await bench.take(run([10]))
    assert bench.intake.patience() == 0
    await bench.take(run([11]))  # has to wait for a batch
    bench.state.newest[SOURCE] = time.time() * 1000 - 5_000
    assert bench.intake.patience() == pytest.approx(1.0, abs=0.1)
    bench.state.newest["other"] = time.time() * 1000
    assert bench.intake.patience() < 0.1
    bench.state.newest = {SOURCE: 0}
    assert bench.intake.patience() == LATEST


async def test_a_flush_that_may_wait_goes_out_when_it_is_full_or_nothing_more_waits(monkeypatch):
    """What the records are late by only delays it."""
    monkeypatch.setattr("streams.kafka.flusher.FULL_RECORDS", 3)
    bench = Bench()
    patience = [60.0]
    running = asyncio.create_task(bench.flusher.run(lambda: bench.generation, lambda: patience[0]))
    await bench.take(run([10]))
    await asyncio.sleep(0.05)
    assert bench.committer.batches == []
    await bench.take(run([11, 12]))
    await bench.until(lambda: bench.committer.batches)
    assert len(bench.committer.batches) == 1
    await bench.take(run([13]))
    patience[0] = 0.0
    await bench.until(lambda: len(bench.committer.batches) > 1)
    assert len(bench.committer.batches) == 2
    running.cancel()


async def test_a_closing_generation_drops_what_waits(monkeypatch):
    """Nothing of it is handled any more, and nothing is left that could."""
    monkeypatch.setattr("streams.kafka.flusher.FULL_RECORDS", 1)
    bench = Bench()
    await bench.take(run([10]))
    await bench.take(run([11]))
    task = bench.intake._handover.task
    await asyncio.wait_for(bench.intake.end(bench.generation, 0.1), 1)
    assert task.done()
    await bench.flusher.finish(bench.generation)
    await bench.take(run([12]))
    assert bench.state.offsets == {SOURCE: 11}
    assert bench.failures == []


async def test_a_room_that_raises_is_a_failure():
    """It is named, and handed nothing more."""
    bench = Bench()
    bench.room.handle = lambda *_: int("none")
    await bench.take(run([10]))
    assert bench.failures == ["room counts failed: ValueError(\"invalid literal for int() with base 10: 'none'\")"]
    assert bench.state.offsets == {SOURCE: 10}


class Pair:
    """A room with two sources and two partitions that notes what it is handed."""

    name, sources = "pair", ("a", "b")

    def __init__(self) -> None:
        self.seen: list[tuple[str, int, int]] = []

    def handle(self, partition: int, topic: str, records: list[Record]) -> int:
        self.seen += [(topic, partition, record.offset()) for record in records]
        return 0


def pair() -> tuple[Pair, Intake, Generation]:
    """Return the room, and an intake whose generation owns it, nothing fetched yet."""
    room = Pair()
    flusher = Flusher("app", [room], Kept(), 0.01, lambda _report: None)
    intake = Intake(flusher, lambda sentence, error: pytest.fail(f"{sentence}: {error}"))
    parts = frozenset((topic, partition) for topic in room.sources for partition in (0, 1))
    generation = intake.generation = Generation(1, "metadata", parts, Plan([room]))
    for partition in (0, 1):
        offsets = dict.fromkeys(room.sources, 0)
        generation.states["pair", partition] = StatePartition(room, partition, StateTable(), offsets, anchored=True)
    generation.reach = {part: Reach(0) for part in parts}
    return room, intake, generation


async def arrive(intake: Intake, runs: list[Run]) -> None:
    """Do as the edge does with the runs of one poll."""
    generation = intake.generation
    for one in runs:
        generation.inbox.announce(one)
        generation.reach[one.topic, one.partition].arrived = one.next
    generation.inbox.put(runs, generation.plan.readers)
    while generation.inbox.waiting:
        await intake.take(generation.plan.rooms[0], generation.inbox.waiting.popleft(), lambda: None)


async def test_topics_that_would_wait_for_each_other_across_partitions_do_not():
    """Partition 0 lacks topic b, partition 1 lacks topic a; both are asked for, and handled when they come."""
    room, intake, generation = pair()
    await arrive(intake, [run([0], "a"), run([0], "b", 1)])
    await Bench.turns()
    assert room.seen == []
    assert generation.inbox.wanted == {("b", 0), ("a", 1), ("a", 0), ("b", 1)}
    assert intake.waiting() == 2
    await arrive(intake, [run([0], "b"), run([0], "a", 1)])
    for reach in generation.reach.values():
        reach.at_end = True
    intake.look()
    await Bench.turns()
    assert sorted(room.seen) == [("a", 0, 0), ("a", 1, 0), ("b", 0, 0), ("b", 1, 0)]
    assert generation.inbox.wanted == set()
    assert intake.waiting() == 0
    await intake.end(generation, 0.1)


@settings(max_examples=40, deadline=None)
@given(
    bundles=st.lists(
        st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 1), st.integers(1, 9)), max_size=4), max_size=12
    ),
    turns=st.integers(0, 3),
)
def test_whatever_comes_in_is_handed_over_once_and_in_order(bundles, turns):
    """Over topics and partitions, in any mixture, though nobody ever says that a topic has ended."""

    async def hand_over() -> None:
        room, intake, generation = pair()
        places = dict.fromkeys(generation.reach, 0)
        for bundle in bundles:
            runs = []
            for topic, partition, count in bundle:
                first = places[topic, partition]
                places[topic, partition] = first + count
                runs.append(run(list(range(first, first + count)), topic, partition))
            await arrive(intake, runs)
            for _ in range(turns):
                await asyncio.sleep(0)
        for _ in range(5_000):
            if len(room.seen) < sum(places.values()):
                await asyncio.sleep(0.001)
        for part, count in places.items():
            assert [offset for topic, partition, offset in room.seen if (topic, partition) == part] == list(range(count))
            assert generation.states["pair", part[1]].offsets[part[0]] == count
            assert generation.inbox.load(*part) == 0
        await intake.end(generation, 0.1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lanes, "PATIENCE", 0.004)
        patch.setattr(lanes, "LEAST", 2)
        patch.setattr(intake_module, "LOOK", 0.001)
        asyncio.run(hand_over())


async def test_the_main_loop_has_its_turn_behind_each_piece_however_many_lanes_there_are(monkeypatch):
    """Where an event costs a millisecond or two, a piece of every lane would take longer than the watchdog waits."""
    monkeypatch.setattr(lanes, "PIECE", 10)
    monkeypatch.setattr(intake_module, "PIECE", 10)
    room, intake, generation = pair()
    await arrive(intake, [run(list(range(30)), topic, one) for topic in room.sources for one in (0, 1)])
    handled = [0]
    while handled[-1] < 120:
        await asyncio.sleep(0)
        handled.append(len(room.seen))
    assert max(after - before for before, after in pairwise(handled)) == 10
    await intake.end(generation, 0.1)


async def test_the_time_that_a_room_takes_is_counted():
    """Of its own runs, and of nobody else's."""

    class Slow(toy.Counting):
        def handle(self, partition: int, topic: str, run: list) -> int:
            time.sleep(0.05)
            return super().handle(partition, topic, run)

    bench = Bench(Slow("counts", (SOURCE,), "out", tell_change=True))
    await bench.take(run([10, 11]))
    await bench.until(lambda: bench.flusher._handled.seconds)
    assert bench.flusher._handled.seconds.keys() == {"counts"}
    assert 0.05 <= bench.flusher._handled.seconds["counts"] < 1
    await bench.intake.end(bench.generation, 0.1)


async def test_a_delivery_counts_when_it_returns():
    """Cut short it leaves the position where it was; what finished counts."""
    room = toy.Posting("counts", (SOURCE,), "out", tell_change=True)
    bench = Bench(room)
    await bench.take(run([10]))
    assert bench.state.offsets == {SOURCE: 10}
    await bench.intake.end(bench.generation, 1.0)
    assert bench.state.offsets == {SOURCE: 11}
    stuck = Bench(toy.Posting("counts", (SOURCE,), "out", tell_change=True, stuck=True))
    await stuck.take(run([10]))
    await asyncio.sleep(0.01)
    await stuck.intake.end(stuck.generation, 0.05)
    assert stuck.state.offsets == {SOURCE: 10}
    assert stuck.failures == []


async def test_what_was_delivered_before_one_that_waits_counts():
    """The world answers the first and not the second: whoever takes over must not repeat the first."""

    class Waiting(toy.Posting):
        async def deliver(self, partition: int, topic: str, record: Message) -> int:
            if record.offset() > 10:
                await asyncio.Event().wait()
            return await super().deliver(partition, topic, record)

    bench = Bench(Waiting("counts", (SOURCE,), "out", tell_change=True))
    await bench.take(run([10, 11, 12]))
    await bench.until(lambda: bench.state.offsets != {SOURCE: 10})
    assert bench.state.offsets == {SOURCE: 11}
    await bench.intake.end(bench.generation, 0.01)


async def test_a_stop_in_the_middle_of_a_revoke_cuts_deliveries_short():
    """Both end what is under way, and the stop has less time."""
    stuck = Bench(toy.Posting("counts", (SOURCE,), "out", tell_change=True, stuck=True))
    await stuck.take(run([10]))
    await asyncio.sleep(0.01)
    revoke = asyncio.create_task(stuck.intake.end(stuck.generation, 5.0))
    await asyncio.sleep(0.01)
    await asyncio.wait_for(stuck.intake.end(stuck.generation, 0.05), 1)
    await asyncio.wait_for(revoke, 1)
    assert stuck.state.offsets == {SOURCE: 10}


async def test_a_delivery_that_raises_is_a_failure():
    """It names the room and the partition."""

    class Broken(toy.Posting):
        async def deliver(self, partition: int, topic: str, record: Message) -> int:
            raise RuntimeError("no")

    bench = Bench(Broken("counts", (SOURCE,), "out", tell_change=True))
    await bench.take(run([10]))
    await bench.until(lambda: bench.failures)
    assert bench.failures == ["room counts failed in partition 0: RuntimeError('no')"]


async def test_no_deliveries_end_at_once():
    """The usual room has none."""
    await asyncio.wait_for(Deliveries().end(10), 0.1)


def held(topic: str, partition: int, count: int) -> Run:
    """Return a run of so many records."""
    found = Run(topic, partition, [], 0, 0, 0)
    found.records = [None] * count
    return found


def test_the_inbox_is_full_per_topic():
    """One topic's backlog does not stop another; the last reader makes room."""
    inbox = Inbox(1)
    big = held("a", 0, MAX_RECORDS)
    big.readers = 2
    inbox.announce(big)
    inbox.announce(held("b", 0, 1))
    assert inbox.full() == {("a", 0)}
    inbox.done(big)
    assert inbox.full() == {("a", 0)}
    inbox.done(big)
    assert inbox.full() == set()


def test_of_a_full_topic_only_what_holds_its_part_is_full():
    """A partition that little came of goes on, so that nobody waits for it in vain."""
    inbox = Inbox(1)
    inbox.announce(held("a", 0, MAX_RECORDS // 2))
    inbox.announce(held("a", 1, 1))
    assert inbox.full() == set()
    inbox.announce(held("a", 0, MAX_RECORDS // 2))
    assert inbox.full() == {("a", 0)}
    assert (inbox.load("a", 0), inbox.load("a", 2)) == (2.0, 0.0)


def test_one_bundle_for_each_set_of_readers():
    """What the same rooms read comes to them at once, though of two topics; serials grow, since Faust drops what seems to go backwards."""
    readers = {SOURCE: ["counts"], "ticks": ["counts"], "b": ["counts", "sums"]}
    inbox = Inbox(3)
    inbox.put([run([1]), run([5], topic="b"), run([2], topic="ticks")], readers)
    inbox.put([run([3])], readers)
    bundles = [(one.topic, one.serial, [run.topic for run in one.runs]) for one in inbox.waiting]
    assert bundles == [(SOURCE, 1, [SOURCE, "ticks"]), ("b", 2, ["b"]), (SOURCE, 3, [SOURCE])]
