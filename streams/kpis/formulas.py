"""How is each KPI worked out?  From the integers of one window, at the edge, with all that makes it checkable."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from streams.config import Definitions
from streams.events.contract import ACTIVITY_TYPES
from streams.events.currencies import MINOR_DIGITS
from streams.kpis.catalogue import CATALOGUE, Kpi
from streams.panes.cell import Cell, Measure, activity_type, currency_name
from streams.panes.histogram import quantile

Number = int | float


class Value(msgspec.Struct, frozen=True, gc=False):
    """What a record says besides its names.  Durations in seconds, money in major units."""

    value: Number | None
    n: int
    numerator: Number | None = None
    denominator: Number | None = None
    stats: dict[str, Number] | None = None


class Formula(NamedTuple):
    """How a KPI is worked out: by currency ("" = none), from the kinds in the mask."""

    mask: int
    work_out: Callable[[Cell], dict[str, Value]]
    nothing: Value


NOTHING_COUNTED = Value(0, 0)
NOTHING_KNOWN = Value(None, 0)
NOTHING_DIVIDED = Value(None, 0, 0, 0)


def one(cell: Cell, measure: Measure) -> int:
    """Return the integer of a measure without subs."""
    return cell.get(measure << 16, 0)


def by_sub(cell: Cell, measure: Measure) -> list[tuple[int, int]]:
    """Return (sub, integer) of a measure that can have any sub: a histogram, or money."""
    return [(key & 0xFFFF, amount) for key, amount in cell.items() if key >> 16 == measure]


# ------------------------------------------------------------------ the families


def _count(measure: Measure) -> Formula:
    def work_out(cell: Cell) -> dict[str, Value]:
        count = one(cell, measure)
        return {"": Value(count, count)}

    return Formula(1 << measure, work_out, NOTHING_COUNTED)


def _ratio(numerator: Measure, denominator: Measure) -> Formula:
    def work_out(cell: Cell) -> dict[str, Value]:
        above, below = one(cell, numerator), one(cell, denominator)
        return {"": Value(above / below if below else None, below, above, below)}

    return Formula(1 << numerator | 1 << denominator, work_out, NOTHING_DIVIDED)


def _win_rate(cell: Cell) -> dict[str, Value]:
    won, lost = one(cell, Measure.WON), one(cell, Measure.LOST)
    closed = won + lost
    return {"": Value(won / closed if closed else None, closed, won, closed)}


def _won_lost(cell: Cell) -> dict[str, Value]:
    won, lost = one(cell, Measure.WON), one(cell, Measure.LOST)
    return {"": Value(won / lost if lost else None, won + lost, won, lost)}


def _distribution(count: Measure, total: Measure, histogram: Measure) -> Formula:
    def work_out(cell: Cell) -> dict[str, Value]:
        n = one(cell, count)
        if n <= 0:
            return {"": NOTHING_KNOWN}
        buckets = sorted(by_sub(cell, histogram))
        p50 = quantile(buckets, n, 0.5) / 1000
        stats = {"mean": one(cell, total) / (1000 * n), "p50": p50, "p90": quantile(buckets, n, 0.9) / 1000}
        return {"": Value(p50, n, stats=stats)}

    return Formula(1 << count | 1 << total | 1 << histogram, work_out, NOTHING_KNOWN)


def major(minor: int, currency: str) -> Number:
    """Return minor units as major units, exactly where they are whole."""
    scale = int(10 ** MINOR_DIGITS.get(currency, 2))
    return minor // scale if minor % scale == 0 else minor / scale


def _sum_of_money(total: Measure, deals: Measure) -> Formula:
    def work_out(cell: Cell) -> dict[str, Value]:
        return {
            (name := currency_name(code)): Value(major(cell.get(total << 16 | code, 0), name), n)
            for code, n in by_sub(cell, deals)
        }

    return Formula(1 << total | 1 << deals, work_out, NOTHING_COUNTED)


def _mean_of_money(total: Measure, deals: Measure) -> Formula:
    def work_out(cell: Cell) -> dict[str, Value]:
        found: dict[str, Value] = {}
        for code, n in by_sub(cell, deals):
            name, minor = currency_name(code), cell.get(total << 16 | code, 0)
            scale = 10 ** MINOR_DIGITS.get(name, 2)
            found[name] = Value(minor / (scale * n), n, major(minor, name), n)
        return found

    return Formula(1 << total | 1 << deals, work_out, NOTHING_DIVIDED)


_ACTIVITIES = Measure.ACTIVITIES << 16
_ALL_ACTIVITIES = frozenset(_ACTIVITIES | sub for sub in range(len(ACTIVITY_TYPES) << 2))


def _activities(cell: Cell) -> dict[str, Value]:
    by_direction = [0, 0, 0, 0]
    for key in cell.keys() & _ALL_ACTIVITIES:  # few are counted of a rep, and a cell may be wide
        by_direction[key & 3] += cell[key]
    return {"": _by_direction(*by_direction)}


def _activity(name: str) -> Formula:
    first = ACTIVITY_TYPES.index(name) << 2
    key = _ACTIVITIES | first

    def work_out(cell: Cell) -> dict[str, Value]:
        count = cell.get
        return {"": _by_direction(count(key, 0), count(key | 1, 0), count(key | 2, 0), count(key | 3, 0))}

    return Formula(activity_type(first), work_out, NOTHING_COUNTED)


def _by_direction(unknown: int, inbound: int, outbound: int, internal: int) -> Value:
    count = unknown + inbound + outbound + internal
    if not count:
        return NOTHING_COUNTED
    stats: dict[str, Number] = {"inbound": inbound, "outbound": outbound, "internal": internal, "unknown": unknown}
    return Value(count, count, stats=stats)


def _talk_time(cell: Cell) -> dict[str, Value]:
    milliseconds, talks = one(cell, Measure.TALK_MS), one(cell, Measure.TALKS)
    return {"": Value(milliseconds // 1000 if milliseconds % 1000 == 0 else milliseconds / 1000, talks)}


_OUTCOMES = 1 << Measure.WON | 1 << Measure.LOST

FORMULAS: dict[str, Formula] = {
    "leads_in_funnel": _count(Measure.LEADS),
    "active_deals": _count(Measure.ACTIVE),
    "pipeline_value": _sum_of_money(Measure.VALUE, Measure.VALUE_DEALS),
    "new_leads": _count(Measure.NEW_LEADS),
    "stage_entered": _count(Measure.ENTERED),
    "stage_left": _count(Measure.LEFT),
    "stage_conversion": _ratio(Measure.COHORT_ADVANCED, Measure.COHORT_ENTERED),
    "lead_conversion": _ratio(Measure.CREATED_WON, Measure.CREATED),
    "win_rate": Formula(_OUTCOMES, _win_rate, NOTHING_DIVIDED),
    "won_lost_ratio": Formula(_OUTCOMES, _won_lost, NOTHING_DIVIDED),
    "time_in_stage": _distribution(Measure.LEFT, Measure.STAY_MS, Measure.STAY),
    "sales_cycle": _distribution(Measure.WON_CYCLES, Measure.WON_CYCLE_MS, Measure.WON_CYCLE),
    "closed_cycle": _distribution(Measure.CLOSED_CYCLES, Measure.CLOSED_CYCLE_MS, Measure.CLOSED_CYCLE),
    "revenue": _sum_of_money(Measure.REVENUE, Measure.REVENUE_DEALS),
    "avg_deal_size": _mean_of_money(Measure.REVENUE, Measure.REVENUE_DEALS),
    "activities": Formula(1 << Measure.ACTIVITIES, _activities, NOTHING_COUNTED),
    "calls": _activity("call"),
    "emails": _activity("email"),
    "meetings": _activity("meeting"),
    "messages": _activity("message"),
    "proposals": _activity("proposal"),
    "tasks": _activity("task"),
    "connect_rate": _ratio(Measure.CONNECTED_CALLS, Measure.OUTBOUND_CALLS),
    "talk_time": Formula(1 << Measure.TALK_MS | 1 << Measure.TALKS, _talk_time, NOTHING_COUNTED),
    "first_response_time": _distribution(Measure.ANSWERED, Measure.RESPONSE_MS, Measure.RESPONSE),
    "first_response_business": _distribution(Measure.ANSWERED, Measure.BUSINESS_MS, Measure.BUSINESS),
    "first_response_answered": _ratio(Measure.ANSWERED, Measure.ASKED),
    "first_response_within_sla": _ratio(Measure.WITHIN_SLA, Measure.ASKED),
    "waiting_leads": _count(Measure.WAITING),
}

# The cohort that a KPI's maturity is judged by.
COHORTS: dict[str, Measure] = {
    "stage_conversion": Measure.COHORT_ENTERED,
    "lead_conversion": Measure.CREATED,
    "first_response_time": Measure.ASKED,
    "first_response_business": Measure.ASKED,
    "first_response_answered": Measure.ASKED,
    "first_response_within_sla": Measure.ASKED,
}

OLDEST_WAITING = "oldest_waiting"


class Compiled(NamedTuple):
    """One KPI of one cut, ready to be worked out; `row` is its place in the catalogue."""

    row: int
    kpi: Kpi
    formula: Formula
    cohort: Measure | None


def compile_cut(cut: str, definitions: Definitions, *, levels: bool) -> list[Compiled]:
    """Return the KPIs that are on for a cut: the levels, or the ones with windows."""
    return [
        Compiled(row, kpi, FORMULAS[kpi.id], COHORTS.get(kpi.id))
        for row, kpi in enumerate(CATALOGUE)
        if kpi.id in FORMULAS
        and cut in kpi.cuts
        and cut in definitions.cuts
        and definitions.kpis.get(kpi.id, True)
        and (kpi.base == "level") == levels
    ]


def oldest(since: int | None, waiting: int, watermark: int) -> Value:
    """Return oldest_waiting: seconds since the creation of the lead that waits longest; as of all durations, whole ms are counted."""
    if since is None:
        return Value(0, 0)
    age = max(0, watermark - since) // 1_000
    return Value(age // 1_000 if age % 1_000 == 0 else age / 1_000, waiting)
