"""How much business time lies between two instants?"""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from streams.audit.windows import ONE_DAY, SECOND, day_of
from streams.config import Business

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_PART = re.compile(r"\s*([A-Za-z]{3})(?:\s*-\s*([A-Za-z]{3}))?\s+(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})\s*")

Hours = dict[int, list[tuple[timedelta, timedelta]]]


@lru_cache
def read_hours(text: str) -> Hours:
    """Read "Mon-Fri 09:00-18:00" (parts separated by commas) as opening times by weekday, Monday 0."""
    hours: Hours = {}
    for part in re.split("[,;]", text):
        found = _PART.fullmatch(part)
        if not found:
            raise ValueError(f"business.hours: cannot read {part!r}")
        first, last, *clock = found.groups()
        begin = WEEKDAYS.index(first.lower())
        end = WEEKDAYS.index((last or first).lower())
        opens, closes = (timedelta(hours=int(clock[at]), minutes=int(clock[at + 1])) for at in (0, 2))
        for step in range((end - begin) % 7 + 1):
            hours.setdefault((begin + step) % 7, []).append((opens, closes))
    return hours


@lru_cache(maxsize=10_000)
def open_times(day: date, business: Business) -> tuple[tuple[int, int], ...]:
    """Return the opening times of one day, in µs; the clock is the one on the wall."""
    if business.hours is None or day.isoformat() in business.holidays:
        return ()
    zone = ZoneInfo(business.zone)
    wall = datetime.combine(day, time())
    return tuple(
        (_instant(wall + opens, zone), _instant(wall + closes, zone))
        for opens, closes in read_hours(business.hours).get(day.weekday(), ())
    )


def business_ms(start: int, end: int, business: Business) -> int:
    """Return the business time of [start, end) in whole ms; without configured hours all time is business time."""
    if business.hours is None:
        return (end - start) // 1000
    zone = ZoneInfo(business.zone)
    day, last = day_of(start, zone), day_of(end, zone)
    total = 0
    while day <= last:
        for opens, closes in open_times(day, business):
            total += max(0, min(end, closes) - max(start, opens))
        day += ONE_DAY
    return total // 1000


def _instant(wall: datetime, zone: ZoneInfo) -> int:
    """Return the instant at which the wall clock shows this time (the first, where it shows it twice), or goes past it."""
    skipped = 0
    while not _is_shown(wall, zone):
        wall, skipped = wall - timedelta(minutes=1), 60
    return (int(wall.replace(tzinfo=zone).timestamp()) + skipped) * SECOND


def _is_shown(wall: datetime, zone: ZoneInfo) -> bool:
    at = wall.replace(tzinfo=zone).timestamp()
    return datetime.fromtimestamp(at, zone).replace(tzinfo=None) == wall
