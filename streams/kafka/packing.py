"""When are rows packed, and free pages given back?  While the worker keeps up, what nobody has touched for a minute.

All rows lie down at once, those that are touched get up again, and after a minute what still lies is packed, a little at a time; then the
next turn begins.  So a row is packed once a minute at most, and nothing is noted when one is touched.  Where there is
little to pack, a turn gives back what is free.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterable

from streams.kafka.allocator import trim
from streams.kafka.lanes import PIECE
from streams.kafka.ownership import Generation
from streams.kafka.resting import SAMPLES, Resting
from streams.kafka.room import StateTable
from streams.kafka.threads import in_thread

ENOUGH = 10_000  # rows; below, there is little to gain and to learn from
REST = 60.0
# A millisecond of work, twenty times a second: a fiftieth of a core, some 5,000 deals a second.
AT_ONCE = 200_000  # bytes of rows
PAUSE = 0.05
LOOK = 1.0  # while there is nothing to pack
# Steps.  From more at once it takes long, while the main loop may wait for the allocator; each time has a price, too.
GIVE_BACK_AFTER = 150
FAR = 10  # rows from one sample to the next, at most

Tables = list[tuple[StateTable, Resting]]


class Packing:
    """Packs the rows of the tables whose rooms let them rest."""

    def __init__(self) -> None:
        self._turned = -REST  # when a turn began, on a clock that does not go back
        self._packed: list[list[bytes]] = []  # rows as they were; their memory has yet to be given back

    async def run(self, generation: Callable[[], Generation | None], waiting: Callable[[], int]) -> None:
        """Pack until cancelled; `waiting` says how many records wait to be handled."""
        pause = LOOK
        while True:
            await asyncio.sleep(pause)
            pause = await self._look(generation(), waiting)  # names no table itself: those would live through the pause

    async def _look(self, present: Generation | None, waiting: Callable[[], int]) -> float:
        if present is None or not present.restored or present.closing or waiting() > PIECE:
            return LOOK
        tables = [state.table for state in present.states.values()]
        return await self.step([(one, one.resting) for one in tables if one.resting is not None], time.monotonic())

    async def step(self, tables: Tables, now: float) -> float:
        """Do what is to be done next; return after how many seconds there is more."""
        if sum(table.count() for table, _ in tables) < ENOUGH:
            if now >= self._turned + REST:  # nothing to pack, but a restore or a catch-up leaves free pages behind
                await in_thread(trim)
                self._turned = now
            return LOOK
        packer = next((resting.packer for _, resting in tables if not resting.packer.has_learned), None)
        if packer is not None:
            await in_thread(packer.learn, samples(table for table, resting in tables if resting.packer is packer))
        elif now >= self._turned + REST:
            fullest = max((resting for _, resting in tables), key=lambda one: len(one.waiting))
            if fullest.waiting:
                self._packed.append(fullest.pack(AT_ONCE))
                if len(self._packed) >= GIVE_BACK_AFTER:
                    await self._give_back()
                return PAUSE
            await self._give_back()
            for table, _ in tables:
                table.lay_down()
            self._turned = now
        return LOOK

    async def _give_back(self) -> None:
        packed, self._packed = self._packed, []
        if packed:
            await in_thread(give_back, packed)


def samples(tables: Iterable[StateTable]) -> list[bytes]:
    """Return rows of the largest table, from as far apart as does not take long: each that is passed over is touched."""
    rows = max((table.rows for table in tables), key=len)
    every = max(1, min(len(rows) // SAMPLES, FAR))
    return list(itertools.islice(rows.values(), 0, SAMPLES * every, every))


def give_back(packed: list[list[bytes]]) -> None:
    """Let go of rows that were packed, and let the C library give the memory back to the system.

    In a thread of its own: what a thread frees it gets again for the next thing of the size, and one packed row would
    keep a whole page of what is free.
    """
    while packed:
        packed.pop()  # a few at a time: Python's lock is held meanwhile
    trim()
