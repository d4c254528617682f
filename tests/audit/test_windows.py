"""Which windows there are: calendar, DST, rolling, previous, sparse; worked out by hand."""

from datetime import date
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest

from streams.audit.recompute import wanted
from streams.audit.windows import calendar, calendar_before, day_of, iso, rolling
from tests.audit.tables import Numbers, act, change, settings, us

KYIV = ZoneInfo("Europe/Kyiv")
UTC = ZoneInfo("UTC")


def span(window):
    return [iso(window.start)[:16], iso(window.end)[:16]]


@pytest.mark.parametrize(
    ("name", "start", "end"),
    [
        ("day", "2024-03-30T22:00", "2024-03-31T21:00"),  # 23 hours: the clocks go forward
        ("week", "2024-03-24T22:00", "2024-03-31T21:00"),  # Monday to Sunday
        ("month", "2024-02-29T22:00", "2024-03-31T21:00"),
        ("quarter", "2023-12-31T22:00", "2024-03-31T21:00"),
        ("year", "2023-12-31T22:00", "2024-12-31T22:00"),
    ],
)
def test_calendar_windows_of_the_day_the_clocks_go_forward(name, start, end):
    """31 March 2024, a Sunday, in Kyiv: winter time is UTC+2, summer time UTC+3."""
    assert span(calendar(name, date(2024, 3, 31), KYIV)) == [start, end]


def test_autumn_day_has_25_hours():
    """27 October 2024 in Kyiv."""
    assert span(calendar("day", date(2024, 10, 27), KYIV)) == ["2024-10-26T21:00", "2024-10-27T22:00"]


def test_day_begins_when_midnight_does_not_exist():
    """Beirut, 31 March 2024: 00:00 becomes 01:00; the day begins at that instant, 22:00 UTC."""
    beirut = ZoneInfo("Asia/Beirut")
    assert span(calendar("day", date(2024, 3, 31), beirut))[0] == "2024-03-30T22:00"
    assert day_of(us("2024-03-30 22:00"), beirut) == date(2024, 3, 31)
    assert day_of(us("2024-03-30 22:00") - 1, beirut) == date(2024, 3, 30)


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("day", "2024-02-29"),
        ("week", "2024-02-19"),
        ("month", "2024-02-01"),
        ("quarter", "2023-10-01"),
        ("year", "2023-01-01"),
    ],
)
def test_the_window_before(name, start):
    """Before Friday 1 March 2024: a leap day, the week of 19 February, ..."""
    assert span(calendar_before(name, date(2024, 3, 1), UTC))[0] == f"{start}T00:00"


def test_life_to_date_has_no_window_before():
    """Nor a start or an end."""
    window = calendar("all", date(2024, 3, 1), UTC)
    assert (iso(window.start), iso(window.end), calendar_before("all", date(2024, 3, 1), UTC)) == (None, None, None)


@pytest.mark.parametrize(
    ("name", "start", "end"),
    [
        ("1h", "2024-04-01T11:10", "2024-04-01T12:10"),
        ("24h", "2024-03-31T12:10", "2024-04-01T12:10"),
        ("7d", "2024-03-25T22:00", "2024-04-01T21:00"),  # 26 March is the first day, still winter time
        ("28d", "2024-03-04T22:00", "2024-04-01T21:00"),
        ("90d", "2024-01-02T22:00", "2024-04-01T21:00"),
    ],
)
def test_rolling_windows_end_with_the_pane_of_the_watermark(name, start, end):
    """Watermark 12:07 UTC on 1 April in Kyiv."""
    assert span(rolling(name, us("2024-04-01 12:07"), KYIV)[0]) == [start, end]


def test_rolling_window_at_the_edge_of_a_pane():
    """A watermark at 12:05 sharp lies in the pane that begins there."""
    window, before = rolling("1h", us("2024-04-01 12:05"), UTC)
    assert span(window) == ["2024-04-01T11:10", "2024-04-01T12:10"]
    assert span(before) == ["2024-04-01T10:10", "2024-04-01T11:10"]


def test_windows_include_their_start_and_not_their_end():
    """A call at 11:10 is in the hour from 11:10; one at 12:10 is not, nor one at 11:09."""
    calls = [act("a", "2024-04-01 11:10"), act("b", "2024-04-01 12:10"), act("c", "2024-04-01 11:09")]
    numbers = Numbers(calls, watermark="2024-04-01 12:07")
    found = numbers.one("calls", window="1h", start="2024-04-01 11:10")
    assert (found.n, found.previous) == (1, 1)


def test_facts_fall_into_local_days_and_months():
    """31 March 21:30 UTC is 1 April in Kyiv; 20:30 UTC is still March there."""
    definitions = settings(business={"zone": "Europe/Kyiv"})
    calls = [act("a", "2024-03-31 21:30"), act("b", "2024-03-31 20:30")]
    numbers = Numbers(calls, definitions=definitions)
    assert numbers.value("calls", window="month", start="2024-03-31 21:00") == 1
    assert numbers.value("calls", window="month", start="2024-02-29 22:00") == 1
    assert numbers.one("calls", window="day", start="2024-03-30 22:00").end == "2024-03-31T21:00:00+00:00"


def test_previous_is_the_whole_window_before():
    """April's previous is March; May has no facts of its own but its previous has: an optional record."""
    calls = [act("a", "2024-03-05 10:00"), act("b", "2024-03-31 10:00"), act("c", "2024-04-05 10:00")]
    numbers = Numbers(calls)
    april, may = (numbers.one("calls", window="month", start=f"2024-0{month}-01 00:00") for month in (4, 5))
    assert (april.value, april.previous, april.required) == (1, 2, True)
    assert (may.value, may.n, may.previous, may.required) == (0, 0, 1, False)
    assert numbers.one("calls", window="month", start="2024-03-01 00:00").previous is None
    assert numbers.one("calls", window="month", start="2024-06-01 00:00") is None


def test_previous_of_a_ratio_without_facts_is_null():
    """A lost deal in March gives 0, no deal gives null."""
    lost = [change("1", "2024-03-04 10:00", "New"), change("2", "2024-03-05 10:00", "Lost")]
    won = [change("1", "2024-05-04 10:00", "New", deal_id="e"), change("2", "2024-05-05 10:00", "Won", deal_id="e")]
    numbers = Numbers([*lost, *won])
    assert numbers.one("win_rate", window="month", start="2024-04-01 00:00").previous == 0.0
    assert numbers.one("win_rate", window="month", start="2024-05-01 00:00").previous is None


def test_previous_of_a_cohort_is_its_outcome_so_far():
    """March's lead won in June shows as 1.0 beside April's."""
    events = [
        change("1", "2024-03-04 10:00", "New"),
        change("2", "2024-06-04 10:00", "Won"),
        change("1", "2024-04-04 10:00", "New", deal_id="e"),
    ]
    april = Numbers(events).one("lead_conversion", window="month", start="2024-04-01 00:00")
    assert (april.value, april.previous) == (0.0, 1.0)


def test_no_facts_no_record():
    """Only windows with facts, or after them; nothing without events."""
    assert Numbers([]).records == {}
    numbers = Numbers([act("a", "2024-03-05 10:00")])
    months = {key[4] for key in numbers.records if key[:2] == ("calls", "all") and key[3] == "month"}
    assert months == {"2024-03-01T00:00:00+00:00", "2024-04-01T00:00:00+00:00"}
    assert numbers.one("calls", window="7d", start="2024-06-09 00:00") is None


def test_days_and_weeks_are_gone_after_400_days():
    """A call in January 2023, asked in June 2024: its day and week are gone, its month is not."""
    numbers = Numbers([act("a", "2023-01-10 10:00")])
    assert {key[3] for key in numbers.records if key[0] == "calls"} == {"month", "quarter", "year", "all"}


def test_the_window_before_one_that_may_be_corrected_is_known_though_gone():
    """Watermark 15 June 2024 12:00: days from 13 May 2023 on may be corrected, and the 13th's previous with them."""
    numbers = Numbers([act("a", "2023-05-12 10:00"), act("b", "2023-05-13 10:00"), act("c", "2023-05-14 10:00")])
    assert numbers.one("calls", window="day", start="2023-05-12 00:00") is None
    assert numbers.one("calls", window="day", start="2023-05-13 00:00").previous == 1
    assert numbers.one("calls", window="week", start="2023-05-15 00:00").previous == 3


def test_windows_after_the_watermark_are_optional():
    """An event five minutes ahead of the watermark may open tomorrow's window early."""
    numbers = Numbers([act("a", "2024-06-16 00:01")], watermark="2024-06-15 23:58")
    assert not numbers.one("calls", window="day", start="2024-06-16 00:00").required
    assert numbers.one("calls", window="month", start="2024-06-01 00:00").required


def test_a_day_that_a_zone_skipped_is_no_window():
    """Apia had no 30 December 2011: a record of it would be one of the 31st, which begins where it would, and empty."""
    facts = [SimpleNamespace(day=date(2011, 12, 29)), SimpleNamespace(day=date(2011, 12, 31))]
    found = wanted("day", facts, ZoneInfo("Pacific/Apia"), us("2012-01-05 00:00"))
    assert sorted(map(span, (window for window, _ in found))) == [
        ["2011-12-29T10:00", "2011-12-30T10:00"],
        ["2011-12-30T10:00", "2011-12-31T10:00"],
        ["2011-12-31T10:00", "2012-01-01T10:00"],
    ]
