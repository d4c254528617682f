"""How is an instant written?  RFC 3339 in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=65_536)
def iso(at: int) -> str:
    """Return µs since 1970 as UTC text."""
    return (_EPOCH + timedelta(microseconds=at)).isoformat()
