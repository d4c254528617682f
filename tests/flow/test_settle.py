"""Does `settle` wait for all that follows from the events, however long it takes?"""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from streams.audit.compare import latest_watermark
from streams.audit.read import read_topic
from streams.cli.read import every_record
from streams.cli.settle import settle
from streams.cli.stack import WorkerProcess, observer
from streams.panes.calendar import FINE_US
from streams.topics import DELTAS, KPI_HISTORY, KPI_LATEST, STAGE_CHANGE
from tests.faults import load
from tests.flow.installation import Installation, open_transaction
from tests.flow.rebuilding import CHANGED, RAW, rebuilt, redefine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

STILL = 5.0  # seconds; longer than anything lingers


def _freeze(worker: WorkerProcess, seconds: float) -> None:
    """Let the worker stand still for a while, from now on."""
    os.kill(worker.process.pid, signal.SIGSTOP)
    threading.Timer(seconds, os.kill, (worker.process.pid, signal.SIGCONT)).start()


def test_a_worker_that_has_not_told_everything_is_waited_for(embedded_broker, install):
    """It has read all, holds wide windows back, and gets no processor: nothing moves, and yet it is not done."""
    installation = install(embedded_broker, load.definitions(partitions=2))
    with installation.worker() as worker:
        for seed in (1, 2):
            settle(installation.settings, observer([worker]))
            installation.send_all(load.records(1_000, seed))
            installation.read_all(worker)
        time.sleep(1.0)  # the first round is over
        said = worker.says()
        assert not said.idle
        _freeze(worker, STILL)
        settle(installation.settings, observer([worker]))
        settled = worker.says()
        assert settled.commits > said.commits
        told = installation.records()
        time.sleep(STILL)
        assert worker.says() == settled
        assert installation.records() == told


def _clocks(installation: Installation) -> list[int | None]:
    return [latest_watermark(installation.records(topic).values()) for topic in (KPI_LATEST, KPI_HISTORY)]


def test_history_may_be_ahead_of_latest(embedded_broker, install):
    """The clock moves a little, no number of latest changes, and the open windows are copied into history as of now.

    The audit, and a rebuild, take that for the time that it is; the audit took every such copy to be of the future.
    """
    ageless = {"kpis": {"oldest_waiting": False}}  # an age is told whenever the clock moves
    installation = install(embedded_broker, RAW | ageless)
    installation.send_all(load.records(1_000, 1))
    at = round((load.BEGIN + 1_000 * load.STEP).timestamp() * 1_000_000) // FINE_US * FINE_US + FINE_US
    late = {"event_id": "late", "deal_id": "late", "to_stage": "New", "occurred_at": load.BEGIN.isoformat()}
    with installation.worker() as worker:
        installation.process_all(worker, as_of=at)
        installation.send_events([(STAGE_CHANGE, late)])
        settle(installation.settings, observer([worker]))
        installation.process_all(worker, as_of=at + 30_000_000)
    assert _clocks(installation) == [at, at + 30_000_000]
    assert installation.audit()["different"] == 0
    redefine(installation, CHANGED | ageless)
    rebuilt(installation)
    assert _clocks(installation) == [at + 30_000_000] * 2
    assert installation.audit()["different"] == 0


OPEN = 8.0  # seconds; longer than anything lingers, and than all of it takes


@pytest.mark.kafka
def test_what_stands_behind_an_open_transaction_is_waited_for(apache_kafka, install):
    """Deltas behind it are invisible to the kpis, and the worker has nothing to do."""
    installation = install(apache_kafka, load.definitions(partitions=2))
    with installation.worker() as worker:
        worker.wait_until_ready()
        with open_transaction(installation.client, DELTAS, 2, OPEN) as decided:
            installation.send_all(load.records(300, 5))
            installation.process_all(worker)
            assert decided.is_set()
        said = worker.says()
        comparison = installation.audit()
        assert comparison["different"] == 0, comparison
        assert worker.says() == said


@pytest.mark.kafka
def test_readers_wait_for_an_open_transaction_where_they_must_know_all(apache_kafka, install):
    """What is committed behind it is read when it is decided; who asks for what is visible has an answer at once."""
    installation = install(apache_kafka, load.definitions(partitions=1))
    client = installation.client
    with open_transaction(client, STAGE_CHANGE, 1, OPEN) as decided:
        installation.send(STAGE_CHANGE, b"behind", b"deal")
        installation.sent()
        assert list(every_record(client, STAGE_CHANGE, decided=False)) == []
        assert not decided.is_set()
        assert [one.value() for one in every_record(client, STAGE_CHANGE)] == [b"behind"]
        assert decided.is_set()
    with open_transaction(client, STAGE_CHANGE, 1, OPEN) as decided:
        installation.send(STAGE_CHANGE, b"behind", b"deal")
        installation.sent()
        assert len(list(read_topic(client, STAGE_CHANGE, lambda *_: None))) == 2
        assert decided.is_set()
