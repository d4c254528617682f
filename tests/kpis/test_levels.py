"""What is told of how things stand: levels, ages, rolling windows, and their snapshots of each day that closed?"""

from __future__ import annotations

import orjson
import pytest

from streams import topics
from streams.kafka.room import Moment, StateTable
from streams.kpis import room
from streams.kpis.room import KpisRoom
from streams.panes import delta
from streams.panes.cell import Measure
from streams.panes.pane import LEVEL, pane
from tests.audit.tables import act, change, settings, us
from tests.in_memory import delivered
from tests.kpis.rounds import active_deals, flow_of, found, lead

# ------------------------------------------------------------------ levels


def test_a_level_that_fell_to_nothing_stays_in_latest_as_zero():
    """A reader must see that nobody waits, and nothing is worth anything."""
    flow = flow_of()
    flow.feed([lead("a", "2024-03-01 10:00", amount="5")])
    flow.feed([change("lost", "2024-03-01 11:00", "Lost", deal_id="a")])
    levels = {one["kpi"]: (one["value"], one["n"]) for one in flow.latest.values() if one["cut"] == "all"}
    names = ("leads_in_funnel", "active_deals", "pipeline_value", "waiting_leads", "oldest_waiting")
    assert [levels[name] for name in names] == [(0, 0)] * 5


@pytest.mark.parametrize("together", [False, True])
def test_history_says_that_a_level_fell_to_nothing(together):
    """On the day on which the deal was lost; also when both days close in one round, and latest never knew of the level."""
    flow = flow_of()
    first = [lead("a", "2024-03-01 10:00", amount="5")]
    lost = [change("lost", "2024-03-02 11:00", "Lost", deal_id="a")]
    for events in ([*first, *lost],) if together else (first, lost):
        flow.feed(events, tick=us("2024-03-06 12:00") if together else -1)
    flow.feed([], tick=us("2024-03-06 13:00"))
    told = [(one["value"], one["n"]) for _, one in sorted(found(flow.history, "pipeline_value", "day").items())]
    assert told == [(5, 1), (0, 0)]


def test_levels_move_with_the_owner():
    """From anna to borys: 0 for one, 1 for the other."""
    flow = flow_of()
    flow.feed([lead("a", "2024-03-01 10:00", rep_id="anna")])
    flow.feed([change("b", "2024-03-01 11:00", deal_id="a", rep_id="borys")])
    assert active_deals(flow) == {"anna": 0, "borys": 1}


def test_the_age_of_the_oldest_waiting_lead_rises_by_time_alone():
    """An hour and a half later it is 5,400 seconds."""
    flow = flow_of()
    flow.feed([lead("a", "2024-03-01 10:00"), lead("b", "2024-03-01 10:30")])
    flow.feed([], tick=us("2024-03-01 11:30"))
    assert [(one["value"], one["n"]) for one in found(flow.latest, "oldest_waiting", "now").values()] == [(5400, 2)]


def test_the_next_oldest_takes_over_when_the_oldest_is_answered():
    """Created half an hour later, so it waits half an hour less."""
    flow = flow_of()
    flow.feed([lead("a", "2024-03-01 10:00"), lead("b", "2024-03-01 10:30")])
    flow.feed([act("x", "2024-03-01 11:30", deal_id="a")])
    assert [(one["value"], one["n"]) for one in found(flow.latest, "oldest_waiting", "now").values()] == [(3600, 1)]


def test_a_level_is_a_snapshot_when_its_day_closed_and_is_never_restated():
    """Two active on the evening of the 1st, whatever comes to light on the 3rd."""
    flow = flow_of()
    flow.feed([lead("a", "2024-03-01 10:00"), lead("b", "2024-03-01 11:00")])
    flow.feed([], tick=us("2024-03-02 12:00"))
    assert found(flow.history, "active_deals", "day", "2024-03-01 00:00")["value"] == 2
    flow.feed([lead("c", "2024-03-01 12:00")])
    flow.feed([], tick=us("2024-03-04 12:00"))
    assert found(flow.history, "active_deals", "day", "2024-03-01 00:00")["value"] == 2
    assert found(flow.latest, "active_deals", "now")[None]["value"] == 3


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("lost", ["2024-03-01 12:00", "2024-03-03 12:00"])
def test_a_level_that_changed_earlier_than_it_is_heard_of_is_in_the_snapshot_of_the_day_it_is_heard_on(lost, restarts):
    """Heard on the 3rd that a deal was lost, then or on the 1st: the 1st stays as it closed, and the 2nd had no news."""
    flow = flow_of()
    flow.feed([lead("a", "2024-03-01 10:00", amount="5"), lead("b", "2024-03-01 11:00", amount="7")])
    flow.feed([], tick=us("2024-03-03 12:00"))
    for tick in ("2024-03-03 13:00", "2024-03-04 00:05", "2024-03-06 12:00"):
        if restarts:
            flow.restart()
        flow.feed([change("lost", lost, "Lost", deal_id="a")], tick=us(tick))
    told = {kpi: found(flow.history, kpi, "day") for kpi in ("active_deals", "pipeline_value")}
    assert {kpi: {start[:10]: one["value"] for start, one in days.items()} for kpi, days in told.items()} == {
        "active_deals": {"2024-03-01": 2, "2024-03-03": 1},
        "pipeline_value": {"2024-03-01": 12, "2024-03-03": 7},
    }


def test_no_day_that_closed_is_told_again_by_what_comes_in_the_course_of_the_round_that_closes_it():
    """The 2nd has begun, its round has visited everybody and not yet the team; a deal of the 1st comes for both."""
    kpis, told = KpisRoom(settings(partitions=1, windows=["all"])), list[tuple[str, str, int]]()
    kpis.open(0, StateTable())
    level = {pane(LEVEL, kpis.calendar.day_of(us("2024-03-01 10:00"))): {Measure.ACTIVE << 16: 1}}

    def add(at: str, cells: dict[int, dict[int, int]]) -> None:
        progress = {0: delta.Progress(us(at), caught_up=True, settled=False)}
        entities = [(("team", "East"), cells), (("all",), cells)]
        kpis.handle(0, topics.DELTAS, [delivered(one) for one in delta.encode(progress, 0, entities)])

    def drain(seconds: int) -> None:
        output = kpis.drain(Moment(seconds * 1_000_000, frozenset((0,))))
        records = [orjson.loads(value) for topic, _, _, value, _ in output if value and topic == topics.KPI_HISTORY]
        told.extend((one["cut"], one["window"]["start"][:10], one["value"]) for one in records if one["value"])

    add("2024-03-01 10:00", level)
    drain(1_000)
    add("2024-03-02 00:00", {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "_RECORDS_PER_FLUSH", 1)
        drain(2_000)
        add("2024-03-02 00:00", level)
    drain(3_000)
    add("2024-03-03 00:00", {})
    drain(4_000)
    assert told == [("all", "2024-03-01", 1), ("team", "2024-03-01", 1), ("all", "2024-03-02", 2), ("team", "2024-03-02", 2)]


# ------------------------------------------------------------------ rolling windows


@pytest.mark.parametrize(
    ("now", "windows"),
    [
        ("2024-03-01 10:59", {"1h", "24h", "7d"}),
        ("2024-03-01 11:05", {"24h", "7d"}),
        ("2024-03-02 09:59", {"24h", "7d"}),
        ("2024-03-02 10:05", {"7d"}),
        ("2024-03-07 23:59", {"7d"}),
        ("2024-03-08 00:00", set()),
    ],
)
def test_rolling_windows_slide_by_time_alone(now, windows):
    """A lead of 10:02 leaves the hour at 11:05, the day at 10:05 of the next, the week with its seventh day."""
    flow = flow_of(windows=["1h", "24h", "7d"])
    flow.feed([lead("a", "2024-03-01 10:02")])
    flow.feed([], tick=us(now))
    assert {one["window"]["name"] for one in flow.latest.values() if one["kpi"] == "new_leads"} == windows


def test_the_previous_of_a_rolling_window_is_the_equal_one_before_it():
    """One in the last 24 hours, two in those before."""
    flow = flow_of()
    flow.feed([lead("a", "2024-03-01 10:00"), lead("b", "2024-03-01 11:00"), lead("c", "2024-03-02 12:00")])
    told = list(found(flow.latest, "new_leads", "24h").values())
    assert [(one["value"], one["previous"]) for one in told] == [(1, 2)]


def test_a_rolling_window_is_a_snapshot_when_a_day_closed():
    """The seven days that end with the 1st; a late lead of the 1st does not restate them."""
    flow = flow_of()
    flow.feed([lead("a", "2024-03-01 10:00")])
    flow.feed([], tick=us("2024-03-02 12:00"))
    flow.feed([lead("b", "2024-03-01 11:00")])
    flow.feed([], tick=us("2024-03-02 13:00"))
    assert found(flow.history, "new_leads", "7d", "2024-02-24 00:00")["value"] == 1
    assert found(flow.latest, "new_leads", "7d", "2024-02-25 00:00")["value"] == 2


def test_who_comes_with_the_day_that_closes_has_its_snapshots_too():
    """Anna's first lead is of the 1st and comes together with a lead of the 2nd."""
    flow = flow_of(windows=["1h", "7d", "90d"])
    flow.feed([lead("a", "2024-03-01 10:00")])
    flow.feed([lead("b", "2024-03-01 23:30", rep_id="anna"), lead("c", "2024-03-02 01:00")])
    told = {window: found(flow.history, "new_leads", window, cut="rep") for window in ("1h", "7d", "90d")}
    assert {window: [one["value"] for one in records.values()] for window, records in told.items()} == {
        "1h": [1], "7d": [1], "90d": [1],
    }  # fmt: skip
    assert {one["window"]["end"][:10] for records in told.values() for one in records.values()} == {"2024-03-02"}


@pytest.mark.parametrize("restarts", [False, True])
def test_what_the_clock_jumps_over_on_its_way_into_a_day_is_in_the_snapshots_of_the_one_that_closed(restarts):
    """A lead after two months without one, and midnight with the next look at the clock: nothing was to be told of these windows."""
    flow = flow_of()
    flow.feed([lead("a", "2024-01-01 10:00")])
    flow.feed([], tick=us("2024-03-01 12:00"))
    if restarts:
        flow.restart()
    flow.feed([lead("b", "2024-03-02 23:58")], tick=us("2024-03-03 00:01"))
    told = {window: found(flow.history, "new_leads", window) for window in ("1h", "24h", "7d")}
    assert {(window, start, one["value"]) for window, records in told.items() for start, one in records.items()} >= {
        ("1h", "2024-03-02 23:00", 1), ("24h", "2024-03-02 00:00", 1), ("7d", "2024-02-25 00:00", 1),
    }  # fmt: skip


@pytest.mark.parametrize(("closed", "final"), [("2024-03-02 00:59", False), ("2024-03-02 01:00", True)])
def test_a_snapshot_is_final_when_the_grace_was_over_as_it_was_written(closed, final):
    """One hour, as of all that is told; and none is written twice, final or not."""
    flow = flow_of()
    flow.feed([lead("a", "2024-03-01 10:00")])
    flow.feed([], tick=us(closed))
    flow.feed([], tick=us("2024-03-02 13:00"))
    snapshots = [
        found(flow.history, *name)
        for name in (("new_leads", "7d", "2024-02-24 00:00"), ("active_deals", "day", "2024-03-01 00:00"))
    ]
    assert [one["final"] for one in snapshots] == [final, final]
