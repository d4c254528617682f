"""Is a table whose rows rest still the same table?  Whatever is put, got, deleted, flushed, laid down and packed."""

from __future__ import annotations

import gc
import random
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.kafka.resting import Packer, Resting
from streams.kafka.room import StateTable

KEYS = [b"k%d" % number for number in range(4)]
LIKE = [b"a row like the others, number %d of so many" % (7919 * number % 1000) for number in range(2000)]
ROWS = st.one_of(
    st.sampled_from(LIKE),
    st.binary(max_size=64),
    st.integers(0, 6000).map(bytes),
    st.integers(400, 6000).map(lambda size: random.Random(size).randbytes(size)),  # nothing to save
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(KEYS), ROWS),
        st.tuples(st.just("get"), st.sampled_from(KEYS)),
        st.tuples(st.just("delete"), st.sampled_from(KEYS)),
        st.tuples(st.just("flush")),
        st.tuples(st.just("lay down")),
        st.tuples(st.just("pack"), st.integers(1, 3000)),
        st.tuples(st.just("rest")),
    ),
    max_size=60,
)


def packer(rows: list[bytes] = LIKE) -> Packer:
    """Return one that has learned from rows."""
    made = Packer()
    made.learn(rows)
    return made


LEARNED = packer()


def resting_table() -> StateTable:
    table = StateTable()
    table.resting = Resting(LEARNED)
    return table


@settings(max_examples=400, deadline=None)
@given(STEPS)
def test_a_table_whose_rows_rest_is_a_dict(steps):
    """Each step gives what a dict gives; each changed row is where the flush looks for it; no row is in two places."""
    table, plain, changed = resting_table(), {}, set()
    for step, *arguments in steps:
        match step:
            case "put":
                key, row = arguments
                table.put(key, row)
                plain[key] = row
                changed.add(key)
            case "get":
                assert table.get(arguments[0]) == plain.get(arguments[0])
            case "delete":
                table.delete(arguments[0])
                if plain.pop(arguments[0], None) is not None:
                    changed.add(arguments[0])
            case "pack":
                table.resting.pack(arguments[0])
        if step in {"flush", "rest"}:
            assert {key: table.rows.get(key) for key in table.changed} == {key: plain.get(key) for key in changed}
            table.changed, changed = set(), set()
        if step in {"lay down", "rest"} and not table.resting.waiting:
            table.lay_down()
        if step == "rest":
            table.resting.pack(1 << 20)
        assert table.changed == changed
        assert sorted(table.items()) == sorted(plain.items())
        assert table.count() == len(plain)
        assert table.resting._rests.keys() <= table.resting._packed.keys()


@settings(max_examples=300, deadline=None)
@given(ROWS)
def test_what_was_packed_is_unpacked_to_the_byte(row):
    """Short or long, like others or like none."""
    assert LEARNED.unpack(*LEARNED.pack(row)) == row


@pytest.mark.parametrize(
    "rows", [[], [b""], [b"x" * 700] * 1500, [b"alone"], LIKE[:3], *([b"1"] * count for count in range(5, 15))]
)
def test_there_may_be_nothing_to_learn(rows):
    """From none, empty, equal, few or tiny rows (which once ended the process): less is saved, nothing is lost."""
    one = packer(rows)
    assert one.has_learned
    assert [one.unpack(*one.pack(row)) for row in LIKE] == LIKE


def test_what_rows_have_in_common_is_learned():
    """Packed, rows like those learned from take half; by one that learned nothing they take all."""
    nothing = packer([])
    assert sum(len(LEARNED.pack(row)[0]) for row in LIKE) < 0.5 * sum(map(len, LIKE))
    assert sum(len(nothing.pack(row)[0]) for row in LIKE) > 0.9 * sum(map(len, LIKE))


def test_the_object_of_a_packed_row_is_small():
    """Over 512 bytes it would lie among the rows that were freed; what does not go in is the rest, and nothing has room to spare."""
    for size in (100, 400, 600, 5000):
        packed, rest = LEARNED.pack(random.Random(size).randbytes(size))
        assert sys.getsizeof(packed) <= 512
        assert not rest or sys.getsizeof(packed) == 512
        assert size < len(packed) + len(rest) < size + 20
        assert sys.getsizeof(rest) == sys.getsizeof(b"") + len(rest)


def test_the_garbage_collector_does_not_visit_packed_rows():
    """They are bytes alone: for the sake of others it would look at a million of them, and hold the main loop."""
    table = resting_table()
    for number in range(10):
        table.put(b"%d" % number, random.Random(number).randbytes(500 * number))
    table.changed.clear()
    table.lay_down()
    table.resting.pack(1 << 20)
    held = [*table.resting._packed.values(), *table.resting._rests.values()]
    assert len(held) > 10
    assert not any(map(gc.is_tracked, held))


def test_packing_stops_when_enough_is_packed():
    """A step is as large as it was asked to be, and begins where the last one ended."""
    table = resting_table()
    for key in KEYS:
        table.put(key, bytes(100))
    table.changed.clear()
    table.lay_down()
    assert [len(table.resting.pack(150)) for _ in range(3)] == [2, 2, 0]
    assert table.rows == {}
    assert dict(table.items()) == dict.fromkeys(KEYS, bytes(100))


def test_a_row_that_is_read_rests_no_longer():
    """Who is asked for once is asked for again."""
    table = resting_table()
    for key in KEYS:
        table.put(key, key)
    table.changed.clear()
    table.lay_down()
    table.resting.pack(3)
    assert [table.get(key) for key in (KEYS[0], KEYS[-1])] == [KEYS[0], KEYS[-1]]
    assert set(table.rows) == {KEYS[0], KEYS[-1]}
    assert table.changed == set()
