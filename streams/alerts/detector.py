"""Is a share worse than it should be, however often we look?  An e-detector on Bernoulli counts.

Shiryaev-Roberts form, averaged over a grid of alternatives: for a pane with k of n and each alternative
p1, L = (p1/p0)^k ((1-p1)/(1-p0))^(n-k) and M <- (M + 1) L.  The average run length to a false alarm is at
least 1/a panes when the alarm is raised at M >= 1/a (Shin, Ramdas, Rinaldo, "E-detectors", arXiv
2203.03532).  Everything is kept in natural logarithms.

Whether it is over is asked in the CUSUM form of the same paper, M <- max(M, 1) L, which is never greater and so keeps the bound:
where panes are small, the 1 that each adds is more than what its entries say (figures: docs/decisions.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log, log1p, sqrt

# How the alternatives lie from the baseline: towards 0 for a drop, towards 1 for a rise.
DROPS = (0.8, 0.65, 0.5, 0.35, 0.2)
RISES = (1.25, 1.6, 2.2, 3.0, 4.5)
HIGHEST = 0.95
_FEW = -700.0  # as a logarithm, nothing


def drops(baseline: float) -> list[float]:
    """Return the alternatives below a baseline."""
    return [baseline * factor for factor in DROPS]


def rises(baseline: float) -> list[float]:
    """Return the alternatives above a baseline, none at or below it."""
    return [p for p in (min(HIGHEST, baseline * factor) for factor in RISES) if p > baseline]


def step(evidence: float, gain: float) -> float:
    """Return log M after a pane whose likelihood is `gain`, given log M before it."""
    return _log_plus_one(evidence) + gain


def step_back(evidence: float, gain: float) -> float:
    """Return the same in the CUSUM form: a pane that merely passes adds nothing."""
    return max(evidence, 0.0) + gain


def likelihood(p0: float, p1: float, k: int, n: int) -> float:
    """Return how much likelier k of n are under p1 than under p0, as a logarithm."""
    return k * (log(p1) - log(p0)) + (n - k) * (log1p(-p1) - log1p(-p0))


def dispersion(days: int, n: int, k: int, squares: float) -> float:
    """Return by how many times days vary more than by chance: Pearson's chi-squared over its degrees of freedom, 1 at least.

    Of so many days with k of n in all; `squares` is the sum of k * k / n of each.  A log likelihood divided by it (McCullagh and
    Nelder, Generalized Linear Models, 9.2) is never more evidence than without.
    """
    if days < 2 or not 0 < k < n:
        return 1.0
    return max(1.0, (squares - k * k / n) / (k / n * (1 - k / n) * (days - 1)))


def likeness(days: int, n: int, k: int, squares: float) -> float:
    """Return how alike entries of one day are, from 0 to 1: days of n vary 1 + (n - 1) times it more than by chance (Williams 1982).

    So days of as many entries as those it is of on average have their dispersion.
    """
    return min(1.0, (dispersion(days, n, k, squares) - 1) / (n / days - 1)) if n > days > 0 else 0.0


def _log_plus_one(evidence: float) -> float:
    """Return log(exp(evidence) + 1) without overflow."""
    return evidence + log1p(exp(-evidence)) if evidence > 0 else log1p(exp(max(evidence, _FEW)))


def mean(evidence: Sequence[float]) -> float:
    """Return the logarithm of the average of what is given as logarithms."""
    top = max(evidence)
    return top + log(sum(exp(one - top) for one in evidence) / len(evidence))


def start(alternatives: Sequence[float]) -> list[float]:
    """Return the evidence before the first pane."""
    return [_FEW] * len(alternatives)


def wilson(k: int, n: int, z: float) -> tuple[float, float]:
    """Return the Wilson score interval of k of n (Wilson 1927)."""
    if n == 0:
        return 0.0, 1.0
    share, spread = k / n, z * z / n
    middle = (share + spread / 2) / (1 + spread)
    half = z * sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)
