"""How are the results shown?  A line for each system: smallest / median / largest of its runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

Result = dict[str, Any]
RAW = "raw: consumer and decoding alone"  # measured on each broker, so more often than the systems
HEAD = {
    "throughput": ("system", "promise", "events", "events/s", "CPU-s per million", "times raw", "MiB", "load", "wrong numbers"),
    "latency": ("system", "promise", "event in a result, p50", "p99, ms", "newest event of a result, p50", "p99, ms", "core, %", "MiB", "load", "lost", "too many"),
}  # fmt: skip


def three(runs: Sequence[Result], key: str, form: str) -> str:
    """Return a figure's smallest, median and largest, or just it."""
    values = sorted(run[key] for run in runs if key in run)
    if not values:
        return ""
    shown = dict.fromkeys(f"{value:{form}}" for value in (values[0], median(values), values[-1]))
    return " / ".join(shown)


def row(runs: Sequence[Result], kind: str) -> list[str]:
    """Return one system's cells."""
    first = runs[0]
    for one in runs:
        if "failed" in one:
            return [first["system"], first["promise"], f"failed: {one['failed']}"]
    if kind == "latency":
        figures = [("wait_p50", ",.0f"), ("wait_p99", ",.0f"), ("age_p50", ",.0f"), ("age_p99", ",.0f")]
        figures += [("share", ".0f"), ("memory", ",.0f"), ("load", ".1f"), ("missing", ",.0f"), ("too_many", ",.0f")]
        return [first["system"], first["promise"], *(three(runs, *figure) for figure in figures)]
    figures = [("rate", ",.0f"), ("cpu_per_million", ",.1f"), ("of_raw", ".1f")]
    figures += [("memory", ",.0f"), ("load", ".1f")]
    wrong = f"{max(run['differences'] for run in runs):,} of {first['numbers']:,}" if "numbers" in first else ""
    return [first["system"], first["promise"], f"{first['events']:,}", *(three(runs, *figure) for figure in figures), wrong]


def table(results: Iterable[Result]) -> str:
    """Return all of it in Markdown."""
    jobs: dict[str, dict[tuple[str, str], list[Result]]] = {}
    for one in results:
        rows = jobs.setdefault(one["job"], {})
        rows.setdefault((one["system"], one["promise"]), []).append(one)
    lines: list[str] = []
    for job, rows in jobs.items():
        kind = "latency" if job == "latency" else "throughput"
        runs = max((len(one) for (system, _), one in rows.items() if system != RAW), default=0)
        lines += [f"{job}, {runs} run{'s' if runs > 1 else ''}", "", _line(HEAD[kind]), _line(["---"] * len(HEAD[kind]))]
        lines += [*(_line(row(one, kind)) for one in rows.values()), ""]
    return "\n".join(lines)


def line(result: Result) -> str:
    """Return one run's figures."""
    return "  ".join(f"{key}={value:.6g}" if isinstance(value, float) else f"{key}={value}" for key, value in result.items())


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
