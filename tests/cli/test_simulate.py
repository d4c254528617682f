"""Is the simulated part what it says: labelled, repeatable, and wrong where it should be?"""

from datetime import UTC, datetime, timedelta
from statistics import median

import pytest

from streams.cli import simulate
from streams.cli.sample import as_record
from streams.events.contract import Limits, Rejection
from streams.events.decode import decode_activity, decode_stage_change
from streams.topics import STAGE_CHANGE

NOW = datetime(2026, 3, 18, 15, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def events():
    return simulate.history(NOW)


def leads_of(events):
    return {v["deal_id"]: v for t, v in events if t == STAGE_CHANGE and v["to_stage"] == "New"}


def qualified_share(events, since: datetime, until: datetime) -> float:
    qualified = {v["deal_id"] for t, v in events if t == STAGE_CHANGE and v["to_stage"] == "Qualified"}
    cohort = [
        deal for deal, v in leads_of(events).items() if simulate.stamp(since) <= v["occurred_at"] < simulate.stamp(until)
    ]
    return sum(deal in qualified for deal in cohort) / len(cohort)


def test_history_repeats(events):
    """The same seed and instant give the same events."""
    assert simulate.history(NOW) == events


def test_another_seed_gives_another_history(events):
    """It is drawn, not written down."""
    assert simulate.history(NOW, seed=1) != events


def test_a_later_hour_only_adds(events):
    """What has happened today stays when the demo is started again this evening."""
    later = simulate.history(NOW + timedelta(minutes=1))
    known = {v["event_id"] for _, v in events}
    assert len(known - {v["event_id"] for _, v in later}) <= len(known) * 0.01


def test_ids_are_unique(events):
    """A repeated id would be dropped as a duplicate."""
    ids = [(topic, v["deal_id"], v["event_id"]) for topic, v in events]
    assert len(ids) == len(set(ids))


def test_every_event_says_that_it_is_simulated(events):
    """In its deal id, and where the contract has a place for it."""
    assert all(v["deal_id"].startswith("SIM-") for _, v in events)
    created = leads_of(events).values()
    assert all(v["lead_source"] == "simulated" and v["attributes"] == {"simulated": True} for v in created)
    assert all(v["simulated"] for topic, v in events if topic != STAGE_CHANGE)


def test_stage_events_stay_in_their_own_pipeline(events):
    """So the recorded pipeline keeps its numbers."""
    assert {v["pipeline"] for topic, v in events if topic == STAGE_CHANGE} == {"inbound"}


def test_nothing_lies_in_the_future(events):
    """The worker would refuse it."""
    assert max(v["occurred_at"] for _, v in events) <= simulate.stamp(NOW)


def test_every_event_is_accepted(events):
    """By the very code that the worker uses."""
    limits, received = Limits(300_000_000, UTC), round(NOW.timestamp() * 1e6)
    for event in events:
        record = as_record(event)
        decode = decode_stage_change if record.topic == STAGE_CHANGE else decode_activity
        assert not isinstance(decode(record.key, record.value, received, limits), Rejection)


def test_leads_come_on_business_days(events):
    """About 25 on each, over 200 days."""
    days = {v["occurred_at"][:10] for v in leads_of(events).values()}
    assert {datetime.fromisoformat(day).weekday() for day in days} == {0, 1, 2, 3, 4}
    assert 22 <= len(leads_of(events)) / len(days) <= 28


def test_qualification_drops_in_the_last_three_weeks(events):
    """From about 30 % to about 8 %, judged only where the outcome is known."""
    drop = NOW - timedelta(days=simulate.DROP_DAYS)
    assert qualified_share(events, NOW - timedelta(days=150), drop) == pytest.approx(0.30, abs=0.04)
    assert qualified_share(events, drop, NOW - timedelta(days=simulate.MATURITY_DAYS)) == pytest.approx(0.08, abs=0.05)


def test_one_team_answers_late_in_the_last_two_weeks(events):
    """From a median of about 25 minutes to about 4 hours; the others stay."""
    since = simulate.stamp(NOW - timedelta(days=simulate.SLOW_DAYS))
    until = simulate.stamp(NOW - timedelta(days=1))
    calls = {v["deal_id"]: v for _, v in reversed(events) if v.get("type") == "call"}
    minutes = {True: [], False: []}
    for deal, lead in leads_of(events).items():
        if since <= lead["occurred_at"] < until and deal in calls:
            team = next(team for team, reps in simulate.TEAMS.items() if lead["rep_id"] in reps)
            waited = datetime.fromisoformat(calls[deal]["occurred_at"]) - datetime.fromisoformat(lead["occurred_at"])
            minutes[team == simulate.SLOW_TEAM].append(waited.total_seconds() / 60)
    assert 120 < median(minutes[True]) < 480
    assert 15 < median(minutes[False]) < 40


def test_the_trickle_says_something_every_time():
    """New leads, answers and touches, each labelled and with an id of its own."""
    trickle = simulate.Trickle()
    found = [trickle.event(NOW + timedelta(seconds=at)) for at in range(300)]
    assert len({v["event_id"] for _, v in found}) == 300
    assert {v.get("type") for _, v in found} == {None, "call", "email"}
    assert all(v["deal_id"].startswith("SIM-live-") for _, v in found)


def test_few_activities_lie_on_recorded_deals():
    """By the rep of the deal, labelled, before the close."""
    deals = [{"deal_id": f"d{n}", "rep_id": "Anna", "occurred_at": "2026-01-10"} for n in range(1000)]
    found = simulate.activities_on(deals)
    assert 100 < len(found) < 200
    assert {v["rep_id"] for _, v in found} == {"Anna"}
    assert all(v["simulated"] and v["occurred_at"] < "2026-01-10" for _, v in found)
