"""Where does a real /metrics come from?  From the demo: a broker, a worker, and sample events that keep coming."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from typing import IO

from tests.brokers.ports import reserved_port

READY_DEADLINE = 90.0


@contextlib.contextmanager
def metrics_source() -> Iterator[int]:
    """Run `dealpulse demo`; give the port of its worker's metrics once that is ready."""
    port = reserved_port()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "streams.cli.main", "demo", "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
        try:
            wait_until_ready(process, port, said)
            yield port
        finally:
            process.terminate()
            process.wait(30)


def wait_until_ready(process: subprocess.Popen[bytes], port: int, said: IO[bytes]) -> None:
    """Wait until the worker has its partitions; what it said is in the error if it never does."""
    end = time.monotonic() + READY_DEADLINE
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    said.seek(0)
    raise AssertionError(f"the demo is not ready: {said.read()[-2000:].decode(errors='replace')}")
