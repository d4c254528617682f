"""What must a record say beside its number?  All that follows from its own watermark, and what no record may say.

final: the watermark has passed the window's end and the grace in force now.  mature_share: of the entries of a cohort, those
of business days all of which was older than their pipeline's maturity when the watermark's day began.  target, attainment
and pace: nothing, since no target can be said.  revision: a positive integer.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from math import isclose
from typing import Any
from zoneinfo import ZoneInfo

from streams.audit.windows import ONE_DAY, SECOND, day_of, midnight
from streams.config import UNCONFIGURED, Definitions
from streams.kpis.catalogue import BY_ID

Record = Mapping[str, Any]
Difference = tuple[str, Any, Any]

UNSAID = ("target", "attainment", "pace")
# Their entries are all that were created, those not answered too; whoever came since they were told is not told anew.
OF_SOME_ENTRIES = ("first_response_time", "first_response_business")
FLOAT_ERROR = 1e-12
_DAY_AND_NIGHT = 86_400 * SECOND
_MICRO = timedelta(microseconds=1)
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


@lru_cache(maxsize=100_000)
def micros(text: str) -> int:
    """Read an instant of a record, in µs."""
    return (datetime.fromisoformat(text) - _EPOCH) // _MICRO


@lru_cache(maxsize=100_000)
def mature_from(born: int, days: int, zone: ZoneInfo) -> int:
    """Return the instant (µs) from which on who came on a day (its ordinal) is mature after so many days.

    It is that of whoever came with the day's end; a business day that begins with it or later counts them.
    """
    return midnight(datetime.fromordinal(born).date() + ONE_DAY, zone) + days * _DAY_AND_NIGHT


@lru_cache(maxsize=100_000)
def today(watermark: int, zone: ZoneInfo) -> int:
    """Return when the business day of a watermark began, in µs."""
    return midnight(day_of(watermark, zone), zone)


_WATERMARKS = range(micros("9999-01-01T00:00:00+00:00"))


def beside(record: Record, as_of: int | None, definitions: Definitions) -> Iterator[Difference]:
    """Yield (field, expected, found) for what a record says wrongly beside its number, whatever that is.

    `as_of` is the watermark of the audit: no record can be of later.
    """
    for field in UNSAID:
        if record.get(field) is not None:
            yield field, None, record[field]
    revision = record.get("revision")
    if type(revision) is not int or revision < 1:
        yield "revision", "a positive integer", revision
    watermark = own_watermark(record)
    if watermark is None or (as_of is not None and watermark > as_of):
        yield "watermark", "an instant, not after that of the newest record", record.get("watermark")
        return
    end = record["window"]["end"]
    is_final = end is not None and micros(end) + round(definitions.grace * SECOND) <= watermark
    if record.get("final") is not is_final:
        yield "final", is_final, record.get("final")


def own_watermark(record: Record) -> int | None:
    """Return the watermark that a record names, in µs; None if it names none of which every zone knows the day."""
    try:
        at = micros(record["watermark"])
    except (KeyError, TypeError, ValueError):
        return None
    return at if at in _WATERMARKS else None


def share_differences(record: Record, mature: tuple[int, ...] | None, definitions: Definitions) -> Iterator[Difference]:
    """Yield what the mature share of a record should be; `mature` says from when on each entry is mature, in order."""
    watermark, told = own_watermark(record), record.get("mature_share")
    if watermark is None:
        return
    if record["kpi"] in OF_SOME_ENTRIES:
        least, most = bounds(record, watermark, definitions)
        if (told is None and record.get("n")) or (told is not None and not is_between(told, least, most)):
            yield "mature_share", f"from {least} to {most}", told
        return
    said = bisect_right(mature, today(watermark, definitions.zone)) / len(mature) if mature else None
    if said != told and not (said is not None and is_between(told, said, said)):
        yield "mature_share", said, told


def bounds(record: Record, watermark: int, definitions: Definitions) -> tuple[int, int]:
    """Return what a mature share may be at least and at most where it is not known who the entries were."""
    if BY_ID[record["kpi"]].base != "cohort":
        return 0, 1
    zone, start, end = definitions.zone, record["window"]["start"], record["window"]["end"]
    if start is None:
        return 0, 1
    matures = {UNCONFIGURED.maturity_days, *(one.maturity_days for one in definitions.pipelines.values())}
    first, last = (day_of(at, zone).toordinal() for at in (micros(start), micros(end) - 1))
    begun = today(watermark, zone)
    nobody = mature_from(first, min(matures), zone) > begun
    everybody = mature_from(last, max(matures), zone) <= begun
    return int(everybody), int(not nobody)


def is_between(told: Any, least: float, most: float) -> bool:
    """Say whether a share lies within bounds, but for the last bits of a float."""
    if not isinstance(told, (int, float)) or isinstance(told, bool):
        return False
    return least <= told <= most or isclose(told, least, rel_tol=FLOAT_ERROR) or isclose(told, most, rel_tol=FLOAT_ERROR)
