"""Which bucket does a duration fall into?  A logarithmic mapping with at most 1 % relative error.

The mapping of DDSketch (Masson, Rim, Lee, "DDSketch", VLDB 2019): bucket i holds the values in
(g^(i-2), g^(i-1)] with g = (1 + a) / (1 - a), and stands for 2 g^(i-1) / (g + 1), which is within a of all
of them.  Bucket 0 holds exactly zero.  `a` is a little under 1 % to leave room for rounding of logarithms.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, log

ACCURACY = 0.0099
_GAMMA = (1 + ACCURACY) / (1 - ACCURACY)
_PER_LOG = 1 / log(_GAMMA)


def bucket(milliseconds: int) -> int:
    """Return the bucket of a whole number of ms, 0 or more."""
    return ceil(log(milliseconds) * _PER_LOG) + 1 if milliseconds > 0 else 0


def middle(index: int) -> float:
    """Return the ms that a bucket stands for."""
    return 2 * _GAMMA ** (index - 1) / (_GAMMA + 1) if index else 0.0


def quantile(counts: Sequence[tuple[int, int]], n: int, share: float) -> float:
    """Return the ms at nearest rank ceil(share * n) of (bucket, count) pairs in ascending order."""
    rank = max(1, ceil(share * n))
    for index, count in counts:
        rank -= count
        if rank <= 0:
            return middle(index)
    raise ValueError("fewer counts than n")
