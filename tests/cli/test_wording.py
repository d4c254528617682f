"""How is a value written for people?"""

from zoneinfo import ZoneInfo

import pytest

from streams.cli import wording


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (0.4, "0.4 s"), (59.2, "59 s"), (59.9, "1 min"), (60, "1 min"), (61, "1 min 1 s"), (3599.9, "1 h"),
        (3600, "1 h"), (3660, "1 h 1 min"), (86_399, "1 d"), (90_000, "1 d 1 h"), (4_473_792, "51 d 19 h"), (-60, "-1 min"),
    ],
)  # fmt: skip
def test_a_duration_has_its_two_largest_units(seconds, text):
    """And none that is rounded up to a whole larger one."""
    assert wording.duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "unit", "currency", "text"),
    [
        (0.63149, "ratio", None, "63.1 %"),
        (10_005_534, "money", "USD", "10,005,534 USD"),
        (12.5, "money", "EUR", "12.50 EUR"),
        (1.005, "money", "KWD", "1.005 KWD"),
        (3.0, "money", "KWD", "3 KWD"),
        (1500.0, "money", "JPY", "1,500 JPY"),
        (0.0004, "ratio", None, "0.040 %"),
        (2089, "count", None, "2,089"),
        (5400, "seconds", None, "1 h 30 min"),
        (None, "ratio", None, "–"),
        (0, "ratio", None, "0.0 %"),
    ],
)
def test_a_value_is_written_in_its_unit(number, unit, currency, text):
    """Nothing is not zero."""
    assert wording.amount(number, unit, currency) == text


def test_won_to_lost_is_no_percentage():
    """1.71 deals won for each one lost."""
    assert wording.value({"kpi": "won_lost_ratio", "unit": "ratio", "value": 1.7137}) == "1.71"


@pytest.mark.parametrize(
    ("zone", "start", "day"),
    [
        ("UTC", "2026-03-01T00:00:00+00:00", "2026-03-01"),
        ("Europe/Kyiv", "2026-02-28T22:00:00+00:00", "2026-03-01"),  # where the 28th was shown, and with it February
        ("Pacific/Auckland", "2026-02-28T11:00:00+00:00", "2026-03-01"),
        ("America/New_York", "2026-03-01T05:00:00+00:00", "2026-03-01"),
        ("UTC", "a word of others", "a word of "),
        ("Europe/Kyiv", "9999-12-31T23:00:00+00:00", "9999-12-31"),
    ],
)
def test_a_window_is_named_by_its_first_day_in_the_business_zone(zone, start, day):
    """A month that begins in Kyiv begins on the last day of another one in UTC."""
    record = {"window": {"name": "month", "start": start}}
    assert wording.window(record, ZoneInfo(zone)) == f"month {day}"
    assert wording.window({"window": {"name": "all", "start": None}}, ZoneInfo(zone)) == "all"
