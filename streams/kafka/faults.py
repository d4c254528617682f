"""Where can a test make a worker die or cheat?  The points of the crash matrix, and the negative control."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass

FAILPOINT = "DEALPULSE_FAILPOINT"
PLAIN_PRODUCING = "DEALPULSE_UNSAFE_PLAIN_PRODUCING"

POINTS = (
    "C1",  # before the transaction begins
    "C2",  # some of its records are on the broker
    "C3",  # all of its records are, no offsets
    "C4",  # offsets too, no decision
    "C5",  # the decision is sent, its answer not awaited
    "C6",  # committed, nobody here knows
)


@dataclass
class Faults:
    """What a test wants to go wrong; the default is nothing."""

    point: str | None = None
    count: int = 1
    plain_producing: bool = False

    @staticmethod
    def read(environ: Mapping[str, str]) -> Faults:
        """Read DEALPULSE_FAILPOINT=name:count and DEALPULSE_UNSAFE_PLAIN_PRODUCING=1.  Raises ValueError."""
        name, _, count = environ.get(FAILPOINT, "").partition(":")
        if name and name not in POINTS:
            raise ValueError(f"{FAILPOINT}: unknown {name!r}; known: {', '.join(POINTS)}")
        return Faults(name or None, int(count or 1), environ.get(PLAIN_PRODUCING) == "1")

    def strikes(self, point: str) -> bool:
        """Count an arrival at the point; true at the one that was asked for."""
        if point != self.point:
            return False
        self.count -= 1
        return self.count == 0

    def hit(self, point: str) -> None:
        """Die as by kill -9 if this is the arrival that was asked for."""
        if self.strikes(point):
            die()


def die() -> None:
    """Die as by kill -9."""
    os.kill(os.getpid(), signal.SIGKILL)
