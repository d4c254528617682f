"""Where does the time go?  Samples a running worker with py-spy and adds up by line of code."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

RATE = 200
SHOWN = 30


def py_spy() -> str | None:
    """Return the program, if it is installed."""
    beside = Path(sys.executable).with_name("py-spy")
    return str(beside) if beside.exists() else shutil.which("py-spy")


@contextlib.contextmanager
def sampled(pid: int, file: Path | None) -> Iterator[None]:
    """Sample the process during the block into `file`; without a file do nothing."""
    program = py_spy()
    if file is None or program is None:
        yield
        return
    command = [program, "record", "--pid", str(pid), "--format", "raw", "--output", str(file), "--rate", str(RATE)]
    process = subprocess.Popen(
        [*command, "--threads", "--nonblocking"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
        process.kill()


def summary(file: Path) -> str:
    """Return the functions where most samples ended, those that lead to most of them, and the threads."""
    own: Counter[str] = Counter()
    under: Counter[str] = Counter()
    threads: Counter[str] = Counter()
    total = 0
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        stack, _, number = line.rpartition(" ")
        frames, count = stack.split(";"), int(number)
        total += count
        threads[frames[0]] += count
        functions = [frame.rpartition(":")[0] or frame for frame in frames[1:]] or [frames[0]]
        own[functions[-1]] += count
        under.update(dict.fromkeys(functions, count))
    lines = []
    for title, found in (("threads", threads), ("in it", own), ("in it and below", under)):
        lines += ["", f"{title}:", *(f"  {count / total:6.1%}  {name}" for name, count in found.most_common(SHOWN))]
    return "\n".join(lines)
