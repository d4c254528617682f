"""Does memory grow without rows?  Samples of a worker over time, and their slopes."""

from __future__ import annotations

from dataclasses import dataclass, field

A_ROW = 2_500  # bytes of memory that one more state row may cost: twice what one takes, all in
LEAKED = 60.0  # MB an hour that memory may grow beyond that; what leaks grows without rows


@dataclass
class Samples:
    """What one worker took over time."""

    at: list[float] = field(default_factory=list)
    rss: list[float] = field(default_factory=list)
    rows: list[float] = field(default_factory=list)

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
    """Return the slope of the line of least squares."""
    mx, my = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True)) / sum((a - mx) ** 2 for a in x)
