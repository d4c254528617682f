"""What does dealpulse do on this machine?  Runs the jobs and prints one table.  bench/README.md says what they are.

Run: python -m bench.run [--events N] [--job NAME ...] [--broker apache|embedded] [--runs 3] [--json] [--profile]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import counts, faust_job, floor, hot, idle, j2, raw, restore, table, two, worker
from bench.ground import EventFile, fresh, load, say

Result = dict[str, Any]


class Bench:
    """The events and settings that all jobs of one invocation share."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options = options
        self.profiles: list[Path] = []
        self._folder = folder
        self._files: dict[int, tuple[EventFile, counts.Counts]] = {}

    def events(self, count: int) -> tuple[EventFile, counts.Counts]:
        """Return the events and what is right about them."""
        if count not in self._files:
            file = EventFile(self._folder, count)
            self._files[count] = (file, counts.plain(file))
        return self._files[count]

    def j2(self, *, narrow: bool) -> list[Result]:
        """Measure raw reading, then one worker, on the same broker; both results carry the run's number."""
        file, right = self.events(self.options.events)
        name = "narrow" if narrow else "full"
        with fresh(self.options.broker, j2.definitions(narrow=narrow)) as ground:
            load(ground.client, file)
            limit = raw.measure(ground)
            found = worker.measure(ground, right, file.count, self._profile(name))
        found["of_raw"] = found["cpu_per_million"] / limit["cpu_per_million"]
        return [{"job": "raw", **limit}, {"job": name, **found}]

    def floor(self) -> list[Result]:
        """Measure one worker, then reading and writing the same once more without computing anything."""
        file, right = self.events(self.options.events)
        with fresh(self.options.broker, j2.definitions(narrow=True)) as ground:
            load(ground.client, file)
            found = worker.measure(ground, right, file.count)
            least = raw.measure(ground, floor.__name__)
        found["of_floor"] = found["cpu_per_million"] / least["cpu_per_million"]
        return [{"job": "floor", **least}, {"job": "narrow", **found}]

    def raw(self) -> list[Result]:
        """Measure raw reading alone."""
        file, _ = self.events(self.options.events)
        with fresh(self.options.broker, j2.definitions(narrow=True)) as ground:
            load(ground.client, file)
            return [{"job": "raw", **raw.measure(ground)}]

    def faust(self) -> list[Result]:
        """Measure raw reading, then stock Faust, on the same broker."""
        file, right = self.events(self.options.faust_events)
        with fresh(self.options.broker, j2.definitions(narrow=True)) as ground:
            load(ground.client, file)
            limit = raw.measure(ground)
            found = faust_job.measure(ground, file, file.count, right)
        return [{"job": "faust", **found, "of_raw": found["cpu_per_million"] / limit["cpu_per_million"]}]

    def restore(self) -> list[Result]:
        """Measure how the records of a million deals are read back, and a worker that takes over J2's state."""
        with fresh(self.options.broker, j2.definitions(narrow=True)) as ground:
            synthetic = {"job": "restore", **restore.measure(ground)}
        file, right = self.events(self.options.events)
        with fresh(self.options.broker, j2.definitions(narrow=True)) as ground:
            load(ground.client, file)
            before = worker.measure(ground, right, file.count)
            return [synthetic, {"job": "restart", **restore.restart(ground), "differences": before["differences"]}]

    def two(self) -> list[Result]:
        """Measure one worker, then two that share the same events, each time on a broker of its own.

        The embedded broker takes no second worker: there is nothing to measure on it.
        """
        if self.options.broker == "embedded":
            say("  two workers need Apache Kafka")
            return []
        file, right = self.events(self.options.events)
        found: list[Result] = []
        for count in (1, 2):
            with fresh(self.options.broker, j2.definitions(narrow=True)) as ground:
                found.append(two.measure(ground, file, right, count))
        one, both = (result["cpu_per_million"] for result in found)
        found[1] |= {"of_one": both / one, "as_much": 2 * one / both}
        return [{"job": f"two: {result['workers']}", **result} for result in found]

    def idle(self) -> list[Result]:
        """Measure a worker with little to do, and with nothing."""
        with fresh(self.options.broker, idle.settings()) as ground:
            return idle.measure(ground, self._profile("idle"))

    def _profile(self, name: str) -> Path | None:
        if not self.options.profile or hot.py_spy() is None:
            return None
        file = Path(f"{self.options.profile}-{name}.txt")
        self.profiles.append(file)
        return file


JOBS: dict[str, Callable[[Bench], list[Result]]] = {
    "raw": Bench.raw,
    "floor": Bench.floor,
    "narrow": lambda bench: bench.j2(narrow=True),
    "full": lambda bench: bench.j2(narrow=False),
    "restore": Bench.restore,
    "two": Bench.two,
    "idle": Bench.idle,
    "faust": Bench.faust,
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=1_000_000, metavar="N", help="of J2 (default: %(default)s)")
    parser.add_argument(
        "--job", nargs="+", action="extend", choices=JOBS, metavar="NAME", help=f"of: {' '.join(JOBS)} (default: all)"
    )
    parser.add_argument(
        "--faust-events", type=int, default=20_000, metavar="N", help="of J2 in stock Faust (default: %(default)s)"
    )
    parser.add_argument("--broker", choices=("apache", "embedded"), default="apache", help="default: %(default)s, one JVM")
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="of each job (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print every result as JSON")
    parser.add_argument("--profile", metavar="FILE", help="sample workers with py-spy into FILE-<job>.txt")
    return parser.parse_args()


def main() -> None:
    """Run what was asked for."""
    options = arguments()
    if options.profile and hot.py_spy() is None:
        say("no profile: py-spy is not installed (pip install py-spy)")
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="dealpulse-bench-") as folder:
        bench = Bench(options, Path(folder))
        for number in range(options.runs):
            for name in options.job or JOBS:
                say(f"{name}, run {number + 1} of {options.runs}, load {os.getloadavg()[0]:.1f}")
                for result in JOBS[name](bench):
                    say(f"  {result['job']}: {table.line(result['job'], result)}")
                    results.append({"run": number + 1, **result})
    for file in bench.profiles:
        say(f"{file}{hot.summary(file)}")
    print(json.dumps(results, indent=1) if options.json else table.table(results))
    if any(result.get("differences") for result in results if result["job"] != "faust"):
        sys.exit(1)


if __name__ == "__main__":
    main()
