"""Which rows are packed, and when?  Those that nobody has touched for a minute, while the worker keeps up."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from streams.kafka import packing
from streams.kafka.lanes import PIECE
from streams.kafka.ownership import Generation, Plan, StatePartition
from streams.kafka.packing import ENOUGH, FAR, LOOK, PAUSE, REST, Packing, samples
from streams.kafka.resting import SAMPLES, Packer, Resting
from streams.kafka.room import StateTable
from tests.kafka import toy

ROOM = toy.rooms("app")[0]


def row(number: int) -> bytes:
    return b"the record of a deal, much like any other: %d %d" % (number, 7919 * number % 10_007)


def tables(*counts: int) -> list[tuple[StateTable, Resting]]:
    """Return tables of so many rows each, of one room that lets them rest."""
    packer, made = Packer(), []
    for count in counts:
        table = StateTable()
        table.rows = {b"%d" % number: row(number) for number in range(count)}
        table.resting = Resting(packer)
        made.append((table, table.resting))
    return made


def rows(some: list[tuple[StateTable, Resting]]) -> list[int]:
    return [len(table.rows) for table, _ in some]


def waiting(some: list[tuple[StateTable, Resting]]) -> list[int]:
    return [len(resting.waiting) for _, resting in some]


async def laid_down(some: list[tuple[StateTable, Resting]], now: float = 0.0) -> Packing:
    """Return one that has learned, and has just let all rows lie down."""
    one = Packing()
    assert [await one.step(some, now) for _ in range(2)] == [LOOK, LOOK]
    return one


async def test_what_nobody_touches_is_packed_after_a_minute_and_what_is_touched_is_not():
    """Four rows are asked for meanwhile: they are as they were, all others are packed, and nothing is lost."""
    some = tables(ENOUGH, 100)
    one = await laid_down(some)
    assert rows(some) == [0, 0]
    assert await one.step(some, REST - 1) == LOOK
    assert waiting(some) == [ENOUGH, 100]
    assert [some[0][0].get(b"%d" % number) for number in range(4)] == [row(number) for number in range(4)]
    while await one.step(some, REST) == PAUSE:
        pass
    # The turn is over and the next has begun: those four lie down now.
    assert waiting(some) == [4, 0]
    assert [dict(table.items()) for table, _ in some] == [
        {b"%d" % n: row(n) for n in range(count)} for count in (ENOUGH, 100)
    ]


async def test_what_changed_since_the_last_flush_does_not_lie_down():
    """The flush looks for it among the rows as they are; it may rest from the next turn on."""
    some = tables(ENOUGH + 1)
    table, resting = some[0]
    table.put(b"7", b"new")
    table.delete(b"8")
    one = await laid_down(some)
    assert table.rows == {b"7": b"new"}
    assert len(resting.waiting) == ENOUGH - 1
    table.changed.clear()
    while await one.step(some, REST) == PAUSE:
        pass
    assert table.rows == {}
    assert table.get(b"7") == b"new"


async def test_few_rows_are_left_as_they_are():
    """One less than enough, in all tables together: nothing is learned, nobody lies down, however long it takes."""
    some = tables(ENOUGH - 3, 2)
    one = Packing()
    assert [await one.step(some, now) for now in (0, REST, 10 * REST)] == [LOOK] * 3
    assert rows(some) == [ENOUGH - 3, 2]
    assert not some[0][1].packer.has_learned
    assert await one.step([], 0) == LOOK


async def test_free_pages_are_given_back_once_a_minute_where_there_is_little_to_pack(monkeypatch):
    """What a restore has left is large, however few the rows are."""
    given = []
    monkeypatch.setattr(packing, "trim", lambda: given.append(True))
    some, one = tables(ENOUGH - 1), Packing()
    for now, times in ((0.0, 1), (1.0, 1), (REST - 1, 1), (REST, 2), (REST + 1, 2)):
        assert await one.step(some, now) == LOOK
        assert len(given) == times


async def test_each_room_learns_from_its_own_rows():
    """What one has learned packs its own rows best; nothing lies down before all have learned."""
    some, others = tables(ENOUGH), tables(ENOUGH)
    others[0][0].rows = {key: value.upper() for key, value in others[0][0].rows.items()}
    one = Packing()
    assert [await one.step(some + others, 0.0) for _ in range(2)] == [LOOK] * 2
    assert rows(some + others) == [ENOUGH] * 2
    own, other = others[0][1].packer, some[0][1].packer
    assert len(own.pack(row(5).upper())[0]) < 0.7 * len(other.pack(row(5).upper())[0])
    await one.step(some + others, 0.0)
    assert waiting(some + others) == [ENOUGH] * 2


async def test_a_step_is_short():
    """So many bytes and a row, of the table in which most waits."""
    some = tables(ENOUGH, 2 * ENOUGH)
    one = await laid_down(some)
    assert await one.step(some, REST) == PAUSE
    assert waiting(some)[0] == ENOUGH
    left = some[1][1].waiting
    packed = sum(len(one) for key, one in some[1][0].items() if key not in left)
    assert packing.AT_ONCE <= packed < packing.AT_ONCE + len(row(2 * ENOUGH))


@pytest.mark.parametrize("steps", [2, 1000])
async def test_memory_is_given_back_at_times_and_in_the_end(monkeypatch, steps):
    """Every row that was packed is let go of."""
    given = []
    monkeypatch.setattr(packing, "GIVE_BACK_AFTER", steps)
    monkeypatch.setattr(packing, "give_back", lambda packed: given.append(sum(map(len, packed))))
    some = tables(2 * ENOUGH)
    one = await laid_down(some)
    taken = 0
    while await one.step(some, REST) == PAUSE:
        taken += 1
        assert len(given) == taken // steps
    assert taken > 4
    assert sum(given) == 2 * ENOUGH


def test_what_is_given_back_is_let_go_of():
    """The rows are gone, whether or not there is a C library that can be asked."""
    held = [[bytes(600)] * 3, [bytes(700)]]
    packing.give_back(held)
    assert held == []


@pytest.mark.parametrize(
    ("count", "numbers"),
    [
        (SAMPLES - 5, range(SAMPLES - 5)),
        (2 * SAMPLES - 1, range(SAMPLES)),
        (3 * SAMPLES + 5, range(0, 3 * SAMPLES, 3)),
        (50 * SAMPLES, range(0, FAR * SAMPLES, FAR)),
    ],
    ids=["few", "enough", "more", "many"],
)
def test_samples_are_of_the_largest_table_and_apart(count, numbers):
    """As many as are wanted, or all; of many rows those at the end are not looked at."""
    some = tables(10, count, 20)
    assert samples(table for table, _ in some) == [row(number) for number in numbers]


@pytest.mark.parametrize(
    ("change", "may"),
    [
        (lambda generation, waits: None, True),
        (lambda generation, waits: waits.append(PIECE), True),
        (lambda generation, waits: waits.append(PIECE + 1), False),
        (lambda generation, waits: setattr(generation, "closing", True), False),
        (lambda generation, waits: setattr(generation, "restored", False), False),
    ],
    ids=["at rest", "little waits", "catching up", "closing", "restoring"],
)
async def test_a_worker_that_has_better_things_to_do_packs_nothing(monkeypatch, change, may):
    """Only the tables of rooms that let rows rest, of a generation that is restored, and not while it catches up."""
    for name in ("LOOK", "PAUSE", "REST"):
        monkeypatch.setattr(packing, name, 0.0)
    [(table, resting)] = tables(ENOUGH)
    other = tables(ENOUGH)[0][0]
    other.resting = None
    generation, waits = Generation(1, None, frozenset(), Plan([ROOM])), []
    generation.states = {
        ("counts", 0): StatePartition(ROOM, 0, table, {}, anchored=True),
        ("sums", 0): StatePartition(ROOM, 0, other, {}, anchored=True),
    }
    generation.restored = True
    change(generation, waits)
    running = asyncio.create_task(Packing().run(lambda: generation, lambda: sum(waits)))
    for _ in range(500 if may else 20):
        await asyncio.sleep(0.01)
        if resting.count() == ENOUGH and not resting.waiting:
            break
    running.cancel()
    assert (resting.count() == ENOUGH, resting.packer.has_learned) == (may, may)
    assert len(other.rows) == ENOUGH


async def test_tables_that_are_given_up_are_let_go_of(monkeypatch):
    """Whoever restores the next ones needs their memory."""
    monkeypatch.setattr(packing, "LOOK", 0.0)

    class Table(StateTable):
        """One that can be watched."""

    table, present = Table(), Generation(1, None, frozenset(), Plan([ROOM]))
    present.states = {("counts", 0): StatePartition(ROOM, 0, table, {}, anchored=True)}
    present.restored = True
    generations, gone = [present], weakref.ref(table)
    running = asyncio.create_task(Packing().run(lambda: generations[0], lambda: 0))
    await asyncio.sleep(0.02)
    generations[0] = None
    del present, table
    for _ in range(500):  # the last look may still be under way in its thread
        await asyncio.sleep(0.01)
        gc.collect()
        if gone() is None:
            break
    assert gone() is None
    running.cancel()


async def test_without_a_generation_nothing_happens(monkeypatch):
    """A worker that owns nothing goes on looking."""
    monkeypatch.setattr(packing, "LOOK", 0.0)
    running = asyncio.create_task(Packing().run(lambda: None, lambda: 0))
    await asyncio.sleep(0.02)
    assert not running.done()
    running.cancel()
