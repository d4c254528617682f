"""Is this worker stuck?  A thread that looks from beside, and ends the process when nothing moves although something waits.

librdkafka goes on sending heartbeats for a worker that is stuck, so the group never notices.  What is watched:

- the main loop: it must answer; a minute without an answer is a fault, whatever waits;
- the poll thread: it must come round; it waits for the main loop for 20 s at most;
- a commit under way: all its calls share one deadline; when twice that has passed, the broker has given the transaction up
  long since, and the call never returns (while librdkafka looks for a group's coordinator it heeds none: its issue 5456);
- commits: when records wait, the last one must not be older than the limit, and what a flush lingers;
- each room: when records wait for it, it must take some; a room that waits for the outside world may take its time;
- fetching: of a partition that is not paused, what is there must come; the broker is asked now and then where partitions
  end, since a fetch that no longer brings anything looks like a partition with nothing new;
- a restore: it must read on; how long all of it takes is nobody's fault.

While the broker does not answer (the watchdog asks it before it ends anything) nothing can move, and librdkafka comes
back by itself: then only the main loop, the poll thread and a commit under way are watched, whose calls have
deadlines of their own.  A process that was frozen is not stuck: only time that the watchdog was awake in counts.

If Python itself stands still (a call that never gives the interpreter back), no thread can say anything: then the
kernel's alarm clock, which the watchdog sets anew each time round, ends the process after writing down where it stands.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from streams.kafka.clients import TRANSACTION_TIMEOUT
from streams.kafka.exits import LOST_ITS_PLACE
from streams.kafka.inbox import TopicPart

LOOK_EVERY = 1.0
# A longer pause between two looks means that the process was frozen, not that it was stuck.
_AWAKE = 3.0
ALARM_AFTER = 15.0  # seconds behind the limit
COMMIT_ENDS = 2 * TRANSACTION_TIMEOUT
LAST_WORDS = 5.0  # seconds for them: who reads what is said may be stuck, too


@dataclass(frozen=True, slots=True)
class Signs:
    """What the main loop says of itself when it is asked."""

    lag: dict[str, int] = field(default_factory=dict)  # records that wait, by room
    taken: dict[str, int] = field(default_factory=dict)  # sum of the positions, by room
    committing: bool = False
    commits: float | None = None  # when the last one was
    generation: int = 0
    restoring: bool = False
    restored: tuple[int, int] = (0, 0)  # records and partitions
    reached: dict[TopicPart, int] = field(default_factory=dict)  # up to where partitions were fetched that are not paused


# Asks the broker where partitions end; None when it does not answer.
Ends = Callable[[Iterable[TopicPart]], dict[TopicPart, int] | None]


class Watched(Protocol):
    """What the watchdog looks at."""

    def beats(self) -> int:
        """Return a number that grows while the poll thread comes round; -1 when there is none to come round."""

    def ask(self, answer: Callable[[Signs], None]) -> None:
        """Let the main loop call `answer`, if it still runs."""


class Since:
    """For how long has a value been the same, counted in time awake, and for how long may it be?"""

    def __init__(self, limit: float) -> None:
        self._value: object = None
        self._waited = False
        self._limit = limit
        self.seconds = 0.0

    def see(self, value: object, awake: float, *, waits: bool = True) -> Since:
        """Take in the value now.  Time passes from one look at which something waits to the next."""
        self.seconds = self.seconds + awake if waits and self._waited and value == self._value else 0.0
        self._value, self._waited = value, waits
        return self

    @property
    def too_long(self) -> bool:
        """Tell whether the limit is reached."""
        return self.seconds >= self._limit


class Verdict:
    """Judges what is seen, look by look; a flush may linger for some seconds before it commits."""

    _rooms: dict[str, Since]
    _fetched: dict[TopicPart, Since]

    def __init__(self, limit: float, lingers: float = 0.0) -> None:
        self._limit, self._lingers = limit, lingers
        self._loop, self._poll, self._committing = Since(limit), Since(limit), Since(min(limit, COMMIT_ENDS))
        self.begin_anew()

    def surely(self, answers: int, beats: int, signs: Signs, awake: float) -> str | None:
        """Return what is stuck in us, whatever the broker does; None when nothing is."""
        found = [
            (self._loop.see(answers, awake), "the main loop does not answer"),
            (self._poll.see(beats, awake, waits=beats >= 0), "the poll thread does not come round"),
            (
                self._committing.see((signs.commits, signs.generation), self._heard(awake), waits=signs.committing),
                "a commit does not end",
            ),
        ]
        return self._first(found)

    def unless_the_broker_is_away(self, signs: Signs, awake: float) -> str | None:
        """Return what does not move although it could, if the broker answers."""
        waiting, heard = sum(signs.lag.values()), self._heard(awake)
        found = [
            (
                self._restore.see((signs.restored, signs.generation), heard, waits=signs.restoring),
                f"restoring state does not go on (after {signs.restored[0]:,} records)",
            ),
            (
                self._commit.see((signs.commits, signs.generation), heard, waits=waiting > 0 and not signs.restoring),
                f"{waiting:,} records wait and nothing is committed",
            ),
        ]
        for room, lag in signs.lag.items():
            since = self._rooms.setdefault(room, Since(self._limit))
            taken = (signs.taken.get(room), signs.generation)
            found.append((since.see(taken, heard, waits=lag > 0), f"{lag:,} records wait for {room}, which takes none"))
        return self._first(found)

    def fetching(self, signs: Signs, ends: dict[TopicPart, int], awake: float) -> str | None:
        """Return which partition is not fetched any more although it goes on; `ends` is what the broker says."""
        found = []
        self._fetched = {part: self._fetched.get(part) or Since(self._limit) for part in signs.reached}
        for part, reached in signs.reached.items():
            beyond = ends.get(part, 0) > reached
            what = f"{part[0]}[{part[1]}] ends at {ends.get(part)}, but nothing is fetched beyond {reached}"
            found.append((self._fetched[part].see((reached, signs.generation), awake, waits=beyond), what))
        return self._first(found)

    def begin_anew(self) -> None:
        """Forget how long commits, rooms, fetches and a restore have stood still: the broker was away."""
        self._commit, self._restore = Since(self._limit + self._lingers), Since(self._limit)
        self._rooms, self._fetched = {}, {}

    def _heard(self, awake: float) -> float:
        """Return the time that counts: while the loop says nothing, nobody knows whether what it spoke of last has ended."""
        return 0.0 if self._loop.seconds else awake

    @staticmethod
    def _first(found: list[tuple[Since, str]]) -> str | None:
        return next((f"{what} for {since.seconds:.0f} s" for since, what in found if since.too_long), None)


class Watchdog(threading.Thread):
    """Looks once a second; ends the process when `limit` seconds have passed without a move.  0 only looks.

    `lingers`: for how many seconds a flush waits for more to come into it.
    """

    def __init__(self, watched: Watched, limit: float, ends: Ends, lingers: float = 0.0) -> None:
        super().__init__(name="dealpulse-watchdog", daemon=True)
        self.stuck: str | None = None  # what liveness says
        self._watched = watched
        self._acts = limit > 0
        self._limit = limit or 60.0
        self._ends = ends
        self._unasked = 0.0  # seconds awake since the broker was asked
        self._verdict = Verdict(self._limit, lingers)
        self._signs, self._answers = Signs(), 0
        self._done = threading.Event()

    def run(self) -> None:
        """Look until told to stop."""
        if self._acts:
            _answer_the_alarm()
        before = time.monotonic()
        while not self._done.wait(LOOK_EVERY):
            if self._acts:
                signal.setitimer(signal.ITIMER_REAL, self._limit + ALARM_AFTER)
            now = time.monotonic()
            awake, before = min(now - before, _AWAKE), now
            self.stuck = self._look(awake)
            if self.stuck and self._acts and not self._done.is_set():
                end(self.stuck)
        signal.setitimer(signal.ITIMER_REAL, 0)

    def stop(self) -> None:
        """Look no more: the worker is stopping, within deadlines of its own."""
        self._done.set()
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _look(self, awake: float) -> str | None:
        # What was answered since the last look: whether this one is answered at once is a matter of luck.
        answers = self._answers
        self._watched.ask(self._answer)
        surely = self._verdict.surely(answers, self._watched.beats(), self._signs, awake)
        perhaps = self._verdict.unless_the_broker_is_away(self._signs, awake)
        self._unasked += awake
        if surely or (not perhaps and self._unasked < self._limit / 4):
            return surely
        unasked, self._unasked = self._unasked, 0.0
        ends = self._ends(self._signs.reached)
        if ends is None:
            self._verdict.begin_anew()
            return None
        return perhaps or self._verdict.fetching(self._signs, ends, unasked)

    def _answer(self, signs: Signs) -> None:
        self._signs = signs
        self._answers += 1


def _answer_the_alarm() -> None:
    """Let the alarm write down all stacks and end the process, without the interpreter.

    The kernel ends the first process of a container (Docker makes the worker that) by no signal that it does not handle:
    there the C library's own _exit handles it, with the signal's number, 14, as exit code.
    """
    if os.getpid() == 1:
        library = ctypes.CDLL(None)
        library.signal(signal.SIGALRM, library["_exit"])
    faulthandler.register(signal.SIGALRM, all_threads=True, chain=True)


def end(sentence: str) -> None:
    """Say what is stuck and where, and end the process with exit code 70, whether anybody reads it or not."""
    with suppress(RuntimeError):  # no thread is to be had
        saying = threading.Thread(target=_say, args=(sentence,), daemon=True)
        saying.start()
        saying.join(LAST_WORDS)
    os._exit(LOST_ITS_PLACE)


def _say(sentence: str) -> None:
    """Not through the log: whoever is stuck may hold its lock."""
    said = f"dealpulse: this worker is stuck: {sentence}; the process ends, restart it\n"
    with suppress(OSError):
        os.write(2, said.encode())
        faulthandler.dump_traceback(file=sys.__stderr__ or 2, all_threads=True)
