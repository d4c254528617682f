"""How do Faust, the consumer group, the rooms and the transactions go together?  This worker's edge to Kafka.

A rebalance in order: the poll thread is told by the group and waits; the main loop ends the old generation
(what is handled is committed, the rest dropped), begins the new one, tells Faust, and restores in a
thread; then the poll thread starts to fetch exactly behind the restored state.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from faust.types import TP

from streams.kafka.admin import AdminError
from streams.kafka.allocator import trim
from streams.kafka.clients import Connection
from streams.kafka.exits import log, lose_place
from streams.kafka.faults import Faults
from streams.kafka.flush import FlushReport, PlainProducing, Transactions
from streams.kafka.flusher import Committer, Flusher
from streams.kafka.inbox import Bundle, Inbox, Run, TopicPart
from streams.kafka.intake import Intake
from streams.kafka.ownership import Generation, Lag, Plan, Reach, StateKey, StatePartition
from streams.kafka.packing import Packing
from streams.kafka.poll import PollThread
from streams.kafka.restore import Progress, Restored, RestoreError, Restorer, Superseded
from streams.kafka.room import Room, StopError
from streams.kafka.threads import in_thread
from streams.kafka.transaction import StartError

# The group waits for us that long at most; then we are the ones who go.
REBALANCE_DEADLINE = 20.0
STOP_DEADLINE = 3.5
LEAVE_DEADLINE = 2.0
REVOKE_GRACE = 5.0  # for deliveries under way
STOP_GRACE = 1.5
LOOK_AT_TOPICS_EVERY = 15.0
LOOK_FOR_A_PLACE_EVERY = 1.0
NO_PLACE = 60  # looks; a rebalance waits for a member for 45 s


@dataclass(frozen=True, slots=True)
class Status:
    """What readiness, doctor and the board want to know."""

    generation: int
    assigned: int  # source partitions
    ready: bool  # has an assignment, and all of it is restored
    recovering: bool
    partitions: int  # of state
    restored_partitions: int
    restored_records: int  # by the present or last restore
    restore_seconds: float | None  # of the last finished restore
    last_commit: float | None  # wall clock, seconds since 1970
    committing: bool


class Owing(NamedTuple):
    """What is not out yet of what a worker has taken in."""

    commits: int  # so far; two equal answers say the same
    by: frozenset[str]  # "restore", "fetch", "flush", rooms that will send more although no record comes in


@dataclass(frozen=True)
class Options:
    """How this worker differs from the default."""

    flush_interval: float = 0.1
    partitions: int | None = None  # set: another member of the group is a mistake
    accept_older_state: bool = False
    transactions: bool = True
    faults: Faults = field(default_factory=Faults)
    on_report: Callable[[FlushReport], None] = lambda _report: None
    until: Mapping[TopicPart, int] = field(default_factory=dict)  # source partitions that are read up to an offset, not on
    # Raises StartError when this worker may not be at work.  Asked once more as a member of the group: whoever wants to be
    # alone writes so down and then looks for members, so that one of the two sees the other.
    refuse_to_work: Callable[[], object] = lambda: None
    # Says which topics got more partitions than they must have.  Asked now and then: the group tells of those that we read only.
    grown_topics: Callable[[], Sequence[str]] = tuple


class Edge:
    """Everything between the broker and the rooms of one worker."""

    def __init__(self, connection: Connection, rooms: Sequence[Room], options: Options) -> None:
        self.connection = connection
        self.plan = Plan(rooms)
        self.options = options
        self.generation: Generation | None = None
        self._number = 0
        self._progress = Progress()
        self._restored_before = 0
        self._arrival = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._poll = PollThread(connection, self, options.flush_interval, options.until)
        self._committer: Committer = (
            Transactions(connection, options.faults)
            if options.transactions
            else PlainProducing(connection, options.faults, self._poll.commit_plainly)
        )
        self._flusher = Flusher(
            connection.app_id, self.plan.rooms, self._committer, options.flush_interval, options.on_report
        )
        self.intake = Intake(self._flusher, self.fail)
        self._app: Any = None
        self._consumer: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None

    # ------------------------------------------------------------------ for the worker and the board

    def connect(self) -> None:
        """Register the producer with the broker; blocks.  Raises StartError."""
        self._committer.begin()

    def status(self) -> Status:
        """Return where this worker stands."""
        generation = self.generation
        ready = generation is not None and generation.restored and not generation.closing
        return Status(
            generation=self._number,
            assigned=len(generation.assigned) if generation else 0,
            ready=ready,
            recovering=generation is not None and not generation.restored,
            partitions=generation.partitions if generation else 0,
            restored_partitions=self._progress.restored if generation else 0,
            restored_records=self._progress.records,
            restore_seconds=self._progress.seconds,
            last_commit=self._flusher.last_commit,
            committing=self._flusher.committing,
        )

    def ask_owing(self, deadline: float) -> Owing | None:
        """Ask the main loop, from another thread, what is not out yet; None when it does not answer within `deadline` seconds."""
        asked: Future[Owing] = Future()
        self._tell(lambda: asked.set_result(self._owing()))
        with contextlib.suppress(TimeoutError):
            return asked.result(deadline)
        return None

    def _owing(self) -> Owing:
        generation = self.generation
        if generation is None or not generation.restored or generation.closing:
            return Owing(self._flusher.commits, frozenset({"restore"}))
        fetching = frozenset() if generation.all_is_here() else {"fetch"}
        return Owing(self._flusher.commits, self._flusher.owing(generation) | fetching)

    def restored_in_all(self) -> int:
        """Return how many changelog records were read since the start, by every restore."""
        return self._restored_before + self._progress.records

    def beats(self) -> int:
        """Return how often the poll thread has come round; -1 before it begins and once it is told to leave."""
        return self._poll.beats if self._poll.is_alive() and not self._stopping else -1

    def reached(self) -> dict[TopicPart, int]:
        """Return the offset up to which each source partition was fetched, but of those that are paused."""
        return self._poll.reached()

    def lags(self) -> list[Lag]:
        """Return how far each room is behind, per source partition."""
        generation = self.generation
        return generation.lags(time.time() * 1000) if generation is not None and generation.restored else []

    def keys(self) -> dict[str, int]:
        """Return how many keys the tables of each room hold."""
        found = dict.fromkeys(self.plan.by_name, 0)
        generation = self.generation
        for key, state in generation.states.items() if generation is not None and generation.restored else ():
            found[key[0]] += state.table.count()
        return found

    def caught_up(self) -> bool:
        """Tell whether every room has handled all that was visible in its sources a moment ago."""
        generation = self.generation
        if generation is None or not generation.restored:
            return False
        return all(
            len(generation.caught_up(name)) == sum(key[0] == name for key in generation.states) for name in self.plan.by_name
        )

    def fail(self, sentence: str, error: BaseException | None = None) -> None:
        """End the process; a commit that is under way may end first."""
        self._flusher.wait_for_commit()
        if isinstance(error, StopError):
            lose_place(str(error), remedy=error.remedy)
        lose_place(sentence, error)

    # ------------------------------------------------------------------ for Faust's consumer, in the main loop

    def subscribe(self, topics: Iterable[str], app: Any, consumer: Any) -> None:
        """Join the group with these topics."""
        self._app, self._consumer = app, consumer
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._poll.start()
            self._spawn(self._flusher.run(lambda: self.generation, self.intake.patience))
            self._spawn(self._look_at_topics())
            self._spawn(self._look_for_a_place())
            self._spawn(Packing().run(lambda: self.generation, self.intake.waiting))
        self._poll.subscribe(topics)

    def assignment(self) -> set[TP]:
        """Return Faust's view of what we own; still full while it is being revoked."""
        return {TP(topic, partition) for topic, partition in self.generation.assigned} if self.generation else set()

    def flow(self) -> None:
        """Learn that Faust lets messages of the present generation through."""
        if self.generation is not None and self.generation.number == self._app.consumer_generation_id:
            self.generation.flowing = True
            self._arrival.set()

    async def next_bundle(self, seconds: float) -> Bundle | None:
        """Return the next bundle of runs that Faust may have, or None after some seconds."""
        bundle = self.next_bundle_nowait()
        if bundle is None:
            self._arrival.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._arrival.wait(), seconds)
            bundle = self.next_bundle_nowait()
        return bundle

    def next_bundle_nowait(self) -> Bundle | None:
        """Return a bundle of the present generation if Faust is ready for it, and would not lose it."""
        generation = self.generation
        if generation is None or not generation.flowing or generation.closing or not generation.inbox.waiting:
            return None
        return generation.inbox.waiting.popleft()

    def close(self) -> None:
        """Hand nothing more to the rooms; what they have taken in is committed, or dropped, when Faust settles."""
        if self.generation is not None:
            self.generation.closing = True
            self._flusher.release()

    async def settle(self) -> None:
        """Finish or drop all that is under way: the partitions are being taken away, or we stop."""
        if self._app is not None and self._app.should_stop:
            await self._stop()
        elif self.generation is not None:
            await self._finish(self.generation, REVOKE_GRACE)

    async def _finish(self, generation: Generation, grace: float) -> None:
        await self.intake.end(generation, grace)
        await self._flusher.finish(generation)
        if not generation.finished:
            generation.finished = True
            for state in generation.states.values():
                state.room.close(state.partition)

    async def _stop(self) -> None:
        if self._stopping:
            return
        self._stopping = True
        if self.generation is not None:
            try:
                await asyncio.wait_for(self._finish(self.generation, STOP_GRACE), STOP_DEADLINE)
            except TimeoutError:
                lose_place(f"the last flush did not end within {STOP_DEADLINE} s")
            except Exception as error:  # noqa: BLE001  # Faust would drop it, and we end as if all were committed
                lose_place(f"stopping failed: {error!r}", error)
        for task in self._tasks:
            task.cancel()
        self._poll.leave()
        if self._poll.is_alive():
            await in_thread(self._poll.join, LEAVE_DEADLINE)
            if self._poll.is_alive():
                log.warning("leaving the group took too long; the others wait for the session timeout")

    # ------------------------------------------------------------------ for the poll thread

    def assigned(self, parts: frozenset[TopicPart], metadata: Any) -> Inbox:
        """Begin a generation; return when Faust knows."""
        inbox: Inbox = self._wait_for(self._begin(parts, metadata), "taking partitions over")
        return inbox

    def revoked(self) -> None:
        """End the generation; return when nothing of it is left."""
        self._wait_for(self._end(), "giving partitions up")

    def arrived(self, inbox: Inbox, runs: list[Run], ends: dict[TopicPart, int]) -> None:
        """Take runs in, and which partitions were read to their end."""
        self._tell(partial(self._take_in, inbox, runs, ends))

    def highs(self, highs: dict[TopicPart, int]) -> None:
        """Learn the newest known end offsets."""
        self._tell(partial(self._learn_highs, highs))

    def _tell(self, call: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: we are leaving
            if self._loop is not None:
                self._loop.call_soon_threadsafe(call)

    def _wait_for(self, work: Coroutine[Any, Any, Any], what: str) -> Any:
        loop: Any = self._loop  # set before the poll thread starts
        done: Future[Any] = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            return done.result(REBALANCE_DEADLINE)
        except TimeoutError:
            lose_place(f"{what} took longer than {REBALANCE_DEADLINE:.0f} s")
        except Exception as error:  # noqa: BLE001  # half a rebalance is no place to go on from
            lose_place(f"{what} failed: {error!r}", error)

    def _take_in(self, inbox: Inbox, runs: list[Run], ends: dict[TopicPart, int]) -> None:
        generation = self.generation
        if generation is None or inbox is not generation.inbox or generation.closing:
            return
        for run in runs:
            run.readers = len(self.plan.readers[run.topic])
            reach = generation.reach[run.topic, run.partition]
            reach.arrived, reach.at_end = run.next, False
            reach.high = max(reach.high, run.high)
        inbox.put(runs, self.plan.readers)
        for part, offset in ends.items():
            generation.reach[part].at_end = True
            generation.reach[part].high = offset
        if runs:
            self._arrival.set()
        self.intake.look()

    def _learn_highs(self, highs: dict[TopicPart, int]) -> None:
        if self.generation is not None:
            for part, high in highs.items():
                if part in self.generation.reach:
                    self.generation.reach[part].high = high

    # ------------------------------------------------------------------ generations, in the main loop

    async def _begin(self, parts: frozenset[TopicPart], metadata: Any) -> Inbox:
        self._refuse_company(parts)
        keys = self.plan.state_keys(parts)
        self._number += 1
        self._restored_before = self.restored_in_all()
        self._progress = Progress()
        generation = self.generation = self.intake.generation = Generation(self._number, metadata, parts, self.plan)
        generation.partitions = len(keys)
        app = self._app
        if not app.rebalancing:
            app.on_rebalance_start()
        # Before Faust is told: its recovery compares the two and silently stays off if they differ.
        app.consumer_generation_id = generation.number
        await self._consumer.on_partitions_assigned(self.assignment(), generation.number)
        self._spawn(self._take_over(generation, keys))
        return generation.inbox

    async def _end(self) -> None:
        generation, app = self.generation, self._app
        if generation is None:
            return
        if app.should_stop:  # the group waits for us until the last flush is committed
            await self._finish(generation, STOP_GRACE)
            return
        app.on_rebalance_start()
        generation.inbox.waiting.clear()
        await self._consumer.on_partitions_revoked(self.assignment())
        await self._finish(generation, REVOKE_GRACE)
        self.generation = self.intake.generation = None

    async def _take_over(self, generation: Generation, keys: Sequence[StateKey]) -> None:
        restorer = Restorer(
            self.connection,
            self.plan,
            keys,
            self._progress,
            superseded=lambda: generation.closing,
            accept_older_state=self.options.accept_older_state,
        )
        try:
            if generation.number == 1:
                await in_thread(self.options.refuse_to_work)
            found = await in_thread(_restore, restorer)
        except Superseded:
            log.info("generation %d: the group moved on while it was restored; what was read is dropped", generation.number)
            return
        except (RestoreError, StartError, AdminError) as error:
            lose_place(str(error), remedy="restart it once that is mended")
        if await self._open(generation, found):
            positions = generation.positions()
            generation.reach = {part: Reach(at) for part, at in positions.items()}
            generation.restored, generation.taken_over = True, time.time() * 1000
            self._poll.fetch(generation.inbox, positions)

    async def _open(self, generation: Generation, found: dict[StateKey, Restored]) -> bool:
        for key, restored in found.items():
            if generation.closing:
                return False
            room, table = self.plan.by_name[key[0]], restored.table()
            generation.states[key] = StatePartition(
                room, key[1], table, restored.offsets, restored.anchored, restored.flushes
            )
            room.open(key[1], table)
            await asyncio.sleep(0)
        return not generation.closing

    async def _look_at_topics(self) -> None:
        while True:
            await asyncio.sleep(LOOK_AT_TOPICS_EVERY)
            grown = await in_thread(self.options.grown_topics)
            if grown:
                raise StopError("; ".join(grown), "and a restart refuses to work; see: dealpulse topics check")

    async def _look_for_a_place(self) -> None:
        """Say once a minute that this worker has no place in the group: librdkafka waits for one in silence."""
        looks = 0
        while True:
            await asyncio.sleep(LOOK_FOR_A_PLACE_EVERY)
            looks = looks + 1 if self.generation is None else 0
            if looks and looks % NO_PLACE == 0:
                log.warning(
                    "no place in the group for %.0f s: no broker coordinates it (is offsets.topic.replication.factor greater than "
                    "the number of brokers?), or another member holds it up; see the brokers' logs, and: dealpulse doctor",
                    looks * LOOK_FOR_A_PLACE_EVERY,
                )

    def _refuse_company(self, parts: frozenset[TopicPart]) -> None:
        count = self.options.partitions
        if count is not None and len(parts) < count * len(self.plan.topics):
            lose_place(
                "another worker has joined, but the embedded broker, and a rebuild, are for one alone",
                remedy="restart it once the other has ended",
            )

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_end)

    def _on_task_end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.fail(f"the worker failed: {error!r}", error)


def _restore(restorer: Restorer) -> dict[StateKey, Restored]:
    """Restore; first what the last generation held is given back to the system, then what was read and is not kept."""
    trim()
    found = restorer.run()
    trim()
    return found
