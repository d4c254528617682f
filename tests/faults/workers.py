"""A worker of the whole product in a process of its own, to be killed, frozen, or made to cheat."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from streams.cli.settings import Settings
from streams.cli.stack import WorkerProcess
from streams.config_file import read_definitions
from streams.environment import Environment
from streams.kafka.faults import FAILPOINT, PLAIN_PRODUCING, Faults
from tests.brokers.ports import reserved_port

SESSION = 6.0  # seconds; the least that the broker allows
KILLED = -signal.SIGKILL

# Forked from a process that has imported everything: a worker's start costs seconds of imports otherwise.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["toy", "streams.worker", "streams.cli.worker"])


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
        self.thaw()

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def stop(self, deadline: float = 30.0) -> tuple[int | None, float]:
        """Ask it to end; return its exit code and how long it took."""
        began = time.monotonic()
        self.process.of.terminate()
        return self.wait(deadline), time.monotonic() - began

    def wait_until_it_says(self, words: str, deadline: float = 60.0) -> None:
        """Wait for words in its log."""
        end = time.monotonic() + deadline
        while not self.has_said(words):
            assert self.code is None, f"it ended with {self.code}: {self.last_words()}"
            assert time.monotonic() < end, f"it has not said {words!r}: {self.last_words()}"
            time.sleep(0.02)

    def has_said(self, words: str) -> bool:
        """Are there these words in its log?"""
        return words in self.log.read_text(errors="replace")

    def rss(self) -> int:
        """Return its resident memory in bytes."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def end(self) -> None:
        if self.code is None:
            os.kill(self.pid, signal.SIGCONT)
            self.kill()


def start(
    settings: Settings,
    folder: Path,
    *,
    failpoint: str | None = None,
    transactions: bool = True,
    sabotage: Sequence[str] = (),
    accept_older_state: bool = False,
    ticks: bool = False,
    slot: str | None = None,
    environment: Mapping[str, Any] | None = None,
) -> Worker:
    """Start a worker; `failpoint` is as in DEALPULSE_FAILPOINT, `sabotage` names deeds of sabotage.py.

    `environment`: what DEALPULSE_ variables say to this one, such as another way to the broker.
    """
    port = reserved_port()
    log = folder / f"worker-{port}.log"
    log.touch()
    faults = ({FAILPOINT: failpoint} if failpoint else {}) | ({} if transactions else {PLAIN_PRODUCING: "1"})
    if not transactions:
        sabotage = (*sabotage, "strike_only_what_a_room_reads")
    said = msgspec.structs.replace(settings.environment, web_port=port, slot=slot, **(environment or {}))
    options = {"transactions": transactions, "accept_older_state": accept_older_state, "ticks": ticks}
    process = _processes.Process(
        target=_work, args=(msgspec.structs.asdict(said), str(log), faults, sabotage, options), daemon=True
    )
    process.start()
    return Worker(_Polled(process), log, port)  # type: ignore[arg-type]  # it is only ever polled


def _work(said: dict[str, Any], log: str, faults: dict[str, str], sabotage: Sequence[str], options: dict[str, Any]) -> None:
    """Be a worker."""
    from streams.worker import run
    from tests.faults.wide.sabotage import DEEDS
    from tests.processes import end_with

    if not end_with(os.getppid()):
        return
    with open(log, "wb") as output:  # noqa: PTH123  # its descriptor is what counts
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    for name in sabotage:
        DEEDS[name]()
    environment = Environment(**said)
    sys.exit(
        run(
            environment,
            read_definitions(environment.config),
            session_timeout=SESSION,
            faults=Faults.read(faults),
            **options,
        )
    )
