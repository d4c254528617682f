"""How does a test run the toy flow?  Its own topics, workers as processes, and the sums read back."""

from __future__ import annotations

import contextlib
import itertools
import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import toy
from confluent_kafka import Consumer, Producer, TopicPartition

from streams.config import Definitions
from streams.environment import Environment, bootstrap
from streams.kafka.admin import create_topics

PARTITIONS = 4
KEYS = 500
_serial = itertools.count()


# Forked from a process that has imported everything: a worker's start costs seconds of imports otherwise.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["toy"])


@dataclass
class Worker:
    """A worker process; killed at the end of its test at the latest."""

    process: multiprocessing.process.BaseProcess
    status_file: Path
    log_file: Path

    @property
    def code(self) -> int | None:
        """Return the exit code; a signal's number is negative."""
        return self.process.exitcode

    def wait(self, deadline: float) -> int | None:
        """Return the exit code, or None while it runs."""
        self.process.join(deadline)
        return self.process.exitcode

    def status(self) -> dict[str, Any]:
        with contextlib.suppress(OSError):
            return json.loads(self.status_file.read_text())
        return {}

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def wait_until(self, true: Callable[[dict[str, Any]], Any], deadline: float = 40.0) -> dict[str, Any]:
        end = time.monotonic() + deadline
        while time.monotonic() < end:
            status = self.status()
            if status and true(status):
                return status
            assert self.code is None, f"the worker ended with {self.code}: {self.log()}"
            time.sleep(0.05)
        raise AssertionError(f"not within {deadline} s; status {self.status()}; log {self.log()}")

    def ready(self) -> None:
        self.wait_until(lambda status: status["ready"])

    def caught_up(self) -> None:
        self.wait_until(lambda status: status["caught_up"])

    def stop(self) -> tuple[int | None, float]:
        """Ask it to end; return its exit code and how long it took."""
        started = time.monotonic()
        self.process.terminate()
        return self.wait(20), time.monotonic() - started

    def kill(self) -> None:
        self.process.kill()
        self.wait(10)

    def freeze(self, seconds: float) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(self.process.pid, signal.SIGCONT)


@dataclass
class Flow:
    """One app of its own on a broker."""

    url: str
    directory: Path
    app: str = field(default_factory=lambda: f"toy-{os.getpid()}-{next(_serial)}")
    partitions: int = PARTITIONS
    sent: int = 0
    workers: list[Worker] = field(default_factory=list)

    @property
    def address(self) -> str:
        return bootstrap(Environment(broker=self.url))

    def create(self) -> Flow:
        create_topics(
            Environment(broker=self.url, app_id=self.app), Definitions(partitions=self.partitions), toy.topics(self.app)
        )
        self.producer = Producer(
            {"bootstrap.servers": self.address, "partitioner": "murmur2_random", "linger.ms": 20, "compression.type": "lz4"}
        )
        return self

    def send(self, count: int) -> None:
        source = toy.names(self.app)[0]
        for number in range(self.sent, self.sent + count):
            while True:
                try:
                    self.producer.produce(source, b"1", b"k%d" % (number % KEYS))
                    break
                except BufferError:
                    self.producer.poll(0.1)
        self.producer.flush(30)
        self.sent += count

    def worker(self, environment: dict[str, str] | None = None, **options: Any) -> Worker:
        """Start a worker."""
        name = f"{self.app}-{len(self.workers)}"
        status, log = self.directory / f"{name}.json", self.directory / f"{name}.log"
        told = {"broker": self.url, "app": self.app, "partitions": self.partitions, "status": str(status), **options}
        process = _processes.Process(target=_work, args=(told, environment or {}, str(log)), daemon=True)
        process.start()
        self.workers.append(Worker(process, status, log))
        return self.workers[-1]

    def counts(self) -> tuple[int, dict[bytes, int]]:
        """Return the sum of all visible changes, and every key's newest total."""
        _, changes, totals = toy.names(self.app)
        changed = sum(int(value) for _, value in self.read(changes))
        return changed, {key: int(value) for key, value in self.read(totals)}

    def read(self, topic: str) -> Iterator[tuple[bytes, bytes]]:
        """Yield what a reader of committed records sees up to now."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.address,
                "group.id": f"{self.app}-reader",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 20,  # the end must be told at once
            }
        )
        consumer.list_topics(timeout=10)
        consumer.assign([TopicPartition(topic, partition, 0) for partition in range(self.partitions)])
        ends = 0
        while ends < self.partitions:
            for message in consumer.consume(10_000, 0.05):
                if message.error() is not None:
                    ends += 1
                else:
                    yield message.key(), message.value()
        consumer.close()

    def expected(self) -> dict[bytes, int]:
        """Return every key's right total."""
        return {b"k%d" % key: self.sent // KEYS + (key < self.sent % KEYS) for key in range(min(KEYS, self.sent))}

    def assert_exact(self, deadline: float = 60.0) -> None:
        """Wait until as much as was sent is counted, then all must be right."""
        end = time.monotonic() + deadline
        changed, totals = self.counts()
        while (changed < self.sent or sum(totals.values()) < self.sent) and time.monotonic() < end:
            time.sleep(0.3)
            changed, totals = self.counts()
        assert changed == self.sent, (
            f"{changed:,} of {self.sent:,} are counted; the workers {[(one.code, one.log()[-600:] if one.code else None) for one in self.workers]}"
        )
        assert totals == self.expected(), f"{sum(totals.values()):,} of {self.sent:,} are in the totals"

    def end(self) -> None:
        for worker in self.workers:
            if worker.code is None:
                os.kill(worker.process.pid, signal.SIGCONT)
                worker.kill()


def _work(told: dict[str, Any], environment: dict[str, str], log: str) -> None:
    """Be a worker, in a process of its own."""
    os.environ.update(environment)
    with open(log, "wb") as output:  # noqa: PTH123  # its descriptor is what counts
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    sys.exit(toy.main(told))
