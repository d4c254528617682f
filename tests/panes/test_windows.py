"""Where does each window begin and end, and which panes add up to it?"""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.config import WINDOWS as CONFIGURABLE
from streams.panes.calendar import Calendar, micros
from streams.panes.text import iso
from streams.panes.windows import WINDOWS, bounds, first_pane, now_at, number_at, number_of_day

KYIV = Calendar(ZoneInfo("Europe/Kyiv"))
BY_NAME = {window.name: window for window in WINDOWS}
# 31 March 2024 is the Sunday on which the clocks go forward in Kyiv; 15:07 there is 12:07 UTC.
SUNDAY = micros(datetime(2024, 3, 31, 12, 7, tzinfo=UTC))
HOUR = 3_600_000_000


def current(name, at=SUNDAY):
    window = BY_NAME[name]
    return bounds(window, number_at(window, now_at(KYIV, at)), KYIV)


@pytest.mark.parametrize(
    ("name", "start", "end"),
    [
        ("1h", "2024-03-31T11:10", "2024-03-31T12:10"),
        ("24h", "2024-03-30T12:10", "2024-03-31T12:10"),
        ("7d", "2024-03-24T22:00", "2024-03-31T21:00"),
        ("28d", "2024-03-03T22:00", "2024-03-31T21:00"),
        ("90d", "2024-01-01T22:00", "2024-03-31T21:00"),
        ("day", "2024-03-30T22:00", "2024-03-31T21:00"),
        ("week", "2024-03-24T22:00", "2024-03-31T21:00"),
        ("month", "2024-02-29T22:00", "2024-03-31T21:00"),
        ("quarter", "2023-12-31T22:00", "2024-03-31T21:00"),
        ("year", "2023-12-31T22:00", "2024-12-31T22:00"),
    ],
)
def test_the_window_that_is_current_on_the_day_the_clocks_go_forward(name, start, end):
    """Rolling ones end with the pane that holds the watermark, the others with their calendar."""
    first, last = current(name)
    assert [iso(first)[:16], iso(last)[:16]] == [start, end]


def test_all_has_neither_start_nor_end():
    """It is one window for ever."""
    assert current("all") is None
    assert number_at(BY_NAME["all"], now_at(KYIV, 0)) == number_at(BY_NAME["all"], now_at(KYIV, SUNDAY))


def test_the_windows_are_those_that_can_be_configured():
    """In the same order."""
    assert tuple(BY_NAME) == CONFIGURABLE


@pytest.mark.parametrize(
    ("name", "panes"),
    [("1h", 12), ("24h", 288), ("7d", 7), ("28d", 28), ("90d", 90), ("day", 1), ("week", 7), ("month", 1), ("quarter", 3), ("year", 12)],
)  # fmt: skip
def test_a_window_of_so_many_panes_ends_where_the_next_begins(name, panes):
    """Calendar windows tile time; rolling ones move by one pane."""
    window = BY_NAME[name]
    assert window.panes == panes
    number = number_at(window, now_at(KYIV, SUNDAY))
    step = 1 if not window.rolling else window.panes
    assert bounds(window, number, KYIV)[1] == bounds(window, number + step, KYIV)[0]


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("7d", "2024-03-25", "2024-03-31"),
        ("28d", "2024-03-04", "2024-03-31"),
        ("90d", "2024-01-02", "2024-03-31"),
        ("day", "2024-03-31", "2024-03-31"),
        ("week", "2024-03-25", "2024-03-31"),
    ],
)
def test_first_and_last_day_of_a_window_of_days(name, first, last):
    """The last one is the current day, the first so many panes before."""
    window = BY_NAME[name]
    begins = first_pane(window, number_at(window, now_at(KYIV, SUNDAY)))
    assert [date.fromordinal(begins).isoformat(), date.fromordinal(begins + window.panes - 1).isoformat()] == [first, last]


@pytest.mark.parametrize(
    ("name", "first"), [("month", 2024 * 12 + 2), ("quarter", 2024 * 12), ("year", 2024 * 12)]
)  # fmt: skip
def test_first_month_of_a_window_of_months(name, first):
    """March, January, January."""
    window = BY_NAME[name]
    assert first_pane(window, number_at(window, now_at(KYIV, SUNDAY))) == first


@pytest.mark.parametrize(
    ("month", "hours"), [("2024-03", 31 * 24 - 1), ("2024-04", 720), ("2024-10", 745), ("2024-02", 696)]
)
def test_a_month_has_the_hours_it_has(month, hours):
    """An hour less in March, one more in October; a leap day in February."""
    year, of_year = map(int, month.split("-"))
    start, end = bounds(BY_NAME["month"], year * 12 + of_year - 1, KYIV)
    assert (end - start) // HOUR == hours


@settings(max_examples=40, deadline=None)
@given(at=st.integers(micros(datetime(2000, 1, 2, tzinfo=UTC)), micros(datetime(2035, 1, 1, tzinfo=UTC))))
def test_every_window_holds_the_instant_that_it_is_current_at(at):
    """[start, end)."""
    for name in BY_NAME:
        if name != "all":
            start, end = current(name, at)
            assert start <= at < end


@settings(max_examples=40, deadline=None)
@given(at=st.integers(micros(datetime(2000, 1, 2, tzinfo=UTC)), micros(datetime(2035, 1, 1, tzinfo=UTC))))
def test_a_fact_of_now_is_in_the_calendar_window_that_is_current(at):
    """The number of a day's window is the number of the current one on that day."""
    now = now_at(KYIV, at)
    for window in WINDOWS:
        if not window.rolling:
            assert number_of_day(window, now.day, now.month) == number_at(window, now)
