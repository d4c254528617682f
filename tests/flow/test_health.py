"""Do /health/live and /health/ready of a real worker tell the truth through its life?"""

from __future__ import annotations

import contextlib
import itertools
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any, NamedTuple

import orjson
import pytest
from confluent_kafka import IsolationLevel
from confluent_kafka.admin import AdminClient, OffsetSpec

from streams.cli.stack import WorkerProcess
from streams.kafka.offsets import ask_offsets
from streams.topics import DELTAS, KPI_HISTORY, KPI_LATEST
from tests.brokers.marks import rows_unmarked
from tests.faults import load
from tests.flow.installation import Installation

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def until(worker: WorkerProcess, true: Callable[[dict[str, Any]], Any], deadline: float = 40.0) -> dict[str, Any]:
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        worker.check()
        said = worker.readiness()
        if said and true(said):
            return said
        time.sleep(0.02)
    raise AssertionError(f"never within {deadline} s; at the end {worker.readiness()}")


def restored_in_metrics(worker: WorkerProcess) -> float:
    return worker.metrics()[("dealpulse_restored_records_total", "")]


def test_from_the_start_over_much_work_to_a_restart(embedded_broker, install):
    """Not joined; restored; behind; up to date; and after a restart with what it has restored, as the metrics say."""
    installation = install(embedded_broker, load.definitions(partitions=2), ready_lag=500)
    with installation.worker() as worker:
        assert until(worker, lambda said: not said["ready"])["missing"]
        said = until(worker, lambda said: said["ready"])
        # deals, kpis, alerts and notify, two partitions each; seven sources
        assert said["partitions"] == {"restored": 8, "assigned": 8}
        assert (said["assigned"], said["lag_limit"]) == (14, 500)
        installation.send_all(load.records(20_000, 1))
        said = until(worker, lambda said: not said["ready"])
        assert said["missing"][0].endswith("records wait, more than DEALPULSE_READY_LAG=500")
        assert said["lag"] > 500
        assert said["restored"]
        until(worker, lambda said: said["ready"], 90)
        installation.process_all(worker)
    with installation.worker() as worker:
        said = until(worker, lambda said: said["ready"])
        assert said["restored_records"] > 1_000
        time.sleep(1.5)  # the metrics are brought up to date once a second
        assert restored_in_metrics(worker) == said["restored_records"]
        assert worker.metrics()[("dealpulse_recovering", "")] == 0


class Look(NamedTuple):
    """What both endpoints of a worker said, one right after the other."""

    live: int  # the status code
    ready: int
    body: dict[str, Any]  # of the latter

    @property
    def restored(self) -> tuple[int, int]:
        """Return how many partitions of state are restored, of how many."""
        return self.body["partitions"]["restored"], self.body["partitions"]["assigned"]


def looks(worker: WorkerProcess, enough: Callable[[Look], Any], deadline: float = 30.0) -> list[Look]:
    """Ask both endpoints until it is enough, as whoever runs it does; return all answers."""
    found: list[Look] = []
    end = time.monotonic() + deadline
    while not found or not enough(found[-1]):
        assert time.monotonic() < end, found[-1:]
        worker.check()
        with contextlib.suppress(OSError):  # it does not listen yet
            live, ready = (_ask(worker, what) for what in ("live", "ready"))
            found.append(Look(live[0], *ready))
        time.sleep(0.02)
    return found


def _ask(worker: WorkerProcess, what: str) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(worker.metrics_url.replace("/metrics", f"/health/{what}"), timeout=2) as answer:
            return answer.status, orjson.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, orjson.loads(error.read())


def told(installation: Installation) -> dict[tuple[str, int], int]:
    """Return where the KPI topics end, records that are not decided among them."""
    admin = AdminClient({**installation.client, "log_level": 0})
    parts = [
        (topic, one) for topic in (KPI_LATEST, KPI_HISTORY) for one in range(installation.settings.definitions.partitions)
    ]
    return ask_offsets(admin, parts, OffsetSpec.latest(), IsolationLevel.READ_UNCOMMITTED, 10)


@pytest.mark.kafka
def test_while_it_restores_it_is_alive_and_not_ready(apache_kafka, install):
    """Seven of eight partitions are back, the last cannot be read for a second: live, not ready, and no KPI is told."""
    installation = install(apache_kafka, load.definitions(partitions=2), ready_lag=100_000)
    feed = load.records(600, 1)
    installation.send_all(itertools.islice(feed, 400))
    with installation.worker() as worker:
        worker.wait_until_ready()
        while not installation.committed().get((DELTAS, 0)):
            worker.check()
    installation.send_all(feed)  # a worker that uses what is restored too soon tells of these
    before = told(installation)
    app_id = installation.settings.environment.app_id
    with rows_unmarked(installation.client, app_id, "kpis", DELTAS) as mark, installation.worker() as worker:
        seen = looks(worker, lambda look: look.restored == (7, 8))
        until = time.monotonic() + 1
        waiting = looks(worker, lambda _look: time.monotonic() > until)
        assert {(look.live, look.ready) for look in seen + waiting} == {(200, 503)}
        assert {look.restored for look in waiting} == {(7, 8)}
        assert waiting[-1].body["missing"][0].startswith("7 of 8 partitions of state are restored (")
        assert worker.metrics()["dealpulse_recovering", ""] == 1
        assert told(installation) == before
        mark()
        seen = looks(worker, lambda look: look.ready == 200)
        assert {look.live for look in seen} == {200}
        assert seen[-1].restored == (8, 8)
        until = time.monotonic() + 10
        while told(installation) == before:
            assert time.monotonic() < until, "it does not go on"
            time.sleep(0.1)


@pytest.mark.kafka
def test_a_spare_worker_is_ready_and_a_successor_restores(apache_kafka, install):
    """One partition, two workers: the one without it is ready to take over, and says what it took over."""
    installation = install(apache_kafka, load.definitions(partitions=1))
    installation.send_all(load.records(2_000, 1))
    with installation.worker() as first:
        until(first, lambda said: said["ready"] and said["assigned"])
        with installation.worker() as second:
            until(second, lambda said: said["ready"])
            until(first, lambda said: said["ready"])
            busy, spare = sorted((first, second), key=lambda one: -one.readiness()["assigned"])
            assert [one.readiness()["partitions"]["assigned"] for one in (busy, spare)] == [4, 0]
            installation.read_all(busy)
            busy.process.terminate()
            assert busy.process.wait(10) == 0
            said = until(spare, lambda said: said["ready"] and said["assigned"])
            assert said["partitions"] == {"restored": 4, "assigned": 4}
            assert said["restored_records"] > 100
