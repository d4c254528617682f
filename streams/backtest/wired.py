"""How do rooms work without a broker?  In one process, one partition each, wired as topics wire them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from streams.kafka.room import Moment, Output, Room, StateTable

PARTITION = 0


class Record:
    """A record as rooms see one: the part of confluent_kafka's Message that they ask for."""

    __slots__ = ("_key", "_received_ms", "_topic", "_value")

    def __init__(self, topic: str, value: bytes | None, key: bytes | None = None, received_ms: int = 0) -> None:
        """Make a record that the broker got at an instant (ms since 1970 UTC)."""
        self._topic, self._value, self._key, self._received_ms = topic, value, key, received_ms

    def __len__(self) -> int:
        """Return how many bytes the value has."""
        return len(self._value or b"")

    def topic(self) -> str:
        """Return the topic."""
        return self._topic

    def partition(self) -> int:
        """Return the partition."""
        return PARTITION

    def offset(self) -> int:
        """Return an offset; it stands nowhere, so it is none."""
        return -1

    def key(self) -> bytes | None:
        """Return the key."""
        return self._key

    def value(self) -> bytes | None:
        """Return the value."""
        return self._value

    def headers(self) -> None:
        """Return the headers: there are none."""

    def timestamp(self) -> tuple[int, int]:
        """Return kind and milliseconds."""
        return 1, self._received_ms


class Wired:
    """Rooms in flow order: what one tells and another reads is handed over, the rest goes to whoever asks."""

    def __init__(self, rooms: Sequence[Room], tables: Mapping[str, StateTable] | None = None) -> None:
        """Open the rooms on their tables, by name; empty ones unless given."""
        self._rooms = rooms
        self.tables = {room.name: StateTable() for room in rooms} | dict(tables or {})
        self._readers = {topic: room for room in rooms for topic in room.sources}
        for room in rooms:
            room.open(PARTITION, self.tables[room.name])

    def take(self, topic: str, run: Sequence[Any]) -> None:
        """Hand a run of records (Record or Message) to the room that reads their topic."""
        self._readers[topic].handle(PARTITION, topic, run)

    def flush(self, moment: Moment) -> list[Output]:
        """Let every room tell all that is due; return what no room reads."""
        found: list[Output] = []
        for room in self._rooms:
            found += self._hand_over(room.drain(moment))  # what came in is flushed in any case
            while room.due(moment):
                found += self._hand_over(room.drain(moment))
        return found

    def _hand_over(self, outputs: Iterable[Output]) -> list[Output]:
        rest: list[Output] = []
        runs: dict[str, list[Record]] = {}
        for output in outputs:
            topic, _, key, value, _ = output
            if topic in self._readers:
                runs.setdefault(topic, []).append(Record(topic, value, key))
            else:
                rest.append(output)
        for topic, run in runs.items():
            self.take(topic, run)
        return rest
