"""Does memory grow without rows?  Samples of a worker over time, and their slopes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from itertools import combinations
from statistics import median

from tests.faults.workers import Worker

A_ROW = 2_500  # bytes of memory that one more state row may cost: twice what one takes, all in
LEAKED = 60.0  # MB an hour that memory may grow beyond that; what leaks grows without rows
PEAK = 2.0  # times the level that it leaves, which a restore may take meanwhile
LEAST = 1 / 8  # hours that a slope is taken over; in less, one minute is too much of it


@dataclass
class Samples:
    """What one worker took over time."""

    at: list[float] = field(default_factory=list)
    rss: list[float] = field(default_factory=list)
    rows: list[float] = field(default_factory=list)

    def take(self, worker: Worker) -> None:
        """Look at a worker now."""
        self.at.append(time.monotonic())
        self.rss.append(worker.rss())
        self.rows.append(sum(value for (name, _), value in worker.metrics().items() if name == "dealpulse_table_keys"))

    def rss_mb(self, count: int = 30) -> list[float]:
        """Return so many samples of the memory, evenly spread from the first to the last."""
        return [self.rss[place * (len(self.rss) - 1) // (count - 1)] / 2**20 for place in range(count)]

    def peak(self) -> float:
        """Return how many times the level of the last third was the most that it took."""
        return max(self.rss) / median(self.rss[len(self.rss) * 2 // 3 :])

    def slopes(self) -> dict[str, float]:
        """Return slopes over the last third: before that rows are learned and caches filled, and what a start took is given back."""
        from_ = len(self.at) * 2 // 3
        rss = slope(self.at[from_:], self.rss[from_:]) * 3600
        rows = slope(self.at[from_:], self.rows[from_:]) * 3600
        return {
            "hours": (self.at[-1] - self.at[from_]) / 3600,
            "rss_mb_per_hour": rss / 2**20,
            "rows_per_hour": rows,
            "leaked_mb_per_hour": (rss - A_ROW * max(rows, 0.0)) / 2**20,
        }


def slope(x: list[float], y: list[float]) -> float:
    """Return the median of the slopes from each sample to each later one (Theil and Sen).

    What a minute takes, in a line of least squares, is hundreds of MB an hour, up or down.
    """
    pairs = combinations(zip(x, y, strict=True), 2)
    return median((later[1] - sooner[1]) / (later[0] - sooner[0]) for sooner, later in pairs)
