"""How are the results shown?  One line per job and figure: the smallest, the middle and the largest of the runs."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median
from typing import Any, NamedTuple

from bench.two import AT_MOST


class Figure(NamedTuple):
    """One figure: its key in a result, what it is called, and how it is written."""

    key: str
    name: str
    form: str
    required: str = ""


_RATE = Figure("rate", "events/s, first record to all committed", ",.0f")
_CPU = Figure("cpu_per_million", "CPU-s per million events", ".2f")
_MEMORY = Figure("memory", "peak RSS, MiB", ".0f")
_OTHERS = Figure("others", "cores busy beside it (broker, other work)", ".2f")
_IDLE = (
    Figure("share", "share of a core, %", ".1f", "< 10"),
    Figure("transactions", "transactions/s", ".1f"),
    Figure("kpi_records", "KPI records/s", ",.0f"),
    _MEMORY,
    _OTHERS,
)
_J2 = (
    _CPU,
    Figure("rest_cpu_per_million", "  with the KPI records after it", ".2f"),
    Figure("of_raw", "  times the raw limit of the same run", ".2f"),
    Figure("of_floor", "  times the same reading and writing alone", ".2f"),
    Figure("cpu_main", "  of that: main thread", ".2f"),
    Figure("cpu_poll and commit", "  of that: threads that poll and commit", ".2f"),
    Figure("cpu_librdkafka", "  of that: librdkafka's own threads", ".2f"),
    Figure("rest_seconds", "seconds until all KPI records are out", ".1f"),
    Figure("start_seconds", "start-up, seconds (not in the above)", ".2f"),
    Figure("start_cpu", "start-up, CPU-s (not in the above)", ".2f"),
    _MEMORY,
    _OTHERS,
    Figure("load", "load average", ".1f"),
    Figure("differences", "wrong numbers", ".0f", "= 0"),
)
_SHARED = (
    _RATE,
    _CPU,
    Figure("rest_cpu_per_million", "  with the KPI records after it", ".2f"),
    _MEMORY,
    _OTHERS,
    Figure("load", "load average", ".1f"),
    Figure("differences", "wrong numbers", ".0f", "= 0"),
)
FIGURES: dict[str, tuple[Figure, ...]] = {
    "raw": (_RATE, _CPU, _MEMORY),
    "floor": (_RATE._replace(name="events/s"), _CPU, Figure("written", "records written", ",.0f")),
    "narrow": (_RATE._replace(required=">= 70,000"), _CPU._replace(required="<= 12"), *_J2[1:]),
    "full": (_RATE._replace(required=">= 20,000"), *_J2),
    "faust": (
        _RATE,
        _CPU,
        Figure("of_raw", "  times the raw limit of the same run", ".2f"),
        _MEMORY,
        _OTHERS,
        Figure("differences", "wrong numbers", ".0f"),
    ),
    "restore": (
        Figure("seconds", "seconds until a million deals are ready", ".2f", "<= 10"),
        Figure("rate", "changelog records/s", ",.0f", ">= 300,000"),
        Figure("cpu", "CPU-s for them", ".2f"),
        Figure("row_bytes", "bytes of a deal's record", ",.0f"),
        Figure("resident", "bytes in memory for a deal, all in", ",.0f"),
        Figure("packed", "the same when deals that nobody has touched are packed", ",.0f", "<= 600"),
        Figure("packing_cpu", "CPU-s to pack them", ".2f"),
        Figure("packing", "seconds that a worker takes for that", ".0f"),
        Figure("held", "ms of CPU that the longest step takes", ".1f"),
        _MEMORY,
    ),
    "restart": (
        Figure("records", "changelog records read", ",.0f"),
        Figure("seconds", "seconds to restore them", ".2f"),
        Figure("rate", "changelog records/s", ",.0f"),
        Figure("ready_seconds", "seconds from kill -9 to ready (10 s session)", ".1f"),
        Figure("differences", "wrong numbers of the worker that was killed", ".0f", "= 0"),
    ),
    "two: 1": _SHARED,
    "two: 2": (
        Figure("of_one", "CPU, times that of one worker", ".2f", f"<= {AT_MOST}"),
        Figure("as_much", "so on cores of their own, times the work of one", ".2f", ">= 1.8"),
        Figure("busiest", "share of the CPU that the busier one used", ".2f"),
        *_SHARED,
    ),
    "idle, 100 events/s": _IDLE,
    "idle, 0 events/s": _IDLE,
}


def line(job: str, result: dict[str, Any]) -> str:
    """Return one run's figures in a line."""
    return "  ".join(f"{figure.key}={result[figure.key]:{figure.form}}" for figure in FIGURES[job] if figure.key in result)


def table(results: Iterable[dict[str, Any]]) -> str:
    """Return all runs of all jobs."""
    by_job: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        by_job.setdefault(result["job"], []).append(result)
    lines = [f"{'':52} {'min':>10} {'median':>10} {'max':>10}  required"]
    for job, runs in by_job.items():
        lines += ["", f"{job}, {len(runs)} run{'s' if len(runs) > 1 else ''}"]
        for figure in FIGURES[job]:
            values = sorted(run[figure.key] for run in runs if run.get(figure.key) is not None)
            if values:
                shown = (f"{value:{figure.form}}" for value in (values[0], median(values), values[-1]))
                lines.append(f"  {figure.name:50} {' '.join(f'{one:>10}' for one in shown)}  {figure.required}".rstrip())
    return "\n".join(lines)
