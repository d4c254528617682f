"""What do other systems do with the same events on this machine?  Runs them one at a time and prints tables.

Run: python -m bench.peers.run [--job j1|j2|latency ...] [--system NAME ...] [--runs 3].  bench/README.md says how it is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from bench import counts, j2, raw, worker
from bench.ground import Ground, fresh, load, say
from bench.peers import cache, latency, panes, report, throughput, tree
from bench.peers.systems import DEALPULSE, SYSTEMS, System, Task

Result = dict[str, Any]
JOBS = ("j1", "j2", "latency")
WRONG = ("differences", "missing", "too_many", "failed")


def definitions(job: str) -> dict[str, Any]:
    """Return dealpulse.yaml of a job: the narrow J2, or of it activities per rep alone, which is nearest to J1."""
    found = j2.definitions(narrow=True)
    if job == "j1":
        found["kpis"] = {name: name == "activities" for name in found["kpis"]}
        found |= {"cuts": ["rep"], "windows": ["day"]}
    if job == "latency":
        found |= {"publish_interval": 0.1, "pace": {"24h": 1}, "flush_interval": "20ms"}
    return found


def task(ground: Ground, slug: str, job: str, *, live: bool) -> Task:
    """Return what a system is asked to do; names are new each time."""
    app = f"peer-{slug}-{job}-{os.urandom(3).hex()}"
    state = str(ground.folder / app)
    return Task(ground.client["bootstrap.servers"], job, f"{app}-out", app, state, live, ground.definitions.partitions)


class Peers:
    """The events that all systems of one invocation share, and what is right about them."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._files: dict[int, cache.KeptEvents] = {}
        self._right: dict[tuple[int, str], Any] = {}

    def results(self) -> Iterator[Result]:
        """Run everything that was asked for."""
        slugs = self._options.system or list(SYSTEMS)
        for number in range(self._options.runs):
            for job in self._options.job or JOBS:
                say(f"{job}, run {number + 1} of {self._options.runs}, load {os.getloadavg()[0]:.1f}")
                found = self._latencies(slugs) if job == "latency" else self._throughputs(job, slugs)
                for one in found:
                    yield {"job": job, "run": number + 1, "load": os.getloadavg()[0], **one}

    def _throughputs(self, job: str, slugs: list[str]) -> Iterator[Result]:
        """Measure raw reading and the systems that get the same events, on one broker for them."""
        for (count, compression, ours), group in groupby(slugs, self._ground_of):
            with fresh("apache", definitions(job)) as ground:
                load(ground.client, self._events(count), compression)
                limit = raw.measure(ground)  # warms the broker up, too
                if count == min(DEALPULSE.events, self._options.events):
                    yield {"system": report.RAW, "promise": "nothing", **limit}
                for slug in group:
                    found = self._ours(ground, job, count) if ours else self._peer(ground, job, slug, count)
                    if "cpu_per_million" in found:
                        found["of_raw"] = found["cpu_per_million"] / limit["cpu_per_million"]
                    yield self._told(SYSTEMS[slug], found)

    def _ground_of(self, slug: str) -> tuple[int, str, bool]:
        system = SYSTEMS[slug]
        return min(system.events, self._options.events), system.compression, system.start is None

    def _ours(self, ground: Ground, job: str, count: int) -> Result:
        right = self._plain(count)
        if job == "j1":
            right = counts.Counts(activities=right.activities)
        found = worker.measure(ground, right, count)
        # As for everybody else: until the last result is there.  What was committed before stands beside it.
        found |= {"committed_rate": found["rate"], "committed_cpu_per_million": found["cpu_per_million"]}
        return found | {"rate": count / found["rest_seconds"], "cpu_per_million": found["rest_cpu_per_million"]}

    def _peer(self, ground: Ground, job: str, slug: str, count: int) -> Result:
        wanted = task(ground, slug, job, live=False)
        right = self._panes(count, job)
        return _or_why_not(lambda: throughput.measure(ground, SYSTEMS[slug], wanted, right, count))

    def _latencies(self, slugs: list[str]) -> Iterator[Result]:
        """Measure how soon results are there, each system on a broker of its own."""
        for slug in slugs:
            with fresh("apache", definitions("latency")) as ground:
                wanted = task(ground, slug, "j2", live=True)
                yield self._told(SYSTEMS[slug], _or_why_not(partial(latency.measure, ground, SYSTEMS[slug], wanted)))

    @staticmethod
    def _told(system: System, found: Result) -> Result:
        return {"system": system.name, "promise": system.promise, **found}

    def _events(self, count: int) -> cache.KeptEvents:
        if count not in self._files:
            self._files[count] = cache.KeptEvents(count)
        return self._files[count]

    def _plain(self, count: int) -> counts.Counts:
        return self._once(count, "plain", counts.plain)

    def _panes(self, count: int, job: str) -> panes.Panes:
        return self._once(count, job, panes.JOBS[job])

    def _once(self, count: int, name: str, work: Any) -> Any:
        if (count, name) not in self._right:
            self._right[count, name] = work(self._events(count))
        return self._right[count, name]


def _or_why_not(measured: Callable[[], Result]) -> Result:
    """Return the result; or why there is none, so that the others are measured all the same."""
    try:
        return measured()
    except (cache.MissingError, tree.FailedError) as error:
        say(f"  {error}")
        return {"failed": str(error).strip().splitlines()[-1]}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.peers.run", description=__doc__.splitlines()[0])
    parser.add_argument("--job", nargs="+", action="extend", choices=JOBS, metavar="JOB", help=f"of: {' '.join(JOBS)}")
    parser.add_argument(
        "--system", nargs="+", action="extend", choices=SYSTEMS, metavar="NAME", help=f"of: {' '.join(SYSTEMS)}"
    )
    parser.add_argument("--events", type=int, default=DEALPULSE.events, metavar="N", help="at most, for each system")
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="of each job (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="append every result as a line")
    parser.add_argument("--tables", nargs="+", type=Path, metavar="FILE", help="run nothing; print the tables of such files")
    parser.add_argument("--install", action="store_true", help="run nothing; fetch and build what is missing")
    return parser.parse_args()


def _install(slugs: Iterable[str]) -> None:
    """Fetch and build what these systems need."""
    for slug in ("quix", "bytewax"):
        if slug in slugs:
            _tried(slug, lambda slug=slug: cache.environment(slug))
    if any(slug.startswith("streams-") for slug in slugs):
        _tried("kafka-streams", cache.kafka_streams)


def _tried(name: str, fetch: Any) -> None:
    try:
        say(f"{name}: {fetch()}")
    except cache.MissingError as error:
        say(f"{name} cannot be had: {error}")


def _told_before(files: Iterable[Path]) -> list[Result]:
    return [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]


def main() -> None:
    """Run what was asked for."""
    options = arguments()
    if options.tables:
        print(report.table(_told_before(options.tables)))
        return
    _install(options.system or list(SYSTEMS))  # before anything is measured
    if options.install:
        return
    results: list[Result] = []
    for one in Peers(options).results():
        results.append(one)
        say(f"  {report.line(one)}")
        if options.json:
            with options.json.open("a", encoding="utf-8") as file:
                file.write(json.dumps(one) + "\n")
    print(report.table(results))
    if any(one.get(name) for one in results if one["system"] == DEALPULSE.name for name in WRONG):
        sys.exit(1)


if __name__ == "__main__":
    main()
