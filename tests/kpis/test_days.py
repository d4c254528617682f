"""When do days get into the panes of months and of all time, and is a number ever different for it?"""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from streams import topics
from streams.audit.compare import compare
from streams.audit.recompute import recompute
from streams.kafka.room import Moment, StateTable
from streams.kpis import room
from streams.kpis.entity import parse_row_key
from streams.kpis.room import KpisRoom
from streams.panes import delta
from streams.panes.calendar import Calendar
from streams.panes.cell import Cell, Measure
from streams.panes.pane import DAY, LIFE, MONTH, pane
from tests.audit.tables import change, settings, us
from tests.in_memory import InMemory, delivered
from tests.kpis.live import Live, live

EVERYBODY = ("all",)


def sums(flow: Live) -> dict[int, int]:
    """Return the new leads of everybody that the state holds, by grain."""
    found: dict[int, int] = {}
    for place, cell in panes(flow.state).items():
        if place & 7 in (DAY, MONTH, LIFE):
            found[place & 7] = found.get(place & 7, 0) + cell.get(Measure.NEW_LEADS << 16, 0)
    return found


def panes(state: StateTable) -> dict[int, Cell]:
    """Return everybody's panes as the state holds them."""
    return {
        int.from_bytes(rest, "big"): room.cells.unpack(value)
        for key, value in state.rows.items()
        if key[:1] == b"c" and (found := parse_row_key(key))[0] == EVERYBODY and (rest := found[1]) != b"h"
    }


def test_a_day_is_added_up_when_it_closed():
    """Until then only its own panes are written, however often it changes; a late change is written to all."""
    flow = live()
    for minute in range(30):
        flow.lead(f"2024-03-01 10:{minute:02}")
    assert sums(flow) == {DAY: 30}
    flow.lead("2024-03-02 09:00")
    flow.wait(2)
    assert sums(flow) == {DAY: 31, MONTH: 30, LIFE: 30}
    flow.lead("2024-03-01 11:00")
    assert sums(flow) == {DAY: 32, MONTH: 31, LIFE: 31}


@pytest.mark.parametrize("windows", [["day", "month", "quarter", "year", "all"], ["all"]], ids=len)
@pytest.mark.parametrize("restart", [False, True])
def test_every_window_holds_all_days_whether_they_are_added_up_or_not(restart, windows):
    """After each lead of two months, some of them late, one two years; the worker may change before each."""
    flow = live(windows=windows)
    days = ["03-01", "02-28", "03-01", "02-29", "03-02", "02-28", "03-01", "03-02", "02-27", "03-03", "03-05"]
    for count, day in enumerate(days, start=1):
        flow.lead(f"2024-{day} 10:00")
        flow.wait(5)
        today = days[:count].count(max(days[:count]))
        march = sum(one.startswith("03") for one in days[:count])
        expected = {"day": today, "month": march, "quarter": count, "year": count, "all": count}
        assert flow.counts() == {window: expected[window] for window in windows}, day
        if restart:
            flow.restart()
    flow.lead("2022-05-05 10:00")
    flow.wait(5)
    assert flow.counts()["all"] == len(days) + 1
    assert flow.counts().get("year", len(days)) == len(days)


@pytest.mark.parametrize("restarts", [False, True])
def test_what_comes_for_yesterday_in_the_course_of_a_round_counts_in_the_previous_day(restarts):
    """The round that tells the new day takes several flushes; one entity has been told it, the other has not."""
    entities = (EVERYBODY, ("team", "East"))
    rows: dict[bytes, bytes] = {}
    told: dict[str, Any] = {}

    def opened() -> KpisRoom:
        state, found = StateTable(), KpisRoom(settings(partitions=1, windows=["day"]))
        state.rows = rows
        found.open(0, state)
        return found

    def add(at: str) -> None:
        cells = {pane(DAY, Calendar(settings().zone).day_of(us(at))): {Measure.NEW_LEADS << 16: 1}}
        progress = {0: delta.Progress(us(at), caught_up=True, settled=False)}
        changes = [(entity, cells) for entity in entities]
        kpis.handle(0, topics.DELTAS, [delivered(one) for one in delta.encode(progress, 0, changes)])

    def drain(seconds: int) -> int:
        output = kpis.drain(Moment(seconds * 1_000_000, frozenset((0,))))
        records = [orjson.loads(value) for topic, _, _, value, _ in output if value and topic == topics.KPI_LATEST]
        told.update((one["cut"], (one["value"], one["previous"])) for one in records if one["kpi"] == "new_leads")
        return len(records)

    kpis = opened()
    add("2024-03-01 12:00")
    drain(1_000)
    add("2024-03-02 12:00")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "_RECORDS_PER_FLUSH", 1)
        assert drain(2_000) == 1
        if restarts:
            kpis = opened()
        add("2024-03-01 13:00")
    for seconds in range(3_000, 6_000, 500):
        drain(seconds)
    assert told == {"all": (1, 2), "team": (1, 2)}


def test_who_came_in_the_course_of_a_round_loses_no_day_with_the_panes_that_expire():
    """The clock jumps over 500 days; while its round is under way somebody new has a lead on the day before them."""
    day = Calendar(settings().zone).day_of(us("2024-03-01 10:00"))
    cells = {pane(DAY, day): {Measure.NEW_LEADS << 16: 1}}
    kpis, state = KpisRoom(settings(partitions=1, windows=["month", "all"])), StateTable()
    kpis.open(0, state)
    told: list[dict[str, Any]] = []

    def add(watermark: int, entity: tuple[str, ...], cells: dict[int, Cell]) -> None:
        progress = {0: delta.Progress(watermark, caught_up=True, settled=False)}
        kpis.handle(0, topics.DELTAS, [delivered(one) for one in delta.encode(progress, 0, [(entity, cells)])])

    def drain(seconds: int) -> None:
        output = kpis.drain(Moment(seconds * 1_000_000, frozenset((0,))))
        told.extend(orjson.loads(value) for topic, _, _, value, _ in output if value and topic == topics.KPI_LATEST)

    add(us("2024-03-01 12:00"), EVERYBODY, cells)
    drain(1_000)
    add(us("2025-07-15 12:00"), EVERYBODY, {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "_RECORDS_PER_FLUSH", 0)
        drain(2_000)  # the round begins
    add(us("2025-07-15 12:00"), ("team", "East"), cells)
    drain(3_000)
    drain(4_000)
    assert not any(grain & 7 == DAY for grain in panes(state))
    assert {(one["cut"], one["value"]) for one in told if (one["kpi"], one["window"]["name"]) == ("new_leads", "all")} == {
        ("all", 1),
        ("team", 1),
    }


# ------------------------------------------------------------------ 400 days later


def weeks_of(flow: InMemory, cut: str = "all") -> dict[str, tuple[Any, Any]]:
    """Return value and previous of the new leads in the weeks of history."""
    return {
        one["window"]["start"][:10]: (one["value"], one["previous"])
        for one in flow.history.values()
        if (one["kpi"], one["cut"], one["window"]["name"]) == ("new_leads", cut, "week")
    }


def leads_in(days: range, name: str) -> list[Any]:
    """Return a lead a day of January 2024, which begins with a Monday."""
    return [change("e", f"2024-01-{day:02} 10:00", "New", deal_id=f"{name}{day}") for day in days]


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize(
    ("today", "weeks"),
    [
        ("2025-02-03 23:59", {"01": (14, None), "08": (14, 14), "15": (14, 14)}),
        ("2025-02-04 00:00", {"01": (14, None), "08": (14, 14), "15": (14, 14)}),
        ("2025-02-04 00:05", {"01": (7, None), "08": (14, 14), "15": (14, 14)}),
        ("2025-02-11 00:00", {"01": (7, None), "08": (14, 14), "15": (14, 14)}),
        ("2025-02-11 00:05", {"01": (7, None), "08": (7, 7), "15": (14, 14)}),
        ("2025-02-17 12:00", {"01": (7, None), "08": (7, 7), "15": (14, 14)}),
    ],
)
def test_a_week_is_corrected_as_a_whole_or_not_at_all(today, weeks, restarts):
    """A lead a day, and 400 days after the 1st, the 8th or so another for each: a week that is gone stays as it was told.

    The one behind it has all of that week in its `previous`; and the batch recomputation, which knows all days, agrees.
    """
    flow = InMemory(settings(partitions=1))
    days = range(1, 22)
    flow.feed(leads_in(days, "a"))
    flow.feed([], tick=us("2024-02-01 12:00"))
    flow.feed([], tick=us(today))
    for event in leads_in(days, "b"):
        flow.feed([event])
        if restarts:
            flow.restart()
    flow.feed([])
    assert weeks_of(flow) == {f"2024-01-{day}": told for day, told in weeks.items()}
    expected = recompute([*leads_in(days, "a"), *leads_in(days, "b")], flow.definitions, us(today))
    assert compare(expected, flow.definitions, flow.history.values(), flow.latest.values())["examples"] == []


def test_the_week_before_one_that_is_corrected_is_there_also_where_a_day_was_left_out():
    """Apia had no 30 December 2011: from Monday 22 August, the first day of the week before, 407 days make 408 dates."""
    flow = InMemory(settings(partitions=1, business={"zone": "Pacific/Apia"}, windows=["week"]))
    leads = [change("e", f"2011-08-{day} 22:00", "New", deal_id=f"a{day}") for day in range(21, 31)]  # UTC: 11:00 there
    flow.feed(leads)
    now = us("2012-10-02 10:05")  # UTC: five minutes into the 3rd there
    flow.feed([], tick=now)
    late = change("e", "2011-08-30 23:00", "New", deal_id="late")
    flow.feed([late])
    expected = recompute([*leads, late], flow.definitions, now)
    assert weeks_of(flow)["2011-08-29"] == (3, 7)
    assert compare(expected, flow.definitions, flow.history.values(), flow.latest.values())["examples"] == []


def test_what_comes_for_a_week_while_the_clock_passes_it_tells_nothing_of_what_was_let_go():
    """The clock jumps over 500 days; its round has visited the team and not yet everybody when both have another lead."""
    kpis, told = KpisRoom(settings(partitions=1, windows=["week"])), dict[str, int]()
    kpis.open(0, StateTable())
    day = Calendar(settings().zone).day_of(us("2024-01-02 10:00"))

    def add(watermark: str, cell: Cell) -> None:
        progress = {0: delta.Progress(us(watermark), caught_up=True, settled=False)}
        entities = [(EVERYBODY, {pane(DAY, day): cell}), (("team", "East"), {pane(DAY, day): cell})]
        kpis.handle(0, topics.DELTAS, [delivered(one) for one in delta.encode(progress, 0, entities)])

    def drain(seconds: int) -> None:
        output = kpis.drain(Moment(seconds * 1_000_000, frozenset((0,))))
        records = [orjson.loads(value) for topic, _, _, value, _ in output if value and topic == topics.KPI_HISTORY]
        told.update((one["cut"], one["value"]) for one in records if one["kpi"] == "new_leads")

    add("2024-01-02 12:00", {Measure.NEW_LEADS << 16: 1})
    drain(1_000)
    add("2025-06-15 12:00", {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "_RECORDS_PER_FLUSH", 1)
        drain(2_000)
    assert told == {"team": 1}
    add("2025-06-15 12:00", {Measure.NEW_LEADS << 16: 1})
    for seconds in range(3_000, 6_000, 500):
        drain(seconds)
    assert told == {"team": 1, "all": 2}


def test_a_day_that_a_zone_left_out_is_not_told():
    """Apia had no 30 December 2011: told by who takes over, since it may have ended meanwhile, it replaced the 31st, whose key it has."""
    flow = live(business={"zone": "Pacific/Apia"}, windows=["day"])
    for at in ("2011-12-30 08:00", "2011-12-31 08:00"):  # UTC: of the 29th, and of the 31st
        flow.lead(at)
        flow.wait(40)
    flow.lead("2012-01-03 12:00", caught_up=False)
    flow.lead("2011-12-30 09:00", caught_up=False)
    flow.restart()
    flow.wait(40)
    told = [one for one in flow.history.values() if (one["kpi"], one["cut"]) == ("new_leads", "all") and one["value"]]
    assert sorted((one["window"]["start"][:10], one["window"]["end"][:10], one["value"]) for one in told) == [
        ("2011-12-29", "2011-12-30", 2),
        ("2011-12-30", "2011-12-31", 1),
    ]
