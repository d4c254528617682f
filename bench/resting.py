"""What does it take to pack all rows of some tables?  By the worker's own steps, one right after the other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import NamedTuple

from bench.process import resident
from streams.kafka.packing import ENOUGH, PAUSE, Packing, Tables
from streams.kafka.room import StateTable


class Packed(NamedTuple):
    """What it took."""

    cpu: float  # seconds; to learn from rows and to give memory back among them
    lasts: float  # seconds in a worker, which pauses between the steps
    longest: float  # seconds of CPU of the longest step: so long the main loop does nothing else
    resident: int  # bytes of this process afterwards


def pack(tables: Iterable[StateTable]) -> Packed:
    """Pack every row that may rest."""
    return asyncio.run(_pack([(table, table.resting) for table in tables if table.resting is not None]))


async def _pack(tables: Tables) -> Packed:
    if (rows := sum(table.count() for table, _ in tables)) < ENOUGH:
        raise SystemExit(f"of {rows:,} rows a worker packs none, {ENOUGH:,} are the fewest: take more deals")
    packing, now, lasts, longest = Packing(), 0.0, 0.0, 0.0
    began = time.process_time()
    while any(table.rows or resting.waiting for table, resting in tables):
        begun = time.thread_time()
        pause = await packing.step(tables, now)
        longest = max(longest, time.thread_time() - begun)
        now += pause
        lasts += pause if pause == PAUSE else 0.0
    await packing.step(tables, now)  # the end of the turn: what is left is given back
    return Packed(time.process_time() - began, lasts, longest, resident())
