"""Can a snapshot in the history be true?  What was known when a day closed cannot be recomputed, but must agree with itself.

Which late events had come when a day closed, nothing on the topics says: partitions have no common order.  So a snapshot's
numbers are held to three things.  Its day had closed by its own watermark, and its window is one that ended with that day.
Its own fields agree (a share is its numerator by its denominator).  And the snapshots of one entity and window, written
at once from the same integers, agree with each other: those won and lost are those whose cycle is closed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from math import isclose
from typing import Any

from streams.audit.beside import FLOAT_ERROR, Difference, Record, bounds, is_between, micros, own_watermark
from streams.audit.recompute import COHORTS, Key
from streams.audit.tally import (
    SHAPES,
    Shape,
    average,
    by_direction,
    count,
    durations,
    seconds,
    share,
    total,
    won_to_lost,
)  # fmt: skip
from streams.audit.windows import ROLLING, Window, calendar, day_of, midnight, rolling
from streams.config import Definitions
from streams.kpis.catalogue import BY_ID

# The snapshots of one entity and window, by KPI and currency.
Siblings = Mapping[tuple[str, str | None], Record]
Group = tuple[str, tuple[str, ...], str, str | None]


def is_snapshot(key: Key) -> bool:
    """Say whether a record of the history is a snapshot: a rolling window, or the level of a day."""
    kpi, _, _, window, start, _ = key
    return start is not None and (window in ROLLING or (window == "day" and BY_ID[kpi].base == "level"))


def alone(key: Key, record: Record, definitions: Definitions) -> Iterator[Difference]:
    """Yield what is wrong with a snapshot by itself."""
    kpi, window, zone = key[0], record["window"], definitions.zone
    end, watermark = micros(window["end"]), own_watermark(record)
    if key[3] == "day":
        right = calendar("day", day_of(micros(window["start"]), zone), zone)
    else:
        right = rolling(key[3], end - 1, zone)[0]
    closes = midnight(day_of(end, zone), zone)
    if right != Window(key[3], micros(window["start"]), end) or closes != end or (watermark or 0) < end:
        yield "window", "one that ended with a day that had closed", window
    if record.get("unit") != BY_ID[kpi].unit:
        yield "unit", BY_ID[kpi].unit, record.get("unit")
    if kpi not in SHAPES:
        yield "record", None, record.get("value")
        return
    n = record.get("n")
    if type(n) is not int or n < 0 or not _agrees(SHAPES[kpi], n, record):
        yield "value", "what agrees with n, numerator, denominator and stats", record.get("value")
    if BY_ID[kpi].base == "level" and record.get("previous") is not None:
        yield "previous", None, record["previous"]
    told = record.get("mature_share")
    if BY_ID[kpi].base != "cohort":
        if told is not None:
            yield "mature_share", None, told
    elif watermark is not None and (told is not None or (n and kpi in COHORTS)):
        least, most = bounds(record, watermark, definitions)
        if not is_between(told, least, most):
            yield "mature_share", f"from {least} to {most}", told


def _agrees(shape: Shape, n: int, record: Record) -> bool:
    try:
        return _is_of(shape, n, dict(record))
    except (KeyError, TypeError, AttributeError):
        return False


def _is_of(shape: Shape, n: int, record: dict[str, Any]) -> bool:
    value, over, under, stats = record["value"], record["numerator"], record["denominator"], record["stats"]
    if shape in (share, won_to_lost, average):
        whole = n == (over + under if shape is won_to_lost else under) and under >= 0
        within = shape is average or 0 <= over <= (under if shape is share else n)
        right = isclose(value, over / under, rel_tol=FLOAT_ERROR) if under else value is None
        return whole and within and right and stats is None
    if over is not None or under is not None:
        return False
    if shape is durations:
        if n == 0:
            return value is None
        return bool(value == stats["p50"] and 0 <= stats["p50"] <= stats["p90"] and stats["mean"] >= 0)
    if shape in (total, seconds):
        return stats is None and (n > 0 or not value) and (shape is total or value >= 0)
    by_stats = sum(stats.values()) if shape is by_direction and n else n
    return bool(value == n == by_stats and (stats is None) == (shape is count or n == 0))


# ------------------------------------------------------------------ of one entity and window


def together(snapshots: Mapping[Key, Record], definitions: Definitions) -> Iterator[tuple[Key, Difference]]:
    """Yield (key, difference) where snapshots that were written at once contradict each other."""
    groups: dict[Group, dict[tuple[str, str | None], Record]] = defaultdict(dict)
    for (kpi, cut, entity, window, start, currency), record in snapshots.items():
        groups[cut, entity, window, start][kpi, currency] = record
    for (cut, entity, window, start), found in groups.items():
        on = {kpi.id for kpi in BY_ID.values() if cut in kpi.cuts and definitions.kpis.get(kpi.id, True)}
        for names, rule, said in RULES:
            if on.issuperset(names) and not rule(found):
                key = (names[0], cut, entity, window, start, None)
                yield key, (names[-1], said, {name: _of(found, name).get("n") for name in names})
        if window == "day":
            for name in sorted(on):
                if SHAPES.get(name) is count and BY_ID[name].base == "level" and (name, None) not in found:
                    yield (name, cut, entity, window, start, None), ("record", "there, as others of that day are", None)


_ABSENT: Record = {"n": 0, "numerator": 0, "denominator": 0, "stats": None}


def _of(found: Siblings, kpi: str) -> Record:
    """Return a snapshot; where there is none, nothing was counted."""
    return found.get((kpi, None), _ABSENT)


def _same(*fields: tuple[str, str]) -> Callable[[Siblings], bool]:
    return lambda found: len({_of(found, kpi).get(field) for kpi, field in fields}) == 1


def _at_most(part: tuple[str, str], whole: tuple[str, str]) -> Callable[[Siblings], bool]:
    return lambda found: _of(found, part[0])[part[1]] <= _of(found, whole[0])[whole[1]]


def _money(found: Siblings) -> bool:
    currencies = {currency for kpi, currency in found if kpi in ("revenue", "avg_deal_size")}
    for currency in currencies:
        paid, mean = (found.get((kpi, currency), {}) for kpi in ("revenue", "avg_deal_size"))
        if paid.get("n", 0) != mean.get("n", 0) or (paid and mean and paid.get("value") != mean.get("numerator")):
            return False
    return True


def _deals_of(kpi: str, whole: tuple[str, str]) -> Callable[[Siblings], bool]:
    return lambda found: sum(one["n"] for (name, _), one in found.items() if name == kpi) <= _of(found, whole[0])[whole[1]]


_OF_TYPES = ("calls", "emails", "meetings", "messages", "proposals", "tasks")


def _types(found: Siblings) -> bool:
    whole = _of(found, "activities")["stats"] or {}
    parts: dict[str, int] = defaultdict(int)
    for kpi in _OF_TYPES:
        for name, number in (_of(found, kpi)["stats"] or {}).items():
            parts[name] += number
    return all(number <= whole.get(name, 0) for name, number in parts.items())


Rule = tuple[tuple[str, ...], Callable[[Siblings], bool], Any]

RULES: tuple[Rule, ...] = (
    (("win_rate", "won_lost_ratio"), _same(("win_rate", "n"), ("won_lost_ratio", "n")), "as many won and lost"),
    (("win_rate", "won_lost_ratio"), _same(("win_rate", "numerator"), ("won_lost_ratio", "numerator")), "as many won"),
    (("win_rate", "closed_cycle"), _same(("win_rate", "n"), ("closed_cycle", "n")), "a cycle of each that closed"),
    (("win_rate", "sales_cycle"), _same(("win_rate", "numerator"), ("sales_cycle", "n")), "a cycle of each that was won"),
    (("stage_left", "time_in_stage"), _same(("stage_left", "n"), ("time_in_stage", "n")), "a time of each that left"),
    (("lead_conversion", "first_response_answered"), _same(("lead_conversion", "n"), ("first_response_answered", "n")), "as many created"),
    (("first_response_answered", "first_response_within_sla"), _same(("first_response_answered", "n"), ("first_response_within_sla", "n")), "as many created"),
    (("first_response_answered", "first_response_within_sla"), _at_most(("first_response_within_sla", "numerator"), ("first_response_answered", "numerator")), "in time at most the answered"),
    (("first_response_answered", "first_response_time"), _same(("first_response_answered", "numerator"), ("first_response_time", "n")), "a time of each answer"),
    (("first_response_answered", "first_response_business"), _same(("first_response_answered", "numerator"), ("first_response_business", "n")), "a time of each answer"),
    (("revenue", "avg_deal_size"), _money, "the same money of the same deals"),
    (("win_rate", "revenue"), _deals_of("revenue", ("win_rate", "numerator")), "money of at most those won"),
    (("activities", *_OF_TYPES), _types, "of all types at least the sum of these"),
    (("calls", "talk_time"), _at_most(("talk_time", "n"), ("calls", "n")), "talks are calls"),
    (("calls", "connect_rate"), _at_most(("connect_rate", "n"), ("calls", "n")), "outbound calls are calls"),
    (("active_deals", "leads_in_funnel"), _at_most(("leads_in_funnel", "n"), ("active_deals", "n")), "leads are active"),
    (("active_deals", "waiting_leads"), _at_most(("waiting_leads", "n"), ("active_deals", "n")), "who waits is active"),
    (("active_deals", "pipeline_value"), _deals_of("pipeline_value", ("active_deals", "n")), "money of at most the active"),
)  # fmt: skip
