"""Does the cost of an event grow?  CPU µs an event while one thing at a time becomes more, as a table and a picture.

Run: python -m bench.curves [--axis NAME ...] [--full] [--live] [--svg FILE] [--json | --results FILE ...]

Everything else stays at a base point (bench/living.py). What the edge adds (fetching, sending, the transaction) is not in it,
but the bytes that an event writes into the changelog are told: they are what the edge has to send.
"""

from __future__ import annotations

import argparse
import json
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from bench import plot
from bench.ground import say
from bench.living import WINDOWS, Point, measure


class Axis(NamedTuple):
    """One thing that becomes more."""

    name: str  # a field of Point
    title: str
    values: tuple[float, ...]
    form: str = ",.0f"


AXES = (
    Axis("deals", "open deals", (10_000, 100_000, 500_000, 2_000_000)),
    Axis("history", "events held of each deal", (5, 20, 50, 100, 200, 400, 600)),
    Axis("reps", "reps", (50, 500, 5_000, 20_000)),
    Axis("windows", "windows", (1, 3, 6, 11)),
    Axis("partitions", "partitions", (4, 12, 48, 96)),
    Axis("late", "share of late events", (0.0, 0.01, 0.05, 0.2), ".0%"),
)
COSTS = ("deals: events", "deals: flush", "kpis: deltas", "kpis: flush")


def points(names: list[str], base: Point) -> list[tuple[Axis, float, Point]]:
    """Return what to measure."""
    return [
        (axis, value, base._replace(**{axis.name: value})) for axis in AXES if axis.name in names for value in axis.values
    ]


def measured(todo: list[tuple[Axis, float, Point]]) -> list[dict[str, Any]]:
    """Measure each point in a process of its own.

    The base is measured again for each axis: how much its figures differ says how much the others can be trusted.
    """
    found = []
    for axis, value, point in todo:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
            one = alone.submit(measure, point).result()
        found.append({"axis": axis.name, "value": value, **one, "load": os.getloadavg()[0]})
        say(f"{axis.title} {value:{axis.form}}: {one['us']:.1f} µs an event, load {found[-1]['load']:.1f}")
    return found


def table(results: list[dict[str, Any]]) -> str:
    """Return a table, in Markdown."""
    lines = [f"| | µs an event | {' | '.join(COSTS)} | KPI records | state bytes |", "|---" * (len(COSTS) + 4) + "|"]
    titles = {axis.name: axis for axis in AXES}
    for one in results:
        axis = titles[one["axis"]]
        costs = " | ".join(f"{one[name]:.1f}" for name in COSTS)
        lines.append(
            f"| {axis.title} {one['value']:{axis.form}} | {one['us']:.1f} | {costs} | {one['records']:.2f} | {one['row_bytes']:,.0f} |"
        )
    return "\n".join(lines)


def picture(results: list[dict[str, Any]], what: str) -> str:
    """Return the SVG: a panel for each axis, the cost taken apart."""
    panels = []
    for axis in AXES:
        rows = [one for one in results if one["axis"] == axis.name]
        if rows:
            labels = [f"{one['value']:{axis.form}}" for one in rows]
            panels.append(plot.Panel(axis.title, labels, [[one[name] for name in COSTS] for one in rows]))
    return plot.small_multiples(f"CPU of an event: {what}", "µs", COSTS, panels)


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.curves", description=__doc__.splitlines()[0])
    names = [axis.name for axis in AXES]
    parser.add_argument("--axis", nargs="+", action="extend", choices=names, metavar="NAME", help=f"of: {' '.join(names)}")
    parser.add_argument("--full", action="store_true", help="the whole catalogue, all cuts and windows")
    parser.add_argument("--live", action="store_true", help="taken in as they happen, a thousand a second")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="also draw it")
    parser.add_argument("--json", action="store_true", help="print every result as JSON")
    parser.add_argument(
        "--results", nargs="+", type=Path, default=[], metavar="FILE", help="measure nothing, show what --json printed"
    )
    options = parser.parse_args()
    base = Point(full=options.full, live=options.live)
    if options.full:
        base = base._replace(windows=len(WINDOWS))
    results = [one for file in options.results for one in json.loads(file.read_text(encoding="utf-8"))]
    results = results or measured(points(options.axis or names, base))
    if options.svg:
        point = Point(**results[0]["point"])
        what = "the whole catalogue" if point.full else "counts per rep and stage"
        what += ", a thousand events a second" if point.live else ", while catching up"
        options.svg.write_text(picture(results, what), encoding="utf-8")
    print(json.dumps(results, indent=1) if options.json else table(results))


if __name__ == "__main__":
    main()
