"""How much more than it uses does the C library keep?  As little as it can be told to; glibc only, elsewhere nothing happens."""

from __future__ import annotations

import contextlib
import ctypes

# Else every thread has its own, of which librdkafka has a dozen, and what one has freed no other gets.  One alone keeps
# hardly less (docs/performance.md), and everybody would wait for everybody.
ARENAS = 2
_M_ARENA_MAX = -8  # malloc.h


def few_arenas() -> None:
    """Let threads share what they have freed; call before there are many.  Counts more than MALLOC_ARENA_MAX."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, ARENAS)


def trim() -> None:
    """Give the pages in which nothing is in use back to the system."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
