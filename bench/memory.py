"""How much memory does a deal take, all in?  What the process grows by from N deals to 2N, divided, and what it consists of.

Run: python -m bench.memory [--deals N] [--flush N] [--full] [--json]

Deals of J2's kind with 20 events each, through the rooms of bench/rooms.py, each size in a process of its own; a customer has
as many deals in both.  What the edge has under way is not in it: it is bounded by the size of a flush, whatever is held.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import os
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from types import FunctionType, MethodType, ModuleType
from typing import Any

import msgspec

from bench import j2
from bench.ground import say
from bench.process import peak_memory, resident
from bench.resting import pack
from bench.rooms import J2_EVENTS_PER_DEAL, Rooms, pieces
from streams import config
from streams.deals.record import PackedEvents, decode
from streams.kafka.allocator import few_arenas, trim
from streams.kafka.room import StateTable
from streams.worker import GC_THRESHOLDS

REQUIRED = 600  # bytes a deal at most, all in
FLUSH = 10_000  # events; of what a larger flush frees between the rows that stay, more pages are kept
_EMPTY = sys.getsizeof(b"")  # what a bytes object has beside its bytes
_RAW = 48  # what msgspec.Raw has beside its bytes; it does not say its size itself
_NOT_STATE = (type, ModuleType, FunctionType, MethodType)

Sizes = dict[str, int]


def held(deals: int, flush: int, *, full: bool) -> dict[str, Any]:
    """Hold so many deals; return the resident size of this process, and the bytes of what is held by its kind."""
    gc.set_threshold(*GC_THRESHOLDS)
    few_arenas()
    rooms = Rooms(config.definitions_from(j2.definitions(narrow=not full)))
    events = j2.events(deals * J2_EVENTS_PER_DEAL, deals=deals, customers=deals * j2.CUSTOMERS // j2.DEALS)
    while taken := list(itertools.islice(events, flush)):
        rooms.flush(pieces(taken, rooms.count, 0))
    del taken
    gc.collect()
    found = {
        "deals": sum(key[:1] == b"d" for table in rooms.tables[: rooms.count] for key in table.rows),
        "resident": resident(),
        "peak": int(peak_memory(os.getpid()) * 1024 * 1024),
        "most_changed": rooms.most_changed,
        "sizes": _sizes(rooms),
    }
    return found | {"packed": pack(rooms.tables).resident, "without": _without_deals(rooms)}


def _without_deals(rooms: Rooms) -> int:
    """Throw every row of a deal away; return what is resident all the same."""
    for table in rooms.tables[: rooms.count]:
        table.rows, table.resting = {}, None
    gc.collect()
    trim()
    return resident()


def _sizes(rooms: Rooms) -> Sizes:
    """Return what the objects take by their own account; no object is counted twice."""
    deals, kpis = rooms.tables[: rooms.count], rooms.tables[rooms.count :]
    seen = {id(part) for table in rooms.tables for pair in table.rows.items() for part in pair}
    return {
        **_records(deals),
        **_around("deals", deals),
        "kpis: rows": sum(len(row) for table in kpis for row in table.rows.values()),
        **_around("kpis", kpis),
        "kpis: entities and their panes": _reachable(rooms.kpis, seen),
    }


def _records(tables: Iterable[StateTable]) -> Sizes:
    """Return what the records of the deals consist of."""
    activities = stages = words = others = 0
    older = sum(len(row) for table in tables for key, row in table.rows.items() if key[:1] == b"o")
    for row in (row for table in tables for key, row in table.rows.items() if key[:1] == b"d"):
        deal = decode((row, b""))
        if isinstance(deal.held, PackedEvents):
            stages += len(deal.held.events)
            words += len(deal.held.words)
        activities += len(deal.newer)
        others += len(row)
    others -= activities + stages + words
    return {
        "record: activities": activities + older,
        "record: stage events": stages,
        "record: the words they are made of": words,
        "record: head": others,
    }


def _around(room: str, tables: Iterable[StateTable]) -> Sizes:
    """Return what it takes to hold the rows, beside their bytes."""
    rows = [table.rows for table in tables]
    return {
        f"{room}: the objects around them": sum(map(len, rows)) * _EMPTY,
        f"{room}: keys": sum(sys.getsizeof(key) for one in rows for key in one),
        f"{room}: places in the table": sum(map(sys.getsizeof, rows)),
    }


def _reachable(start: object, seen: set[int]) -> int:
    """Return the size of all that hangs on an object and was not seen yet, without code."""
    total, waiting = 0, [start]
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, _NOT_STATE):
            continue
        seen.add(id(one))
        if not isinstance(one, StateTable):
            total += _RAW + len(bytes(one)) if isinstance(one, msgspec.Raw) else sys.getsizeof(one)
            waiting += gc.get_referents(one)
    return total


def measure(deals: int, flush: int, *, full: bool) -> dict[str, Any]:
    """Return the bytes a deal: what the process grew by, and of that by kind what is known."""
    found = []
    for count in (deals, 2 * deals):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
            found.append(alone.submit(held, count, flush, full=full).result())
        say(f"{count:,} deals: {found[-1]['resident'] / 1e6:,.0f} MB resident, load {os.getloadavg()[0]:.1f}")
    small, large = found
    more = large["deals"] - small["deals"]
    parts = {name: (size - small["sizes"][name]) / more for name, size in large["sizes"].items()}
    together = (large["resident"] - small["resident"]) / more
    return {
        "deals": [small["deals"], large["deals"]],
        "flush": flush,
        "together": together,
        "parts": {**parts, "allocator: rounding, gaps": together - sum(parts.values())},
        "packed": (large["packed"] - small["packed"]) / more,
        "without": (large["without"] - small["without"]) / more,
        "peak": (large["peak"] - small["peak"]) / more,
        "most_changed": large["most_changed"],
    }


def table(found: dict[str, Any]) -> str:
    """Return the figures as a table, in Markdown."""
    small, large = found["deals"]
    lines = ["| bytes a deal | |", "|---|---|"]
    lines += [f"| {name} | {size:,.0f} |" for name, size in found["parts"].items()]
    lines.append(f"| **resident, from {small:,} deals to {large:,}** | **{found['together']:,.0f}** |")
    lines.append(
        f"| **the same when nobody touches them, and they are packed** | **{found['packed']:,.0f}** (at most {REQUIRED}) |"
    )
    lines.append(
        f"| the same when every row of theirs is thrown away then: what is not given back, and the KPIs | {found['without']:,.0f} |"
    )
    lines.append(f"| the same at the peak | {found['peak']:,.0f} |")
    lines.append(
        f"\nKeys changed in a flush of {found['flush']:,} events: {found['most_changed'] / 1e6:.1f} MB at most, whatever is held."
    )
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__.splitlines()[0])
    parser.add_argument("--deals", type=int, default=j2.DEALS, metavar="N", help="N, then 2N (default: %(default)s)")
    parser.add_argument("--flush", type=int, default=FLUSH, metavar="N", help="events a flush (default: %(default)s)")
    parser.add_argument("--full", action="store_true", help="the whole catalogue, all cuts and windows")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_args()
    found = measure(options.deals, options.flush, full=options.full)
    print(json.dumps(found, indent=1) if options.json else table(found))


if __name__ == "__main__":
    main()
