"""How do a broker, the topics and a worker of our own start, and how is everything surely ended?

Nothing here outlives the command: children get SIGTERM, then SIGKILL, also after an exception or a
signal; and if the command itself is killed, the broker and the worker notice and end.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import orjson
from prometheus_client.parser import text_string_to_metric_families

from streams import config
from streams.children import ending_with_us
from streams.cli.settings import CheckError, Settings
from streams.cli.settle import Look, Observer, Said, together
from streams.config_file import text_of
from streams.environment import ENV_PREFIX, Environment, bootstrap, variable_of
from streams.kafka.admin import create_topics
from streams.kafka.embedded import embedded_broker, end_process, free_port, lock_file

PARTITIONS = 4  # what one worker on an embedded broker needs; dealpulse.yaml may say otherwise
FLUSH_INTERVAL = "500ms"  # somebody sits and waits for what lingers
STOP_DEADLINE = 2.0  # all of it is thrown away at the end: no reason to wait for a clean last flush
READY_DEADLINE = 60.0
SCRAPE_DEADLINE = 2.0
_TAIL = 2_000

Series = dict[tuple[str, str], float]  # (name, values of its labels joined by /) -> value


@dataclass(frozen=True)
class WorkerProcess:
    """A worker that runs as a child of this process."""

    process: subprocess.Popen[bytes]
    log: Path
    port: int

    @property
    def metrics_url(self) -> str:
        """Return where Prometheus finds it."""
        return f"http://127.0.0.1:{self.port}/metrics"

    def check(self) -> None:
        """Raise CheckError with its last words when the worker has ended."""
        code = self.process.poll()
        if code is not None:
            raise CheckError(f"the worker ended with exit code {code}:\n{self.last_words()}")

    def last_words(self) -> str:
        """Return the end of what the worker said."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-_TAIL:].strip() or "(it said nothing)"

    def metrics(self) -> Series:
        """Return the metrics; none while the worker does not answer."""
        text = (self._answer("/metrics") or b"").decode()
        return {
            (sample.name, "/".join(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def counted(self) -> Series:
        """Return the metrics of a worker that must answer.  Raises CheckError when it does not."""
        end = time.monotonic() + READY_DEADLINE
        while not (series := self.metrics()):
            self.check()
            if time.monotonic() > end:
                raise CheckError(
                    f"the worker has not said for {READY_DEADLINE:.0f} s what it has counted:\n{self.last_words()}"
                )
            time.sleep(0.1)
        return series

    def says(self) -> Said | None:
        """Return what it says of its work; None while it does not answer."""
        answer = self._health("idle")
        return Said(answer["commits"], answer["idle"]) if answer.get("commits") is not None else None

    def lag(self) -> int:
        """Return how many records wait, over all rooms, as the worker sees it."""
        return int(sum(value for (name, _), value in self.metrics().items() if name == "dealpulse_consumer_lag_records"))

    def wait_until_ready(self) -> None:
        """Wait until the worker owns its partitions, all of them restored, however far behind it is.  Raises CheckError."""
        moved, read = time.monotonic(), None
        while not (said := self.readiness()).get("restored"):
            self.check()
            if (now := said.get("restored_records")) != read:
                moved, read = time.monotonic(), now
            if time.monotonic() - moved > READY_DEADLINE:
                raise CheckError(
                    f"the worker has not moved for {READY_DEADLINE:.0f} s, and is not ready:\n{self.last_words()}"
                )
            time.sleep(0.1)

    def readiness(self) -> dict[str, Any]:
        """Return what it says of its readiness; nothing while it does not answer."""
        return self._health("ready")

    def _health(self, what: str) -> dict[str, Any]:
        return orjson.loads(self._answer(f"/health/{what}") or b"{}")  # type: ignore[no-any-return]  # an object, always

    def _answer(self, path: str) -> bytes | None:
        """Return all of its answer, be it yes or no; None while there is none, or it ends in the middle of it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SCRAPE_DEADLINE)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
        return body if "Content-Length" in answer.headers else None  # else it did not even come to the end of its headers


def observer(workers: Sequence[WorkerProcess], progress: Callable[[Look], None] = lambda _look: None) -> Observer:
    """Return how `settle` looks at workers, as if they were one; `progress` is told how far they are."""

    def check() -> None:
        for worker in workers:
            worker.check()

    return Observer(lambda: together(worker.says() for worker in workers), check, progress)


@dataclass(frozen=True)
class Stack:
    """A running broker with topics and one worker."""

    settings: Settings
    worker: WorkerProcess

    @property
    def client(self) -> dict[str, Any]:
        """Return what every Kafka client needs."""
        return self.settings.client


@contextlib.contextmanager
def embedded_stack(raw: dict[str, Any], *, app_id: str, port: int | None = None, ticks: bool = False) -> Iterator[Stack]:
    """Run a broker, the topics and a worker for the length of the block.  `raw` is the parsed dealpulse.yaml.

    Secrets and addresses of the real installation stay outside: nothing embedded talks to Slack.
    """
    raw = {"partitions": PARTITIONS, "flush_interval": FLUSH_INTERVAL, **raw}
    definitions = config.definitions_from(raw)
    with signals_end_it(), tempfile.TemporaryDirectory(prefix="dealpulse-") as folder, embedded_broker() as broker:
        file = Path(folder) / "dealpulse.yaml"
        file.write_text(text_of(raw), encoding="utf-8")
        environment = Environment(broker=broker.url, app_id=app_id, config=str(file), web_port=port or free_port())
        settings = Settings(environment, definitions)
        create_topics(environment, definitions)
        try:
            with worker_process(environment, Path(folder), ticks=ticks) as worker:
                yield Stack(settings, worker)
        finally:
            lock_file(bootstrap(environment), app_id).unlink(missing_ok=True)


@contextlib.contextmanager
def worker_process(
    environment: Environment, folder: Path, *, ticks: bool, more: tuple[str, ...] = ()
) -> Iterator[WorkerProcess]:
    """Run one worker for the length of the block."""
    command = [sys.executable, "-m", "streams.cli.main", "worker", *([] if ticks else ["--no-ticks"]), *more]
    log = folder / "worker.log"
    with log.open("wb") as said:
        process = subprocess.Popen(  # noqa: S603  # our own program
            ending_with_us(command),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            env=_variables(environment),
            start_new_session=True,  # Ctrl-C is for us; we end the worker before its broker
        )
    try:
        yield WorkerProcess(process, log, environment.web_port)
    finally:
        end_process(process, STOP_DEADLINE)


def _variables(environment: Environment) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)}
    said = msgspec.structs.asdict(environment)
    ours = {variable_of(name): str(value) for name, value in said.items() if value is not None}
    return {**inherited, **ours}


@contextlib.contextmanager
def signals_end_it() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the block as Ctrl-C does, by an exception, so that children are ended."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {one: signal.signal(one, signal.default_int_handler) for one in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
