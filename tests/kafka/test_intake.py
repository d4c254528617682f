"""Does each record reach its room once, in order, and not faster than it is flushed?"""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
import toy

from streams.kafka.flush import Batch, FlushReport
from streams.kafka.flusher import Flusher
from streams.kafka.inbox import MAX_RECORDS, Bundle, Inbox, Run
from streams.kafka.intake import Deliveries, Intake, new_records
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


def run(offsets: list[int], topic: str = SOURCE) -> Run:
    records = [Record(offset) for offset in offsets]
    return Run(topic, 0, records, len(records), offsets[0], offsets[-1] + 1)


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


@pytest.mark.parametrize(
    ("offsets", "kept"),
    [([10, 11], [10, 11]), ([8, 9, 10], [10]), ([7, 12], [12]), ([3, 4], []), ([15, 17], [15, 17])],
)
def test_records_below_the_rooms_position_are_skipped_one_by_one(offsets, kept):
    """Runs are cut differently after a restart; gaps are control records."""
    state = SimpleNamespace(offsets={SOURCE: 10})
    assert [record.offset() for record in new_records(run(offsets), state)] == kept


async def test_what_is_handled_is_flushed_once_with_its_offsets():
    """State, output and offsets are one batch; the ack follows the commit."""
    bench = Bench()
    await bench.take(run([8, 10, 12]))
    assert bench.acked == 0
    await bench.flusher.finish(bench.generation)
    [batch] = bench.committer.batches
    assert [(row[2], row[3]) for row in batch.rows] == [(b"k", b"2"), (OFFSETS_KEY, b'{"%s":13}' % SOURCE.encode())]
    assert [output[2:4] for output in batch.outputs] == [(b"k", b"2")]
    assert [(one.topic, one.partition, one.offset) for one in batch.offsets] == [(SOURCE, 0, 13)]
    assert batch.metadata == "metadata"
    assert batch.handled == {("counts", SOURCE): 2}
    assert bench.acked == 1
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


async def test_a_full_batch_stops_the_intake_until_it_is_taken(monkeypatch):
    """What is pending is bounded by the flush, whatever comes in."""
    monkeypatch.setattr("streams.kafka.flusher.FULL_RECORDS", 3)
    bench = Bench()
    await bench.take(run([10, 11, 12]))
    waiting = asyncio.create_task(bench.take(run([13])))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    await bench.flusher.finish(bench.generation)
    await asyncio.wait_for(waiting, 1)
    assert bench.state.offsets == {SOURCE: 14}


async def test_a_closing_generation_lets_waiting_agents_go(monkeypatch):
    """Nothing of what they hold is handled any more."""
    monkeypatch.setattr("streams.kafka.flusher.FULL_RECORDS", 1)
    bench = Bench()
    await bench.take(run([10]))
    waiting = asyncio.create_task(bench.take(run([11])))
    await asyncio.sleep(0.01)
    await bench.intake.end(bench.generation, 0.1)
    await asyncio.wait_for(waiting, 1)
    assert bench.state.offsets == {SOURCE: 11}


async def test_a_delivery_counts_when_it_returns():
    """Cut short it leaves the position where it was; what finished counts."""
    room = toy.Posting("counts", (SOURCE,), "out", tell_change=True)
    bench = Bench(room)
    await bench.take(run([10]))
    assert bench.state.offsets == {SOURCE: 10}
    await bench.intake.end(bench.generation, 1.0)
    assert bench.state.offsets in ({SOURCE: 10}, {SOURCE: 11})
    stuck = Bench(toy.Posting("counts", (SOURCE,), "out", tell_change=True, stuck=True))
    await stuck.take(run([10]))
    await asyncio.sleep(0.01)
    await stuck.intake.end(stuck.generation, 0.05)
    assert stuck.state.offsets == {SOURCE: 10}
    assert stuck.failures == []


async def test_a_delivery_that_raises_is_a_failure():
    """It names the room and the partition."""

    class Broken(toy.Posting):
        async def deliver(self, partition: int, topic: str, run: object) -> int:
            raise RuntimeError("no")

    bench = Bench(Broken("counts", (SOURCE,), "out", tell_change=True))
    await bench.take(run([10]))
    await asyncio.sleep(0.01)
    assert bench.failures == ["room counts failed in partition 0: RuntimeError('no')"]


async def test_no_deliveries_end_at_once():
    """The usual room has none."""
    await asyncio.wait_for(Deliveries().end(10), 0.1)


def test_the_inbox_is_full_per_topic():
    """One topic's backlog does not stop another; the last reader makes room."""
    inbox = Inbox(1)
    big = Run("a", 0, [], 0, 0, 0)
    big.records = [None] * MAX_RECORDS
    big.readers = 2
    inbox.announce(big)
    inbox.announce(Run("b", 0, [None], 1, 0, 1))
    assert inbox.full() == {"a"}
    inbox.done(big)
    assert inbox.full() == {"a"}
    inbox.done(big)
    assert inbox.full() == set()


def test_one_bundle_per_topic():
    """Serials grow, since Faust drops what seems to go backwards."""
    inbox = Inbox(3)
    inbox.put([run([1]), run([5], topic="b"), run([2])])
    inbox.put([run([3])])
    assert [(one.topic, one.serial, len(one.runs)) for one in inbox.waiting] == [(SOURCE, 1, 2), ("b", 2, 1), (SOURCE, 3, 1)]
