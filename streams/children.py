"""How does a process that we start end with us, also on kill -9?"""

from __future__ import annotations

import os
import signal
import sys

PR_SET_PDEATHSIG = 1

# Asks before the program is loaded, which may take seconds in which we can be killed: what was asked outlives exec.
# A wrapper instead of preexec_fn, which may dead-lock in a process with threads.
_WRAPPER = f"""
import ctypes, os, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl({PR_SET_PDEATHSIG}, {int(signal.SIGKILL)})
    if os.getppid() != int(sys.argv[1]):
        sys.exit(1)
os.execvp(sys.argv[2], sys.argv[2:])
"""


def ending_with_us(command: list[str]) -> list[str]:
    """Return `command` as it is started so that the kernel ends it with this process, on Linux.

    Start it from a thread that lives as long as the program shall: for the kernel the parent is that thread.
    """
    # without site and Python's variables, which are the program's: it starts in a fiftieth of a second
    return [sys.executable, "-I", "-S", "-c", _WRAPPER, str(os.getpid()), *command]
