"""Are the numbers right?  Plain counts over the generated events, and what the KPI topic says, side by side.

Shares no code with the worker.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from streams.cli.read import last_of_every_key
from streams.topics import KPI_LATEST, STAGE_CHANGE

DAY = "day"  # J2 fills exactly one day


@dataclass
class Counts:
    """What J2 counts: human activities per rep, entries and exits per stage, and the ms spent in each."""

    activities: Counter[str] = field(default_factory=Counter)
    entered: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)
    stay_ms: Counter[str] = field(default_factory=Counter)

    def differences(self, other: Counts) -> list[str]:
        """Return a line for each number that is not the same in both; self is right."""
        found = []
        for name in ("activities", "entered", "left", "stay_ms"):
            right, seen = +getattr(self, name), +getattr(other, name)
            found += [
                f"{name} {key}: {seen[key]} instead of {right[key]}"
                for key in sorted(right | seen)
                if seen[key] != right[key]
            ]
        return found

    @property
    def numbers(self) -> int:
        """Return how many numbers there are."""
        return sum(len(one) for one in (self.activities, self.entered, self.left, self.stay_ms))


def milliseconds(text: str) -> int:
    """Return an RFC 3339 time as whole ms since 1970."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def plain(events: Iterable[tuple[str, bytes, bytes]]) -> Counts:
    """Count in one loop; the events come in time order."""
    counts = Counts()
    stages: dict[str, tuple[str, int]] = {}
    for topic, _, value in events:
        event = json.loads(value)
        if topic != STAGE_CHANGE:
            counts.activities[event["rep_id"]] += 1
            continue
        stage, at = event["to_stage"], milliseconds(event["occurred_at"])
        before = stages.get(event["deal_id"])
        if before is None or before[0] != stage:
            stages[event["deal_id"]] = (stage, at)
            counts.entered[stage] += 1
            if before is not None:
                counts.left[before[0]] += 1
                counts.stay_ms[before[0]] += at - before[1]
    return counts


def told(client: dict[str, Any]) -> Counts:
    """Return what the worker published about the day."""
    counts = Counts()
    rows = last_of_every_key(client, KPI_LATEST, lambda key: f'"{DAY}"'.encode() in key)
    for key, value in rows.items():
        kpi, cut, entity, window, _, _ = json.loads(key)
        if window != DAY:
            continue
        found = json.loads(value)
        if (kpi, cut) == ("activities", "rep"):
            counts.activities[entity[0]] += found["value"]
        elif (kpi, cut) == ("stage_entered", "stage"):
            counts.entered[entity[1]] += found["value"]
        elif (kpi, cut) == ("stage_left", "stage"):
            counts.left[entity[1]] += found["value"]
        elif (kpi, cut) == ("time_in_stage", "stage") and found["n"]:
            counts.stay_ms[entity[1]] += round(found["stats"]["mean"] * found["n"] * 1000)
    return counts
