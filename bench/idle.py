"""What does a worker cost that has little to do?  Its share of a core at a steady rate, and at none.

Default settings, 12 partitions, the whole catalogue, ticks on; nobody scrapes its metrics meanwhile.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench import j2
from bench.ground import SOURCES, Ground, ends, load, producer, say
from bench.hot import sampled
from bench.process import others, peak_memory, sample
from bench.worker import Committed, started
from streams.cli.stack import Series, WorkerProcess

RATE = 100
SECONDS = {RATE: 300.0, 0: 60.0}  # by rate; with events as long as the widest window waits at most for its pace
PRIMED = 100_000  # events of the day before, so that most deals are known, as in a system that has run for a while
CALM = 5.0
BUSY = 0.3  # of a core: above it the worker is still at the primed events
PATIENCE = 300.0


def settings() -> dict[str, Any]:
    """Return dealpulse.yaml: J2's pipeline and reps, all else as it comes."""
    found = j2.definitions(narrow=False)
    del found["partitions"], found["flush_interval"]
    return found


def measure(ground: Ground, profile: Path | None = None) -> list[dict[str, Any]]:
    """Return the share of a core at RATE events a second and at none."""
    stream = _events()
    load(ground.client, itertools.islice(stream, PRIMED))
    with started(ground, ticks=True) as one:
        worker, pid = one.worker, one.worker.process.pid
        _wait_until_calm(ground, one.worker)
        found = []
        for rate, seconds in SECONDS.items():
            _feed(ground, stream, rate, 2 * CALM)
            first, before = sample(pid), worker.metrics()
            with sampled(pid, profile if rate else None):
                sent = _feed(ground, stream, rate, seconds)
            last, after = sample(pid), worker.metrics()
            worker.check()
            taken = _more("dealpulse_events_consumed_total", before, after)
            if taken < sent - rate * CALM:  # what is under way
                raise SystemExit(
                    f"the worker took {taken:,.0f} of {sent:,} events: what it costs to do nothing is another question"
                )
            found.append(
                {
                    "job": f"idle, {rate} events/s",
                    "events": sent,
                    "share": (last.cpu - first.cpu) / (last.at - first.at) * 100,
                    "transactions": _more("dealpulse_transactions_total", before, after) / (last.at - first.at),
                    "kpi_records": _more("dealpulse_kpi_records_total", before, after) / (last.at - first.at),
                    "memory": peak_memory(pid),
                    "others": others(first, last),
                }
            )
            say(f"  {rate} events/s: {found[-1]['share']:.1f} % of a core")
    return found


def _more(counter: str, before: Series, after: Series) -> float:
    """Return by how much a counter has grown, over all its labels."""
    return sum(value - before.get(series, 0.0) for series, value in after.items() if series[0] == counter)


def _wait_until_calm(ground: Ground, worker: WorkerProcess) -> None:
    """Wait until the primed events are committed and the worker has little more to do with them."""
    pid, committed = worker.process.pid, Committed(ground, SOURCES)
    wanted = ends(ground.client, SOURCES, ground.definitions.partitions)
    before, end = sample(pid), time.monotonic() + PATIENCE
    while time.monotonic() < end:
        time.sleep(CALM)
        worker.check()
        seen, after = committed.look(), sample(pid)
        share = (after.cpu - before.cpu) / (after.at - before.at)
        if share < BUSY and all(seen.get(place, 0) >= offset for place, offset in wanted.items()):
            committed.close()
            return
        before = after
    raise SystemExit(f"the worker is still busy after {PATIENCE:.0f} s")


def _events() -> Iterator[tuple[str, bytes, bytes]]:
    """Yield the events of J2: the primed ones fill the day before now, the others happen when they are sent."""
    now = datetime.now(UTC)
    step = timedelta(days=1) / PRIMED

    def when(number: int) -> datetime:
        return now - (PRIMED - number) * step if number < PRIMED else datetime.now(UTC)

    return j2.events(2 * PRIMED, when=when)


def _feed(ground: Ground, stream: Iterator[tuple[str, bytes, bytes]], rate: int, seconds: float) -> int:
    """Send at a steady rate, ten times a second; return how many."""
    failed: list[str] = []
    sender, sent, begun = producer(ground.client, failed), 0, time.monotonic()
    while (elapsed := time.monotonic() - begun) < seconds:
        for topic, key, value in itertools.islice(stream, round(elapsed * rate) - sent):
            sender.produce(topic, value, key)
        sent = round(elapsed * rate)
        sender.poll(0)
        time.sleep(0.1)
    if sender.flush(10) or failed:
        raise SystemExit("the broker did not take all events")
    return sent
