"""When was it?  Every accepted way to say a time, as whole microseconds since 1970 UTC; what is finer is cut off.

RFC 3339 is read by cutting at its fixed columns and looking the pieces up in complete tables: no date
object is made, and what is in no table is no time.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from math import inf
from zoneinfo import ZoneInfo

SECOND = 1_000_000
DAY = 86_400 * SECOND
# 46 days: what goes into the 32 bits that a deal's record has for the milliseconds.
MAX_DURATION_S = 4_000_000

_DAYS_BEFORE_1970 = date(1970, 1, 1).toordinal()
_DAYS_IN_400_YEARS = 146_097
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_FRACTION = re.compile(r"\.([0-9]+)([^0-9].*)")

# The columns of a time.
_DAY, _MINUTE, _SECOND, _TAIL = slice(10), slice(10, 16), slice(16, 19), slice(19, None)
_MINUTES = {f"{mark}{minute // 60:02}:{minute % 60:02}": minute * 60 * SECOND for mark in "Tt " for minute in range(24 * 60)}
# 60 is a leap second: the first instant after it.
_SECONDS = {f":{second:02}": second * SECOND for second in range(61)}
_OFFSETS = {
    f"{sign}{minute // 60:02}:{minute % 60:02}": east * minute * 60 * SECOND
    for sign, east in (("+", -1), ("-", 1))
    for minute in range(24 * 60)
} | {"Z": 0, "z": 0}
_MILLIS = {f".{milli:03}": milli * 1000 for milli in range(1000)}

# Pieces of times that were read before, by what stands at their columns; forgotten when they are too many.
_MAX_KNOWN = 131_072
_known_days: dict[str, int] = {}  # 2024-05-06
_known_tails: dict[str, int] = {}  # Z, or .123Z
_known_ends: dict[str, int] = {}  # 456Z, of .123456Z
_LONG = 26  # a time from here on may say its fraction too finely for the whole tail to come again


def instant(said: str | float, zone: ZoneInfo) -> int | None:
    """Return the µs of RFC 3339 text, a date alone (its first instant in the zone) or a number; None if it is no time.

    Any number below zero comes back as -1: it says an instant before 1970.
    """
    if not isinstance(said, str):
        return _of_number(said)
    try:
        start = _known_days[said[_DAY]] + _MINUTES[said[_MINUTE]] + _SECONDS[said[_SECOND]]
        if len(said) < _LONG:
            return start + _known_tails[said[_TAIL]]
        return start + _MILLIS[said[19:23]] + _known_ends[said[23:]]
    except KeyError:
        return _read(said, zone)


def _read(said: str, zone: ZoneInfo) -> int | None:
    """Read any text, and remember the pieces of which the next time is likely to be made."""
    day = day_of(said[_DAY])
    if day is None or len(said) == 10:
        return None if day is None else day_start(said, zone)
    minutes, seconds, tail = _MINUTES.get(said[_MINUTE]), _SECONDS.get(said[_SECOND]), _fraction_and_offset(said[_TAIL])
    if minutes is None or seconds is None or tail is None:
        return None
    if len(said) < _LONG:
        _remember(_known_tails, said[_TAIL], tail)
    elif len(said) <= 32 and (milli := _MILLIS.get(said[19:23])) is not None:
        _remember(_known_ends, said[23:], tail - milli)
    return day + minutes + seconds + tail


def _remember(known: dict[str, int], text: str, value: int) -> None:
    if len(known) >= _MAX_KNOWN:
        known.clear()
    known[text] = value


def _fraction_and_offset(tail: str) -> int | None:
    """Return the µs after the whole second of ".123+02:00", less the offset; None if it is neither."""
    if tail in _OFFSETS:
        return _OFFSETS[tail]
    found = _FRACTION.fullmatch(tail)
    offset = _OFFSETS.get(found[2]) if found else None
    return None if found is None or offset is None else int(found[1][:6].ljust(6, "0")) + offset


def day_of(text: str) -> int | None:
    """Return the µs of that date's midnight in UTC, for YYYY-MM-DD of the years 0000 to 9999; None if it is no date."""
    known = _known_days.get(text)
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
    _remember(_known_days, text, start)
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
        return -1 if said > -inf else None
    if said < 1e11:
        return _floor(said, SECOND)
    if said < 1e14:
        return _floor(said, 1000)
    return int(said) if said < 1e17 else None


def milliseconds(seconds: float) -> int | None:
    """Return a duration in whole ms, rounded down; None below 0 or above MAX_DURATION_S."""
    if isinstance(seconds, int):  # first, because comparing an int with a float is slow
        return seconds * 1000 if 0 <= seconds <= MAX_DURATION_S else None
    return _floor(seconds, 1000) if 0.0 <= seconds <= MAX_DURATION_S else None


def _floor(value: float, scale: int) -> int:
    """Return the largest n with n / scale <= value (up to 2**53), reading a float as the decimal number it stands for.

    Cutting off value * scale would lose a unit: 1.001 * 1000 is 1000.9999999999999.
    """
    if isinstance(value, int):
        return value * scale
    largest = round(value * scale) + 1  # the product is rounded too, by half a unit where value is large
    while largest / scale > value:
        largest -= 1
    return largest


@lru_cache(maxsize=16384)
def is_date(text: str) -> bool:
    """Tell whether it is a calendar date YYYY-MM-DD, from the year 0001."""
    return not text.startswith("0000") and day_of(text) is not None
