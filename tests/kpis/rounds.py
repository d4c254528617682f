"""Flows of one partition, and what their readers find of a KPI and a window."""

from __future__ import annotations

from typing import Any

from tests.audit.tables import change, settings
from tests.in_memory import InMemory


def flow_of(**changed: Any) -> InMemory:
    return InMemory(settings(partitions=1, **changed))


def lead(name: str, at: str, stage: str = "New", **said: Any):
    """Return the creation of a deal of its own."""
    return change(name, at, stage, deal_id=name, **said)


def active_deals(flow: InMemory) -> dict[str, int]:
    """Return how many deals each rep has, as latest tells it."""
    return {
        one["entity"]["rep_id"]: one["value"]
        for one in flow.latest.values()
        if (one["kpi"], one["cut"]) == ("active_deals", "rep")
    }


def found(records: dict[bytes, dict[str, Any]], kpi: str, window: str, start: str | None = None, cut: str = "all"):
    """Return the records of a KPI and window, by start; one of them when its start is said."""
    by_start = {
        one["window"]["start"] and one["window"]["start"][:16].replace("T", " "): one
        for one in records.values()
        if (one["kpi"], one["window"]["name"], one["cut"]) == (kpi, window, cut)
    }
    return by_start.get(start) if start else by_start
