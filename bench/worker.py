"""What does one worker need for J2?  Wall and CPU seconds from its first record until all is committed.

The worker is the product's own command, observed from outside: the kernel's account of its process and
the offsets that its group has committed, 20 times a second.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from bench import counts
from bench.ground import APP, SOURCES, Ground, ends, say
from bench.hot import sampled
from bench.process import Sample, Sampler, cpu, others, peak_memory, sample, threads
from streams.cli.read import every_record
from streams.cli.settings import Settings
from streams.cli.settle import settle
from streams.cli.stack import WorkerProcess, observer, worker_process
from streams.panes import delta
from streams.topics import DELTAS, KPI_HISTORY, KPI_LATEST

EVERY = 0.05
PATIENCE = 1800.0
LATE = 60.0
TOLD = (KPI_LATEST, KPI_HISTORY)

Places = dict[tuple[str, int], int]


class Committed:
    """What the group has committed, asked without waiting for transactions under way; and where the KPI topics end."""

    def __init__(self, ground: Ground, topics: tuple[str, ...] = (*SOURCES, DELTAS)) -> None:
        self._consumer = Consumer(
            {
                **ground.client,
                "group.id": APP,
                "isolation.level": "read_uncommitted",
                "enable.auto.commit": False,
                "log_level": 0,
            }
        )
        self._admin = AdminClient({**ground.client, "log_level": 0})
        partitions = range(ground.definitions.partitions)
        self._asked = [TopicPartition(topic, one) for topic in topics for one in partitions]
        self._told = {TopicPartition(topic, one): OffsetSpec.latest() for topic in TOLD for one in partitions}
        self._last: Places = {}

    def look(self) -> Places:
        """Return the offsets; the last known ones while the broker does not answer."""
        with contextlib.suppress(KafkaException):
            found = self._consumer.committed(self._asked, timeout=2)
            self._last = self._last | {(one.topic, one.partition): max(0, one.offset) for one in found}
            for part, answer in self._admin.list_offsets(self._told, request_timeout=2).items():
                self._last[part.topic, part.partition] = answer.result().offset
        return self._last

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()


@dataclass(frozen=True)
class Started:
    """A worker that has its partitions, and what that took."""

    worker: WorkerProcess
    seconds: float
    cpu: float


@contextlib.contextmanager
def started(ground: Ground, *, ticks: bool = False) -> Iterator[Started]:
    """Run a worker for the length of the block."""
    begun = time.monotonic()
    with worker_process(ground.environment, ground.folder, ticks=ticks) as worker:
        worker.wait_until_ready()
        yield Started(worker, time.monotonic() - begun, cpu(worker.process.pid))


def measure(ground: Ground, right: counts.Counts, events: int, profile: Path | None = None) -> dict[str, Any]:
    """Run one worker over all that is in the sources; return what it took and whether its numbers are right."""
    wanted = ends(ground.client, SOURCES, ground.definitions.partitions)
    committed = Committed(ground)
    with started(ground) as one:
        worker, pid = one.worker, one.worker.process.pid
        first, before = _first_record(worker), threads(pid)
        sampler = Sampler([pid], EVERY, committed.look)
        sampler.start()
        with sampled(pid, profile):
            wait_until_read(worker.check, sampler, wanted)
        settle(Settings(ground.environment, ground.definitions), observer([worker]))
        differences, waited = differing(ground, right)
        samples = [first, *sampler.stop()]
        memory, series, after = peak_memory(pid), worker.metrics(), threads(pid)
    committed.close()
    found = figures(samples, wanted, last_deltas(ground), events)
    found |= {"start_seconds": one.seconds, "start_cpu": one.cpu, "memory": memory, "load": max(sampler.load)}
    found |= {f"cpu_{name}": (after[name] - before[name]) / events * 1e6 for name in after}
    found["transactions"] = int(series.get(("dealpulse_transactions_total", ""), 0))
    found["kpi_records"] = sum(int(series.get(("dealpulse_kpi_records_total", one), 0)) for one in (KPI_LATEST, KPI_HISTORY))
    return found | {"numbers": right.numbers, "differences": len(differences), "waited": waited}


def _first_record(worker: WorkerProcess) -> Sample:
    """Return the moment just before the first record is counted as handled."""
    pid = worker.process.pid
    while True:
        before = sample(pid)
        worker.check()
        series = worker.metrics()
        if sum(value for (name, _), value in series.items() if name == "dealpulse_events_consumed_total"):
            return before
        time.sleep(0.01)


def wait_until_read(check: Callable[[], None], sampler: Sampler, wanted: Places) -> None:
    """Wait until the group has committed all of the sources; `check` raises when a worker has ended."""
    end, shown = time.monotonic() + PATIENCE, 0.0
    total = sum(wanted.values())
    while True:
        check()
        seen: Places = sampler.samples[-1].seen if sampler.samples else {}
        done = sum(seen.get(place, 0) for place in wanted)
        if done >= total:
            return
        if time.monotonic() - shown > 5:
            shown = time.monotonic()
            say(f"  {done:,} of {total:,} events committed")
        if time.monotonic() > end:
            raise SystemExit(f"the worker is not done after {PATIENCE:.0f} s")
        time.sleep(0.1)


def last_deltas(ground: Ground) -> Places:
    """Return the offset of the last delta of each partition that carries numbers."""
    last: Places = {}
    for message in every_record(ground.client, DELTAS):
        place = (DELTAS, message.partition())
        if message.offset() > last.get(place, -1) and delta.decode(message.value()).entities:
            last[place] = message.offset()
    return last


def figures(samples: list[Sample], wanted: Places, last: Places, events: int) -> dict[str, Any]:
    """Return what the events took from the first sample on; `wanted` are the ends of the sources, `last` the last deltas."""
    first = samples[0]
    done = {**wanted, **{place: offset + 1 for place, offset in last.items()}}
    read = next(one for one in samples[1:] if all(one.seen.get(place, 0) >= offset for place, offset in wanted.items()))
    committed = next(one for one in samples[1:] if all(one.seen.get(place, 0) >= offset for place, offset in done.items()))
    rest = _comes_to_rest(samples, committed)
    millions = events / 1e6
    return {
        "events": events,
        "seconds": committed.at - first.at,
        "rate": events / (committed.at - first.at),
        "cpu": committed.cpu - first.cpu,
        "cpu_per_million": (committed.cpu - first.cpu) / millions,
        "read_seconds": read.at - first.at,
        "rest_seconds": rest.at - first.at,
        "rest_cpu_per_million": (rest.cpu - first.cpu) / millions,
        "others": others(first, committed),
    }


def _comes_to_rest(samples: list[Sample], committed: Sample) -> Sample:
    """Return the first sample at which all is committed and the KPI topics end where they end in the last one.

    How busy the worker is says nothing: a last round of some hundred records takes a few hundredths of a second of CPU, and
    comes when their pace allows.
    """
    return next(one for one in samples[samples.index(committed) :] if _told(one) == _told(samples[-1]))


def _told(one: Sample) -> Places:
    return {place: end for place, end in one.seen.items() if place[0] in TOLD}


def differing(ground: Ground, right: counts.Counts) -> tuple[list[str], float]:
    """Return what is wrong, and how many seconds after the worker seemed to rest it was right."""
    begun = time.monotonic()
    while True:
        found, waited = right.differences(counts.told(ground.client)), time.monotonic() - begun
        if not found or waited > LATE:
            for line in found[:5]:
                say(f"  WRONG: {line}")
            return found, waited
        say(f"  {len(found)} numbers are not right yet, {waited:.0f} s after the worker seemed to rest")
        time.sleep(1)
