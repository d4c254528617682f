"""Which day, month and week is it, and how much of it is office time?  Where clocks change, most of all."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.panes.calendar import BusinessHours, Calendar, micros, parse_hours
from tests.audit.tables import GAPS

HOUR = 3_600_000_000
ZONES = (
    "UTC",
    "Europe/Kyiv",
    "America/Sao_Paulo",
    "America/Havana",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
)
FROM = micros(datetime(2000, 1, 1, tzinfo=UTC))
TO = micros(datetime(2035, 1, 1, tzinfo=UTC))


def us(text):
    return micros(datetime.fromisoformat(text).replace(tzinfo=UTC))


def number(text):
    return date.fromisoformat(text).toordinal()


@pytest.mark.parametrize(
    ("zone", "day", "start", "hours"),
    [
        ("UTC", "2024-03-31", "2024-03-31 00:00", 24),
        ("Europe/Kyiv", "2024-03-30", "2024-03-29 22:00", 24),
        ("Europe/Kyiv", "2024-03-31", "2024-03-30 22:00", 23),
        ("Europe/Kyiv", "2024-10-27", "2024-10-26 21:00", 25),
        ("America/Sao_Paulo", "2018-11-04", "2018-11-04 03:00", 23),
        ("America/Sao_Paulo", "2018-02-17", "2018-02-17 02:00", 25),
        ("America/Sao_Paulo", "2018-02-18", "2018-02-18 03:00", 24),
        ("America/Sao_Paulo", "2024-11-03", "2024-11-03 03:00", 24),
        ("America/Havana", "2024-11-03", "2024-11-03 04:00", 25),
        ("America/Havana", "2024-03-10", "2024-03-10 05:00", 23),
        ("Australia/Lord_Howe", "2024-04-07", "2024-04-06 13:00", 24.5),
        ("Pacific/Apia", "2011-12-30", "2011-12-30 10:00", 0),
    ],
    ids=[
        "utc", "kyiv-before", "kyiv-spring", "kyiv-autumn", "sao-paulo-no-midnight", "sao-paulo-hour-before-midnight-twice",
        "sao-paulo-after", "sao-paulo-without-summer-time", "havana-midnight-twice", "havana-no-midnight", "half-an-hour",
        "a-day-that-was-skipped",
    ],
)  # fmt: skip
def test_a_day_begins_at_its_first_instant_and_has_the_hours_it_has(zone, day, start, hours):
    """Where midnight does not exist the day begins at the jump; where it comes twice, at the first."""
    calendar = Calendar(ZoneInfo(zone))
    first = calendar.start_of_day(number(day))
    assert (first, calendar.start_of_day(number(day) + 1) - first) == (us(start), hours * HOUR)


@pytest.mark.parametrize("zone", ZONES)
@settings(max_examples=20, deadline=None)
@given(at=st.integers(FROM, TO))
def test_an_instant_lies_in_the_day_that_holds_it(zone, at):
    """[start of its day, start of the next), in every zone and year."""
    calendar = Calendar(ZoneInfo(zone))
    day = calendar.day_of(at)
    assert calendar.start_of_day(day) <= at < calendar.start_of_day(day + 1)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("turn", ["2018-02-18", "2018-11-04", "2024-03-10", "2024-03-31", "2024-10-27", "2011-12-30"])
def test_days_follow_each_other_over_a_change_of_clocks(zone, turn):
    """Every five minutes of four days: the day never goes back, and a fine pane has one day."""
    calendar = Calendar(ZoneInfo(zone))
    start = us(turn) - 48 * HOUR
    days = [calendar.day_of(start + step * 300_000_000) for step in range(4 * 288)]
    assert days == sorted(days)
    assert all(calendar.day_of(start + step * 300_000_000 + 299_999_999) == day for step, day in enumerate(days))


def test_a_microsecond_before_midnight_is_the_day_before():
    """Days are [start, end)."""
    calendar = Calendar(ZoneInfo("Europe/Kyiv"))
    midnight = calendar.start_of_day(number("2024-03-31"))
    assert (calendar.day_of(midnight - 1), calendar.day_of(midnight)) == (number("2024-03-30"), number("2024-03-31"))


@pytest.mark.parametrize(
    ("day", "month"),
    [("2024-01-01", 2024 * 12), ("2024-01-31", 2024 * 12), ("2024-12-31", 2024 * 12 + 11), ("2025-01-01", 2025 * 12)],
)
def test_the_number_of_a_month(day, month):
    """Twelve a year, January first; back to the day it begins with."""
    assert Calendar(ZoneInfo("UTC")).month_of_day(number(day)) == month
    assert Calendar.first_day(month) == number(day[:8] + "01")


@pytest.mark.parametrize(
    ("day", "monday"),
    [
        ("2024-03-31", "2024-03-25"),
        ("2024-04-01", "2024-04-01"),
        ("2025-01-01", "2024-12-30"),
        ("2024-02-29", "2024-02-26"),
    ],
)
def test_a_week_begins_on_monday(day, monday):
    """Week w begins on day 7 w + 1, over the turn of the year too."""
    assert Calendar.week_of_day(number(day)) * 7 + 1 == number(monday)


def test_an_instant_is_exact_to_the_microsecond():
    """No float is in between."""
    moment = datetime(2024, 3, 31, 1, 2, 3, 999_999, tzinfo=UTC)
    assert micros(moment) == us("2024-03-31 01:02:03") + 999_999
    assert micros(moment + timedelta(microseconds=1)) - micros(moment) == 1


def test_the_day_of_a_pane_is_right_also_after_the_memory_was_emptied():
    """200,001 panes are more than it keeps."""
    calendar = Calendar(ZoneInfo("UTC"))
    first = us("2024-01-01 00:00") // 300_000_000
    assert [calendar.day_of_fine(first + step) for step in range(200_003)][-1] == number("2024-01-01") + 200_002 // 288
    assert calendar.day_of_fine(first) == number("2024-01-01")


# ------------------------------------------------------------------ business hours


def office(hours="Mon-Fri 09:00-18:00", zone="Europe/Kyiv", holidays=()):
    return BusinessHours(Calendar(ZoneInfo(zone)), hours, tuple(holidays))


def minutes(hours, start, end):
    """Return office minutes between two instants written in Kyiv's time."""
    kyiv = ZoneInfo("Europe/Kyiv")
    begin, stop = (micros(datetime.fromisoformat(one).replace(tzinfo=kyiv)) for one in (start, end))
    return hours.between(begin, stop) / 60_000


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("2024-03-13 10:00", "2024-03-13 11:30", 90),
        ("2024-03-13 08:00", "2024-03-13 09:00", 0),
        ("2024-03-13 08:00", "2024-03-13 09:01", 1),
        ("2024-03-13 17:59", "2024-03-13 23:00", 1),
        ("2024-03-13 18:00", "2024-03-14 09:00", 0),
        ("2024-03-13 17:00", "2024-03-14 10:00", 120),
        ("2024-03-15 17:00", "2024-03-18 09:30", 90),
        ("2024-03-16 10:00", "2024-03-17 20:00", 0),
        ("2024-03-11 00:00", "2024-03-18 00:00", 5 * 540),
        ("2024-03-13 10:00", "2024-03-13 10:00", 0),
    ],
    ids=[
        "within", "before-opening", "a-minute", "the-last-minute", "the-night", "over-the-night", "over-the-weekend",
        "the-weekend", "a-week", "nothing",
    ],
)  # fmt: skip
def test_office_time_between_two_instants(start, end, expected):
    """Wednesday is 13 March 2024, Friday the 15th."""
    assert minutes(office(), start, end) == expected


@pytest.mark.parametrize(
    ("hours", "start", "end", "expected"),
    [
        ("Sun 00:00-06:00", "2024-03-31 00:00", "2024-04-01 00:00", 300),
        ("Sun 00:00-06:00", "2024-10-27 00:00", "2024-10-28 00:00", 420),
        ("Sat-Sun 00:00-24:00", "2024-03-31 00:00", "2024-04-01 00:00", 23 * 60),
        ("Sat-Sun 00:00-24:00", "2024-10-27 00:00", "2024-10-28 00:00", 25 * 60),
        ("Mon-Fri 09:00-18:00", "2024-03-29 17:00", "2024-04-01 10:00", 120),
        ("Sun 00:00-24:00", "2024-03-30 00:00", "2024-04-02 12:00", 23 * 60),
    ],
    ids=["spring", "autumn", "whole-day-spring", "whole-day-autumn", "over-it", "no-more-than-that-day"],
)
def test_office_time_over_a_change_of_clocks(hours, start, end, expected):
    """Minutes that pass, not minutes on the clock: the night of 31 March is an hour short."""
    assert minutes(office(hours), start, end) == expected


@pytest.mark.parametrize(("zone", "hours", "start", "ms"), GAPS)
def test_office_hours_that_the_clock_is_put_forward_over_are_not_there(zone, hours, start, ms):
    """Of a day that is not there neither."""
    assert office(hours, zone).between(us(start), us(start) + 23 * HOUR) == ms


def test_a_holiday_is_closed():
    """Wednesday off: Tuesday 17:00 to Thursday 10:00 are two hours."""
    assert minutes(office(holidays=["2024-03-13"]), "2024-03-12 17:00", "2024-03-14 10:00") == 120


def test_without_hours_every_millisecond_counts():
    """Floored to whole ones."""
    always = office(hours=None)
    assert always.always
    assert always.between(0, 3_999) == 3


def test_hours_of_different_days():
    """Ranges over the end of the week, several parts, single days."""
    assert parse_hours("Sat-Sun 10:00-14:00, Mon 09:00-18:00") == {5: ((600, 840),), 6: ((600, 840),), 0: ((540, 1080),)}
    assert parse_hours("Wed 00:00-24:00") == {2: ((0, 1440),)}


def test_office_hours_with_a_break():
    """Both parts of the day count, and nothing between them."""
    hours = office("Mon-Fri 09:00-13:00, Mon-Fri 14:00-18:00")
    assert minutes(hours, "2024-03-04 09:30", "2024-03-04 11:30") == 120
    assert minutes(hours, "2024-03-04 12:30", "2024-03-04 14:30") == 60
    assert minutes(hours, "2024-03-04 00:00", "2024-03-06 00:00") == 2 * 8 * 60


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Mon",
        "Mon-Fri 09:00-18:00, Fri 10:00-16:00",
        "Mon 14:00-18:00, Mon 09:00-14:01",
        "Mon 9-18",
        "Mon 18:00-09:00",
        "Mon 09:00-09:00",
        "Mon 09:00-24:30",
        "Xyz 09:00-18:00",
        "09:00-18:00",
    ],
)
def test_office_hours_that_cannot_be(text):
    """ValueError, for the settings to say where."""
    with pytest.raises(ValueError, match=r"."):
        parse_hours(text)


@settings(max_examples=50, deadline=None)
@given(start=st.integers(FROM, TO), first=st.integers(0, 40 * 24), second=st.integers(0, 40 * 24))
def test_office_time_adds_up(start, first, second):
    """From a to b and from b to c is from a to c, to the millisecond that is floored away; never more than passed."""
    hours, middle = office(holidays=["2024-04-03"]), start + first * HOUR
    end = middle + second * HOUR
    assert 0 <= hours.between(start, end) - hours.between(start, middle) - hours.between(middle, end) <= 1
    assert hours.between(start, end) <= (end - start) // 1000
