"""How long did each event wait for a result that holds it?  Worked out from counts alone, so it is the same for every system.

A result says how many events its group (a rep, or a rep and a minute) has had.  With n, it holds at best the first n that were
sent: its newest is not older than the n-th.  The k-th event has been answered when a result with k or more was seen.
Where a system takes events of a group out of order, both figures err to its disadvantage, by the time between two events.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence


class Ledger:
    """What was sent and what was seen."""

    def __init__(self) -> None:
        self._sent: dict[str, list[float]] = defaultdict(list)
        self._answered: dict[str, int] = defaultdict(int)
        self.events: list[tuple[float, float]] = []  # sent at, seconds until a result held it
        self.results: list[tuple[float, float]] = []  # seen at, age of the newest event in it
        self.too_many = 0

    def send(self, group: str, at: float) -> None:
        """Note an event; call it before it is sent, in the order of sending."""
        self._sent[group].append(at)

    def see(self, group: str, count: int, at: float) -> None:
        """Note a result."""
        sent, before = self._sent[group], self._answered[group]
        if count > len(sent):  # counted twice
            self.too_many += 1
            count = len(sent)
        if count > before:
            self.results.append((at, at - sent[count - 1]))
            self.events += [(one, at - one) for one in sent[before:count]]
            self._answered[group] = count

    @property
    def open(self) -> int:
        """Return how many events no result holds yet."""
        return sum(len(sent) - self._answered[group] for group, sent in self._sent.items())

    def between(self, begin: float, end: float) -> tuple[list[float], list[float]]:
        """Return the waits of the events sent in [begin, end), and the ages told by results seen in it; each in order."""
        waits = sorted(wait for at, wait in self.events if begin <= at < end)
        ages = sorted(age for at, age in self.results if begin <= at < end)
        return waits, ages


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the value at rank ceil(share * n); nan of nothing."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan
