"""How do records reach a room?  Each once, in order, and never faster than they are flushed.

Runs are cut differently after a restart, so every record below the room's own position is skipped.  A
room that waits for the outside world is served partition by partition, without holding up anybody else.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from operator import methodcaller
from typing import cast

from confluent_kafka import Message

from streams.kafka.flusher import Ack, Flusher
from streams.kafka.inbox import Bundle, Run
from streams.kafka.ownership import Generation, StatePartition
from streams.kafka.room import DeliveringRoom, Room

# The main loop also serves metrics and signals: it is not held longer than such a piece takes.
PIECE = 2_000
# A delivery that is cut short repeats at most this much.
DELIVERY = 100

Fail = Callable[[str, BaseException], None]


@dataclass
class Deliveries:
    """Runs that wait for the outside world, one line per state partition."""

    lines: dict[tuple[str, int], asyncio.Queue[Run | None]] = field(default_factory=dict)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def end(self, grace: float) -> None:
        """Let what is under way finish, then cut it short."""
        for line in self.lines.values():
            line.put_nowait(None)
        if self.tasks:
            _, late = await asyncio.wait(self.tasks, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)


class Intake:
    """Hands runs of the present generation to the rooms."""

    def __init__(self, flusher: Flusher, fail: Fail) -> None:
        self._flusher = flusher
        self._fail = fail
        self.generation: Generation | None = None
        self._deliveries = Deliveries()

    async def end(self, generation: Generation, grace: float) -> None:
        """Take in nothing more of the generation."""
        generation.closing = True
        self._flusher.release()
        deliveries, self._deliveries = self._deliveries, Deliveries()
        await deliveries.end(grace)

    async def take(self, room: Room, bundle: Bundle, ack: Ack) -> None:
        """Hand runs to a room; returns when they are handled, or have their places in the room's lines."""
        generation = self.generation
        if generation is None or generation.closing or bundle.generation != generation.number:
            ack()
            return
        for run in bundle.runs:
            state = generation.states[room.name, run.partition]
            if hasattr(room, "deliver"):
                self._line(generation, state).put_nowait(run)
            else:
                await self._handle(generation, state, run)
                generation.inbox.done(run)
        self._flusher.ack_later(ack)

    async def _handle(self, generation: Generation, state: StatePartition, run: Run) -> None:
        room = state.room
        for piece in _pieces(new_records(run, state), PIECE):
            await self._flusher.space()
            if generation.closing:
                return
            pending = room.handle(run.partition, run.topic, piece)
            self._advance(state, run.topic, piece, pending)
            if len(piece) == PIECE:
                await asyncio.sleep(0)

    def _advance(self, state: StatePartition, topic: str, piece: list[Message], pending: int) -> None:
        state.offsets[topic] = piece[-1].offset() + 1
        state.newest[topic] = piece[-1].timestamp()[1]
        state.handled += len(piece)
        self._flusher.handled(state.room.name, topic, len(piece), pending)

    # ------------------------------------------------------------------ rooms that wait for the outside world

    def _line(self, generation: Generation, state: StatePartition) -> asyncio.Queue[Run | None]:
        key = (state.room.name, state.partition)
        line = self._deliveries.lines.get(key)
        if line is None:
            line = self._deliveries.lines[key] = asyncio.Queue()
            task = asyncio.create_task(self._deliver(generation, state, line))
            task.add_done_callback(partial(self._on_line_end, state))
            self._deliveries.tasks.append(task)
        return line

    async def _deliver(self, generation: Generation, state: StatePartition, line: asyncio.Queue[Run | None]) -> None:
        deliver: Callable[..., Awaitable[int]] = cast(DeliveringRoom, state.room).deliver
        while (run := await line.get()) is not None:
            for piece in _pieces(new_records(run, state), DELIVERY):
                if generation.closing:
                    return
                pending = await deliver(run.partition, run.topic, piece)
                self._advance(state, run.topic, piece, pending)
            generation.inbox.done(run)

    def _on_line_end(self, state: StatePartition, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._fail(f"room {state.room.name} failed in partition {state.partition}: {error!r}", error)


def new_records(run: Run, state: StatePartition) -> list[Message]:
    """Return the records that the room has not seen, one by one: runs are cut differently after a restart."""
    position = state.offsets[run.topic]
    if run.first >= position:
        return run.records
    return run.records[bisect_left(run.records, position, key=methodcaller("offset")) :]


def _pieces(records: list[Message], size: int) -> list[list[Message]]:
    if len(records) <= size:
        return [records] if records else []
    return [records[at : at + size] for at in range(0, len(records), size)]
