"""A worker of the whole product in a process of its own, to be killed, frozen, or made to cheat."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from streams.cli.settings import Settings
from streams.cli.stack import WorkerProcess
from streams.config import Environment, read_definitions
from streams.kafka.faults import FAILPOINT, PLAIN_PRODUCING, Faults
from tests.brokers.ports import reserved_port

SESSION = 6.0  # seconds; the least that the broker allows
KILLED = -signal.SIGKILL

# Forked from a process that has imported everything: a worker's start costs seconds of imports otherwise.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["toy", "streams.worker"])


@dataclass(frozen=True)
class _Polled:
    """A process as WorkerProcess asks it."""

    of: multiprocessing.process.BaseProcess

    def poll(self) -> int | None:
        return self.of.exitcode


@dataclass(frozen=True)
class Worker(WorkerProcess):
    """A worker that a test does harm to."""

    @property
    def pid(self) -> int:
        return self.process.of.pid

    @property
    def code(self) -> int | None:
        """Return the exit code; a signal's number is negative."""
        return self.process.poll()

    def wait(self, deadline: float) -> int | None:
        self.process.of.join(deadline)
        return self.code

    def kill(self) -> None:
        self.process.of.kill()
        self.wait(10)

    def freeze(self, seconds: float) -> None:
        os.kill(self.pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(self.pid, signal.SIGCONT)

    def end(self) -> None:
        if self.code is None:
            os.kill(self.pid, signal.SIGCONT)
            self.kill()


def start(settings: Settings, folder: Path, *, failpoint: str | None = None, transactions: bool = True) -> Worker:
    """Start a worker; `failpoint` is as in DEALPULSE_FAILPOINT."""
    port = reserved_port()
    log = folder / f"worker-{port}.log"
    faults = ({FAILPOINT: failpoint} if failpoint else {}) | ({} if transactions else {PLAIN_PRODUCING: "1"})
    environment = msgspec.structs.asdict(msgspec.structs.replace(settings.environment, web_port=port))
    process = _processes.Process(target=_work, args=(environment, str(log), faults, transactions), daemon=True)
    process.start()
    return Worker(_Polled(process), log, port)  # type: ignore[arg-type]  # it is only ever polled


def _work(said: dict[str, Any], log: str, faults: dict[str, str], transactions: bool) -> None:
    """Be a worker."""
    from streams.cli.worker import end_with
    from streams.worker import run

    if not end_with(os.getppid()):
        return
    with open(log, "wb") as output:  # noqa: PTH123  # its descriptor is what counts
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    environment = Environment(**said)
    sys.exit(
        run(
            environment,
            read_definitions(environment.config),
            ticks=False,
            session_timeout=SESSION,
            transactions=transactions,
            faults=Faults.read(faults),
        )
    )
