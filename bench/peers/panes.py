"""Which panes are right?  Counts per rep and minute (J1), per rep, stage and minute (J2), in one plain loop.

A pane is written `rep-001|28492340` or `Won|28492340`: whose, and the minute since 1970.  Shares no code with any system.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from bench.counts import milliseconds
from streams.topics import ACTIVITY

Panes = dict[str, dict[str, int]]
MINUTE_MS = 60_000


def pane(whose: str, at_ms: int) -> str:
    """Return the name of the pane that holds an instant."""
    return f"{whose}|{at_ms // MINUTE_MS}"


def add(panes: Panes, name: str, what: Mapping[str, int]) -> None:
    """Add to a pane."""
    cell = panes.setdefault(name, {})
    for measure, value in what.items():
        cell[measure] = cell.get(measure, 0) + value


def j1(events: Iterable[tuple[str, bytes, bytes]]) -> Panes:
    """Count all events per rep and minute."""
    panes: Panes = {}
    for _, _, value in events:
        event = json.loads(value)
        add(panes, pane(event["rep_id"], milliseconds(event["occurred_at"])), {"events": 1})
    return panes


def j2(events: Iterable[tuple[str, bytes, bytes]]) -> Panes:
    """Count activities per rep, entries, exits and ms stayed per stage; events of a deal come in time order.

    An exit, and what was stayed, belong to the stage that was left and to the minute of the exit.
    """
    panes: Panes = {}
    deals: dict[str, tuple[str, int]] = {}
    for topic, _, value in events:
        event = json.loads(value)
        at = milliseconds(event["occurred_at"])
        if topic == ACTIVITY:
            add(panes, pane(event["rep_id"], at), {"activities": 1})
            continue
        stage, before = event["to_stage"], deals.get(event["deal_id"])
        if before is not None and before[0] == stage:
            continue
        deals[event["deal_id"]] = (stage, at)
        add(panes, pane(stage, at), {"entered": 1, "left": 0, "stay_ms": 0})
        if before is not None:
            add(panes, pane(before[0], at), {"entered": 0, "left": 1, "stay_ms": at - before[1]})
    return panes


JOBS = {"j1": j1, "j2": j2}


def told(rows: Mapping[bytes, bytes]) -> Panes:
    """Return what the last record of each key says."""
    return {key.decode(): json.loads(value) for key, value in rows.items()}


def differences(right: Panes, seen: Panes) -> list[str]:
    """Return a line for each pane that is not the same in both."""
    return [
        f"{name}: {_short(seen.get(name))} instead of {_short(right.get(name))}"
        for name in sorted(right.keys() | seen.keys())
        if right.get(name) != seen.get(name)
    ]


def _short(cell: Any) -> str:
    return "nothing" if cell is None else json.dumps(cell)
