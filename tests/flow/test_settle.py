"""Does `settle` wait for all that follows from the events, however long it takes?"""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from streams.cli.settle import settle
from streams.cli.stack import WorkerProcess, observer
from tests.faults import load

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
