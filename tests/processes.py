"""Does a process run, for how long, and with whom does it end?"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from streams.children import PR_SET_PDEATHSIG


def is_alive(pid: int) -> bool:
    """Does it run?  Who has ended and is not yet waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone_within(seconds: float, *pids: int) -> bool:
    """Wait until none of them runs; False if one still does then."""
    end = time.monotonic() + seconds
    while any_alive(pids) and time.monotonic() < end:
        time.sleep(0.02)
    return not any_alive(pids)


def any_alive(pids: Iterable[int]) -> bool:
    """Does one of them run?"""
    return any(map(is_alive, pids))


def end_with(parent: int) -> bool:
    """Let the kernel end this process, a fork, with `parent`, on Linux.  False if that has ended already."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    return os.getppid() == parent
