"""Which instant does an option name?  Any time that an event may say, or a sentence."""

from __future__ import annotations

import time
from typing import Any

import click

from streams.config import Definitions
from streams.events.contract import EARLIEST
from streams.events.times import instant


def instant_of(option: str, said: Any, definitions: Definitions) -> int | None:
    """Return µs since 1970 UTC; None when nothing was said.  Raises UsageError."""
    if said is None:
        return None
    is_number = said.replace(".", "", 1).isdecimal()
    try:
        found = instant(float(said) if is_number else said, definitions.zone)
    except OverflowError:
        found = None
    # 2026 or 20260131 would be seconds of 1970: everything there is, where somebody meant to choose.
    if found is None or found < (EARLIEST if is_number else 0):
        raise click.UsageError(f"{option}: {said!r} is no time; write for example 2026-01-31T12:00:00Z")
    return found


def end_of_clock(said: str | None, definitions: Definitions) -> int | None:
    """Return where --as-of lets the clock end.  Raises UsageError."""
    found = instant_of("--as-of", said, definitions)
    if found is not None and found > latest(time.time(), definitions):
        raise click.UsageError(f"--as-of: {said!r} lies in the future; the clock cannot be ahead of now")
    return found


def latest(now: float, definitions: Definitions) -> int:
    """Return until when (µs) an event that comes at `now` (seconds) may have happened."""
    return int((now + definitions.max_future) * 1e6)
