"""How soon is a result there?  1,000 events a second, and a reader of committed results beside them, for every system alike."""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, Producer, TopicPartition

from bench import j2
from bench.counts import milliseconds
from bench.ground import Ground, say
from bench.peers import panes, tree
from bench.peers.ledger import Ledger, quantile
from bench.peers.systems import System, Task
from bench.peers.throughput import started
from bench.process import others
from bench.worker import started as worker_started
from streams.topics import ACTIVITY, KPI_LATEST

RATE = 1000
FIRST_RATE = 20  # until the first result is there
WARM = 45.0  # until the compilers of the JVMs, the broker's and those of peers, have done most of what they will
SECONDS = 20.0
GRACE = 10.0  # for the last results
START_DEADLINE = 60.0
STEP = 0.005
Reading = Callable[[Message], tuple[str, int] | None]


def of_peer(message: Message) -> tuple[str, int] | None:
    """Return the group and its count that a peer's result tells; the group is a rep and a minute."""
    cell = json.loads(message.value())
    return (message.key().decode(), cell["activities"]) if "activities" in cell else None


def of_ours(message: Message) -> tuple[str, int] | None:
    """Return the same of a KPI record; the group is a rep, and 24 hours hold all that was ever sent."""
    if message.value() is None or not message.key().startswith(b'["activities","rep",'):
        return None
    _, _, entity, window, _, _ = json.loads(message.key())
    return (entity[0], json.loads(message.value())["value"]) if window == "24h" else None


class Probe(threading.Thread):
    """Reads committed results and notes when each was seen."""

    def __init__(self, client: dict[str, Any], topic: str, partitions: int, read: Reading, ledger: Ledger) -> None:
        super().__init__(daemon=True)
        self._consumer = Consumer(
            {
                **client,
                "group.id": "peers-probe",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 500,  # an answer comes with the first byte
                "log_level": 0,
            }
        )
        self._consumer.assign([TopicPartition(topic, one, OFFSET_BEGINNING) for one in range(partitions)])
        self._read, self._ledger = read, ledger
        self._end = threading.Event()

    def run(self) -> None:
        """Read until stopped."""
        while not self._end.is_set():
            message = self._consumer.poll(0.1)
            if message is not None and message.error() is None and (found := self._read(message)) is not None:
                self._ledger.see(*found, time.time())
        self._consumer.close()

    def stop(self) -> None:
        """End it."""
        self._end.set()
        self.join()


class Feed:
    """Sends the events of J2 as they happen."""

    def __init__(self, client: dict[str, Any], group: Callable[[str, int], str], ledger: Ledger) -> None:
        self._failed: list[str] = []
        self._producer = Producer(
            {
                **client,
                "on_delivery": lambda error, _: self._failed.append(str(error)) if error else None,
                "enable.idempotence": True,
                "partitioner": "murmur2_random",  # as the worker's own, and as Java's
                "linger.ms": 0,
                "log_level": 0,
            }
        )
        self._group, self._ledger = group, ledger
        self._events = j2.events(10**9, when=lambda _number: datetime.now(UTC))

    def send(self, rate: int, until: Callable[[], bool]) -> None:
        """Send at a steady rate until told to stop."""
        begun, sent = time.monotonic(), 0
        while not until():
            due = int((time.monotonic() - begun) * rate) - sent
            for topic, key, value in itertools.islice(self._events, due):
                now = time.time()
                if topic == ACTIVITY:
                    event = json.loads(value)
                    self._ledger.send(self._group(event["rep_id"], milliseconds(event["occurred_at"])), now)
                self._producer.produce(topic, value, key, timestamp=int(now * 1000))
            sent += due
            self._producer.poll(0)
            time.sleep(STEP)

    def close(self) -> None:
        """Make sure that all of it was taken."""
        if self._producer.flush(10) or self._failed:
            raise SystemExit(f"the broker did not take all events: {self._failed[:1]}")


@contextlib.contextmanager
def _running(ground: Ground, system: System, task: Task) -> Iterator[tuple[int, Callable[[], None]]]:
    """Run a peer or our worker; give its process and a check that it lives."""
    if system.start is None:
        with worker_started(ground, ticks=True) as one:
            yield one.worker.process.pid, one.worker.check
        return
    with started(ground, system, task) as (process, log, _):
        yield process.pid, _alive(process, log)


def _alive(process: subprocess.Popen[bytes], log: Path) -> Callable[[], None]:
    return lambda: tree.check(process, log)


def measure(ground: Ground, system: System, task: Task) -> dict[str, Any]:
    """Return how long events waited, and what it cost meanwhile."""
    ours = system.start is None
    ledger = Ledger()
    feed = Feed(ground.client, (lambda rep, _at: rep) if ours else panes.pane, ledger)
    with _running(ground, system, task) as (pid, check):
        probe = Probe(ground.client, KPI_LATEST if ours else task.out, task.partitions, of_ours if ours else of_peer, ledger)
        probe.start()
        try:
            _wait_for_the_first(feed, ledger, check)
            feed.send(RATE, _after(WARM))
            first, begin = tree.sample(pid), time.time()
            feed.send(RATE, _after(SECONDS))
            last, end = tree.sample(pid), time.time()
            feed.close()
            check()
            _wait_for_the_last(ledger)
            memory = tree.memory(pid)
        finally:
            probe.stop()
    waits, ages = ledger.between(begin, end)
    return {
        "rate": RATE,
        "events": len(waits),
        "results": len(ages),
        **{f"wait_{name}": quantile(waits, share) * 1000 for name, share in QUANTILES.items()},
        **{f"age_{name}": quantile(ages, share) * 1000 for name, share in QUANTILES.items()},
        "share": (last.cpu - first.cpu) / (last.at - first.at) * 100,
        "memory": memory,
        "others": others(first, last),
        "missing": ledger.open,
        "too_many": ledger.too_many,
    }


QUANTILES = {"p50": 0.5, "p99": 0.99, "max": 1.0}


def _after(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def _wait_for_the_first(feed: Feed, ledger: Ledger, check: Callable[[], None]) -> None:
    late = _after(START_DEADLINE)

    def until() -> bool:
        check()
        if late():
            raise tree.FailedError("no result came")
        return bool(ledger.results)

    feed.send(FIRST_RATE, until)


def _wait_for_the_last(ledger: Ledger) -> None:
    late = _after(GRACE)
    while ledger.open and not late():
        time.sleep(0.1)
    if ledger.open:
        say(f"  {ledger.open} events are in no result after {GRACE:.0f} s")
