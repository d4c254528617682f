"""Where can a test make a worker die or cheat?  The points of the crash matrix, and the negative control."""

from __future__ import annotations

import os
import signal
import sys
import time
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
_WITHIN_A_CALL = ("C2", "C5")  # where only death is possible


DIE, FREEZE, PAUSE = "die", "freeze", "pause"


@dataclass
class Faults:
    """What a test wants to go wrong; the default is nothing."""

    point: str | None = None
    count: int = 1
    plain_producing: bool = False
    deed: str = DIE
    seconds: float = 0.0

    @staticmethod
    def read(environ: Mapping[str, str]) -> Faults:
        """Read DEALPULSE_FAILPOINT=name:count[:deed] and DEALPULSE_UNSAFE_PLAIN_PRODUCING=1.  Raises ValueError.

        Deeds: die (as by kill -9), freeze (the whole process, until SIGCONT), pause=SECONDS (the committing thread alone).
        """
        name, count, said = [*environ.get(FAILPOINT, "").split(":"), "", ""][:3]
        deed, _, seconds = said.partition("=")
        if name and name not in POINTS:
            raise ValueError(f"{FAILPOINT}: unknown {name!r}; known: {', '.join(POINTS)}")
        if (deed or DIE) not in (DIE, FREEZE, PAUSE) or (deed in (FREEZE, PAUSE) and name in _WITHIN_A_CALL):
            raise ValueError(f"{FAILPOINT}: {deed!r} is not possible at {name}")
        return Faults(name or None, int(count or 1), environ.get(PLAIN_PRODUCING) == "1", deed or DIE, float(seconds or 0))

    def strikes(self, point: str) -> bool:
        """Count an arrival at the point; true at the one that was asked for."""
        if point != self.point:
            return False
        self.count -= 1
        return self.count == 0

    def hit(self, point: str) -> None:
        """Do the deed if this is the arrival that was asked for."""
        if not self.strikes(point):
            return
        print(f"failpoint {point}: {self.deed}", file=sys.stderr, flush=True)  # noqa: T201  # a test waits for it
        if self.deed == DIE:
            die()
        if self.deed == FREEZE:
            os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(self.seconds)


def die() -> None:
    """Die as by kill -9."""
    os.kill(os.getpid(), signal.SIGKILL)
