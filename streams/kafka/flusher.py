"""When is a flush due, and what goes into it?  The first after a while goes at once, then little lingers; one commit at a time.

The next batch is computed while the last one commits.  What is pending is bounded: then rooms are handed
nothing more until a batch has been taken.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from streams.kafka.clients import TRANSACTION_TIMEOUT
from streams.kafka.clock import Clock, Instant
from streams.kafka.exits import lose_place
from streams.kafka.flush import Batch, FlushReport, Handled, collect_rows
from streams.kafka.ownership import Generation, StateKey
from streams.kafka.room import Moment, Output, Room

# What was touched several times since the last flush is written once: the more goes into one, the less is written.
FULL_RECORDS = 200_000
FULL_BYTES = 64 << 20
# Where a commit takes long, less goes into the next one, so that none comes near the transaction's time-out.
SLOW, QUICK = TRANSACTION_TIMEOUT / 2, TRANSACTION_TIMEOUT / 5
LEAST_PART = 16  # a sixteenth
# At the end of a generation more than this is dropped and read again: others wait for us.
FINISH_RECORDS = 10_000
SETTLE_BEFORE_EXIT = 2.0
# How often the rooms are asked, with nothing at hand, whether time alone gives them something to send.
LOOK = 0.1


class Committer(Protocol):
    """What makes a batch visible."""

    def begin(self, deadline: float = ...) -> None:
        """Register with the broker."""

    def commit(self, batch: Batch) -> FlushReport:
        """Make the batch visible, or end the process."""


class Flusher:
    """Collects what the rooms have done and commits it, all in the main loop but the commit itself."""

    def __init__(
        self,
        app_id: str,
        rooms: Sequence[Room],
        committer: Committer,
        interval: float,
        on_report: Callable[[FlushReport], None],
    ) -> None:
        self._app_id = app_id
        self._rooms = rooms
        self._committer = committer
        self._interval = interval
        self._on_report = on_report
        self._clock = Clock()
        self._handled = Handled()
        self._bytes = 0  # handled since the last batch
        self._pending_bytes: dict[str, int] = {}
        self._part = 1  # of a full flush: 2 is half of it
        self._full = asyncio.Event()
        self._taken = asyncio.Event()
        self._news = asyncio.Event()
        self._begun = 0.0  # the last flush that was no follow-up
        self._rest_until = 0.0
        self._follow_up = False  # may what came of the last flush follow it at once
        self._left_out: set[str] = set()  # rooms that time alone had made due at the last flush
        self._lock = asyncio.Lock()
        self._in_flight: asyncio.Task[None] | None = None
        self.committing = False
        # One thread for all commits: a new one for each would scatter librdkafka's copies over malloc's arenas,
        # gigabytes of them after a while.
        self._thread = ThreadPoolExecutor(1, "dealpulse-commit")
        self.last_commit: float | None = None  # wall clock, seconds since 1970
        self.commits = 0

    # ------------------------------------------------------------------ what the rooms have done

    def handled(self, room: str, topic: str, records: int, size: int, pending_bytes: int) -> None:
        """Count records that a room has taken in, their bytes, and how much work it holds now."""
        self._handled.add(room, topic, records)
        self._bytes += size
        self._pending_bytes[room] = pending_bytes
        pending = max(self._bytes, sum(self._pending_bytes.values()))
        if self._handled.records * self._part >= FULL_RECORDS or pending * self._part >= FULL_BYTES:
            self._full.set()
        self._news.set()

    def took(self, room: str, seconds: float) -> None:
        """Count the time that a room took to take records in."""
        self._handled.took(room, seconds)

    async def space(self) -> None:
        """Wait until more may be handled."""
        while self._full.is_set():
            self._taken.clear()
            await self._taken.wait()

    def release(self) -> None:
        """Let those go who wait for space; they find that their generation is closing."""
        self._full.clear()
        self._taken.set()

    # ------------------------------------------------------------------ the loop

    async def run(self, generation: Callable[[], Generation | None], patience: Callable[[], float] = lambda: 0.0) -> None:
        """Flush until cancelled; `patience` says how many seconds the present batch may wait for more to come into it."""
        while True:
            self._follow_up = await self._until_due(generation, patience)
            async with self._lock:
                if not self._full.is_set():
                    await self._settled()
                # Kept by no name here: what is given up would live until the next one flushes.
                await self._flush(generation())

    async def _flush(self, present: Generation | None) -> None:
        if present is None or not present.restored or present.closing:
            self.release()
            return
        batch = self._compute(present, self._taking_part(present))
        if batch is not None:
            await self._settled()
            self._commit(batch)

    async def _until_due(self, generation: Callable[[], Generation | None], patience: Callable[[], float]) -> bool:
        """Wait until a flush is due; return whether one may follow it at once."""
        begun, look = time.monotonic(), min(LOOK, self._interval)
        if self._follow_up:
            self._begun = begun
        while not self._full.is_set():
            now, waits = time.monotonic(), patience()
            lingers = max(self._begun + self._interval, self._rest_until, begun + waits) - now
            if lingers <= 0 and not self.committing and (self._handled.records or self._is_due(generation(), self._rooms)):
                return True
            # What others made of the last flush is not made to wait a second time; what that leads to is.
            if self._follow_up and waits <= self._interval and self._is_due(generation(), self._handled_by()):
                return False
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), min(look, lingers) if lingers > 0 else look)
        return True

    def _taking_part(self, generation: Generation) -> Sequence[Room]:
        """Return the rooms whose work goes into the flush that is due: the fewer partitions it writes to, the sooner it is there.

        What follows the last flush says what others made of it, and nothing else.  Whom time alone has made due waits for
        that, too, but not a second time.
        """
        if not self._follow_up:
            rooms = self._due(generation, self._handled_by())
        elif self._full.is_set() or not self._handled.records:
            rooms = list(self._rooms)
        else:
            handled, due = self._handled_by(), self._due(generation, self._rooms)
            rooms = [room for room in self._rooms if room in handled or (room in due and room.name in self._left_out)]
            self._left_out |= {room.name for room in due}
        self._left_out -= {room.name for room in rooms}
        return rooms

    def _handled_by(self) -> list[Room]:
        names = {room for room, _ in self._handled.by_source}
        return [room for room in self._rooms if room.name in names]

    def _is_due(self, generation: Generation | None, rooms: Iterable[Room]) -> bool:
        if generation is None or not generation.restored or generation.closing:
            return False
        return bool(self._due(generation, rooms))

    @staticmethod
    def _owning(generation: Generation, rooms: Iterable[Room]) -> list[Room]:
        owning = {name for name, _ in generation.states}
        return [room for room in rooms if room.name in owning]

    def _due(self, generation: Generation, rooms: Iterable[Room]) -> list[Room]:
        now = self._clock.look()
        return [room for room in self._owning(generation, rooms) if room.due(_moment(generation, room, now))]

    def owing(self, generation: Generation) -> frozenset[str]:
        """Return whose work is not committed yet: "flush", and the rooms that will send more although no record comes in."""
        now = self._clock.look()
        found = {room.name for room in self._owning(generation, self._rooms) if room.owes(_moment(generation, room, now))}
        if self._handled.records or self._lock.locked() or not (self._in_flight is None or self._in_flight.done()):
            found.add("flush")
        return frozenset(found)

    async def finish(self, generation: Generation) -> None:
        """Commit what is pending of a closing generation if that is quickly done; else drop it."""
        async with self._lock:
            await self._settled()
            if generation.restored and not generation.finished and self._handled.records <= FINISH_RECORDS:
                batch = self._compute(generation, self._rooms)
                if batch is not None:
                    self._commit(batch)
                    await self._settled()
            self._handled, self._bytes, self._pending_bytes = Handled(), 0, {}

    def wait_for_commit(self) -> None:
        """Let a commit that is under way end, briefly; the process is about to."""
        end = time.monotonic() + SETTLE_BEFORE_EXIT
        while self.committing and time.monotonic() < end:
            time.sleep(0.01)

    async def _settled(self) -> None:
        if self._in_flight is not None:
            await asyncio.shield(self._in_flight)
            self._in_flight = None

    def _commit(self, batch: Batch) -> None:
        self._in_flight = asyncio.create_task(self._commit_in_thread(batch))

    async def _commit_in_thread(self, batch: Batch) -> None:
        self.committing, started = True, time.monotonic()
        try:
            report = await asyncio.get_running_loop().run_in_executor(self._thread, self._commit_now, batch)
        except Exception as error:  # noqa: BLE001  # any: whether it is committed is unknown
            lose_place(f"the flush failed: {error}", error)
        self.last_commit = report.at
        self.commits += 1
        # Where commits take long, lingering is what keeps a worker from doing nothing else.
        ended = time.monotonic()
        took = ended - started
        self._rest_until = ended + min(self._interval, took)
        if took > SLOW:
            self._part = min(2 * self._part, LEAST_PART)
        elif took < QUICK:
            self._part = max(1, self._part // 2)
        self._news.set()
        self._on_report(report)

    def _commit_now(self, batch: Batch) -> FlushReport:
        try:
            return self._committer.commit(batch)
        finally:
            self.committing = False  # at once: the main loop may be waiting for it

    # ------------------------------------------------------------------ what goes into it

    def _compute(self, generation: Generation, rooms: Sequence[Room]) -> Batch | None:
        started, names = time.perf_counter(), {room.name for room in rooms}
        handled = self._handled.take(names)
        if not self._handled.records:
            self._bytes = 0
        outputs, touched = self._drain(generation, rooms, {room for room, _ in handled.by_source})
        self.release()
        states = {key: state for key, state in generation.states.items() if key[0] in names}
        changed = {key for key, state in states.items() if state.handled or state.table.changed}
        if not outputs and not changed:
            return None
        # The first transaction of a room writes down where all of it stands, so that a restore can compare it.
        changed |= {key for key, state in states.items() if not state.anchored}
        rows = collect_rows(self._app_id, generation, sorted(changed))
        offsets = generation.commits(changed | touched)
        took = time.perf_counter() - started + sum(handled.seconds.values())
        return Batch(outputs, rows, offsets, generation.metadata, handled.by_source, took)

    def _drain(self, generation: Generation, rooms: Iterable[Room], busy: set[str]) -> tuple[list[Output], set[StateKey]]:
        """Ask every room for its output; a room that writes anything commits the offsets of all it owns.

        Without offsets nobody asks the broker whether we still own what we write from.
        """
        outputs: list[Output] = []
        touched: set[StateKey] = set()
        now = self._clock.look()
        for room in self._owning(generation, rooms):
            moment = _moment(generation, room, now)
            if room.name in busy or room.due(moment):
                records = room.drain(moment)
                self._pending_bytes.pop(room.name, None)
                if records:
                    outputs += records
                    touched |= {key for key in generation.states if key[0] == room.name}
        return outputs, touched


def _moment(generation: Generation, room: Room, at: Instant) -> Moment:
    return Moment(at.now, generation.caught_up(room.name), generation.ended(room.name), at.put_back)
