"""Has everybody been told?  Each alert event is delivered once, in order, at least once over a crash.

A delivery that fails is tried again, for as long as it takes, unless Slack says that it can never work.
Events of the past (a replay) are not delivered: nobody is woken by history.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from confluent_kafka import Message

from streams import metrics, topics
from streams.config import Definitions
from streams.kafka.room import Moment, Output, StateTable
from streams.notify.transports import Transport, Verdict

LONGEST_PAUSE = 60.0
_SENT_KEY = b"sent:"
log = logging.getLogger("dealpulse.notify")


class NotifyRoom:
    """Alert events to people."""

    name = "notify"
    sources: tuple[str, ...] = (topics.ALERT_EVENTS,)

    def __init__(
        self, definitions: Definitions, transport: Transport, clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:  # fmt: skip
        self._transport = transport
        self._oldest = definitions.slack.catch_up_limit
        self._clock = clock
        self._sleep = sleep
        self._tables: dict[int, StateTable] = {}

    def open(self, partition: int, state: StateTable) -> None:
        """Start to own a partition."""
        self._tables[partition] = state

    def close(self, partition: int) -> None:
        """Stop to own a partition."""
        self._tables.pop(partition, None)

    def handle(self, partition: int, topic: str, run: Sequence[Message]) -> int:
        """Not used: this room delivers."""
        raise NotImplementedError(f"notify waits for the outside world: deliver() {partition} {topic} {len(run)}")

    async def deliver(self, partition: int, topic: str, run: Sequence[Message]) -> int:
        """Tell people of a run of alert events, one after the other."""
        del topic  # there is one
        state = self._tables[partition]
        for message in run:
            event = msgspec.json.decode(message.value())
            key = _SENT_KEY + event["fingerprint"].encode()
            told = state.get(key)
            if told is None or int(told) < event["revision"]:
                await self._tell(event)
                state.put(key, str(event["revision"]).encode())
        return len(run)

    async def _tell(self, event: dict[str, Any]) -> None:
        if self._clock() - datetime.fromisoformat(event["at"]).timestamp() > self._oldest:
            metrics.NOTIFICATIONS.labels(self._transport.name, "silenced").inc()
            log.info("not told, it is history: %s", event["text"])
            return
        tries = 0
        while True:
            attempt = await self._transport.send(event)
            metrics.NOTIFICATIONS.labels(self._transport.name, attempt.verdict.value).inc()
            if attempt.verdict is Verdict.SENT:
                return
            if attempt.verdict is Verdict.NEVER:
                log.error("alert not delivered, %s; mend the Slack settings: %s", attempt.why, event["text"])
                return
            tries += 1
            pause = max(attempt.pause, min(LONGEST_PAUSE, 2 ** min(tries, 6) * random.uniform(0.5, 1.0)))  # noqa: S311  # jitter
            log.warning("%s: trying again in %.0f s", attempt.why, pause)
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
