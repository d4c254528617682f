"""When was it?  Every accepted way to say a time, as whole microseconds since 1970 UTC; what is finer is cut off.

RFC 3339 is read by cutting at its fixed columns and looking the pieces up in complete tables: no date
object is made, and what is in no table is no time.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from math import isfinite
from zoneinfo import ZoneInfo

SECOND = 1_000_000
DAY = 86_400 * SECOND
MAX_DURATION_S = 10_000_000

_DAYS_BEFORE_1970 = date(1970, 1, 1).toordinal()
_DAYS_IN_400_YEARS = 146_097
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_FRACTION = re.compile(r"\.([0-9]+)([^0-9].*)")

_CLOCK = {f"{mark}{minute // 60:02}:{minute % 60:02}": minute * 60 * SECOND for mark in "Tt " for minute in range(24 * 60)}
# 60 is a leap second: the first instant after it.
_SECONDS = {f":{second:02}": second * SECOND for second in range(61)}
_OFFSETS = {
    f"{sign}{minute // 60:02}:{minute % 60:02}": east * minute * 60 * SECOND
    for sign, east in (("+", -1), ("-", 1))
    for minute in range(24 * 60)
} | {"Z": 0, "z": 0}
_THREE_DIGITS = {f"{number:03}": number for number in range(1000)}
_days: dict[str, int] = {}


def instant(said: str | float, zone: ZoneInfo) -> int | None:
    """Return the µs of RFC 3339 text, a date alone (its first instant in the zone) or a number; None if it is no time.

    Any number below zero comes back as -1: it says an instant before 1970.
    """
    if said.__class__ is not str:
        return _of_number(said)  # type: ignore[arg-type]  # not a str
    day = _days.get(said[:10])
    clock = _CLOCK.get(said[10:16])
    second = _SECONDS.get(said[16:19])
    rest = _OFFSETS.get(said[19:])
    if rest is None:
        rest = _fraction_and_offset(said[19:])
    if day is None or clock is None or second is None or rest is None:
        return _unusual(said, zone)
    return day + clock + second + rest


def _fraction_and_offset(tail: str) -> int | None:
    milli = _THREE_DIGITS.get(tail[1:4])
    if milli is not None and tail[0] == ".":
        offset = _OFFSETS.get(tail[4:])
        if offset is not None:
            return milli * 1000 + offset
        micro = _THREE_DIGITS.get(tail[4:7])
        offset = _OFFSETS.get(tail[7:])
        if micro is not None and offset is not None:
            return milli * 1000 + micro + offset
    found = _FRACTION.fullmatch(tail)
    offset = _OFFSETS.get(found[2]) if found else None
    if not found or offset is None:
        return None
    return int(found[1][:6].ljust(6, "0")) + offset


def _unusual(said: str, zone: ZoneInfo) -> int | None:
    """Read a day that was not seen before, or a date alone."""
    day = day_of(said[:10])
    if day is None:
        return None
    if len(said) == 10:
        return day_start(said, zone)
    clock = _CLOCK.get(said[10:16])
    second = _SECONDS.get(said[16:19])
    rest = _OFFSETS.get(said[19:])
    if rest is None:
        rest = _fraction_and_offset(said[19:])
    return None if clock is None or second is None or rest is None else day + clock + second + rest


def day_of(text: str) -> int | None:
    """Return the µs of that date's midnight in UTC, for YYYY-MM-DD of the years 0000 to 9999; None if it is no date."""
    known = _days.get(text)
    if known is not None:
        return known
    found = _DATE.fullmatch(text)
    if not found:
        return None
    year, month, day = int(found[1]), int(found[2]), int(found[3])
    try:
        # datetime has no year 0000, RFC 3339 has; the calendar repeats after 400 years.
        ordinal = date(year % 400 + 400, month, day).toordinal() + (year // 400 - 1) * _DAYS_IN_400_YEARS
    except ValueError:
        return None
    start = (ordinal - _DAYS_BEFORE_1970) * DAY
    if 1970 <= year < 2200:  # a bound for the memory, wide enough for every accepted time
        _days[text] = start
    return start


@lru_cache(maxsize=16384)
def day_start(text: str, zone: ZoneInfo) -> int | None:
    """Return the first instant of that date in the zone, also where clocks skip midnight or pass it twice."""
    midnight = day_of(text)
    if midnight is None or not "0002" <= text[:4] < "9999":  # zones cannot reckon at the ends of the calendar
        return midnight
    local = datetime.fromisoformat(text)
    start = local.replace(tzinfo=zone).astimezone(UTC)
    if start.astimezone(zone).replace(tzinfo=None) != local:
        start = _end_of_gap(start, local.date(), zone)
    return (start - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _end_of_gap(after: datetime, day: date, zone: ZoneInfo) -> datetime:
    """Return the instant at which clocks jumped over midnight into the day; `after` is behind it by less than 26 hours."""
    early, late = -26 * 3600, 0
    while late - early > 1:
        middle = (early + late) // 2
        if (after + timedelta(seconds=middle)).astimezone(zone).date() < day:
            early = middle
        else:
            late = middle
    return after + timedelta(seconds=late)


def _of_number(said: float) -> int | None:
    if said < 0:
        return -1 if isfinite(said) else None
    if said < 1e11:
        return _floor(said, SECOND)
    if said < 1e14:
        return _floor(said, 1000)
    return int(said) if said < 1e17 else None


def milliseconds(seconds: float) -> int | None:
    """Return a duration in whole ms, rounded down; None below 0 or above 1e7 seconds."""
    return _floor(seconds, 1000) if 0 <= seconds <= MAX_DURATION_S else None


def _floor(value: float, scale: int) -> int:
    """Return the largest n with n / scale <= value, reading a float as the decimal number it stands for.

    Cutting off value * scale would lose a unit: 1.001 * 1000 is 1000.9999999999999.
    """
    if value.__class__ is int:
        return value * scale  # type: ignore[return-value]  # an int
    found = int(value * scale)
    if (found + 1) / scale <= value:
        return found + 1
    return found - 1 if found / scale > value else found


@lru_cache(maxsize=16384)
def is_date(text: str) -> bool:
    """Tell whether it is a calendar date YYYY-MM-DD."""
    return not text.startswith("0000") and day_of(text) is not None
