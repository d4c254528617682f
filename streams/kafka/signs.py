"""What does a worker show of itself to the watchdog?  Read in the main loop, judged elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress

from confluent_kafka import IsolationLevel, KafkaException
from confluent_kafka.admin import AdminClient, OffsetSpec

from streams.kafka.clients import Connection
from streams.kafka.edge import Edge
from streams.kafka.inbox import TopicPart
from streams.kafka.offsets import ask_offsets
from streams.kafka.watchdog import Signs

ANSWER_DEADLINE = 5.0


class EdgeSigns:
    """The edge of one worker as the watchdog sees it."""

    def __init__(self, edge: Edge, loop: asyncio.AbstractEventLoop) -> None:
        self._edge = edge
        self._loop = loop

    def beats(self) -> int:
        """Return how often the poll thread has come round; -1 before it begins and once it is told to leave."""
        return self._edge.beats()

    def ask(self, answer: Callable[[Signs], None]) -> None:
        """Let the main loop answer with what it knows."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(lambda: answer(signs(self._edge)))


def waiting(edge: Edge) -> dict[str, int]:
    """Return how many records wait, by room; rooms that wait for the outside world do so at their own pace."""
    lag: dict[str, int] = {}
    for one in edge.lags():
        if not hasattr(edge.plan.by_name[one.room], "deliver"):
            lag[one.room] = lag.get(one.room, 0) + one.records
    return lag


def signs(edge: Edge) -> Signs:
    """Return what the edge shows."""
    status, taken = edge.status(), dict[str, int]()
    generation = edge.generation
    for (room, _), state in generation.states.items() if generation is not None else ():
        taken[room] = taken.get(room, 0) + sum(state.offsets.values())
    return Signs(
        lag=waiting(edge),
        taken=taken,
        committing=status.committing,
        commits=status.last_commit,
        generation=status.generation,
        restoring=status.recovering,
        restored=(status.restored_records, status.restored_partitions),
        reached=edge.reached(),
    )


def broker_ends(connection: Connection, parts: Iterable[TopicPart]) -> dict[TopicPart, int] | None:
    """Ask the broker where these partitions end for a reader of committed records; None when it does not answer.

    Nor is there an answer where no client can be made: a certificate may be away for the moment in which it is replaced.
    """
    try:
        admin = AdminClient({**connection.client, "log_level": 0})
        return ask_offsets(admin, parts, OffsetSpec.latest(), IsolationLevel.READ_COMMITTED, ANSWER_DEADLINE)
    except KafkaException:
        return None
