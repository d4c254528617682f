"""Do /health/live and /health/ready of a real worker tell the truth through its life?"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from streams.cli.stack import WorkerProcess
from tests.faults import load

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
        # deals, kpis, alerts and notify, two partitions each; six sources
        assert said["partitions"] == {"restored": 8, "assigned": 8}
        assert (said["assigned"], said["lag_limit"]) == (12, 500)
        installation.send_all(load.records(20_000, 1))
        said = until(worker, lambda said: not said["ready"])
        assert said["missing"][0].endswith("records wait, more than 500")
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
