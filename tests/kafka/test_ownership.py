"""Positions, commits and lag: whose is what, and how far is it?"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from confluent_kafka import TopicPartition

from streams.kafka.flush import collect_rows
from streams.kafka.ownership import Generation, Lag, Plan, Reach, StatePartition, committed_flushes, committed_places
from streams.kafka.room import StateTable

ROOMS = [
    SimpleNamespace(name="kpis", sources=("deltas", "ticks")),
    SimpleNamespace(name="alerts", sources=("matured", "ticks")),
]
PARTS = frozenset((topic, partition) for topic in ("deltas", "ticks", "matured") for partition in (0, 1))


def generation(offsets: dict[str, dict[str, int]]) -> Generation:
    """Return a generation that owns partition 0 of both rooms at these offsets, nothing beyond them arrived."""
    plan = Plan(ROOMS)
    made = Generation(1, None, PARTS, plan)
    for room in ROOMS:
        made.states[room.name, 0] = StatePartition(room, 0, StateTable(), offsets[room.name].copy(), anchored=True)
    made.reach = {part: Reach(at) for part, at in made.positions().items()}
    return made


OFFSETS = {"kpis": {"deltas": 10, "ticks": 7}, "alerts": {"matured": 3, "ticks": 5}}


def test_a_state_partition_is_all_of_a_rooms_sources():
    """Both rooms own both partitions."""
    assert Plan(ROOMS).state_keys(PARTS) == [("alerts", 0), ("alerts", 1), ("kpis", 0), ("kpis", 1)]


def test_a_split_room_is_refused():
    """Topics with different partition counts would be split between workers."""
    with pytest.raises(ValueError, match="partition 1 of ticks went to another worker"):
        Plan(ROOMS).state_keys(PARTS - {("ticks", 1)})


def test_lag_is_the_age_of_the_last_record_handled_or_since_nothing_was_handled_at_all():
    """Of two topics with records that wait, nothing was handled of one since the partition was taken over at second 100."""
    made = generation(OFFSETS)
    made.taken_over = 100_000.0
    for topic in ("deltas", "matured"):
        made.reach[topic, 0].arrived = 20
    made.states["kpis", 0].newest["deltas"] = 150_000
    found = {(lag.topic, lag.room): lag.seconds for lag in made.lags(160_000.0) if lag.topic != "ticks"}
    assert found == {("deltas", "kpis"): 10.0, ("matured", "alerts"): 60.0}


def test_fetching_starts_where_the_slowest_reader_stands():
    """A topic that two rooms read is fetched once."""
    assert generation(OFFSETS).positions() == {("deltas", 0): 10, ("ticks", 0): 5, ("matured", 0): 3}


def test_a_commit_names_every_readers_position():
    """The group commits the smallest; the metadata has each, of rooms that wrote nothing too."""
    commits = generation(OFFSETS).commits([("kpis", 0)])
    assert [(one.topic, one.offset) for one in commits] == [("deltas", 10), ("ticks", 5)]
    assert committed_places(commits[1], ["kpis", "alerts"]) == {"kpis": 7, "alerts": 5}


def test_a_commit_names_where_every_readers_rows_stand():
    """Another reader of the topic has gone on, but its rows are not in this transaction."""
    made = generation(OFFSETS)
    made.states["kpis", 0].offsets["ticks"] = made.states["alerts", 0].offsets["ticks"] = 9
    collect_rows("app", made, [("kpis", 0)])
    _, ticks = made.commits([("kpis", 0)])
    assert committed_places(ticks, ["kpis", "alerts"]) == {"kpis": 9, "alerts": 5}


def test_a_commit_numbers_every_readers_flush():
    """A flush that moves no offset is another one all the same; what a tool has moved says nothing of flushes."""
    made = generation(OFFSETS)
    made.states["kpis", 0].flushes, made.states["alerts", 0].flushes = 9, 4
    _, ticks = made.commits([("kpis", 0)])
    assert committed_flushes(ticks, ["kpis", "alerts", "notify"]) == {"kpis": 9, "alerts": 4}
    assert committed_places(ticks, ["kpis", "alerts"]) == {"kpis": 7, "alerts": 5}
    ticks.offset = 6
    assert committed_flushes(ticks, ["kpis", "alerts"]) == {}


@pytest.mark.parametrize(
    ("offset", "metadata", "places"),
    [
        (-1001, None, {}),
        (5, '{"kpis":7,"alerts":5}', {"kpis": 7, "alerts": 5}),
        (5, '{"kpis":5}', {"kpis": 5}),  # alerts is new here
        (5, None, {"kpis": 5, "alerts": 5}),  # a broker that drops metadata, or a tool
        (5, "by hand", {"kpis": 5, "alerts": 5}),
        (2, '{"kpis":7,"alerts":5}', {"kpis": 2, "alerts": 2}),  # moved by a tool that kept the metadata
    ],
)
def test_what_is_committed_is_read_back(offset, metadata, places):
    """Metadata counts only if we wrote it together with the offset."""
    committed = TopicPartition("ticks", 0, offset, metadata) if metadata else TopicPartition("ticks", 0, offset)
    assert committed_places(committed, ["kpis", "alerts"]) == places


def test_caught_up_is_every_source_read_and_handled_to_its_end():
    """One source short of its end is enough to be behind."""
    made = generation(OFFSETS)
    assert made.caught_up("kpis") == frozenset()
    for part in made.reach:
        made.reach[part].at_end = True
    made.reach["ticks", 0].arrived = 7
    assert made.caught_up("kpis") == {0}
    assert made.caught_up("alerts") == frozenset()  # records 5 and 6 of ticks wait


@pytest.mark.parametrize(
    ("reach", "more"),
    [
        (Reach(10), True),  # not looked at yet
        (Reach(10, high=12), True),  # the last fetch saw more
        (Reach(10, high=10), False),  # it saw the end
        (Reach(10, at_end=True, high=12), False),  # control records stand behind
        (Reach(11, at_end=True), True),  # a record is on its way to the rooms
    ],
)
def test_a_partition_may_hold_more_until_its_end_was_seen(reach, more):
    """Whoever waits for it waits for nothing that cannot come."""
    made = generation(OFFSETS)
    made.reach["deltas", 0] = reach
    assert made.may_hold_more(0, "deltas", 10) == more


def test_all_is_here_when_the_end_of_each_source_was_seen():
    """A worker that has just begun to fetch does not know what there is."""
    made = generation(OFFSETS)
    assert not made.all_is_here()
    *others, last = made.reach.values()
    for reach in others:
        reach.at_end = True
    assert not made.all_is_here()
    last.high = last.arrived
    assert made.all_is_here()


def test_lag_counts_from_our_own_position():
    """At the end it is 0 although control records stand behind; else records and the age of the newest handled one."""
    made = generation(OFFSETS)
    made.reach["deltas", 0] = Reach(arrived=10, at_end=True, high=12)
    made.reach["ticks", 0] = Reach(arrived=5, high=25)
    made.states["kpis", 0].newest["ticks"] = 1_000
    lags = {(lag.room, lag.topic): lag for lag in made.lags(now_ms=4_500)}
    assert lags["kpis", "deltas"] == Lag("kpis", "deltas", 0, 0, 0.0)
    assert lags["kpis", "ticks"] == Lag("kpis", "ticks", 0, 18, 3.5)
    assert lags["alerts", "ticks"].records == 20
