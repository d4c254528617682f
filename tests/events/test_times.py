from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streams.events.times import day_start, instant, is_date, milliseconds
from tests.events.records import KYIV, utc

SEVEN = utc("2024-05-06T07:08:09+00:00")


@pytest.mark.parametrize(
    ("said", "at"),
    [
        ("2024-05-06T07:08:09Z", SEVEN),
        ("2024-05-06t07:08:09z", SEVEN),
        ("2024-05-06 07:08:09Z", SEVEN),
        ("2024-05-06T07:08:09+00:00", SEVEN),
        ("2024-05-06T07:08:09-00:00", SEVEN),
        ("2024-05-06T10:08:09+03:00", SEVEN),
        ("2024-05-06T02:38:09-04:30", SEVEN),
        ("2024-05-07T07:07:09+23:59", SEVEN),
        ("2024-05-06T07:08:09.5Z", SEVEN + 500_000),
        ("2024-05-06T07:08:09.05Z", SEVEN + 50_000),
        ("2024-05-06T07:08:09.123Z", SEVEN + 123_000),
        ("2024-05-06T07:08:09.1234Z", SEVEN + 123_400),
        ("2024-05-06T07:08:09.123456Z", SEVEN + 123_456),
        ("2024-05-06T10:08:09.123456+03:00", SEVEN + 123_456),
        ("2024-05-06T07:08:09.1234569Z", SEVEN + 123_456),
        ("2024-05-06T07:08:09." + "9" * 200 + "Z", SEVEN + 999_999),
        ("2016-12-31T23:59:60Z", utc("2017-01-01T00:00:00+00:00")),
        ("2016-12-31T23:59:60.5Z", utc("2017-01-01T00:00:00.5+00:00")),
        ("2017-01-01T01:59:60+02:00", utc("2017-01-01T00:00:00+00:00")),
        ("2024-02-29T00:00:00Z", utc("2024-02-29T00:00:00+00:00")),
        ("1969-12-31T23:59:59Z", -1_000_000),
        ("0001-01-01T00:00:00Z", utc("0001-01-01T00:00:00+00:00")),
        ("0000-12-31T23:59:59Z", utc("0001-01-01T00:00:00+00:00") - 1_000_000),
        ("9999-12-31T23:59:59Z", utc("9999-12-31T23:59:59+00:00")),
    ],
)
def test_every_legal_form_of_rfc_3339_is_read_to_the_microsecond(said, at):
    """Lower case, a space, offsets, fractions of any length (cut off), a leap second: one instant each, twice the same."""
    assert [instant(said, KYIV), instant(said, KYIV)] == [at, at]


@pytest.mark.parametrize(
    "said",
    [
        "2024-05-06T07:08:09",
        "2024-05-06T07:08:09.123",
        "2024-05-06T07:08:09.123456",
        "2024-05-06T07:08Z",
        "2024-05-06T07:08:09+0300",
        "2024-05-06T07:08:09+03",
        "2024-05-06T07:08:09+24:00",
        "2024-05-06T07:08:09+03:60",
        "2024-05-06T07:08:09,5Z",
        "2024-05-06T07:08:09.Z",
        "2024-05-06T07:08:09.12 Z",
        "2024-05-06T07:08:09.123456.123Z",
        "2024-05-06T07:08:09Z ",
        "2024-05-06T07:08:09Z\n",
        "2024-05-06T07:08:61Z",
        "2024-05-06T07:60:00Z",
        "2024-05-06T24:00:00Z",
        "2024-05-06T7:08:09Z",
        "2024-05-06_07:08:09Z",
        "2024-5-6T07:08:09Z",
        "24-05-06T07:08:09Z",
        "2024-13-01T07:08:09Z",
        "2024-02-30T07:08:09Z",
        "2023-02-29",
        "2023-02-29T00:00:00Z",
        "2024-00-10",
        "2024-05-00",
        "10000-01-01T00:00:00Z",
        "+2024-05-06T07:08:09Z",
        "20240506T070809Z",
        "2024-W19-1",
        "2024-127",
        "2024-05",
        "٢٠٢٤-05-06T07:08:09Z",
        "2024-05-06T07:08:09.١Z",
        "1714979289",
        "1714979289.5",
        "now",
        "",
        "Z",
        "2024-05-06T07:08:09 Z",
        "2024-05-06T07:08:09[UTC]",
        "2024-05-06T07:08:09+03:00[Europe/Kyiv]",
    ],
)
def test_what_is_not_rfc_3339_with_a_zone_is_no_time(said):
    """Other notations, impossible dates and times without a zone are not guessed at."""
    assert instant(said, KYIV) is None


@settings(deadline=None)
@given(
    at=st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)),  # noqa: DTZ001  # the zone is added below
    minutes=st.integers(-1439, 1439),
    spec=st.sampled_from(["seconds", "milliseconds", "microseconds"]),
)
def test_times_agree_with_the_standard_library(at, minutes, spec):
    """Any time, offset and precision that datetime can write means the same instant here."""
    text = at.replace(tzinfo=UTC).isoformat(timespec=spec)[:-6]
    offset = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
    assert instant(text + offset, KYIV) == utc(text + "+00:00") - minutes * 60_000_000


@pytest.mark.parametrize(
    ("said", "at"),
    [
        (0, 0),
        (1_714_979_289, SEVEN),
        (1_714_979_289.5, SEVEN + 500_000),
        (1_714_979_289.123456, SEVEN + 123_456),
        (99_999_999_999, 99_999_999_999_000_000),
        (100_000_000_000, 100_000_000_000_000),
        (1_714_979_289_001, SEVEN + 1000),
        (1_714_979_289_001.0, SEVEN + 1000),
        (1_714_979_289_001.25, SEVEN + 1250),
        (99_999_999_999_999, 99_999_999_999_999_000),
        (100_000_000_000_000, 100_000_000_000_000),
        (1_714_979_289_000_001, SEVEN + 1),
        (1.714979289e15, SEVEN),
        (99_999_999_999_999_999, 99_999_999_999_999_999),
        (100_000_000_000_000_000, None),
        (1e17, None),
        (10**400, None),
        (float("inf"), None),
        (float("-inf"), None),
        (float("nan"), None),
        (-1, -1),
        (-0.5, -1),
        (-(10**400), -1),
    ],
)
def test_numbers_are_seconds_milliseconds_or_microseconds_by_their_size(said, at):
    """Below 1e11 seconds, below 1e14 ms, below 1e17 µs, and nothing from there on."""
    assert instant(said, KYIV) == at


@settings(deadline=None)
@given(st.decimals(0, 2**33, places=6))  # until 2242; from then on two floats are further apart than two microseconds
@example(Decimal("4496400372.629495"))  # times a million it lies halfway between two floats
def test_a_fractional_epoch_loses_no_microsecond(said):
    """Seconds with six decimals are read as written, though a float is less exact than that."""
    assert instant(float(said), KYIV) == int(said * 1_000_000)


@pytest.mark.parametrize(
    ("zone", "day", "start"),
    [
        ("UTC", "2024-05-06", "2024-05-06T00:00:00+00:00"),
        ("Europe/Kyiv", "2024-01-15", "2024-01-15T00:00:00+02:00"),
        ("Europe/Kyiv", "2024-07-15", "2024-07-15T00:00:00+03:00"),
        ("Europe/Kyiv", "2024-03-31", "2024-03-31T00:00:00+02:00"),
        ("Europe/Kyiv", "2024-04-01", "2024-04-01T00:00:00+03:00"),
        ("Europe/Kyiv", "2024-10-27", "2024-10-27T00:00:00+03:00"),
        ("Europe/Kyiv", "2024-10-28", "2024-10-28T00:00:00+02:00"),
        ("America/Sao_Paulo", "2018-11-04", "2018-11-04T01:00:00-02:00"),
        ("America/Sao_Paulo", "2017-10-15", "2017-10-15T01:00:00-02:00"),
        ("America/Sao_Paulo", "2018-02-18", "2018-02-18T00:00:00-03:00"),
        ("America/Sao_Paulo", "2018-02-17", "2018-02-17T00:00:00-02:00"),
        ("America/Havana", "2023-03-12", "2023-03-12T01:00:00-04:00"),
        ("America/Havana", "2023-11-05", "2023-11-05T00:00:00-04:00"),
        ("Asia/Beirut", "2022-03-27", "2022-03-27T01:00:00+03:00"),
        ("Pacific/Apia", "2011-12-31", "2011-12-31T00:00:00+14:00"),
        ("Pacific/Apia", "2011-12-30", "2011-12-31T00:00:00+14:00"),
        ("Asia/Kathmandu", "2024-05-06", "2024-05-06T00:00:00+05:45"),
        ("America/Toronto", "1919-03-31", "1919-03-31T00:30:00-04:00"),
    ],
)
def test_a_date_alone_is_the_first_instant_of_that_day(zone, day, start):
    """Also where clocks skip midnight, pass it twice, or skip the whole day (then it is the next one's)."""
    assert instant(day, ZoneInfo(zone)) == utc(start)


@pytest.mark.parametrize("zone", ["Europe/Kyiv", "America/Sao_Paulo", "America/Havana", "Asia/Tehran", "Africa/Cairo"])
def test_the_microsecond_before_a_day_belongs_to_the_day_before(zone):
    """For every day of twelve years, the start is in the day and the instant before it is not."""
    where, epoch = ZoneInfo(zone), datetime(1970, 1, 1, tzinfo=UTC)
    day = datetime(2008, 1, 1, tzinfo=UTC).date()
    for _ in range(12 * 365):
        start = epoch + timedelta(microseconds=day_start(day.isoformat(), where))
        before = start - timedelta(microseconds=1)
        assert (before.astimezone(where).date() < day, start.astimezone(where).date()) == (True, day)
        day += timedelta(days=1)


@pytest.mark.parametrize("day", ["0000-01-01", "0001-01-01", "9998-12-31", "9999-12-31"])
@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_the_ends_of_the_calendar_are_days_too(day, zone):
    """Where the standard library would overflow, a day still has a start, at most 14 hours from that in UTC."""
    assert abs(instant(day, ZoneInfo(zone)) - instant(day + "T00:00:00Z", KYIV)) <= 14 * 3600 * 1_000_000


@pytest.mark.parametrize(
    ("text", "claim"),
    [
        ("2024-02-29", True),
        ("0001-01-01", True),
        ("9999-12-31", True),
        ("0000-01-01", False),
        ("2023-02-29", False),
        ("2024-05-06T00:00:00Z", False),
        ("2024-5-6", False),
        ("06.05.2024", False),
        ("", False),
    ],
)
def test_a_close_date_is_a_calendar_date(text, claim):
    """YYYY-MM-DD from the year 1, no other notation, no impossible day."""
    assert is_date(text) is claim


@pytest.mark.parametrize(
    ("seconds", "ms"),
    [
        (0, 0),
        (0.0, 0),
        (1.001, 1001),
        (4.35, 4350),
        (0.0019, 1),
        (12.3456, 12_345),
        (4_000_000, 4_000_000_000),
        (4_000_000.001, None),
        (-0.001, None),
        (-1, None),
        (float("inf"), None),
        (10**400, None),
    ],
)
def test_durations_are_whole_milliseconds_rounded_down(seconds, ms):
    """A decimal of three digits loses nothing to binary floats; below 0 or above 4,000,000 s is none."""
    assert milliseconds(seconds) == ms


@settings(deadline=None)
@given(st.decimals(0, 4_000_000, places=3))
def test_a_duration_with_three_decimals_is_exact(seconds):
    """No millisecond is lost on the way through a float."""
    assert milliseconds(float(seconds)) == int(seconds * Decimal(1000))
