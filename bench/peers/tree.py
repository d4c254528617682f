"""What has a process used, all its children included?  CPU seconds and memory as the kernel counts them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.process import TICK, Sample, machine, peak_memory
from streams.kafka.embedded import end_process


class FailedError(Exception):
    """A peer ended, or did nothing; the text holds its last words."""


def members(pid: int) -> list[int]:
    """Return the process and all that it has started, and those in turn."""
    found, waiting = [], [pid]
    while waiting:
        one = waiting.pop()
        found.append(one)
        with contextlib.suppress(OSError):
            for thread in Path(f"/proc/{one}/task").iterdir():
                with contextlib.suppress(OSError):
                    waiting += [int(child) for child in (thread / "children").read_text(encoding="ascii").split()]
    return found


def used(fields: list[str]) -> float:
    """Return the seconds in /proc/PID/stat, read from the state on: user, system, and both of children that have ended."""
    return sum(int(one) for one in fields[11:15]) / TICK


def cpu(pid: int) -> float:
    """Return the seconds used so far."""
    total = 0.0
    for one in members(pid):
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{one}/stat").read_text(encoding="ascii", errors="replace")
            total += used(text.rpartition(")")[2].split())
    return total


def memory(pid: int) -> float:
    """Return the sum of the largest resident sizes, in MiB."""
    total = 0.0
    for one in members(pid):
        with contextlib.suppress(OSError):
            total += peak_memory(one)
    return total


def sample(pid: int, seen: Any = None) -> Sample:
    """Look once."""
    return Sample(time.monotonic(), cpu(pid), machine(), seen)


@contextlib.contextmanager
def running(command: list[str], variables: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program for the length of the block; it ends with us, even if we are killed."""
    with log.open("wb") as said:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *command],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            env={**os.environ, **variables},
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.kill()  # nothing of it is wanted again
        end_process(process, 5.0)


def check(process: subprocess.Popen[bytes], log: Path) -> None:
    """Raise FailedError with its last words if it has ended."""
    if process.poll() is not None:
        raise FailedError(f"it ended with {process.returncode}:\n{log.read_text(errors='replace')[-3000:]}")
