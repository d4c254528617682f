"""How does a fault test go?  Workers of one installation to which harm is done, a feed meanwhile, and what must hold afterwards."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka import IsolationLevel
from confluent_kafka.admin import AdminClient, OffsetSpec

from streams.cli.read import every_record
from streams.cli.stack import observer
from streams.kafka.admin import check_topics
from streams.kafka.clients import BROKER_SCAN, TRANSACTION_TIMEOUT
from streams.kafka.offsets import ask_offsets
from streams.topics import ACTIVITY, DEAD_LETTER, KPI_HISTORY, KPI_LATEST, STAGE_CHANGE, TICKS, all_topics
from tests.faults import decoder, workers
from tests.faults.load import Sent
from tests.faults.wide import load, report
from tests.faults.wide.dose import dose
from tests.faults.wide.progress import Progress, quantile
from tests.flow.installation import Installation
from tests.flow.schemas import faults

CAUGHT_UP = 180.0  # seconds after the last fault
# Event time between two events, in seconds: 60 makes an outage of some seconds a backlog of days.
STEP = float(dose("STEP", 10, 60))
DECIDED = TRANSACTION_TIMEOUT + BROKER_SCAN + 5.0  # seconds; a worker that was killed may leave something open
QUIET = 8.0  # seconds in which nothing is committed and nothing is owed
SCHEMA_SAMPLE = 50_000  # records of the latest topic


class Crew:
    """Workers of one installation, of which some die, and a feed that goes on meanwhile."""

    def __init__(  # one installation
        self,
        url: str,
        folder: Path,
        test: str,
        *,
        definitions: dict[str, Any] | None = None,
        exits: Iterable[int] = (),
        environment: dict[str, Any] | None = None,
        **options,
    ) -> None:
        """Begin without workers.

        `test` is how pytest names the test, `exits` are the codes with which workers may end by themselves, `environment` is
        what DEALPULSE_ variables say, and `options` are those of every worker.
        """
        self.installation = Installation(url, folder, definitions or load.definitions(), **(environment or {}))
        _wait_until_seen(self.installation)
        self.admin = AdminClient({**self.installation.client, "log_level": 0})
        self.folder = folder
        self.test = test
        self.options = options
        self._may_end_with = {None, 0, workers.KILLED, *exits}
        self.reasons: Counter[str] = Counter()
        self.fed = 0
        self.workers: list[workers.Worker] = []
        self.done: Counter[str] = Counter()  # harm by kind
        self.done_at: list[float] = []
        self.group_is_whole = True  # else rooms to which nothing comes have no offsets, and what they know is not seen
        self.exits: Counter[str] = Counter()  # workers that ended by themselves, as `tend` found them
        self.last_words: list[str] = []
        self._buried: list[workers.Worker] = []
        self.found: dict[str, Any] = {}
        self.is_reported = False
        self.progress = Progress(self.installation.settings)
        self._began = time.monotonic()
        self._enough = threading.Event()
        self._feed = threading.Thread(daemon=True)
        self._fed_at = self._began
        self._caught_up_at = 0.0
        self._at_least = 0
        self._rate = 0.0
        self._feeds = 0

    # ------------------------------------------------------------------ workers

    def join(self, **options) -> workers.Worker:
        worker = workers.start(self.installation.settings, self.folder, **{**self.options, **options})
        self.workers.append(worker)
        return worker

    def join_ready(self, count: int = 1) -> list[workers.Worker]:
        """Start workers and wait until all are ready."""
        new = [self.join() for _ in range(count)]
        for worker in new:
            worker.wait_until_ready()
        return new

    @property
    def living(self) -> list[workers.Worker]:
        return [worker for worker in self.workers if worker.code is None]

    def harm(self, kind: str) -> None:
        """Take down that harm has been done just now: call it when it has taken effect."""
        self.done[kind] += 1
        self.done_at.append(time.monotonic())

    def kill(self, worker: workers.Worker) -> None:
        """Kill it; it must have been alive."""
        assert worker.code is None, worker.last_words()
        worker.kill()
        assert worker.code == workers.KILLED, worker.last_words()
        self.harm("kill -9")

    def let_go(self, worker: workers.Worker) -> None:
        """Ask a worker to end, and start none in its place: the next one to join takes it."""
        code, _ = worker.stop()
        self._buried.append(worker)
        assert code in self._may_end_with, f"exit code {code}: {worker.last_words()}"

    def tend(self, count: int, **options) -> None:
        """Start a worker for each that has ended by itself, as a supervisor does; any code but 70 and 1 is a fault.

        `options` are those of the workers that are started.
        """
        for worker in [worker for worker in self.workers if worker.code is not None and worker not in self._buried]:
            self._buried.append(worker)
            if worker.code != workers.KILLED:
                assert worker.code in (70, 1), f"exit code {worker.code}: {worker.last_words()}"
                self.exits[f"exit {worker.code}"] += 1
                said = worker.log.read_text(errors="replace").splitlines() or ["(it said nothing)"]
                why = [line for line in said if "; the process ends" in line] or said  # many stacks may stand behind it
                self.last_words.append(why[-1].rpartition("CRITICAL ")[2][:200])
        while len(self.living) < count:
            self.join(**options)

    # ------------------------------------------------------------------ the feed

    def feed(self, at_least: int, seed: int, rate: float, step: float = STEP) -> None:
        """Send `rate` records a second from now on, in a thread, until `fed_up` is called and it is enough."""
        self._at_least, self._rate, self._feeds = self.fed + at_least, rate, self._feeds + 1
        self._enough.clear()
        self._feed = threading.Thread(target=self._send, args=(seed, rate, step, f"{self._feeds}."), daemon=True)
        self._feed.start()
        if not self.progress.ident:
            self.progress.start()

    def fed_up(self) -> None:
        """Let the feed end."""
        self._enough.set()
        self._feed.join()
        self._fed_at = time.monotonic()

    @property
    def feeding(self) -> bool:
        """Has the feed less than enough?"""
        return self._feed.is_alive() and self.fed < self._at_least

    def _send(self, seed: int, rate: float, step: float, name: str) -> None:
        began, before = time.monotonic(), self.fed
        for sent in load.records(10**9, seed, step, name):
            if self.fed >= self._at_least and self._enough.is_set():
                break
            self._send_one(sent)
            if self.fed % 10 == 0:
                time.sleep(max(0.0, began + (self.fed - before) / rate - time.monotonic()))
        self.installation.sent()

    def send(self, records: Iterable[Sent]) -> None:
        """Send records on top, while there is no feed."""
        assert not self._feed.is_alive()
        for one in records:
            self._send_one(one)
        self.installation.sent()
        self._fed_at = time.monotonic()

    def _send_one(self, sent: Sent) -> None:
        self.installation.send(sent.topic, sent.value, sent.key)
        self.reasons[sent.reason or "good"] += 1
        self.fed += 1

    def settle(self) -> None:
        """Wait until all is processed, and nothing waits in any topic."""
        if self.group_is_whole:
            self.installation.process_all(*self.living)
            return
        self.installation.read_all(*self.living)
        self.installation.tick()
        seen, since = None, time.monotonic()
        while time.monotonic() - since < QUIET:
            now = observer(self.living).says()
            if now is None or not now.idle or now != seen:
                seen, since = now, time.monotonic()
            time.sleep(0.5)

    def end(self) -> None:
        self._at_least = 0
        self._enough.set()
        if self.progress.ident:
            self.progress.end()
        for worker in self.workers:
            worker.end()

    # ------------------------------------------------------------------ what must hold afterwards

    def catch_up(self) -> None:
        """Settle within the deadline after the last harm and the last record, or at once where all of it was caught up before."""
        last = max([*self.done_at, self._fed_at])
        began = last if last > self._caught_up_at else time.monotonic()
        self.settle()
        self._caught_up_at = time.monotonic()
        self.found["caught_up_s"] = max(self.found.get("caught_up_s", 0.0), self._caught_up_at - began)
        # The first time only: the checks are behind it, and would be the longest.
        self.found.setdefault("longest_wait_of_a_partition_s", self.progress.longest_wait())
        assert self.found["caught_up_s"] < CAUGHT_UP

    def assert_exact(self) -> None:
        """Catch up within the deadline; every cell as recomputed, every dead letter once, nothing open, nothing waiting."""
        self.catch_up()
        for worker in self.workers:
            assert worker.code in self._may_end_with, f"exit code {worker.code}: {worker.last_words()}"
        self._assert_nothing_stays_open()
        began = time.monotonic()
        audit = self.installation.audit()
        self.found |= {"cells": audit["compared"], "different": audit["different"], "audit_s": time.monotonic() - began}
        assert audit["different"] == 0, (audit, self.dead_letters(), self.reasons)
        assert audit["compared"] > 1000
        self._assert_all_is_read_as_it_was_said()
        assert self.dead_letters() == {reason: count for reason, count in self.reasons.items() if reason != "good"}
        self._assert_all_stands_that_was_sent()
        for topic in (KPI_LATEST, KPI_HISTORY):
            self.assert_each_key_told_once(topic)
        self.found["checks_s"] = time.monotonic() - began
        self.settle()  # nothing waits behind what is committed

    def _assert_all_is_read_as_it_was_said(self) -> None:
        """The audit reads events as the workers do, and looks at the instant that they tell: neither is left to them alone."""
        stand = (one for topic in (STAGE_CHANGE, ACTIVITY) for one in every_record(self.installation.client, topic))
        rows = ((one.topic(), one.key(), one.value(), one.timestamp()[1]) for one in stand)
        ticks = [orjson.loads(tick.value()).get("time", -1) for tick in every_record(self.installation.client, TICKS)]
        newest = max([decoder.newest_of(rows, self.installation.settings.definitions), *ticks])
        told = [one for topic in (KPI_LATEST, KPI_HISTORY) for one in self.installation.records(topic).values()]
        assert decoder.told_until(told) == newest

    def _assert_nothing_stays_open(self) -> None:
        """What is being written just now is decided soon; what a dead worker left is decided by now."""
        end = time.monotonic() + DECIDED
        while found := open_transactions(self.installation):
            assert time.monotonic() < end, found
            time.sleep(0.2)

    def dead_letters(self) -> Counter[str]:
        """Count dead letters by reason; each origin must be there once."""
        letters = [orjson.loads(message.value()) for message in every_record(self.installation.client, DEAD_LETTER)]
        origins = Counter((letter["topic"], letter["partition"], letter["offset"]) for letter in letters)
        assert set(origins.values()) <= {1}, origins.most_common(3)
        self.found["dead_letters"] = len(letters)
        return Counter(letter["reason"] for letter in letters)

    def _assert_all_stands_that_was_sent(self) -> None:
        """The audit recomputes from what stands in the source topics: that must be all that was sent, repeats among it."""
        stand, ids = 0, set()
        for topic in (STAGE_CHANGE, ACTIVITY):
            for message in every_record(self.installation.client, topic):
                stand += 1
                event = _event(message.value())
                if event is not None:
                    ids.add((topic, message.key(), event.get("event_id"), event.get("planned")))
        assert stand == self.fed, f"{self.fed} sent, {stand} stand in the topics, {len(ids)} ids"
        self.found |= {"records": stand, "repeats_sent": self.reasons["good"] - len(ids)}

    def assert_each_key_told_once(self, topic: str) -> None:
        """Each key is in one partition, and no revision of it is there twice, as one of an aborted transaction would be."""
        places = defaultdict(set)
        newest: dict[bytes, tuple[int, str]] = {}
        sample = []
        told = 0
        for message in every_record(self.installation.client, topic):
            key, value = message.key(), message.value()
            told += 1
            places[key].add(message.partition())
            if topic == KPI_LATEST and len(sample) < SCHEMA_SAMPLE:
                sample.append(message)
            if value is None:
                continue
            revision = orjson.loads(value)["revision"]
            where = f"{message.partition()}@{message.offset()} of {message.timestamp()[1]}: {value[:300]!r}"
            if key in newest and revision <= newest[key][0]:
                pytest.fail(f"{topic}: {newest[key][1]}\nand later\n{where}")
            newest[key] = (revision, where)
        assert {len(found) for found in places.values()} == {1}
        assert list(faults(sample) if sample else ())[:3] == []
        self.found[f"records_of_{topic.split('.')[2]}"] = told

    # ------------------------------------------------------------------ what is told of it

    def report(self, name: str, question: str, **more: Any) -> None:
        """Write down what was done and found."""
        self.is_reported = True
        if self.progress.ident:
            self.progress.end()
        waits = self.progress.recoveries(self.done_at)
        report.write(
            name,
            question,
            {
                "test": self.test,
                "harm": dict(self.done),
                "events_sent": self.fed,
                "rate": self._rate,
                "workers_started": len(self.workers),
                "partitions": self.installation.settings.definitions.partitions,
                "session_timeout_s": workers.SESSION,
                **self.found,
                "recovery_s": {
                    "p50": quantile(waits, 0.5),
                    "p95": quantile(waits, 0.95),
                    "max": max(waits, default=None),
                    "of": len(waits),
                },
                "seconds": time.monotonic() - self._began,
                **more,
            },
        )


def _event(value: bytes | None) -> dict[str, Any] | None:
    """Return the event, None of what is no object with an id and a plausible time; a plain look, not the product's."""
    try:
        event = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return None
    good = isinstance(event, dict) and event.get("event_id") not in (None, "p") and len(value or b"") < 10_000
    return event if good else None


def _wait_until_seen(installation: Installation) -> None:
    """Wait until the broker tells of every topic; under load it confirms one seconds before."""
    end = time.monotonic() + 60
    while found := check_topics(installation.settings.environment, installation.settings.definitions):
        assert time.monotonic() < end, found
        time.sleep(0.2)


def open_transactions(installation: Installation) -> dict[str, int]:
    """Return by partition how many records are undecided; what the feed sends without a transaction grows between the two answers."""
    names = (topic.name for topic in all_topics(installation.settings.environment.app_id))
    topics = [name for name in names if name not in (STAGE_CHANGE, ACTIVITY)]
    decided, written = (
        _ends(installation, topics, level) for level in (IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED)
    )
    return {name: end - decided[name] for name, end in written.items() if end != decided[name]}


def visible(installation: Installation, topics: Iterable[str]) -> dict[str, int]:
    """Return how many records of each topic a reader of committed records sees."""
    return {topic: sum(1 for _ in every_record(installation.client, topic)) for topic in topics}


def _ends(installation: Installation, topics: Iterable[str], level: IsolationLevel) -> dict[str, int]:
    parts = [(topic, one) for topic in topics for one in range(installation.settings.definitions.partitions)]
    admin = AdminClient({**installation.client, "log_level": 0})
    found = ask_offsets(admin, parts, OffsetSpec.latest(), level, 20)
    return {f"{topic}[{one}]": offset for (topic, one), offset in found.items()}
