"""What time is it?  The world's, but for the rooms it never goes back: they pace what they tell by it, and would fall silent."""

from __future__ import annotations

import time
from typing import NamedTuple


class Instant(NamedTuple):
    """One look at the clock."""

    now: int  # µs since 1970 UTC, never less than at an earlier look
    put_back: int  # µs by which the world's clock is behind that


class Clock:
    """The world's clock; where that is put back it goes on from where it was."""

    def __init__(self) -> None:
        self._world = self._put_back = 0

    def look(self) -> Instant:
        """Return what time it is."""
        before, self._world = self._world, time.time_ns() // 1000
        self._put_back += max(0, before - self._world)
        return Instant(self._world + self._put_back, self._put_back)
