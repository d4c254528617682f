"""How does a room work without being heard?  The same room; what it would tell goes elsewhere, or nowhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from confluent_kafka import Message

from streams import topics
from streams.config import Definitions
from streams.kafka.room import Moment, Output, Room, StateTable
from streams.topics import Topic, all_topics, shadow

SHADOWED = (topics.KPI_LATEST, topics.KPI_HISTORY, topics.ALERTS)
# Who was told what is decided at the switch, from the state of the alerts: nobody is told of a generation that is being computed.
_UNSAID = frozenset({topics.ALERT_EVENTS, topics.JUDGED})


class _Origin(msgspec.Struct):
    """Where a dead letter comes from."""

    topic: str
    partition: int
    offset: int


_origin = msgspec.json.Decoder(_Origin)


def shadow_topics(name: str) -> list[Topic]:
    """Return every topic that a worker needs which computes a generation."""
    return [*all_topics(name), *(shadow(name, topic) for topic in SHADOWED)]


def undisturbed(definitions: Definitions) -> Definitions:
    """Return the definitions for history: what was refused in it has been refused before, and is no reason to stop."""
    return msgspec.structs.replace(definitions, bad_input=msgspec.structs.replace(definitions.bad_input, stop=False))


class InTheShadow:
    """A room of a generation that is being computed."""

    def __init__(self, room: Room, name: str, told: Mapping[str, int]) -> None:
        """Wrap `room`; dead letters of records below `told` (by topic/partition) exist already."""
        self.name = room.name
        self.sources = room.sources
        self._room = room
        self._told = told
        self._elsewhere = {topic: shadow(name, topic).name for topic in SHADOWED}

    def open(self, partition: int, state: StateTable) -> None:
        """Start to own a partition."""
        self._room.open(partition, state)

    def close(self, partition: int) -> None:
        """Stop to own a partition."""
        self._room.close(partition)

    def handle(self, partition: int, topic: str, run: Sequence[Message]) -> int:
        """Take in a run of records."""
        return self._room.handle(partition, topic, run)

    def due(self, moment: Moment) -> bool:
        """Is there something to send although no record came in?"""
        return self._room.due(moment)

    def owes(self, moment: Moment) -> bool:
        """Will there be something to send although no record comes in?"""
        return self._room.owes(moment)

    def drain(self, moment: Moment) -> list[Output]:
        """Write the changed state, and return what may be sent, and where to."""
        return [self._elsewhere_of(output) for output in self._room.drain(moment) if not self._is_told(output)]

    def _elsewhere_of(self, output: Output) -> Output:
        topic, partition, key, value, headers = output
        return self._elsewhere.get(topic, topic), partition, key, value, headers

    def _is_told(self, output: Output) -> bool:
        topic, _, _, value, _ = output
        if topic in _UNSAID:
            return True
        if topic != topics.DEAD_LETTER or value is None:
            return False
        origin = _origin.decode(value)
        return origin.offset < self._told.get(f"{origin.topic}/{origin.partition}", 0)
