"""Do the topics of a partition come in step, each record once, and never to a standstill?"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.kafka import lanes
from streams.kafka.inbox import Run
from streams.kafka.lanes import LOOK, PATIENCE, PIECE, Lane
from streams.topics import TICKS

ROOM = SimpleNamespace(name="deals", sources=("stages", "activities", TICKS))


class Record:
    """A record with an offset and a time."""

    def __init__(self, offset: int, at: int) -> None:
        self._offset, self.at = offset, at

    def offset(self) -> int:
        return self._offset

    def timestamp(self) -> tuple[int, int]:
        return 1, self.at


class Ground:
    """One lane from offset 0, what may still come, and how it is emptied as the intake does."""

    def __init__(self, *ended: str, room: SimpleNamespace = ROOM, **offsets: int) -> None:
        self.state = SimpleNamespace(room=room, partition=0, offsets=dict.fromkeys(room.sources, 0) | offsets)
        self.ended = set(ended)
        self.lane = Lane(self.state, lambda topic, _at: topic not in self.ended)
        self.next = dict(self.state.offsets)
        self.finished: list[Run] = []

    def put(self, topic: str, *times: int, first: int | None = None) -> Run:
        """Let records of these times come in behind those before, or from an offset on."""
        first = self.next[topic] if first is None else first
        records = [Record(first + place, at) for place, at in enumerate(times)]
        self.next[topic] = first + len(times)
        run = Run(topic, 0, records, 0, first, self.next[topic])
        self.lane.put(run)
        return run

    def take(self, now: float = 0.0) -> tuple[str, list[int]] | None:
        """Return the next piece as (topic, times), handled."""
        piece = self.lane.next(now)
        if piece is None:
            return None
        if piece.records:
            self.state.offsets[piece.topic] = piece.records[-1].offset() + 1
        self.finished += piece.finished
        return piece.topic, [record.at for record in piece.records]

    def take_all(self) -> list[tuple[str, list[int]]]:
        """Take until nothing waits, with as much patience as it needs."""
        found = []
        for number in range(10_000):
            if self.lane.empty():
                return found
            piece = self.take(number * LOOK)
            if piece is not None:
                found.append(piece)
        raise AssertionError("it never ends")


@pytest.fixture
def small(monkeypatch):
    """Pieces of 1 to 4 records."""
    monkeypatch.setattr(lanes, "LEAST", 1)
    monkeypatch.setattr(lanes, "PIECE", 4)


def test_what_happened_first_comes_first(small):
    """A piece ends where another topic goes on; at one and the same time the first source goes first."""
    ground = Ground("stages", "activities")
    ground.put("activities", 2, 3, 5, 9)
    ground.put("stages", 1, 2, 5)
    assert ground.take_all() == [
        ("stages", [1, 2]),
        ("activities", [2, 3]),
        ("stages", [5]),
        ("activities", [5, 9]),
    ]
    assert len(ground.finished) == 2


def test_pieces_are_neither_tiny_nor_huge():
    """Where topics take turns with each record they take turns with each piece."""
    ground = Ground("stages", "activities")
    ground.put("stages", *range(0, 20_000, 2))
    ground.put("activities", *range(1, 20_001, 2))
    sizes = [len(times) for _, times in ground.take_all()]
    assert min(sizes[:-1]) == lanes.LEAST
    assert max(sizes) <= PIECE
    assert sum(sizes) == 20_000


def test_a_topic_with_nothing_here_is_waited_for_until_it_comes(small):
    """Nothing of the other is handed over before that."""
    ground = Ground()
    ground.put("activities", 5)
    assert ground.take() is None
    assert ground.lane.short_of() == ["stages", "activities"]
    ground.put("stages", 3)
    assert ground.take() == ("stages", [3])
    assert ground.take() is None
    ground.ended.add("stages")
    assert ground.take() == ("activities", [5])
    assert ground.lane.empty()
    assert ground.lane.short_of() == []


def test_a_topic_that_never_comes_is_waited_for_once_and_not_for_ever(small):
    """Then the other goes on without a break, until something of it comes after all."""
    ground = Ground()
    ground.put("activities", *range(100))
    looks = 0
    while ground.take(looks * LOOK) is None:
        looks += 1
    assert looks * LOOK == pytest.approx(PATIENCE, abs=1.5 * LOOK)
    assert [ground.take(looks * LOOK) is None for _ in range(24)] == [False] * 24
    assert ground.lane.empty()
    ground.put("stages", 200)
    ground.put("activities", 201)
    assert ground.take(50.0) == ("stages", [200])
    assert ground.take(50.0) is None


def test_a_main_loop_that_was_busy_elsewhere_does_not_lose_patience(small):
    """What came meanwhile is only seen when it has its turn again."""
    ground = Ground()
    ground.put("activities", 5)
    assert ground.take(0.0) is None
    assert ground.take(30.0) is None
    ground.put("stages", 3)
    assert ground.take(30.1) == ("stages", [3])


def test_at_the_end_of_all_topics_nothing_waits():
    """Live, records are handed over as they come."""
    ground = Ground("stages", "activities")
    ground.put("activities", 5)
    assert ground.take() == ("activities", [5])
    ground.put("stages", 3)
    assert ground.take() == ("stages", [3])


def test_a_room_with_one_source_never_waits():
    """There is nothing to be in step with."""
    ground = Ground(room=SimpleNamespace(name="kpis", sources=("deltas",)))
    ground.put("deltas", 5, 4)
    assert ground.lane.short_of() == []
    assert ground.take() == ("deltas", [5, 4])


def test_nobody_waits_for_a_tick():
    """A tick only says that time has passed."""
    ground = Ground("stages", "activities")
    assert TICKS not in ground.ended
    ground.put("stages", 5)
    assert ground.take() == ("stages", [5])


def test_a_tick_comes_after_what_was_before_it(small):
    """Before it in time, one by one, whatever the size of a piece; and before it on arrival, whatever its time says."""
    ground = Ground("stages", "activities")
    ground.put("activities", 1, 30, 31)
    ground.put(TICKS, 20, 40)
    ground.put("stages", 10, 35)
    assert ground.take_all() == [
        ("activities", [1]),
        ("stages", [10]),
        ("activities", [30, 31]),
        (TICKS, [20]),
        ("stages", [35]),
        (TICKS, [40]),
    ]


def test_ticks_are_not_taken_in_pieces(monkeypatch):
    """The clock of the last must not stand before an event that lies between."""
    ground = Ground("stages", "activities")
    ground.put(TICKS, *range(10, 200, 10))
    ground.put("stages", 55)
    assert ground.take_all()[:2] == [(TICKS, [10, 20, 30, 40, 50]), ("stages", [55])]


def test_a_tick_waits_with_the_rest(small):
    """While an earlier event may be on its way, time does not pass."""
    ground = Ground("stages")
    ground.put(TICKS, 20)
    assert ground.take() is None
    ground.ended.add("activities")
    assert ground.take() == (TICKS, [20])


def test_what_the_room_has_seen_is_skipped_and_counted_out(small):
    """Runs are cut differently after a restart."""
    ground = Ground("stages", "activities", activities=2)
    old = ground.put("activities", 1, 2, first=0)
    ground.put("activities", 1, 2, 3, first=0)
    ground.put("stages", 9)
    assert ground.take_all() == [("activities", [3]), ("stages", [9])]
    assert ground.finished[0] is old
    assert len(ground.finished) == 3


TOPICS = st.sampled_from(ROOM.sources)
STEPS = st.lists(
    st.one_of(
        st.tuples(TOPICS, st.lists(st.integers(0, 50), min_size=1, max_size=9)),  # records come in
        st.tuples(st.just("end"), TOPICS),
        st.tuples(st.just("take"), st.floats(0, 0.5)),  # so much later
    ),
    max_size=40,
)


def taken_in_small_pieces(steps: list[tuple[str, object]], *ended: str) -> tuple[Ground, list[tuple[str, list[int]]]]:
    """Do the steps, then take what is left."""
    found, now = [], 0.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lanes, "LEAST", 2)
        patch.setattr(lanes, "PIECE", 5)
        ground = Ground(*ended)
        for what, value in steps:
            if what == "end":
                ground.ended.add(value)
            elif what == "take":
                now += value
                found.append(ground.take(now))
            else:
                ground.put(what, *value)
        return ground, [piece for piece in found if piece is not None] + ground.take_all()


@settings(max_examples=300)
@given(steps=STEPS)
def test_any_arrival_is_handed_over_once_and_in_order(steps):
    """Nothing is lost, repeated or overtaken by a later record of its topic, and it ends whatever is never said."""
    ground, found = taken_in_small_pieces(steps)
    for topic in ROOM.sources:
        came = [at for what, value in steps if what == topic for at in value]
        assert [at for one, times in found if one == topic for at in times] == came
        assert ground.state.offsets[topic] == len(came)
    assert len(ground.finished) == sum(what in ROOM.sources for what, _ in steps)
    assert all(len(times) <= 5 for _, times in found)


@settings(max_examples=300)
@given(stages=st.lists(st.integers(0, 60)), activities=st.lists(st.integers(0, 60)))
def test_what_is_here_is_handed_over_in_time_within_a_piece(stages, activities):
    """No piece begins behind an earlier record of the other topic, nor runs past it by more than the smallest size."""
    left = {"stages": sorted(stages), "activities": sorted(activities)}
    steps = [(topic, times[at : at + 7]) for topic, times in left.items() for at in range(0, len(times), 7)]
    _, found = taken_in_small_pieces(steps, "stages", "activities")
    for topic, times in found:
        other = left["activities" if topic == "stages" else "stages"]
        assert not other or times[0] <= other[0]
        assert not other or all(at <= other[0] for at in times[2:])
        left[topic] = left[topic][len(times) :]
