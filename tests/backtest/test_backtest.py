"""Are the alerts of a backtest those that a live run told, and is what it says about them right?"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import orjson
import pytest

from streams import topics
from streams.alerts.room import AlertsRoom
from streams.backtest.judge import Backtest, Span, only_judged
from streams.backtest.wired import Record, Wired
from streams.config import Definitions, Rule, definitions_from
from streams.deals.room import DealsRoom
from streams.events.times import instant
from streams.kafka.room import Moment
from streams.kpis.catalogue import CATALOGUE
from streams.kpis.room import KpisRoom

FIRST = datetime(2024, 3, 4, tzinfo=UTC)
DAY_S = 86_400
UTC_ZONE = ZoneInfo("UTC")
NOW_MS = 1_760_000_000_000
STAGES = [{"name": "New", "kind": "lead"}, {"name": "Qualified"}, {"name": "Won", "kind": "won"}]
RAW: dict[str, Any] = {
    "business": {"zone": "Europe/Kyiv"},
    "partitions": 1,
    "pipelines": {"default": {"maturity_days": 3, "stages": STAGES}},
    "reps": {"anna": {"team": "Central"}, "borys": {"team": "West"}},
    "rules": [
        {"name": "drop", "kind": "conversion_drop", "cut": "stage", "min_entries": 100},
        {"name": "wins", "kind": "conversion_drop", "cut": "rep", "min_entries": 100},
        {"name": "slow", "kind": "response_rise", "cut": "team", "min_entries": 100},
    ],
}


def story(*chapters: tuple[int, float, float], leads: int = 15) -> list[tuple[str, dict[str, Any]]]:
    """Return events in time order: so many days on which this share of the leads advances, and that is answered in time."""
    rng, events = random.Random(11), []
    day = 0
    for days, advance, in_time in chapters:
        for _ in range(days):
            for number in range(leads):
                at = FIRST + timedelta(days=day, hours=7, seconds=rng.randrange(8 * 3600))
                events += list(lead(f"d{day}-{number}", at, rng, advance, in_time))
            day += 1
    return sorted(events, key=lambda one: one[1]["occurred_at"])


def lead(
    deal: str, at: datetime, rng: random.Random, advance: float, in_time: float
) -> Iterator[tuple[str, dict[str, Any]]]:
    rep = rng.choice(("anna", "borys"))
    yield stage(deal, at, "New", rep_id=rep)
    answered = at + timedelta(minutes=20 if rng.random() < in_time else 300)
    said = {"event_id": f"{deal}-call", "occurred_at": answered.isoformat(), "deal_id": deal, "type": "call"}
    yield topics.ACTIVITY, {**said, "direction": "outbound"}
    if rng.random() < advance:
        yield stage(deal, at + timedelta(hours=20), "Qualified")
        if rng.random() < 0.5:
            yield stage(deal, at + timedelta(hours=40), "Won")


def stage(deal: str, at: datetime, name: str, **said: Any) -> tuple[str, dict[str, Any]]:
    return topics.STAGE_CHANGE, {
        "event_id": f"{deal}-{name}", "occurred_at": at.isoformat(), "deal_id": deal, "to_stage": name, **said,
    }  # fmt: skip


DROP_AND_RECOVERY = story((25, 0.6, 0.9), (10, 0.1, 0.3), (35, 0.6, 0.9))


def record(event: tuple[str, dict[str, Any]]) -> Record:
    topic, value = event
    return Record(topic, orjson.dumps(value), str(value.get("deal_id", "")).encode(), NOW_MS)


def at(event: tuple[str, dict[str, Any]]) -> int:
    found = instant(event[1]["occurred_at"], UTC_ZONE)
    assert found is not None
    return found


def backtest(events: Iterable[tuple[str, dict[str, Any]]], definitions: Definitions, as_of: int | None = None) -> Backtest:
    found = Backtest(definitions)
    for event in events:
        found.take(record(event), at(event))
    found.end(as_of, NOW_MS)
    return found


def everything(events: list[tuple[str, dict[str, Any]]], definitions: Definitions) -> list[dict[str, Any]]:
    """Return what the rooms tell that compute everything, and are asked once a day of event time."""
    rooms = DealsRoom(definitions, ticks=False), KpisRoom(definitions), AlertsRoom(definitions)
    wired = Wired(rooms)
    ended = frozenset((topic, 0) for topic in DealsRoom.sources)
    told, flushes, waiting = [], 0, []
    for place, event in enumerate(events):
        waiting.append(event)
        if place + 1 == len(events) or at(event) // 86_400_000_000 != at(events[place + 1]) // 86_400_000_000:
            for topic in (topics.STAGE_CHANGE, topics.ACTIVITY):
                if run := [record(one) for one in waiting if one[0] == topic]:
                    wired.take(topic, run)
            waiting = []
            flushes += 1
            told += wired.flush(Moment(flushes * 10_000_000_000, frozenset((0,)), ended))
    return [orjson.loads(value or b"") for topic, _, _, value, _ in told if topic == topics.ALERT_EVENTS]


def as_told(found: Backtest) -> list[dict[str, Any]]:
    """Return the alerts of a backtest as alert events."""
    told = []
    for one in found.alerts:
        told.append({"transition": "fired", **{name: value for name, value in one.fired.items() if name != "simulated"}})
        told += [] if one.resolved is None else [{"transition": "resolved", **one.resolved}]
    return told


def in_order(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(told, key=lambda one: (one["fingerprint"], one["revision"]))


@pytest.fixture(scope="module")
def found() -> Backtest:
    return backtest(DROP_AND_RECOVERY, definitions_from(RAW))


# ------------------------------------------------------------------ the same as live


def test_the_alerts_are_those_of_rooms_that_compute_everything(found):
    """All cuts, KPIs and three windows, flushed at other moments: the same transitions to the last field."""
    full = definitions_from({**RAW, "windows": ["24h", "7d", "month"]})
    expected = everything(DROP_AND_RECOVERY, full)
    assert {one["rule"] for one in expected} == {"drop", "wins", "slow"}
    assert {one["transition"] for one in expected} == {"fired", "resolved"}
    assert in_order(as_told(found)) == in_order(expected)


@pytest.mark.parametrize("rule", RAW["rules"], ids=lambda rule: rule["name"])
def test_a_rule_says_the_same_alone(found, rule):
    """What others ask for is not in its way."""
    alone = backtest(DROP_AND_RECOVERY, definitions_from({**RAW, "rules": [rule]}))
    assert as_told(alone) == [one for one in as_told(found) if one["rule"] == rule["name"]]


def test_judging_in_between_makes_the_difference():
    """In one round at the end a deal that was taken back since would not count; live it did."""
    deleted = [
        (topics.STAGE_CHANGE, {"event_id": "x", "occurred_at": "2024-06-10T12:00:00Z", "deal_id": f"d{day}-{number}", "deleted": True})
        for day in range(25, 35)
        for number in range(15)
    ]  # fmt: skip
    after = backtest([*DROP_AND_RECOVERY, *deleted], definitions_from(RAW))
    assert as_told(after) == as_told(backtest(DROP_AND_RECOVERY, definitions_from(RAW), at(deleted[0])))


def test_only_what_rules_ask_for_is_left():
    """One cut of each rule, the KPIs of their kinds, no window, one partition; what was off stays off."""
    said = {**RAW, "partitions": 12, "rules": RAW["rules"][:1], "kpis": {"lead_conversion": False}}
    left = only_judged(definitions_from(said))
    assert (left.cuts, left.windows, left.partitions, left.bad_input.stop) == (("stage",), (), 1, False)
    assert {kpi.id for kpi in CATALOGUE if left.kpis[kpi.id]} == {"stage_conversion"}


def test_nothing_is_kept_of_events_that_were_judged(found):
    """Neither records nor the notes of what changed; a table holds what the state of a worker holds."""
    assert found._waiting == {}
    assert not any(table.changed for table in found._wired.tables.values())
    assert len(found._wired.tables["deals"].rows) == 70 * 15 + 1  # one each, and how far time is


# ------------------------------------------------------------------ what is said of them


def test_a_drop_is_reported_with_its_begin_and_its_end(found):
    """It began on day 25, whose cohort is complete 3 days and an hour after the end of the day, in Kyiv."""
    (one,) = [one for one in found.told(Span()) if one.fired["rule"] == "drop" and one.fired["entity"]["stage"] == "New"]
    assert one.resolved is not None
    days = [(datetime.fromisoformat(text) - FIRST) / timedelta(days=1) for text in (one.fired["at"], one.resolved["at"])]
    assert 28.9 < days[0] < 34
    assert 38.9 < days[1] < 50
    assert one.duration == pytest.approx((days[1] - days[0]) * DAY_S)
    assert one.fired["k"] / one.fired["n"] == one.fired["ratio"] < 0.3
    assert one.fired["baseline"] == pytest.approx(0.6, abs=0.1)
    assert one.fired["simulated"] is True
    assert one.resolved["text"].startswith("Resolved: ")


def test_an_alert_that_goes_on_has_no_end():
    """Nor a duration."""
    found = backtest(story((40, 0.6, 0.9), (20, 0.1, 0.9)), definitions_from({**RAW, "rules": RAW["rules"][:1]}))
    assert [(one.resolved, one.duration) for one in found.alerts] == [(None, None)]
    (verdict,) = found.verdicts(Span())
    assert (verdict.fired, verdict.firing, verdict.median_seconds) == (1, 1, None)


def test_a_span_chooses_alerts_by_when_they_fired(found):
    """From inclusive, to exclusive; together they are all."""
    everybody = found.told(Span())
    middle = everybody[len(everybody) // 2].fired_at
    before, after = found.told(Span(end=middle)), found.told(Span(first=middle))
    assert [*before, *after] == everybody
    assert before
    assert after[0].fired_at == middle
    assert sum(one.fired for one in found.verdicts(Span(first=middle))) == len(after)


def test_who_is_judged_and_who_is_learning():
    """A hundred entries make a baseline; where nobody ever converts nothing can drop."""
    rules = [{"name": "drop", "kind": "conversion_drop", "cut": "rep", "min_entries": 100}]
    events = story((40, 1.0, 1.0))
    seldom = [stage(f"s{day}", FIRST + timedelta(days=day), "New", rep_id="cleo") for day in range(30)]
    never = [stage(f"n{day}", FIRST + timedelta(days=day / 5), "New", rep_id="danylo") for day in range(150)]
    found = backtest(sorted([*events, *seldom, *never], key=at), definitions_from({**RAW, "rules": rules}))
    (verdict,) = found.verdicts(Span())
    assert (verdict.judged, verdict.learning, verdict.hopeless) == (2, 1, 1)


def test_alerts_are_counted_per_entity_and_year_beside_the_promise(found):
    """Of the time after the baseline was there; one false alarm in the budget's days is promised."""
    slow = next(one for one in found.verdicts(Span()) if one.rule.name == "slow")
    assert slow.judged == 2
    # 15 leads a day of two teams: a hundred each after some 14 of the 70 days
    assert slow.years == pytest.approx(2 * 56 / 365.25, rel=0.05)
    assert slow.per_year == pytest.approx(slow.fired / slow.years)
    assert slow.promised == pytest.approx(1.0, abs=0.01)
    half = Span(first=at(stage("d", FIRST + timedelta(days=40), "New")))
    assert next(one for one in found.verdicts(half) if one.rule.name == "slow").years == pytest.approx(
        2 * 31 / 365.25, rel=0.05
    )


def test_the_years_behind_the_last_event_count_for_those_who_are_judged_in_them():
    """An old export, as of a year later: its cohorts are complete after a month, and the rest of the year is judged, as by a clock that runs."""
    maturity = {"pipelines": {"default": {"maturity_days": 28, "stages": STAGES}}}
    definitions = definitions_from({**RAW, **maturity, "rules": RAW["rules"][:1]})
    events = story((25, 0.6, 0.9), (15, 0.05, 0.9))
    end = at(events[-1]) + 365 * DAY_S * 1_000_000
    runs = backtest(events, definitions)
    for day in range(1, 366):
        runs.end(at(events[-1]) + day * DAY_S * 1_000_000, NOW_MS)
    jumps = backtest(events, definitions, end)
    (expected,), (verdict,) = runs.verdicts(Span()), jumps.verdicts(Span())
    assert expected.fired == 1
    assert verdict.years > 1
    assert verdict == expected


def test_the_clock_ends_where_it_is_told_to(found):
    """As of a week later the last cohorts are complete, too; as of the past it stands at the last event."""
    definitions = definitions_from({**RAW, "rules": RAW["rules"][:1]})
    events = story((30, 0.6, 0.9), (3, 0.0, 0.9))
    last = at(events[-1])
    assert backtest(events, definitions).alerts == []
    assert [one.fired["rule"] for one in backtest(events, definitions, last + 7 * DAY_S * 1_000_000).alerts] == ["drop"]
    assert backtest(events, definitions, last - 1).watermark == last


# ------------------------------------------------------------------ what is not an event


def test_refused_events_are_counted_by_reason_and_move_nothing():
    """However many they are: a wrong deployment would stop a worker, and is of no interest here."""
    definitions = definitions_from({**RAW, "rules": RAW["rules"][:1]})
    found = Backtest(definitions)
    for _ in range(300):
        found.take(Record(topics.STAGE_CHANGE, b"nonsense", b"d", NOW_MS), None)
    late = stage("d", datetime(2999, 1, 1, tzinfo=UTC), "New")
    found.take(record(late), at(late))
    for event in DROP_AND_RECOVERY:
        found.take(record(event), at(event))
    found.end()
    assert found.rejected == {"not_json": 300, "time_out_of_range": 1}
    assert as_told(found) == as_told(backtest(DROP_AND_RECOVERY, definitions))


def test_events_far_behind_are_counted():
    """More than a day: then it matters for some rule in which order they came."""
    events = [stage(f"d{day}", FIRST + timedelta(days=day), "New") for day in (0, 5, 4.5, 3, 1, 6)]
    assert backtest(events, definitions_from(RAW)).late == 2


def test_rules_of_other_names_are_of_no_interest():
    """A rule's name may hold what separates it from the mark of its entity."""
    rule = Rule("a-b-c", "conversion_drop", "stage", min_entries=100)
    definitions = msgspec.structs.replace(definitions_from(RAW), rules=(rule,))
    (verdict,) = backtest(DROP_AND_RECOVERY, definitions).verdicts(Span())
    assert (verdict.rule.name, verdict.judged) == ("a-b-c", 2)
