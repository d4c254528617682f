"""How is a KPI value written for people?"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from streams.events.currencies import MINOR_DIGITS
from streams.panes.text import percent

_STEPS = ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s"))
NOTHING = "–"
_TO_ONE = {"won_lost_ratio"}  # so many to one, no share of a whole


def value(record: dict[str, Any], field: str = "value") -> str:
    """Return one number of a KPI record in its unit."""
    unit = "count" if record.get("kpi") in _TO_ONE else str(record.get("unit"))
    return amount(record.get(field), unit, record.get("currency"))


def amount(number: float | None, unit: str, currency: str | None = None) -> str:
    """Write a number in its unit: 63.2 %, 1,234 USD, 2 h 5 min."""
    if number is None:
        return NOTHING
    if unit == "ratio":
        return percent(number).replace("%", " %")
    if unit == "seconds":
        return duration(number)
    digits = MINOR_DIGITS.get(currency or "", 2) if unit == "money" else 2
    text = f"{number:,.{digits}f}"
    text = text.removesuffix("." + "0" * digits) if digits else text
    return f"{text} {currency}" if unit == "money" and currency else text


def duration(seconds: float) -> str:
    """Write a duration with its two largest units."""
    if seconds < 0:
        return "-" + duration(-seconds)
    for size, name, small, small_name in _STEPS:
        # A value that rounds up to the next unit is written in it: 59.9 min is 1 h.
        if round(seconds / small) * small >= size:
            whole, rest = divmod(round(seconds / small), size // small)
            return f"{whole} {name}" + (f" {rest} {small_name}" if rest else "")
    return f"{seconds:.0f} s" if seconds >= 10 or seconds == int(seconds) else f"{seconds:.1f} s"


def window(record: dict[str, Any], zone: ZoneInfo) -> str:
    """Name the window, with its first day where it has one: that of the business zone, in which days begin."""
    found = record["window"]
    return f"{found['name']} {_day(found['start'], zone)}" if found.get("start") else str(found["name"])


def _day(start: str, zone: ZoneInfo) -> str:
    try:
        return datetime.fromisoformat(start).astimezone(zone).date().isoformat()
    except (ValueError, OverflowError):  # a record of others
        return start[:10]


def entity(record: dict[str, Any]) -> str:
    """Name the entity: the values of the cut."""
    return " / ".join(str(one) for one in record["entity"].values()) or "all"
