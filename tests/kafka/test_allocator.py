"""How many arenas does the C library have when many threads ask for memory?"""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from streams.kafka import allocator

_ARENAS = """
import ctypes, sys, threading
from streams.kafka.allocator import few_arenas
if sys.argv[1] == "few":
    few_arenas()
all_there = threading.Barrier(9)
def ask():
    bytes(1000)  # too large for Python's own pools
    all_there.wait()
threads = [threading.Thread(target=ask) for _ in range(8)]
for one in threads:
    one.start()
all_there.wait()
libc = ctypes.CDLL(None)
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="glibc only")
@pytest.mark.parametrize(
    ("how", "enough"), [("few", lambda count: count <= allocator.ARENAS), ("many", lambda count: count > 4)]
)
def test_threads_share_few_arenas(how, enough):
    """Eight threads at once have as many as are allowed; and, so that this says something, more where nobody has asked."""
    done = subprocess.run([sys.executable, "-c", _ARENAS, how], check=True, stdout=subprocess.PIPE, text=True)
    assert enough(done.stdout.count("<heap nr="))


@pytest.mark.parametrize("ask", [allocator.few_arenas, allocator.trim])
def test_another_c_library_is_left_alone(monkeypatch, ask):
    """Where there is no such function nothing happens."""
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    ask()
