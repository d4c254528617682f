"""What has a process used?  CPU seconds and memory as the kernel counts them, and how busy the machine was beside it."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

TICK = os.sysconf("SC_CLK_TCK")


def cpu(*pids: int) -> float:
    """Return the user and system seconds of processes, all their threads."""
    spent = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        spent += int(fields[11]) + int(fields[12])
    return spent / TICK


def peak_memory(pid: int) -> float:
    """Return the largest resident size so far, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


def machine() -> float:
    """Return the seconds that all cores together have been busy."""
    fields = [int(one) for one in Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / TICK


def resident() -> int:
    """Return how many bytes of this process are in memory."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Sample(NamedTuple):
    """One look: when, what was used until then, and what `watch` said."""

    at: float
    cpu: float
    machine: float
    seen: Any


def sample(*pids: int, seen: Any = None) -> Sample:
    """Look once at processes, taken together."""
    return Sample(time.monotonic(), cpu(*pids), machine(), seen)


class Sampler(threading.Thread):
    """Looks at processes again and again until stopped; afterwards `samples` tells what happened when."""

    def __init__(self, pids: Sequence[int], every: float, watch: Callable[[], Any] = lambda: None) -> None:
        super().__init__(daemon=True)
        self._pids, self._every, self._watch = pids, every, watch
        self._end = threading.Event()
        self.samples: list[Sample] = []
        self.load: list[float] = []

    def run(self) -> None:
        """Sample until stopped, or until one of them is gone."""
        while True:
            seen = self._watch()
            try:
                self.samples.append(sample(*self._pids, seen=seen))
            except (FileNotFoundError, ProcessLookupError):
                return
            self.load.append(os.getloadavg()[0])
            if self._end.wait(self._every):
                return

    def stop(self) -> list[Sample]:
        """End it; return the samples."""
        self._end.set()
        self.join()
        return self.samples


def others(first: Sample, last: Sample) -> float:
    """Return how many cores everybody else kept busy between two samples, the broker among them."""
    wall = max(last.at - first.at, 1e-9)
    return max(0.0, (last.machine - first.machine) - (last.cpu - first.cpu)) / wall


def threads(pid: int) -> dict[str, float]:
    """Return the CPU seconds of the main thread, of librdkafka's threads, and of the other Python threads."""
    found = dict.fromkeys(("main", "librdkafka", "poll and commit"), 0.0)
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            name, _, rest = (task / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")
            fields = rest.split()
            whose = "main" if task.name == str(pid) else "librdkafka" if "(rdk:" in name else "poll and commit"
            found[whose] += (int(fields[11]) + int(fields[12])) / TICK
    return found
