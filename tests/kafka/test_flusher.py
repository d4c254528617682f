"""When does a flush begin: at once, after a while, or right behind the one before it?"""

from __future__ import annotations

import asyncio
import gc
import time
import weakref
from collections.abc import Sequence
from typing import Any, Self

import pytest

from streams.kafka.flush import Batch, FlushReport
from streams.kafka.flusher import Flusher
from streams.kafka.ownership import Generation, Plan, Reach, StatePartition
from streams.kafka.room import Moment, Output, StateTable

pytestmark = pytest.mark.timed  # a busy machine would break what is promised

INTERVAL = 0.3
SOON = 0.1  # well below the interval, well above what a busy machine needs for some turns of the loop


class Hop:
    """A room that passes on how many records it was handed; with `tells`, it wants to be asked as soon as it holds any."""

    def __init__(self, name: str, *, tells: bool) -> None:
        self.name, self.sources, self._tells = name, (f"to-{name}",), tells
        self.waiting = 0

    def handle(self, partition: int, topic: str, run: Sequence[Any]) -> int:
        """Take them."""
        del partition, topic
        self.waiting += len(run)
        return 0

    def due(self, moment: Moment) -> bool:
        """Tell whether it wants to be asked."""
        del moment
        return self._tells and self.waiting > 0

    def owes(self, moment: Moment) -> bool:
        """Tell whether it holds any."""
        del moment
        return self.waiting > 0

    def drain(self, moment: Moment) -> list[Output]:
        """Pass them on."""
        del moment
        outputs: list[Output] = [("out", 0, self.name.encode(), b"%d" % self.waiting, None)] if self.waiting else []
        self.waiting = 0
        return outputs


class Clocked:
    """A committer that notes when each batch came to it, and takes its time."""

    def __init__(self) -> None:
        self.at: list[float] = []
        self.rooms: list[set[str]] = []
        self.offsets: list[dict[str, int]] = []
        self.written: list[set[str]] = []  # whose output
        self.takes = 0.0
        self.worked: list[float] = []  # seconds

    def begin(self, deadline: float = 0) -> None:
        """Nothing."""

    def commit(self, batch: Batch) -> FlushReport:
        """Note it."""
        self.at.append(time.monotonic())
        self.rooms.append({room for room, _ in batch.handled})
        self.worked.append(batch.compute_seconds)
        self.offsets.append({one.topic: one.offset for one in batch.offsets})
        self.written.append({str(key, "ascii") for _, _, key, _, _ in batch.outputs if key})
        time.sleep(self.takes)
        return FlushReport(batch.handled, {}, len(batch.rows), len(batch.offsets), 0, 0, 0, 1.0)


class Chain:
    """A first room that waits to be asked and a second one that wants to tell, with their flusher running."""

    def __init__(self) -> None:
        self.first, self.second = Hop("first", tells=False), Hop("second", tells=True)
        rooms: Any = [self.first, self.second]
        self.committer = Clocked()
        self.flusher = Flusher("app", rooms, self.committer, INTERVAL, lambda _report: None)
        self.generation = Generation(1, "metadata", frozenset(), Plan(rooms))
        for room in rooms:
            state = StatePartition(room, 0, StateTable(), {room.sources[0]: 0}, anchored=True)
            self.generation.states[room.name, 0] = state
            self.generation.reach[room.sources[0], 0] = Reach(0)
        self.generation.restored = True

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self.flusher.run(lambda: self.generation))
        await asyncio.sleep(INTERVAL + SOON)  # nothing has been flushed for a while
        return self

    async def __aexit__(self, *_: object) -> None:
        self._running.cancel()

    def take(self, room: Hop) -> float:
        """Hand a record to a room, as the intake does; return when."""
        room.handle(0, room.sources[0], [0])
        state = self.generation.states[room.name, 0]
        state.offsets[room.sources[0]] += 1
        state.handled += 1
        self.flusher.handled(room.name, room.sources[0], 1, 1, 0)
        return time.monotonic()

    async def commits(self, count: int) -> list[float]:
        """Wait for so many commits in all; return when they came."""
        end = time.monotonic() + 5
        while len(self.committer.at) < count and time.monotonic() < end:  # noqa: ASYNC110  # told by another thread
            await asyncio.sleep(0.005)
        return self.committer.at


async def test_the_first_record_after_a_while_is_flushed_at_once():
    """Nobody else is on the way, so nothing is gained by waiting."""
    async with Chain() as chain:
        at = chain.take(chain.first)
        [flushed] = await chain.commits(1)
    assert flushed - at < SOON


async def test_a_generation_that_is_given_up_is_let_go_of():
    """Whoever restores the next one needs its memory."""
    async with Chain() as chain:
        chain.take(chain.first)
        await chain.commits(1)
        await asyncio.sleep(SOON)
        gone, chain.generation = weakref.ref(chain.generation), None
        await asyncio.sleep(SOON)
        gc.collect()
        assert gone() is None


async def test_the_next_one_lingers():
    """What comes while the interval lasts goes out together when it is over."""
    async with Chain() as chain:
        chain.take(chain.first)
        await chain.commits(1)
        chain.take(chain.first)
        await asyncio.sleep(SOON)
        chain.take(chain.first)
        first, second = await chain.commits(2)
        await asyncio.sleep(SOON)
    assert len(chain.committer.at) == 2
    assert INTERVAL <= second - first + 0.01 < INTERVAL + SOON


async def test_the_time_of_taking_in_goes_with_the_flush_of_its_room():
    """The work on an event is taking it in, too; that of a room that does not take part stays with it."""
    async with Chain() as chain:
        chain.flusher.took("first", 40.0)
        chain.take(chain.first)
        await chain.commits(1)
        chain.flusher.took("first", 70.0)
        chain.flusher.took("second", 20.0)
        chain.take(chain.second)
        await chain.commits(2)
        chain.take(chain.first)
        await chain.commits(3)
    assert [int(seconds) for seconds in chain.committer.worked] == [40, 20, 70]


async def test_what_came_of_a_flush_follows_it_at_once():
    """A number lingers once, though its event goes through two rooms."""
    async with Chain() as chain:
        chain.take(chain.first)
        await chain.commits(1)
        at = chain.take(chain.second)
        _, second = await chain.commits(2)
    assert second - at < SOON
    assert chain.committer.rooms == [{"first"}, {"second"}]


async def test_a_follow_up_is_of_the_rooms_that_want_it():
    """What the first room was handed meanwhile lingers, its output and its offsets with it."""
    async with Chain() as chain:
        chain.take(chain.first)
        await chain.commits(1)
        chain.generation.states["first", 0].anchored = False  # nor does it write down where that stands
        chain.take(chain.first)
        chain.take(chain.second)
        first, _, third = await chain.commits(3)
    assert chain.committer.rooms == [{"first"}, {"second"}, {"first"}]
    assert chain.committer.offsets == [{"to-first": 1}, {"to-second": 1}, {"to-first": 2}]
    assert third - first >= INTERVAL - 0.01


async def test_what_comes_of_a_follow_up_lingers():
    """Else flushes would follow each other without end, each with the little that came meanwhile."""
    async with Chain() as chain:
        chain.take(chain.first)
        await chain.commits(1)
        chain.take(chain.second)
        await chain.commits(2)
        chain.take(chain.second)
        first, _, third = await chain.commits(3)
    assert INTERVAL <= third - first + 0.01 < INTERVAL + SOON


async def test_who_has_nothing_to_tell_yet_is_not_followed_up():
    """The second room holds nothing; another record of the first waits for the interval."""
    async with Chain() as chain:
        chain.take(chain.first)
        await chain.commits(1)
        chain.take(chain.first)
        first, second = await chain.commits(2)
    assert second - first >= INTERVAL - 0.01


async def test_after_a_slow_commit_the_worker_lingers_as_long_again():
    """Else a slow broker would be asked without a pause."""
    async with Chain() as chain:
        chain.committer.takes = 0.25
        chain.take(chain.first)
        await chain.commits(1)
        chain.take(chain.first)
        first, second = await chain.commits(2)
    assert second - first >= 2 * 0.25 - 0.01


async def test_time_alone_makes_a_room_tell():
    """It was handed nothing since the last flush."""
    async with Chain() as chain:
        chain.second.waiting = 1
        at = time.monotonic()
        [flushed] = await chain.commits(1)
    assert flushed - at < INTERVAL


async def test_a_clock_that_is_put_back_keeps_nobody_from_telling(monkeypatch):
    """A room that paces what it tells would wait until the clock is where it was: for it time goes on; what a tick says it learns, too."""
    seconds = iter([5_000, 5_001, 1_400, 1_401])
    monkeypatch.setattr("streams.kafka.clock.time.time_ns", lambda: next(seconds) * 10**9)
    chain, moments = Chain(), []
    monkeypatch.setattr(chain.first, "owes", moments.append)
    for _ in range(4):
        chain.flusher.owing(chain.generation)
    assert [(one.now // 10**6, one.put_back // 10**6) for one in moments] == [
        (5_000, 0),
        (5_001, 0),
        (5_001, 3_601),
        (5_002, 3_601),
    ]


async def test_whom_time_alone_makes_due_waits_for_what_follows_once():
    """Its output goes with what the others made of the flush, or else into the next."""
    async with Chain() as chain:
        chain.second.waiting = 1
        chain.take(chain.first)
        await chain.commits(1)
        assert chain.committer.written == [{"first"}]
        chain.take(chain.first)
        first, second = await chain.commits(2)
        assert second - first >= INTERVAL - 0.01
        assert chain.committer.written == [{"first"}, {"first", "second"}]
        chain.second.waiting = 1
        chain.take(chain.first)
        await chain.commits(3)
        chain.take(chain.second)
        third, fourth = (await chain.commits(4))[2:]
    assert fourth - third < SOON
    assert chain.committer.written[2:] == [{"first"}, {"second"}]


async def test_until_it_is_committed_it_is_owed():
    """From the room's hands to the broker's answer; and by a room that will tell later."""
    async with Chain() as chain:
        owing = [chain.flusher.owing(chain.generation)]
        chain.committer.takes = SOON
        chain.take(chain.first)
        owing.append(chain.flusher.owing(chain.generation))
        await chain.commits(1)  # begun
        owing.append(chain.flusher.owing(chain.generation))
        await asyncio.sleep(2 * SOON)
        owing.append(chain.flusher.owing(chain.generation))
        chain.second.waiting = 1
        owing.append(chain.flusher.owing(chain.generation))
    assert [sorted(one) for one in owing] == [[], ["first", "flush"], ["flush"], [], ["second"]]
    assert chain.flusher.commits == 1


async def test_where_a_commit_takes_long_less_goes_into_the_next_one(monkeypatch):
    """Half as much after each slow one, and twice as much again after each quick one; what is full does not linger."""
    monkeypatch.setattr("streams.kafka.flusher.FULL_RECORDS", 4)
    monkeypatch.setattr("streams.kafka.flusher.SLOW", SOON / 2)
    monkeypatch.setattr("streams.kafka.flusher.QUICK", SOON / 4)
    sizes = []
    async with Chain() as chain:
        for takes in (0.0, SOON, SOON, 0.0, 0.0, 0.0):
            chain.committer.takes = takes
            sizes.append(0)
            while not chain.flusher._full.is_set():
                chain.take(chain.first)
                sizes[-1] += 1
            await chain.commits(len(sizes))
            await asyncio.sleep(2 * SOON)  # until it has ended
    assert sizes == [4, 4, 2, 1, 2, 4]


async def test_who_fails_waits_for_a_commit_no_longer_than_it_takes():
    """In the main loop, which would else be the one to note that it has ended."""
    async with Chain() as chain:
        chain.committer.takes = 0.3
        at = chain.take(chain.first)
        await chain.commits(1)
        chain.flusher.wait_for_commit()
        assert 0.25 < time.monotonic() - at < 0.3 + SOON
