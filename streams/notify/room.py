"""Has everybody been told?  Each alert event is delivered once, in order, at least once over a crash.

A delivery that fails is tried again, for as long as it takes, unless Slack says that it can never work.
What was history when it was written (a replay) is not delivered: nobody is woken by it.  What of it still fires when all
that came before has been judged, and that is history no more, is told in one message.  The end of an alert is told to those
who heard that it fired, however late it comes, and to nobody else.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime
from typing import Any, Literal

import msgspec
from confluent_kafka import Message

from streams import metrics, topics
from streams.config import Definitions
from streams.kafka.room import Moment, Output, StateTable
from streams.notify import message
from streams.notify.message import Notice
from streams.notify.transports import Transport, Verdict

LONGEST_PAUSE = 60.0
# After one that may have been heard, twice as long each time: while Slack is slow each attempt is one more message to people.
UNANSWERED_PAUSE, LONGEST_UNANSWERED_PAUSE = 60.0, 600.0
REFUSED_PAUSE = 12 * 3600.0  # what Slack refuses for good is tried once a day: when the kpis say that a day is over
_SENT_KEY = b"sent:"  # the last revision that was dealt with
_UNHEARD_KEY = b"unheard:"  # nobody was told that it fires: its event (of before there were digests: 1)
_UNENDED_KEY = b"unended:"  # people believe that it fires, and Slack has refused to tell them of the end: its event
_JUDGED_KEY = b"judged"  # partition of the alerts → up to when they are all here, µs
log = logging.getLogger("dealpulse.notify")


class Judged(msgspec.Struct):
    """What a partition of the alerts says: up to an instant (event time, µs) all is judged, and its events are there."""

    partition: int
    at: int


def greatest_told(rows: Mapping[tuple[int, bytes], bytes]) -> int:
    """Return the greatest revision that these rows of the room's state, by partition and key, say was dealt with."""
    return max((int(row) for (_, key), row in rows.items() if key.startswith(_SENT_KEY)), default=0)


class _Form(msgspec.Struct):
    """What of an alert event people are told, or this room goes by (schemas/alert-event.v1.json)."""

    transition: Literal["fired", "resolved"]
    fingerprint: str
    rule: str
    text: str
    since: datetime
    at: datetime
    n: int
    k: int
    baseline: float | None
    revision: int


def alert_event(value: bytes | None) -> dict[str, Any] | None:
    """Return the event that a record is; None for one that others wrote: it must not end one worker after the other."""
    try:
        event: dict[str, Any] = msgspec.json.decode(value or b"")
        msgspec.convert(event, _Form)
    except (ValueError, RecursionError):  # of JSON, of its form, of UTF-8; of what is nested too deeply
        return None
    return event


_judged = msgspec.json.Decoder(Judged)
_judged_by_partition = msgspec.json.Decoder(dict[int, int])


class NotifyRoom:
    """Alert events to people."""

    name = "notify"
    sources: tuple[str, ...] = (topics.ALERT_EVENTS, topics.JUDGED)

    def __init__(
        self, definitions: Definitions, transport: Transport, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._transport = transport
        self._oldest = definitions.slack.catch_up_limit
        self._sleep = sleep
        self._tables: dict[int, StateTable] = {}
        self._partitions_in = definitions.partitions
        self._digest = asyncio.Lock()  # held while one is told: it speaks of all partitions
        self._asked_to_wait = asyncio.Lock()  # held for as long as Slack has asked, of whichever partition
        self._rules = {(rule.name, rule.cut) for rule in definitions.rules}
        self._refused_until = 0.0  # seconds since 1970, as records are written: until then nothing that was refused is tried

    def open(self, partition: int, state: StateTable) -> None:
        """Start to own a partition."""
        self._tables[partition] = state

    def close(self, partition: int) -> None:
        """Stop to own a partition."""
        self._tables.pop(partition, None)

    def handle(self, partition: int, topic: str, run: Sequence[Message]) -> int:
        """Not used: this room delivers."""
        raise NotImplementedError(f"notify waits for the outside world: deliver() {partition} {topic} {len(run)}")

    async def deliver(self, partition: int, topic: str, record: Message) -> int:
        """Tell people of an alert event; or, where all are there, of what was held back and still fires."""
        deal_with = self._hear if topic == topics.JUDGED else self._take
        await deal_with(record.value(), record.timestamp()[1] / 1000, self._tables[partition])
        return 0  # nothing is left to do for it

    async def _take(self, value: bytes | None, written: float, state: StateTable) -> None:
        """Take in an alert event, unless it is a repeat; `written` in seconds since 1970."""
        event = alert_event(value)
        if event is None:
            log.warning("a record of %s is no alert event, and is left out: others write to the topic", topics.ALERT_EVENTS)
            return
        mark = event["fingerprint"].encode()
        told = state.get(_SENT_KEY + mark)
        if told is None or int(told) < event["revision"]:
            # A digest under way may name it: then its end is told, too.
            kept = state.get(_UNHEARD_KEY + mark) or state.get(_UNENDED_KEY + mark)
            async with self._digest if kept else nullcontext():
                await self._deal_with(event, written, mark, state)
            state.put(_SENT_KEY + mark, str(event["revision"]).encode())

    async def _hear(self, value: bytes, written: float, state: StateTable) -> None:
        """Take in how far a partition of the alerts is; tell what fires if none is in history any more."""
        said, known = _judged.decode(value), _judged_by_partition.decode(state.get(_JUDGED_KEY) or b"{}")
        state.put(_JUDGED_KEY, msgspec.json.encode(known | {said.partition: said.at}))
        if written >= self._refused_until and all(self._is_past_history(one, written) for one in self._tables.values()):
            async with self._digest:
                if not await self._tell_what_is_kept():
                    self._refused_until = written + REFUSED_PAUSE

    def _is_past_history(self, state: StateTable, now: float) -> bool:
        """Has a partition heard from all of the alerts, and is none of them further back than what is told one by one?"""
        judged = _judged_by_partition.decode(state.get(_JUDGED_KEY) or b"{}")
        return len(judged) == self._partitions_in and min(judged.values()) / 1_000_000 >= now - self._oldest

    async def _tell_what_is_kept(self) -> bool:
        """Tell, of the partitions owned, of ends that Slack had refused, then in one message of all that fires unheard.

        Return False when Slack refuses that for good, again.
        """
        for state, key, event in self._kept(_UNENDED_KEY):
            if not await self._tell(message.notice(event)):
                return False
            state.delete(key)
        unheard = []
        for state, key, event in self._kept(_UNHEARD_KEY):
            if (event["rule"], event.get("cut")) in self._rules:
                unheard.append((state, key, event))
            else:  # nothing judges it any more (the rule has gone, or has another cut), so nobody would ever hear of its end
                state.delete(key)
        if unheard and not await self._tell(message.digest([event for _, _, event in unheard])):
            return False
        for state, key, _ in unheard:
            state.delete(key)
        return True

    def _kept(self, prefix: bytes) -> list[tuple[StateTable, bytes, dict[str, Any]]]:
        rows = [(state, key, value) for state in self._tables.values() for key, value in state.items()]
        return [
            (state, key, msgspec.json.decode(value))
            for state, key, value in rows
            if key.startswith(prefix) and value != b"1"
        ]

    async def _deal_with(self, event: dict[str, Any], written: float, mark: bytes, state: StateTable) -> None:
        """Tell people of an event, or not; `written` in seconds since 1970."""
        fired, unheard = event["transition"] == "fired", state.get(_UNHEARD_KEY + mark) is not None
        believed = state.get(_UNENDED_KEY + mark) is not None  # that it fires
        # Of an end whose beginning this room never met (a rebuild wrote it) its age decides, too.
        is_known = not fired and state.get(_SENT_KEY + mark) is not None
        is_history = written - datetime.fromisoformat(event["at"]).timestamp() > self._oldest
        heard = wanted = not unheard if is_known else not is_history
        if wanted:
            heard = await self._tell(message.notice(event))
        else:
            metrics.NOTIFICATIONS.labels(self._transport.name, "silenced").inc()
            log.info("not told, it is history: %s", message.text(event))
        if fired and not heard and not believed:
            state.put(_UNHEARD_KEY + mark, msgspec.json.encode(event))
            self._refused_until = 0.0
        elif unheard:
            state.delete(_UNHEARD_KEY + mark)
        if wanted and not heard and not fired:
            state.put(_UNENDED_KEY + mark, msgspec.json.encode(event))
        elif believed:
            state.delete(_UNENDED_KEY + mark)

    async def _tell(self, notice: Notice) -> bool:
        """Try until it is told; return False when it never can be."""
        tries = unanswered = 0
        while True:
            async with self._asked_to_wait:  # a limit is the channel's
                pass
            attempt = await self._transport.send(notice)
            metrics.NOTIFICATIONS.labels(self._transport.name, attempt.verdict.value).inc()
            if attempt.verdict is Verdict.SENT:
                return True
            if attempt.verdict is Verdict.NEVER:
                log.error("alert not delivered, %s; look at the DEALPULSE_SLACK_ settings: %s", attempt.why, notice.text)
                return False
            tries += 1
            pause = max(attempt.pause, min(LONGEST_PAUSE, 2 ** min(tries, 6) * random.uniform(0.5, 1.0)))  # noqa: S311  # jitter
            if attempt.perhaps_heard:
                unanswered += 1
                pause = min(UNANSWERED_PAUSE * 2 ** min(unanswered - 1, 6), LONGEST_UNANSWERED_PAUSE)
                if unanswered == 1:
                    notice = message.perhaps_again(notice)
            log.warning("an alert waits, %s: trying again in %.0f s", attempt.why, pause)
            # Who is asked beside another one waits as long, but not one after the other.
            is_first = bool(attempt.pause) and not self._asked_to_wait.locked()
            async with self._asked_to_wait if is_first else nullcontext():
                await self._sleep(pause)

    def due(self, moment: Moment) -> bool:
        """Is there something to send?  Nothing goes to a topic."""
        del moment
        return False

    def owes(self, moment: Moment) -> bool:
        """Will there be something to send?  Whoever is still to be told is so before a record counts as handled."""
        del moment
        return False

    def drain(self, moment: Moment) -> list[Output]:
        """Return nothing: what was told is in the state."""
        del moment
        return []
