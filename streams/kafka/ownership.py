"""What does this worker own in the present generation, and how far has each room come?

A state partition is partition p of a room's state and of all the room's source topics.  A topic may be
read by several rooms; then each room has its own position in it, the group commits the smallest, and the
others ride along as metadata of the commit, so that each can be checked when it is restored.

So does the number of each room's flush: one that only told something (a round of the kpis) moves no offset, and
its rows, whose mark a broker writes apart from that of the offsets, must not be missed by whoever takes over.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from confluent_kafka import TopicPartition

from streams.kafka.inbox import Inbox, TopicPart
from streams.kafka.room import Room, StateTable

StateKey = tuple[str, int]  # room name, partition

OFFSETS_KEY = b"\x00offsets"
FORM_KEY = b"\x00form"
FLUSHES = "flushes"  # beside the topics in the offsets row, behind a room's name in a commit's metadata


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a room is behind the end of one source partition."""

    room: str
    topic: str
    partition: int
    records: int  # an upper bound while not caught up: control records count
    seconds: float  # age of the last handled record, or since nothing was handled; 0 when caught up


@dataclass(slots=True)
class StatePartition:
    """One partition of one room, restored."""

    room: Room
    partition: int
    table: StateTable
    offsets: dict[str, int]  # source topic -> the next offset to handle
    anchored: bool  # the changelog holds its offsets
    flushes: int = 0  # that wrote to its changelog, ever
    written: dict[str, int] = field(init=False)  # the offsets of the last of them, or of the restore
    handled: int = 0  # records since the last flush
    newest: dict[str, int] = field(default_factory=dict)  # source topic -> timestamp of the newest handled record, ms

    def __post_init__(self) -> None:
        """Begin with what was restored."""
        self.written = self.offsets.copy()


@dataclass(slots=True)
class Reach:
    """How far the broker's partition goes, as far as we know."""

    arrived: int  # the offset after the last record that came in
    at_end: bool = False
    high: int = 0

    @property
    def all_is_here(self) -> bool:
        """Tell whether all came in that the last fetch saw; nobody knows before the first."""
        return self.at_end or 0 < self.high <= self.arrived


class Plan:
    """Which room reads which topic."""

    def __init__(self, rooms: Sequence[Room]) -> None:
        self.rooms = tuple(rooms)
        self.by_name = {room.name: room for room in rooms}
        self.readers: dict[str, list[str]] = {}
        for room in rooms:
            for topic in room.sources:
                self.readers.setdefault(topic, []).append(room.name)

    @property
    def topics(self) -> list[str]:
        """Return every source topic once."""
        return list(self.readers)

    def state_keys(self, assigned: Iterable[TopicPart]) -> list[StateKey]:
        """Return the state partitions behind the assigned topic partitions.

        Raises ValueError if one of them is not wholly ours: partition counts or subscriptions differ.
        """
        ours = set(assigned)
        keys = sorted({(name, partition) for topic, partition in ours for name in self.readers.get(topic, ())})
        for name, partition in keys:
            missing = [topic for topic in self.by_name[name].sources if (topic, partition) not in ours]
            if missing:
                raise ValueError(
                    f"partition {partition} of {', '.join(missing)} went to another worker than the rest of room {name}; "
                    "all topics need equal partition counts and all workers the same version"
                )
        return keys


class Generation:
    """Everything that belongs to one assignment and ends with it."""

    def __init__(self, number: int, metadata: Any, assigned: frozenset[TopicPart], plan: Plan) -> None:
        self.number = number
        self.metadata = metadata  # taken once, in on_assign: it fences every flush of this generation
        self.assigned = assigned
        self.plan = plan
        self.inbox = Inbox(number)
        self.partitions = 0  # of state, restored or not
        self.states: dict[StateKey, StatePartition] = {}
        self.reach: dict[TopicPart, Reach] = {}
        self.flowing = False  # Faust lets messages through
        self.restored = False
        self.taken_over = 0.0  # when that was, ms since 1970
        self.closing = False  # takes nothing in any more
        self.finished = False  # flushed and closed

    def positions(self) -> dict[TopicPart, int]:
        """Return where fetching starts: the smallest position that a reading room has in each partition."""
        found: dict[TopicPart, int] = {}
        for state in self.states.values():
            for topic, offset in state.offsets.items():
                part = (topic, state.partition)
                found[part] = min(found.get(part, offset), offset)
        return found

    def commits(self, keys: Iterable[StateKey]) -> list[TopicPartition]:
        """Return what a transaction that writes to these state partitions commits: of every reader where its rows stand."""
        parts = {(topic, key[1]) for key in keys for topic in self.states[key].offsets}
        return [self._commit(topic, partition) for topic, partition in sorted(parts)]

    def _commit(self, topic: str, partition: int) -> TopicPartition:
        states = {name: self.states[name, partition] for name in self.plan.readers[topic]}
        places = {name: state.written[topic] for name, state in states.items()}
        flushes = {f"{name} {FLUSHES}": state.flushes for name, state in states.items()}
        return TopicPartition(topic, partition, min(places.values()), msgspec.json.encode(places | flushes).decode())

    def may_hold_more(self, partition: int, topic: str, at: int) -> bool:
        """Tell whether the topic's partition may hold records at or after an offset that the rooms have not been given.

        A partition that nobody has looked at yet may; one that was read to its end does not, nor one read up to where
        the last fetch saw its end.
        """
        reach = self.reach[topic, partition]
        return reach.arrived > at or not reach.all_is_here

    def caught_up(self, room: str) -> frozenset[int]:
        """Return the partitions of the room whose every source has been read and handled to its end."""
        return frozenset(state.partition for (name, _), state in self.states.items() if name == room and self._at_end(state))

    def ended(self, room: str) -> frozenset[tuple[str, int]]:
        """Return the (topic, partition) of the room's sources that have been read and handled to their end."""
        return frozenset(
            (topic, state.partition)
            for (name, _), state in self.states.items()
            if name == room
            for topic, offset in state.offsets.items()
            if self._is_at_end(topic, state.partition, offset)
        )

    def _at_end(self, state: StatePartition) -> bool:
        return all(self._is_at_end(topic, state.partition, offset) for topic, offset in state.offsets.items())

    def _is_at_end(self, topic: str, partition: int, offset: int) -> bool:
        reach = self.reach[topic, partition]
        return offset >= reach.arrived and reach.all_is_here

    def all_is_here(self) -> bool:
        """Tell whether every source partition has been read to its end."""
        return all(reach.all_is_here for reach in self.reach.values())

    def lags(self, now_ms: float) -> list[Lag]:
        """Return the lag of every room in every source partition."""
        return [
            self._lag(state, topic, offset, now_ms)
            for state in self.states.values()
            for topic, offset in state.offsets.items()
        ]

    def _lag(self, state: StatePartition, topic: str, offset: int, now_ms: float) -> Lag:
        reach = self.reach[topic, state.partition]
        if reach.at_end and offset >= reach.arrived:
            return Lag(state.room.name, topic, state.partition, 0, 0.0)
        records = max(reach.high, reach.arrived, offset + 1) - offset
        # The first may be the one that does not come through: a message to somebody who does not answer.
        newest = state.newest.get(topic, self.taken_over)
        return Lag(state.room.name, topic, state.partition, records, max(0.0, (now_ms - newest) / 1000))


def committed_places(committed: TopicPartition, readers: Sequence[str]) -> dict[str, int]:
    """Return each reading room's committed position; nothing committed gives nothing.

    Metadata that we did not write means that somebody moved the group by hand: then the offset is everybody's.
    """
    if committed.offset < 0:
        return {}
    written = _written(committed)
    if not written:
        return dict.fromkeys(readers, committed.offset)
    return {name: written[name] for name in readers if name in written}


def committed_flushes(committed: TopicPartition, readers: Sequence[str]) -> dict[str, int]:
    """Return the number of each reading room's last flush, as far as it was committed with the offset."""
    written = _written(committed)
    return {name: written[said] for name in readers if (said := f"{name} {FLUSHES}") in written}


def _written(committed: TopicPartition) -> dict[str, int]:
    """Return the metadata if we wrote it together with the offset, else nothing."""
    try:
        written = msgspec.json.decode(committed.metadata or "", type=dict[str, int])
    except msgspec.DecodeError:
        return {}
    smallest = min((at for name, at in written.items() if not name.endswith(f" {FLUSHES}")), default=-1)
    return written if smallest == committed.offset else {}
