"""What does a record say about the numbers of its window?  One small function for each shape of KPI."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from streams.events.contract import DIRECTIONS
from streams.events.currencies import MINOR_DIGITS

Number = int | float
Stats = dict[str, Number]


class Figures(NamedTuple):
    """The fields of a record that its facts decide."""

    value: Number | None
    n: int
    numerator: Number | None = None
    denominator: Number | None = None
    stats: Stats | None = None


def major(minor: int, currency: str | None) -> float:
    """Turn minor units into major ones."""
    return float(minor / 10 ** MINOR_DIGITS[currency or ""])


def count(numbers: Sequence[int], _currency: str | None) -> Figures:
    """Counts and levels: n = value, numerator and denominator null."""
    return Figures(len(numbers), len(numbers))


def by_direction(numbers: Sequence[int], _currency: str | None) -> Figures:
    """A count whose stats count by direction; a direction that was not said is unknown."""
    stats: Stats = {name or "unknown": numbers.count(index) for index, name in enumerate(DIRECTIONS)}
    return Figures(len(numbers), len(numbers), stats=stats)


def share(numbers: Sequence[int], _currency: str | None) -> Figures:
    """A ratio, unrounded, with numerator and denominator; n = denominator."""
    part, whole = sum(numbers), len(numbers)
    return Figures(part / whole if whole else None, whole, part, whole)


def won_to_lost(numbers: Sequence[int], _currency: str | None) -> Figures:
    """Won / lost; n = won + lost; denominator 0: value null."""
    won = sum(numbers)
    lost = len(numbers) - won
    return Figures(won / lost if lost else None, len(numbers), won, lost)


def durations(numbers: Sequence[int], _currency: str | None) -> Figures:
    """Value = p50; stats = mean (integer sum / n), p50 and p90 (nearest rank ceil(q * n), here exact); in seconds."""
    n = len(numbers)
    if n == 0:
        return Figures(None, 0)
    ordered = sorted(numbers)
    p50 = ordered[-(-n * 50 // 100) - 1] / 1000
    p90 = ordered[-(-n * 90 // 100) - 1] / 1000
    return Figures(p50, n, stats={"mean": sum(numbers) / n / 1000, "p50": p50, "p90": p90})


def seconds(numbers: Sequence[int], _currency: str | None) -> Figures:
    """Sum in seconds; n = what contributed."""
    return Figures(sum(numbers) / 1000, len(numbers))


def total(numbers: Sequence[int], currency: str | None) -> Figures:
    """Sum in major units; n = deals with an amount in the currency."""
    return Figures(major(sum(numbers), currency), len(numbers))


def average(numbers: Sequence[int], currency: str | None) -> Figures:
    """Mean in major units, with the sum as numerator and n as denominator."""
    n, paid = len(numbers), major(sum(numbers), currency)
    return Figures(paid / n if n else None, n, paid, n)


Shape = Callable[[Sequence[int], str | None], Figures]

SHAPES: dict[str, Shape] = {
    "leads_in_funnel": count,
    "active_deals": count,
    "pipeline_value": total,
    "new_leads": count,
    "stage_entered": count,
    "stage_left": count,
    "stage_conversion": share,
    "lead_conversion": share,
    "win_rate": share,
    "won_lost_ratio": won_to_lost,
    "time_in_stage": durations,
    "sales_cycle": durations,
    "closed_cycle": durations,
    "revenue": total,
    "avg_deal_size": average,
    "activities": by_direction,
    "calls": by_direction,
    "emails": by_direction,
    "meetings": by_direction,
    "messages": by_direction,
    "proposals": by_direction,
    "tasks": by_direction,
    "connect_rate": share,
    "talk_time": seconds,
    "first_response_time": durations,
    "first_response_business": durations,
    "first_response_answered": share,
    "first_response_within_sla": share,
    "waiting_leads": count,
}


def oldest(created: Sequence[int], watermark: int) -> Figures:
    """Age of the oldest waiting lead at the watermark; n = waiting leads."""
    return Figures(age(min(created), watermark), len(created))


def age(since: int, watermark: int) -> float:
    """Seconds, whole ms; what is newer than the watermark has age 0."""
    return max(0, watermark - since) // 1000 / 1000
