"""What do readers see, and when?  Events in, the records of latest and history out."""

from __future__ import annotations

import json
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import orjson
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from referencing import Registry, Resource

from streams import topics
from streams.kafka.room import Moment, StateTable
from streams.kpis import room
from streams.kpis.catalogue import BY_ID, CATALOGUE, ENTITY_FIELDS
from streams.kpis.room import KpisRoom
from streams.panes import delta
from streams.panes.cell import Measure
from streams.panes.pane import DAY, LEVEL, pane
from tests import strategies
from tests.audit.tables import act, change, settings, us
from tests.in_memory import InMemory, delivered

SCHEMAS = Path(__file__).parents[2] / "schemas"


def flow_of(**changed: Any) -> InMemory:
    return InMemory(settings(partitions=1, **changed))


def lead(name: str, at: str, stage: str = "New", **said: Any):
    """Return the creation of a deal of its own."""
    return change(name, at, stage, deal_id=name, **said)


def found(records: dict[bytes, dict[str, Any]], kpi: str, window: str, start: str | None = None, cut: str = "all"):
    """Return the records of a KPI and window, by start; one of them when its start is said."""
    by_start = {
        one["window"]["start"] and one["window"]["start"][:16].replace("T", " "): one
        for one in records.values()
        if (one["kpi"], one["window"]["name"], one["cut"]) == (kpi, window, cut)
    }
    return by_start.get(start) if start else by_start


# ------------------------------------------------------------------ sparse


def test_only_what_has_facts_is_written():
    """A lead makes counts and cohorts, but no win rate and no revenue."""
    flow = flow_of()
    flow.feed([lead("d", "2024-03-01 10:00")])
    kpis = {one["kpi"] for one in flow.latest.values()}
    assert {"new_leads", "lead_conversion", "active_deals", "stage_entered"} <= kpis
    assert kpis.isdisjoint({"win_rate", "won_lost_ratio", "revenue", "activities", "sales_cycle", "stage_left"})


def test_a_fact_is_in_the_current_window_of_each_name():
    """All eleven, and nothing in history while they last."""
    flow = flow_of()
    flow.feed([lead("d", "2024-03-01 10:00")])
    names = {one["window"]["name"] for one in flow.latest.values() if one["kpi"] == "new_leads"}
    assert names == {"1h", "24h", "7d", "28d", "90d", "day", "week", "month", "quarter", "year", "all"}
    assert flow.history == {}


def test_windows_that_are_not_configured_are_not_written():
    """Only what was asked for; levels are always there."""
    flow = flow_of(windows=["day", "7d"])
    flow.feed([lead("d", "2024-03-01 10:00")])
    assert {one["window"]["name"] for one in flow.latest.values()} == {"day", "7d", "now"}


def test_nothing_is_told_while_a_source_partition_has_not_spoken():
    """The clock is the minimum over all of them."""
    flow = InMemory(settings(partitions=2))
    flow.feed([lead("d", "2024-03-01 10:00")])
    assert (flow.latest, flow.history) == ({}, {})


@pytest.mark.parametrize(("settled", "watermark"), [(False, "10:00"), (True, "12:00")], ids=["running", "settled"])
def test_the_clock_is_the_slowest_partition_that_is_still_running(settled, watermark):
    """One is at 10 o'clock, the other at 12."""
    room, state = KpisRoom(settings(partitions=2)), StateTable()
    room.open(0, state)
    at = [us(f"2024-03-01 {hour}:00") for hour in (10, 12)]
    progress = {0: delta.Progress(at[0], True, settled), 1: delta.Progress(at[1], True, False)}
    cells = [(("all",), {at[0] // 300_000_000 << 3: {1 << 16: 1}})]
    room.handle(0, topics.DELTAS, [delivered(one) for one in delta.encode(progress, 0, cells)])
    output = room.drain(Moment(10**13, frozenset((0,))))
    told = [orjson.loads(value) for topic, _, _, value, _ in output if value and topic != topics.MATURED]
    assert {one["watermark"] for one in told} == {f"2024-03-01T{watermark}:00+00:00"}


# ------------------------------------------------------------------ ending


def test_a_window_that_ended_leaves_latest_and_stays_in_history():
    """On the 2nd the 1st is gone from latest; the month is still there."""
    flow = flow_of()
    flow.feed([lead("d", "2024-03-01 10:00")])
    flow.feed([], tick=us("2024-03-02 12:00"))
    assert found(flow.latest, "new_leads", "day") == {}
    assert found(flow.latest, "new_leads", "month", "2024-03-01 00:00")["n"] == 1
    assert found(flow.history, "new_leads", "day", "2024-03-01 00:00")["n"] == 1


@pytest.mark.parametrize(
    ("now", "final"), [("2024-03-02 00:00", False), ("2024-03-02 00:59", False), ("2024-03-02 01:00", True)]
)  # fmt: skip
def test_a_window_is_final_when_the_grace_after_its_end_is_over(now, final):
    """One hour; it is told as soon as it ended, and again when it is final."""
    flow = flow_of()
    flow.feed([lead("d", "2024-03-01 10:00")])
    flow.feed([], tick=us(now))
    assert found(flow.history, "new_leads", "day", "2024-03-01 00:00")["final"] is final


def test_a_window_told_before_it_was_final_is_told_again_when_it_is():
    """With a higher revision, though nothing else changed."""
    flow = flow_of()
    flow.feed([lead("d", "2024-03-01 10:00")])
    flow.feed([], tick=us("2024-03-02 00:10"))
    before = found(flow.history, "new_leads", "day", "2024-03-01 00:00")
    flow.feed([], tick=us("2024-03-02 01:00"))
    after = found(flow.history, "new_leads", "day", "2024-03-01 00:00")
    assert (before["final"], after["final"]) == (False, True)
    assert after["revision"] > before["revision"]


def test_while_catching_up_an_ended_window_waits_until_it_is_final():
    """No half of a day is written that the next flush would correct."""
    flow = flow_of()
    flow.feed([lead("d", "2024-03-01 10:00")], caught_up=False)
    flow.feed([], tick=us("2024-03-02 00:30"), caught_up=False)
    assert found(flow.history, "new_leads", "day") == {}
    flow.feed([], tick=us("2024-03-02 02:00"), caught_up=False)
    assert found(flow.history, "new_leads", "day", "2024-03-01 00:00")["final"] is True


def test_when_no_more_is_coming_history_holds_the_open_windows_too():
    """As they are, not final."""
    flow = flow_of()
    flow.feed([lead("d", "2024-03-01 10:00")], settled=True)
    assert found(flow.history, "new_leads", "month", "2024-03-01 00:00")["final"] is False


def test_what_comes_after_that_and_ends_again_is_in_history_too():
    """Between two rounds, so that none has seen that more was coming."""
    flow = flow_of()
    flow.feed([lead("d", "2024-03-01 10:00")], settled=True)
    flow.feed([lead("e", "2024-03-01 10:05")], settled=True)
    assert found(flow.history, "new_leads", "month", "2024-03-01 00:00")["value"] == 2


# ------------------------------------------------------------------ corrections


def test_a_late_event_tells_the_window_again_and_the_previous_of_the_one_behind_it():
    """A lead of the 1st that comes on the 5th: both days of history change, with higher revisions."""
    flow = flow_of()
    flow.feed([lead("a", "2024-03-01 10:00")])
    flow.feed([lead("b", "2024-03-02 10:00")])
    flow.feed([], tick=us("2024-03-05 12:00"))
    before = [dict(found(flow.history, "new_leads", "day", f"2024-03-0{day} 00:00")) for day in (1, 2)]
    flow.feed([lead("c", "2024-03-01 11:00")])
    after = [found(flow.history, "new_leads", "day", f"2024-03-0{day} 00:00") for day in (1, 2)]
    assert [(one["value"], one["previous"]) for one in before] == [(1, None), (1, 1)]
    assert [(one["value"], one["previous"], one["final"]) for one in after] == [(2, None, True), (1, 2, True)]
    assert all(new["revision"] > old["revision"] for old, new in zip(before, after, strict=True))


def test_facts_taken_back_leave_nothing_in_history_and_no_previous_behind_it():
    """The deal of the 1st is deleted on the 5th: 0 on the 1st, no previous on the 2nd."""
    flow = flow_of()
    flow.feed([lead("a", "2024-03-01 10:00"), lead("b", "2024-03-02 10:00")])
    flow.feed([], tick=us("2024-03-05 12:00"))
    flow.feed([change("gone", "2024-03-05 12:00", deal_id="a", deleted=True)])
    first, second = (found(flow.history, "new_leads", "day", f"2024-03-0{day} 00:00") for day in (1, 2))
    assert (first["value"], first["n"], second["value"], second["previous"]) == (0, 0, 1, None)


def test_another_currency_takes_the_old_one_back():
    """Said in euros, then in yen: no euros are left in latest or history."""
    flow = flow_of()
    flow.feed([lead("a", "2024-03-01 10:00", "Won", amount="10", currency="EUR")])
    flow.feed([], tick=us("2024-03-02 12:00"))
    flow.feed([change("yen", "2024-03-02 12:00", deal_id="a", currency="JPY")])
    for records, window in ((flow.history, "day"), (flow.latest, "month")):
        told = {
            one["currency"]: (one["value"], one["n"])
            for one in records.values()
            if (one["kpi"], one["cut"], one["window"]["name"]) == ("revenue", "all", window)
        }
        assert told == {"EUR": (0, 0), "JPY": (10, 1)}


def test_money_in_currencies_that_were_withdrawn_is_told_like_any_other():
    """Leva with two digits, old Belarusian roubles without any, each in a record of its own."""
    flow = flow_of()
    flow.feed(
        [
            lead("a", "2016-03-01 10:00", amount="10.255", currency="BGN"),
            lead("b", "2016-03-01 10:00", amount="7.5", currency="BYR"),
        ]
    )
    told = {
        one["currency"]: one["value"]
        for one in flow.latest.values()
        if (one["kpi"], one["cut"]) == ("pipeline_value", "all")
    }
    assert told == {"BGN": 10.26, "BYR": 8}


def test_a_correction_older_than_the_days_kept_changes_months_only():
    """A day of two years ago is not written any more; its month, its year and all of time are right."""
    flow = flow_of()
    flow.feed([lead("a", "2024-03-01 10:00")])
    flow.feed([lead("b", "2022-01-10 10:00")])
    flow.feed([], tick=us("2024-03-02 12:00"))
    assert set(found(flow.history, "new_leads", "day")) == {"2024-03-01 00:00"}
    assert found(flow.history, "new_leads", "month", "2022-01-01 00:00")["n"] == 1
    assert found(flow.latest, "new_leads", "all")[None]["n"] == 2


def test_nothing_is_written_twice_without_news():
    """A repeat of an event and a tick within five minutes change nothing."""
    flow = flow_of()
    events = [lead("a", "2024-03-01 10:00"), act("x", "2024-03-01 10:01", deal_id="a")]
    flow.feed(events)
    before = {key: one["revision"] for key, one in flow.latest.items()}
    flow.feed(events, tick=us("2024-03-01 10:02"))
    assert {key: one["revision"] for key, one in flow.latest.items()} == before


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
    told = {
        one["entity"]["rep_id"]: one["value"]
        for one in flow.latest.values()
        if (one["kpi"], one["cut"]) == ("active_deals", "rep")
    }
    assert told == {"anna": 0, "borys": 1}


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


# ------------------------------------------------------------------ cohorts


def test_the_mature_share_of_a_cohort_rises_with_the_watermark():
    """Of two leads of February none is older than 28 days on 2 March, one on the 10th, when a win tells it again."""
    flow = flow_of()
    flow.feed([lead("a", "2024-02-10 10:00"), lead("b", "2024-02-28 10:00")])
    flow.feed([], tick=us("2024-03-02 12:00"))
    assert found(flow.history, "lead_conversion", "month", "2024-02-01 00:00")["mature_share"] == 0.0
    flow.feed([change("won", "2024-03-10 12:00", "Won", deal_id="a")])
    told = found(flow.history, "lead_conversion", "month", "2024-02-01 00:00")
    assert (told["numerator"], told["denominator"], told["mature_share"]) == (1, 2, 0.5)


def test_who_is_ahead_of_the_clock_is_not_mature():
    """One partition of the deals is two days ahead of the other, which holds the clock back."""
    kpis = KpisRoom(settings(partitions=2, windows=["month"]))
    kpis.open(0, StateTable())
    day = kpis.calendar.day_of(us("2024-03-07 10:00"))
    progress = {n: delta.Progress(us(f"2024-03-0{5 + 2 * n} 12:00"), caught_up=True, settled=False) for n in (0, 1)}
    cells = {pane(DAY, day): {Measure.CREATED << 16: 1}}
    kpis.handle(0, topics.DELTAS, [delivered(one) for one in delta.encode(progress, 0, [(("all",), cells)])])
    output = kpis.drain(Moment(1_000_000, frozenset((0, 1))))
    told = [orjson.loads(value) for topic, _, _, value, _ in output if value and topic == topics.KPI_LATEST]
    assert [(one["n"], one["mature_share"]) for one in told if one["kpi"] == "lead_conversion"] == [(1, 0.0)]


def share_of(flow: InMemory, cut: str, *entity: str) -> float:
    """Return the mature share of the lead conversion of all time."""
    return next(
        one["mature_share"]
        for one in flow.latest.values()
        if (one["kpi"], one["cut"], one["window"]["name"]) == ("lead_conversion", cut, "all")
        and list(one["entity"].values()) == list(entity)
    )


@pytest.mark.parametrize(
    ("now", "share"), [("2024-03-31 21:00", 0), ("2024-03-31 22:30", 0), ("2024-04-01 20:59", 0), ("2024-04-01 21:00", 1)]
)
def test_a_day_is_mature_when_whoever_came_with_its_end_is(now, share):
    """Who came on Friday until midnight, Kyiv's time, has had two days on Monday at 01:00, as Sunday had 23 hours: Tuesday is the first day."""
    pipelines = {"default": {"maturity_days": 2, "stages": [{"name": "New", "kind": "lead"}]}}
    flow = flow_of(business={"zone": "Europe/Kyiv"}, pipelines=pipelines)
    flow.feed([lead("a", "2024-03-29 08:00")])
    flow.feed([], tick=us(now))
    flow.feed([lead("b", now)])
    assert share_of(flow, "all") == share / 2


def test_a_pipeline_that_is_not_configured_is_mature_after_the_days_of_the_default():
    """28, in its share and for the alerts, though the only configured one waits for 90."""
    stages = [{"name": "New", "kind": "lead"}, {"name": "Won", "kind": "won"}]
    flow = flow_of(pipelines={"default": {"stages": stages, "maturity_days": 90}}, rules=[RULE])
    flow.feed([lead("a", "2024-03-01 10:00", pipeline="other"), lead("b", "2024-03-01 10:00")])
    flow.feed([lead("c", "2024-04-05 10:00", pipeline="other"), lead("d", "2024-04-05 10:00")])
    assert share_of(flow, "pipeline", "other") == 0.5
    assert share_of(flow, "pipeline", "default") == 0
    assert [(one["entity"], one["at"]) for one in flow.matured] == [(["pipeline", "other"], us("2024-03-30 01:00"))]


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize(
    ("now", "mature"), [("2024-01-08 23:55", 0), ("2024-01-09 00:00", 2), ("2024-01-30 00:00", 3), ("2024-04-01 00:00", 4)]
)
def test_each_entry_is_as_mature_as_its_own_pipeline_says(now, mature, restarts):
    """Leads of 1 January in pipelines of 90 and of 7 days and in one that is not configured; one is heard later to have begun in another."""
    stages = [{"name": "New", "kind": "lead"}, {"name": "Won", "kind": "won"}]
    pipelines = {"slow": {"stages": stages, "maturity_days": 90}, "fast": {"stages": stages, "maturity_days": 7}}
    flow = flow_of(pipelines=pipelines)
    flow.feed([lead(name, "2024-01-01 10:00", pipeline=name, rep_id="anna") for name in ("slow", "fast", "other")])
    flow.feed([lead("moved", "2024-01-01 10:00", pipeline="slow", rep_id="anna")])
    if restarts:
        flow.restart()
    flow.feed([change("first", "2024-01-01 09:00", "New", pipeline="fast", deal_id="moved", rep_id="anna")], tick=us(now))
    flow.feed([lead(f"new-{name}", now, pipeline=name, rep_id="anna") for name in ("slow", "fast", "other")])
    assert share_of(flow, "all") == share_of(flow, "rep", "anna") == mature / 7
    assert share_of(flow, "pipeline", "fast") == (2 / 3 if mature else 0)


RULE = {"name": "drop", "kind": "conversion_drop", "cut": "pipeline"}


def maturing(**changed: Any) -> InMemory:
    """Return a flow whose cohorts are mature after two days."""
    stages = [{"name": "New", "kind": "lead"}, {"name": "Won", "kind": "won"}]
    return flow_of(pipelines={"default": {"stages": stages, "maturity_days": 2}}, rules=[RULE], **changed)


@pytest.mark.parametrize("restart", [False, True], ids=["running", "restarted-each-day"])
def test_matured_cohorts_are_given_to_the_alerts_once_each_and_in_order(restart):
    """Three leads on the 1st (two won in time), one on the 3rd, none on the 2nd."""
    flow = maturing()
    flow.feed([lead("a", "2024-03-01 10:00"), lead("b", "2024-03-01 10:00"), lead("c", "2024-03-01 10:00")])
    flow.feed([change("w", "2024-03-01 12:00", "Won", deal_id="a"), change("w", "2024-03-02 12:00", "Won", deal_id="b")])
    flow.feed([lead("d", "2024-03-03 10:00")])
    for day in range(4, 12):
        if restart:
            flow.restart()
        flow.feed([], tick=us(f"2024-03-{day:02} 12:00"))
    first = us("2024-03-01 00:00") // 86_400_000_000 + 719_163
    told = [(one["day"] - first, one["n"], one["k"]) for one in flow.matured]
    assert told == [(0, 3, 2), (2, 1, 0)]


def test_a_matured_cohort_says_whose_it_is_and_when_it_may_be_judged():
    """The day, its two days of maturity and the grace are over."""
    flow = maturing()
    flow.feed([lead("a", "2024-03-01 10:00")])
    flow.feed([], tick=us("2024-03-09 12:00"))
    (one,) = flow.matured
    assert (one["rule"], one["entity"]) == ("drop", ["pipeline", "default"])
    assert one["at"] == us("2024-03-04 01:00")


def test_a_win_after_maturity_is_not_a_success_of_the_cohort_that_is_judged():
    """The same live and in a replay: what came after the two days does not count, however late the judge looks."""
    flow = maturing()
    flow.feed([lead("a", "2024-03-01 10:00"), change("w", "2024-03-05 10:00", "Won", deal_id="a")])
    flow.feed([], tick=us("2024-03-12 12:00"))
    assert [(one["n"], one["k"]) for one in flow.matured] == [(1, 0)]


@pytest.mark.parametrize("taken_back", [{"stage": "New"}, {"deleted": True}], ids=["re-opened", "deleted"])
def test_what_is_taken_back_after_it_was_judged_is_not_judged_again(taken_back):
    """Won in time and judged so; a replay knows the end and judges that, as docs/decisions.md says."""
    events = [lead("a", "2024-03-01 10:00"), change("w", "2024-03-02 10:00", "Won", deal_id="a")]
    end = change("x", "2024-03-20 10:00", deal_id="a", **taken_back)
    live, replay = maturing(), maturing()
    live.feed(events, tick=us("2024-03-10 12:00"))
    live.feed([end], tick=us("2024-03-21 12:00"))
    replay.feed([*events, end], tick=us("2024-03-21 12:00"))
    assert [(one["n"], one["k"]) for one in live.matured] == [(1, 1)]
    assert [(one["n"], one["k"]) for one in replay.matured] == ([] if "deleted" in taken_back else [(1, 0)])


@pytest.mark.parametrize("of_a_round", [10, 50])
def test_the_same_cohorts_are_judged_however_long_a_round_is(of_a_round):
    """50 leads, one in twelve days: more than days are kept; a round for each of them gives the same."""
    days = [date(2022, 1, 3) + timedelta(days=12 * step) for step in range(50)]
    leads = [lead(f"d{day}", f"{day} 10:00") for day in days]
    judged = []
    for size in (1, of_a_round):
        flow = maturing()
        for at in range(0, 50, size):
            flow.feed(leads[at : at + size])
        flow.feed([], tick=us("2023-09-01 12:00"))
        judged.append(flow.matured)
    assert len(judged[0]) == 50
    assert judged[1] == judged[0]


# ------------------------------------------------------------------ the contract


def validator(name: str) -> jsonschema.Draft202012Validator:
    documents = [json.loads(path.read_text(encoding="utf-8")) for path in SCHEMAS.glob("*.json")]
    registry = Registry().with_resources((one["$id"], Resource.from_contents(one)) for one in documents)
    schema = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
    return jsonschema.Draft202012Validator(schema, registry=registry, format_checker=jsonschema.FormatChecker())


def everything() -> InMemory:
    """Return a flow in which every KPI has a record."""
    flow = flow_of()
    said = {"rep_id": "anna", "customer_id": "c", "product": "P", "region": "EU", "lead_source": "web", "amount": "12.5"}
    flow.feed(
        [
            lead("a", "2024-03-01 10:00", **said),
            act("x", "2024-03-01 10:05", deal_id="a", duration_ms=1_500, outcome="connected"),
        ]
    )
    flow.feed(
        [act(kind, "2024-03-01 11:00", kind, deal_id="a") for kind in ("email", "meeting", "message", "proposal", "task")]
    )
    flow.feed(
        [
            change("b", "2024-03-01 12:00", "Won", deal_id="a"),
            lead("l", "2024-03-02 10:00", "New", amount="7", currency="JPY", rep_id="borys"),
        ]
    )
    flow.feed([change("m", "2024-03-02 11:00", "Lost", deal_id="l"), lead("w", "2024-03-02 12:00", amount="1")])
    flow.feed([], tick=us("2024-04-02 12:00"))
    return flow


def test_every_record_and_key_is_what_the_schemas_say():
    """All KPIs, both topics, records and keys."""
    flow, records, keys = everything(), validator("kpi-record.v1"), validator("kpi-key.v1")
    faults = [
        error.message
        for told in (flow.latest, flow.history)
        for key, one in told.items()
        for error in (*records.iter_errors(one), *keys.iter_errors(json.loads(key)))
    ]
    assert faults == []


def test_every_kpi_of_the_catalogue_is_written_by_every_cut():
    """A story with leads, calls, wins and losses has something to say on each."""
    flow = everything()
    told = [*flow.latest.values(), *flow.history.values()]
    assert {one["kpi"] for one in told} == {kpi.id for kpi in CATALOGUE}
    assert {one["cut"] for one in told} == set(ENTITY_FIELDS)


def test_a_key_says_what_its_record_is_of():
    """[kpi, cut, entity values, window, start, currency] as compact JSON."""
    flow = everything()
    for told in (flow.latest, flow.history):
        for key, one in told.items():
            window = one["window"]
            parts = [one["kpi"], one["cut"], list(one["entity"].values()), window["name"], window["start"], one["currency"]]
            assert key == json.dumps(parts, separators=(",", ":"), ensure_ascii=False).encode()


# ------------------------------------------------------------------ restarts


def numbers(records: dict[bytes, dict[str, Any]]) -> dict[bytes, tuple[Any, ...]]:
    """Return what law 1 speaks of, for records that stand on something."""
    told = ("value", "n", "numerator", "denominator", "previous", "final")
    return {
        key: (*(one[name] for name in told), json.dumps(one["stats"]))
        for key, one in records.items()
        if one["n"] or one["value"]
    }


def restated(flow: InMemory) -> dict[bytes, dict[str, Any]]:
    """Return what history tells again after a correction: not the snapshots of levels and rolling windows."""
    return {
        key: one
        for key, one in flow.history.items()
        if BY_ID[one["kpi"]].base != "level" and one["window"]["name"] not in ("1h", "24h", "7d", "28d", "90d")
    }


def in_order(matured: list[dict[str, Any]]) -> list[tuple[str, tuple[str, ...], int]]:
    """Return whose cohorts matured and on which day; those of one rule and entity in the order they were given in."""
    told = ((one["rule"], tuple(one["entity"]), one["day"]) for one in matured)
    return sorted(told, key=lambda one: one[:2])


@hypothesis_settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(events=strategies.histories(deals=2, most=5), cuts=st.lists(st.integers(0, 20), max_size=3))
def test_a_worker_that_takes_over_tells_the_same(events, cuts):
    """Nothing but the state is known to it: latest and history are those of one that ran on.

    Cohorts are given to the alerts once each and in order; which late ones still are, depends on when a day closed.
    """
    definitions = msgspec.structs.replace(strategies.definitions(), partitions=1)
    flows = [InMemory(definitions), InMemory(definitions)]
    edges = sorted({0, *(min(cut, len(events)) for cut in cuts), len(events)})
    for start, end in pairwise(edges):
        for flow in flows:
            flow.feed(events[start:end])
        flows[1].restart()
    for flow in flows:
        flow.feed([], tick=strategies.WATERMARK)
    assert numbers(flows[0].latest) == numbers(flows[1].latest)
    assert numbers(restated(flows[0])) == numbers(restated(flows[1]))
    for flow in flows:
        days = in_order(flow.matured)
        assert days == sorted(set(days))


def test_a_snapshot_is_not_restated_by_a_late_event_after_a_restart():
    """One active on the evening of the 1st; a lead of the 1st that comes to light on the 3rd changes the present only."""
    flow = flow_of()
    flow.feed([lead("a", "2024-03-01 10:00")])
    flow.feed([], tick=us("2024-03-03 12:00"))
    flow.restart()
    flow.feed([lead("c", "2024-03-01 12:00")])
    flow.feed([], tick=us("2024-03-04 12:00"))
    assert found(flow.history, "active_deals", "day", "2024-03-01 00:00")["value"] == 1


def test_a_day_that_was_let_go_is_not_written_again_after_a_restart():
    """Two leads on a day of 2022; one of them is deleted in 2024: the day stays as it was, and never falls below nothing."""
    flow = flow_of()
    flow.feed([lead("a", "2022-01-10 10:00"), lead("b", "2022-01-10 11:00")])
    for month in range(1, 16):
        flow.feed([], tick=us(f"{2022 + (month > 11)}-{month % 12 + 1:02}-15 12:00"))
    flow.restart()
    flow.feed([change("gone", "2023-04-20 10:00", deal_id="a", deleted=True)])
    assert found(flow.history, "new_leads", "day", "2022-01-10 00:00")["value"] == 2


@hypothesis_settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(events=strategies.histories(deals=2, most=5))
def test_no_count_is_ever_below_nothing(events):
    """After every single event, in whatever order they come."""
    flow = InMemory(msgspec.structs.replace(strategies.definitions(), partitions=1))
    for event in events:
        flow.feed([event])
        told = [*flow.latest.values(), *flow.history.values()]
        assert all(one["n"] >= 0 for one in told)
        assert all(one["value"] is None or one["value"] >= 0 for one in told if one["unit"] != "money")


def test_a_call_tells_nothing_anew_of_other_types():
    """What is told again is activities, calls and what is made of calls; the e-mails stand as they were told."""
    flow = InMemory(settings(partitions=1))
    flow.feed([act("a", "2024-03-01 10:00", "email", rep_id="anna"), act("b", "2024-03-01 10:01", "call", rep_id="anna")])
    told = {one["kpi"]: one["revision"] for one in flow.latest.values() if one["window"]["name"] == "all"}
    flow.feed([act("c", "2024-03-01 10:02", "call", rep_id="anna")])
    again = {
        one["kpi"] for one in flow.latest.values() if one["window"]["name"] == "all" and one["revision"] > told[one["kpi"]]
    }
    assert again == {"activities", "calls", "connect_rate"}
