"""What do readers see, and when?  Events in, the records of latest and history out."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from streams import metrics, topics
from streams.kafka.room import Moment, StateTable
from streams.kpis.catalogue import BY_ID
from streams.kpis.entity import parse_row_key
from streams.kpis.room import KpisRoom
from streams.panes import delta
from streams.panes.calendar import DAY_US as DAY
from streams.panes.calendar import FINE_US as FIVE_MINUTES
from streams.panes.pane import DAY as DAYS
from streams.panes.pane import FINE, GRAIN
from tests import strategies
from tests.audit.tables import act, change, settings, us
from tests.in_memory import InMemory, delivered
from tests.kpis.rounds import flow_of, found, lead

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


def test_the_watermark_that_an_operator_sees_is_of_the_partition_furthest_behind():
    """Of 10 and 12 o'clock it is 10, then 12 when that partition is given up, none when all are, and what was restored with the next."""
    room, states = KpisRoom(settings(partitions=1)), [StateTable(), StateTable()]
    seen = []
    for partition, (state, hour) in enumerate(zip(states, (10, 12), strict=True)):
        at = us(f"2024-03-01 {hour}:00")
        room.open(partition, state)
        records = delta.encode({0: delta.Progress(at, True, False)}, 0, [(("all",), {at // 300_000_000 << 3: {1 << 16: 1}})])
        room.handle(partition, topics.DELTAS, [delivered(one) for one in records])
        room.drain(Moment(10**13, frozenset((partition,))))
        seen.append(_shown_watermark())
    room.close(0)
    seen.append(_shown_watermark())
    room.close(1)
    seen.append(_shown_watermark())
    room.open(1, states[1])
    seen.append(_shown_watermark())
    ten, noon = us("2024-03-01 10:00") / 1_000_000, us("2024-03-01 12:00") / 1_000_000
    assert seen == [ten, ten, noon, 0, noon]


def _shown_watermark() -> float | None:
    return metrics.REGISTRY.get_sample_value("dealpulse_watermark_timestamp_seconds")


def test_the_delay_is_that_of_the_oldest_event_behind_what_readers_were_told():
    """Told once: with the first, then, of all that was held back since, when it is told; where nothing is told, no delay is."""
    room = KpisRoom(settings(partitions=1))
    room.open(0, StateTable())
    at = us("2024-03-01 10:00")
    delays = []
    for wall, born in (
        (0, [900, 400, 600]),
        (10_000, [700]),
        (20_000, [650]),
        (30_000, [800]),
        (5_000_000, []),
        (9_000_000, []),
    ):
        for one in born:
            cells = [(("all",), {at // 300_000_000 << 3: {1 << 16: 1}})]
            for value in delta.encode({0: delta.Progress(at, True, False)}, one, cells):
                room.handle(0, topics.DELTAS, [delivered(value)])
        room.drain(Moment(10**13 + wall, frozenset((0,))))
        delays.append(room.take_born())
    assert delays == [[400], [], [], [], [650], []]


# ------------------------------------------------------------------ sliding


@pytest.mark.parametrize(
    ("window", "pane", "panes", "step"),
    [
        ("7d", DAY, 7, 1),
        ("7d", DAY, 7, 3),
        ("1h", FIVE_MINUTES, 12, 1),
        ("1h", FIVE_MINUTES, 12, 5),
        ("24h", FIVE_MINUTES, 288, 96),
    ],
)
def test_a_sliding_window_and_the_one_before_it_lose_what_leaves_them(window, pane, panes, step):
    """However far the clock moves at a time; `previous` is null when nothing is left before the window."""
    flow, begin = flow_of(), us("2024-03-01 00:00")
    leads: list[int] = []
    for number in range(4 * panes // step):
        now = number * step
        for _ in range((2, 0, 1, 0, 0)[number % 5]):
            one = lead(f"d{len(leads)}", "2024-03-01 00:00")
            one.at = begin + now * pane
            flow.feed([one])
            leads.append(now)
        flow.feed([], tick=begin + now * pane)
        in_it, before = (sum(last - panes < at <= last for at in leads) for last in (now, now - panes))
        told = [
            (one["value"], one["previous"])
            for one in flow.latest.values()
            if (one["kpi"], one["cut"], one["window"]["name"]) == ("new_leads", "all", window)
        ]
        assert told == ([(in_it, before or None)] if in_it else [])


def test_windows_of_hours_wait_while_their_partitions_are_further_apart_than_their_panes_are_sent():
    """A day apart, not all panes of five minutes around the slower one are there; those of days are, and what is owed is told later."""
    room = KpisRoom(settings(partitions=2))
    room.open(0, StateTable())
    at, told = us("2024-03-01 10:00"), []
    cells = [(("all",), {at // 300_000_000 << 3: {1 << 16: 1}})]
    for look, (slow, fast) in enumerate(((0, 23), (2, 23), (15, 38), (17, 38))):
        clocks = [at + hours * 3_600_000_000 for hours in (slow, fast)]
        progress = {place: delta.Progress(clock, True, False) for place, clock in enumerate(clocks)}
        for value in delta.encode(progress, 0, [] if look else cells):
            room.handle(0, topics.DELTAS, [delivered(value)])
        output = room.drain(Moment(10**13 * (look + 1), frozenset((0,))))
        records = [(topic, orjson.loads(value)) for topic, _, _, value, _ in output if value]
        told.append(
            {
                (topic, one["window"]["name"])
                for topic, one in records
                if one.get("kpi") == "new_leads" and one["window"]["name"] in ("24h", "7d")
            }
        )
    latest, history = ((topic, "24h") for topic in (topics.KPI_LATEST, topics.KPI_HISTORY))
    assert [(latest in one, history in one) for one in told] == [
        (False, False),
        (True, False),
        (False, False),
        (True, False),
    ]
    assert [(topics.KPI_HISTORY, "7d") in one for one in told] == [False, False, True, False]


def test_windows_of_hours_leave_latest_when_they_end_also_while_their_partitions_are_far_apart():
    """Their panes went while the slower partition was a day behind, and nothing told its readers later, until another day began."""
    room = KpisRoom(settings(partitions=2, windows=["24h"]))
    room.open(0, StateTable())
    at, held, latest = us("2024-03-01 10:00"), [], set[bytes]()
    cells = [(("all",), {at // 300_000_000 << 3: {1 << 16: 1}})]
    for look, (slow, fast) in enumerate(((0, 1), (0, 107), (87, 110), (108, 110))):
        progress = {
            place: delta.Progress(at + hours * 3_600_000_000, True, False) for place, hours in enumerate((slow, fast))
        }
        for value in delta.encode(progress, 0, [] if look else cells):
            room.handle(0, topics.DELTAS, [delivered(value)])
        for topic, _, key, value, _ in room.drain(Moment(10**13 * (look + 1), frozenset((0,)))):
            if topic == topics.KPI_LATEST:
                (latest.add if value else latest.discard)(key or b"")
        held.append(len(latest))
    assert held == [1, 1, 0, 0]


def test_what_no_sliding_window_needs_any_more_leaves_the_state():
    """Panes of five minutes after some days; the day, and what is told of it, stay."""
    flow = flow_of()
    flow.feed([lead("d", "2024-03-01 10:00")])
    grains = [{parse_row_key(row)[1][-1] & GRAIN for row in flow.state.rows if row[:1] == b"c" and row[-1:] != b"h"}]
    flow.feed([], tick=us("2024-03-05 10:00"))
    grains.append({parse_row_key(row)[1][-1] & GRAIN for row in flow.state.rows if row[:1] == b"c" and row[-1:] != b"h"})
    assert [(FINE in one, DAYS in one) for one in grains] == [(True, True), (False, True)]


def test_the_time_of_a_source_partition_never_goes_back():
    """Told less by one record than by another before it: the greater one is the clock."""
    room, at = KpisRoom(settings(partitions=1)), us("2024-03-01 10:00")
    room.open(0, StateTable())
    cells = [(("all",), {at // 300_000_000 << 3: {1 << 16: 1}})]
    for watermark in (at, at - 3_600_000_000):
        for value in delta.encode({0: delta.Progress(watermark, True, False)}, 0, cells):
            room.handle(0, topics.DELTAS, [delivered(value)])
    told = [orjson.loads(value) for topic, _, _, value, _ in room.drain(Moment(10**13, frozenset((0,)))) if value]
    assert {one["watermark"] for one in told if "watermark" in one} == {"2024-03-01T10:00:00+00:00"}


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


@pytest.mark.parametrize(("now", "final"), [("2024-03-05 07:55", False), ("2024-03-05 08:00", True)])
def test_a_window_with_a_long_grace_is_final_when_that_is_over(now, final):
    """80 hours: nothing else is to be told of the entity by then, and no day closes at that time."""
    flow = flow_of(grace="80h")
    flow.feed([lead("d", "2024-03-01 10:00", "Won")])  # nobody waits whose age would have to be told
    for tick in ("2024-03-02 00:10", "2024-03-05 00:10", now):
        flow.feed([], tick=us(tick))
    assert found(flow.history, "new_leads", "day", "2024-03-01 00:00")["final"] is final


def test_what_history_holds_of_an_emptied_window_follows_the_window_before_it():
    """The only lead of the 2nd is deleted, then one more comes late for the 1st: nothing, after two."""
    flow, second = flow_of(), "2024-03-02 00:00"
    flow.feed([lead("a", "2024-03-01 10:00"), lead("b", "2024-03-02 10:00")])
    flow.feed([], tick=us("2024-03-03 12:00"))
    told = [found(flow.history, "new_leads", "day", second)]
    gone = lead("b", "2024-03-02 11:00", deleted=True)
    gone.event_id = "gone"
    for late in (gone, lead("c", "2024-03-01 11:00")):
        flow.feed([late])
        told.append(found(flow.history, "new_leads", "day", second))
    assert [(one["value"], one["previous"]) for one in told] == [(1, 1), (0, 1), (0, 2)]


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
    flow = flow_of()
    flow.feed([act("a", "2024-03-01 10:00", "email", rep_id="anna"), act("b", "2024-03-01 10:01", "call", rep_id="anna")])
    told = {one["kpi"]: one["revision"] for one in flow.latest.values() if one["window"]["name"] == "all"}
    flow.feed([act("c", "2024-03-01 10:02", "call", rep_id="anna")])
    again = {
        one["kpi"] for one in flow.latest.values() if one["window"]["name"] == "all" and one["revision"] > told[one["kpi"]]
    }
    assert again == {"activities", "calls", "connect_rate"}


@pytest.mark.parametrize("restarts", [False, True])
def test_a_window_that_ended_leaves_latest_though_nothing_is_left_in_it(restarts):
    """The deal was deleted within the hour: its panes are gone, and who takes over has only the records to go by."""
    flow = flow_of(windows=["1h", "24h"])
    flow.feed([lead("d1", "2024-03-04 10:00")])
    flow.feed([change("x", "2024-03-04 10:01", deal_id="d1", deleted=True)])
    assert {one["window"]["name"] for one in flow.latest.values()} > {"1h", "24h"}
    if restarts:
        flow.restart()
    for at in ("10:02", "10:20", "11:30", "13:00"):
        flow.feed([], tick=us(f"2024-03-04 {at}"))
        flow.round()
    assert {one["window"]["name"] for one in flow.latest.values()} <= {"now"}
