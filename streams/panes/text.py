"""How are instants, shares and names written?  RFC 3339 in UTC; in percent; without what is no text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from math import floor, log10

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=65_536)
def iso(at: int) -> str:
    """Return µs since 1970 as UTC text."""
    return (_EPOCH + timedelta(microseconds=at)).isoformat()


def percent(share: float) -> str:
    """Return a share with one digit after the point, below 1 % with as many as two digits need."""
    digits = max(1, 1 - floor(log10(share * 100))) if share > 0 else 1
    return f"{share:.{digits}%}"


def printable(text: str) -> str:
    """Return text from outside with a space for whatever would begin a line, turn its direction, or speak to a terminal."""
    return "".join(one if one.isprintable() else " " for one in text)
