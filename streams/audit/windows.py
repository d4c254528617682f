"""Which windows are there?  Calendar windows of the business zone, and the rolling ones at a watermark.

Every window is [start, end), in µs since 1970 UTC.  Days begin with the local date, so a day may have 23 or 25 hours.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

SECOND = 1_000_000
PANE = 300 * SECOND
ONE_DAY = timedelta(days=1)

CALENDAR = ("day", "week", "month", "quarter", "year", "all")
ROLLING_PANES = {"1h": 12, "24h": 288}
ROLLING_DAYS = {"7d": 7, "28d": 28, "90d": 90}
ROLLING = (*ROLLING_PANES, *ROLLING_DAYS)


# Where life to date begins and ends: beyond every instant that is accepted.
EVER, NEVER = -(2**62), 2**62


class Window(NamedTuple):
    """One window; life to date (`all`) and levels (`now`) are written without start and end."""

    name: str
    start: int
    end: int


NOW = Window("now", EVER, NEVER)
ALL = Window("all", EVER, NEVER)


@lru_cache(maxsize=100_000)
def iso(at: int) -> str | None:
    """Write an instant as records do; the bounds of `all` and `now` are null."""
    return None if at in (EVER, NEVER) else datetime.fromtimestamp(at // SECOND, UTC).isoformat()


def day_of(at: int, zone: ZoneInfo) -> date:
    """Return the business day that holds the instant."""
    return datetime.fromtimestamp(at // SECOND, zone).date()


def midnight(day: date, zone: ZoneInfo) -> int:
    """Return the first instant of a business day."""
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()) * SECOND


def first_day(name: str, day: date) -> date:
    """Return the first day of the calendar window that holds the day."""
    match name:
        case "day":
            return day
        case "week":
            return day - timedelta(days=day.weekday())
        case "month":
            return day.replace(day=1)
        case "quarter":
            return day.replace(month=(day.month - 1) // 3 * 3 + 1, day=1)
        case "year":
            return day.replace(month=1, day=1)
    raise ValueError(name)


def next_first_day(name: str, first: date) -> date:
    """Return the first day of the calendar window after the one that begins on `first`."""
    longest = {"day": 1, "week": 7, "month": 31, "quarter": 92, "year": 366}[name]
    return first_day(name, first + timedelta(days=longest))


@lru_cache(maxsize=100_000)
def calendar(name: str, day: date, zone: ZoneInfo) -> Window:
    """Return the calendar window that holds the day."""
    if name == "all":
        return ALL
    first = first_day(name, day)
    return Window(name, midnight(first, zone), midnight(next_first_day(name, first), zone))


@lru_cache(maxsize=100_000)
def calendar_before(name: str, day: date, zone: ZoneInfo) -> Window | None:
    """Return the calendar window before the one that holds the day."""
    return None if name == "all" else calendar(name, first_day(name, day) - ONE_DAY, zone)


@lru_cache(maxsize=100_000)
def calendar_after(name: str, day: date) -> date | None:
    """Return the first day of the calendar window after the one that holds the day."""
    return None if name == "all" else next_first_day(name, first_day(name, day))


def rolling(name: str, watermark: int, zone: ZoneInfo) -> tuple[Window, Window]:
    """Return the rolling window that ends with the pane that holds the watermark, and the one before it."""
    if name in ROLLING_PANES:
        length = ROLLING_PANES[name] * PANE
        end = (watermark // PANE + 1) * PANE
        return Window(name, end - length, end), Window(name, end - 2 * length, end - length)
    days = timedelta(days=ROLLING_DAYS[name])
    last = day_of(watermark, zone) + ONE_DAY
    ends = [midnight(last - days * back, zone) for back in (0, 1, 2)]
    return Window(name, ends[1], ends[0]), Window(name, ends[2], ends[1])
