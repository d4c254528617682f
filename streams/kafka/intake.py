"""How do records reach a room?  Each once, in order, and never faster than they are flushed.

Runs go into one lane per state partition, and one place decides which lane's turn it is.  Runs are cut
differently after a restart, so every record below the room's own position is skipped.  A room that waits for
the outside world is served partition by partition, without holding up anybody else.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import cast

from confluent_kafka import Message

from streams.kafka.flusher import Flusher
from streams.kafka.inbox import Bundle, Run, TopicPart
from streams.kafka.lanes import LOOK, PIECE, Lane, new_records
from streams.kafka.ownership import Generation, StateKey, StatePartition
from streams.kafka.room import DeliveringRoom, Room

# While more waits, a flush may take this part of the time by which its records are late already: what is touched again
# meanwhile is written once.
LATER = 0.2
LATEST = 3.0

Ack = Callable[[], object]
Fail = Callable[[str, BaseException], None]


@dataclass
class Deliveries:
    """Runs that wait for the outside world, one line per state partition."""

    lines: dict[StateKey, asyncio.Queue[Run | None]] = field(default_factory=dict)
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


@dataclass
class Handover:
    """Runs on their way into the rooms, and the task that hands them over."""

    lanes: dict[StateKey, Lane] = field(default_factory=dict)
    busy: dict[StateKey, Lane] = field(default_factory=dict)  # something waits there
    news: asyncio.Event = field(default_factory=asyncio.Event)
    room: str = ""  # that is handling, or was the last to do so
    task: asyncio.Task[None] | None = None

    async def end(self) -> None:
        """Drop what waits; nothing is handed over any more when this returns."""
        self.busy.clear()
        self.news.set()
        if self.task is not None:
            await asyncio.gather(self.task, return_exceptions=True)


class Intake:
    """Hands runs of the present generation to the rooms."""

    def __init__(self, flusher: Flusher, fail: Fail) -> None:
        self._flusher = flusher
        self._fail = fail
        self.generation: Generation | None = None
        self._handover = Handover()
        self._deliveries = Deliveries()

    async def end(self, generation: Generation, grace: float) -> None:
        """Take in nothing more of the generation."""
        generation.closing = True
        self._flusher.release()
        handover, self._handover = self._handover, Handover()
        await handover.end()
        # A stop in the middle of a revoke comes here, too, and its grace is the shorter one.
        deliveries = self._deliveries
        await deliveries.end(grace)
        if self._deliveries is deliveries:
            self._deliveries = Deliveries()

    async def take(self, room: Room, bundle: Bundle, ack: Ack) -> None:
        """Give runs their places in the room's lines.  Faust may forget them: offsets are the flush's business."""
        ack()
        generation = self.generation
        if generation is None or generation.closing or bundle.generation != generation.number:
            return
        for run in bundle.runs:
            state = generation.states[room.name, run.partition]
            if hasattr(room, "deliver"):
                self._line(generation, state).put_nowait(run)
            else:
                self._put(generation, state, run)
        self.look()

    def look(self) -> None:
        """Look again at what waits: something came in, or is known not to come."""
        if self._handover.busy:
            self._handover.news.set()

    def patience(self) -> float:
        """Return how many seconds a flush may wait for what is still to be handled; 0 when nothing waits."""
        reached = [max(lane.state.newest.values()) for lane in self._handover.busy.values() if lane.state.newest]
        return min(LATEST, LATER * (time.time() - min(reached) / 1000)) if reached else 0.0

    def waiting(self) -> int:
        """Return how many records wait to be handled."""
        return sum(lane.waiting() for lane in self._handover.busy.values())

    # ------------------------------------------------------------------ rooms that handle at once

    def _put(self, generation: Generation, state: StatePartition, run: Run) -> None:
        key, handover = (state.room.name, state.partition), self._handover
        lane = handover.lanes.get(key)
        if lane is None:
            lane = handover.lanes[key] = Lane(state, partial(generation.may_hold_more, state.partition))
        lane.put(run)
        handover.busy[key] = lane
        if handover.task is None:
            handover.task = asyncio.create_task(self._hand_over(generation, handover))
            handover.task.add_done_callback(lambda task: self._on_end(f"room {handover.room} failed", task))

    async def _hand_over(self, generation: Generation, handover: Handover) -> None:
        """Hand over piece by piece, lane by lane in turn, until the generation ends."""
        at_once = 0  # records since the main loop had its turn
        while True:
            handover.news.clear()
            handled = 0
            for key, lane in list(handover.busy.items()):
                await self._flusher.space()
                if generation.closing:
                    return
                handover.room = key[0]
                taken = self._next_piece(generation, lane)
                if lane.empty():
                    del handover.busy[key]
                handled += taken
                at_once += taken
                if at_once >= PIECE:  # not once for all lanes: of dear events a piece of each takes a minute
                    at_once = 0
                    await asyncio.sleep(0)
            if generation.closing:
                return
            generation.inbox.wanted = _wanted(handover)
            if not handled:
                at_once = 0
                await _news(handover)

    def _next_piece(self, generation: Generation, lane: Lane) -> int:
        """Hand over what is next in a lane; return how many records that were."""
        piece = lane.next(time.monotonic())
        if piece is None:
            return 0
        if piece.records:
            state, began = lane.state, time.perf_counter()
            pending = state.room.handle(state.partition, piece.topic, piece.records)
            self._flusher.took(state.room.name, time.perf_counter() - began)
            self._advance(state, piece.topic, piece.records, piece.bytes, pending)
        for run in piece.finished:
            generation.inbox.done(run)
        return len(piece.records)

    def _advance(self, state: StatePartition, topic: str, piece: list[Message], size: int, pending: int) -> None:
        state.offsets[topic] = piece[-1].offset() + 1
        state.newest[topic] = piece[-1].timestamp()[1]
        state.handled += len(piece)
        self._flusher.handled(state.room.name, topic, len(piece), size, pending)

    # ------------------------------------------------------------------ rooms that wait for the outside world

    def _line(self, generation: Generation, state: StatePartition) -> asyncio.Queue[Run | None]:
        key = (state.room.name, state.partition)
        line = self._deliveries.lines.get(key)
        if line is None:
            line = self._deliveries.lines[key] = asyncio.Queue()
            task = asyncio.create_task(self._deliver(generation, state, line))
            task.add_done_callback(partial(self._on_end, f"room {state.room.name} failed in partition {state.partition}"))
            self._deliveries.tasks.append(task)
        return line

    async def _deliver(self, generation: Generation, state: StatePartition, line: asyncio.Queue[Run | None]) -> None:
        deliver: Callable[..., Awaitable[int]] = cast(DeliveringRoom, state.room).deliver
        while (run := await line.get()) is not None:
            # One by one: while the world keeps the next one waiting, whoever takes over repeats none that it has heard.
            for record in new_records(run, state):
                if generation.closing:
                    return
                pending = await deliver(run.partition, run.topic, record)
                self._advance(state, run.topic, [record], run.bytes // len(run.records), pending)
            generation.inbox.done(run)

    def _on_end(self, what: str, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._fail(f"{what}: {error!r}", error)


def _wanted(handover: Handover) -> frozenset[TopicPart]:
    return frozenset((topic, lane.state.partition) for lane in handover.busy.values() for topic in lane.short_of())


async def _news(handover: Handover) -> None:
    """Wait until there is something to look at; where somebody waits for a topic, a moment at most."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(handover.news.wait(), LOOK if handover.busy else None)
