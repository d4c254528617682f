"""Does the demo's data keep what it must while it moves to the present?"""

from datetime import UTC, date, datetime, timedelta

import orjson
import pytest

from streams.cli import simulate
from streams.cli.sample import definitions, move, sample, shifted, weeks_until_yesterday
from streams.config import definitions_from

TODAY = datetime(2026, 3, 18, 15, 30, tzinfo=UTC)  # a Wednesday
LAST = date(2017, 12, 31)


@pytest.fixture(scope="module")
def moved():
    return sample(TODAY, as_recorded=False).records


@pytest.mark.parametrize("ahead", range(14))
def test_the_shift_ends_yesterday_or_up_to_six_days_before(ahead):
    """The largest number of whole weeks that ends no later than yesterday."""
    today = date(2026, 3, 18) + timedelta(days=ahead)
    end = LAST + timedelta(weeks=weeks_until_yesterday(LAST, today))
    assert timedelta(days=1) <= today - end <= timedelta(days=7)
    assert end.weekday() == LAST.weekday()


def test_a_time_keeps_its_hour_and_its_weekday():
    """Only the date in front changes."""
    moved = move("2017-06-01T23:59:59.5+02:00", 430)
    assert moved == "2025-08-28T23:59:59.5+02:00"
    assert date.fromisoformat(moved[:10]).weekday() == date(2017, 6, 1).weekday()


def test_every_date_of_an_event_moves():
    """The expected close as well, where one is said."""
    value = {"occurred_at": "2017-01-01", "close_date": "2017-01-08", "to_stage": "Won"}
    assert shifted(value, 1) == {"occurred_at": "2017-01-08", "close_date": "2017-01-15", "to_stage": "Won"}


def test_as_recorded_keeps_the_dates():
    """And the simulated part ends with the recorded year."""
    found = sample(TODAY, as_recorded=True)
    times = [orjson.loads(record.value)["occurred_at"] for record in found.records]
    assert found.weeks == 0
    assert found.now == datetime(2018, 1, 1, tzinfo=UTC)
    assert max(times) < "2018-01-01"


def test_records_come_in_order_of_time(moved):
    """As a CRM would have sent them."""
    times = [orjson.loads(record.value)["occurred_at"] for record in moved]
    assert times == sorted(times)


def test_the_recorded_deals_are_all_there_and_nothing_simulated_is_among_them(moved):
    """8,800 opportunities, of which 6,711 closed; what is simulated has a pipeline or ids of its own."""
    events = [(record.topic, orjson.loads(record.value)) for record in moved]
    recorded = [value for topic, value in events if topic == "crm.deal-stage-change" and "pipeline" not in value]
    assert len(recorded) == 8_800 + 6_711
    assert not [one for one in recorded if one["deal_id"].startswith(simulate.PREFIX)]


def test_the_same_instant_gives_the_same_data(moved):
    """Whoever runs the demo twice sees the same numbers."""
    assert sample(TODAY, as_recorded=False).records == moved


def test_the_definitions_hold_and_keep_the_teams_apart():
    """Simulated leads may not change a number of a recorded team."""
    found = definitions_from(definitions())
    simulated = {rep for team in simulate.TEAMS.values() for rep in team}
    assert {found.reps[rep].team for rep in simulated} == set(simulate.TEAMS)
    assert not {found.reps[rep].team for rep in found.reps if rep not in simulated} & set(simulate.TEAMS)
    assert [rule.kind for rule in found.rules] == ["conversion_drop", "response_rise"]
