"""What would the deals and the kpis do if every flush were a commit and every death clean?  Both rooms, 12 partitions, no broker.

Faults that need a backlog and partitions far apart show here in seconds.
"""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import orjson

from streams.audit.compare import Comparison, compare
from streams.audit.recompute import recompute
from streams.config import Definitions
from streams.deals.room import DealsRoom
from streams.kafka.room import Moment, Room, StateTable
from streams.kpis.room import KpisRoom
from streams.topics import ACTIVITY, DELTAS, KPI_HISTORY, KPI_LATEST, STAGE_CHANGE, TICKS
from tests.faults import decoder
from tests.faults.wide.load import Sent

SOURCES = (STAGE_CHANGE, ACTIVITY, TICKS)
NOW = 1_800_000_000_000_000


@dataclass(frozen=True, slots=True)
class Record:
    """A record as the rooms see it."""

    of: tuple[str, int]
    at: int
    its_key: bytes | None
    its_value: bytes | None
    stamp: int

    def topic(self) -> str:
        return self.of[0]

    def partition(self) -> int:
        return self.of[1]

    def offset(self) -> int:
        return self.at

    def key(self) -> bytes | None:
        return self.its_key

    def value(self) -> bytes | None:
        return self.its_value

    def timestamp(self) -> tuple[int, int]:
        return 1, self.stamp

    def headers(self) -> None:
        return None

    def error(self) -> None:
        """Nothing is wrong with it."""

    def __len__(self) -> int:
        return len(self.its_value or b"")


def recomputed(
    definitions: Definitions, sources: Mapping[tuple[str, int], Iterable[Record]], told: Mapping[str, dict[bytes, Any]]
) -> Comparison:
    """Compare what was told with what the source topics say, at the newest event; until there it must have been told."""
    places = [(topic, one) for topic in (STAGE_CHANGE, ACTIVITY) for one in range(definitions.partitions)]
    stand = [(place[0], record) for place in places for record in sources.get(place, ())]
    read = (decoder.read(topic, record.key(), record.value()) for topic, record in stand)
    events = [event for event in read if event is not None]
    latest, history = told[KPI_LATEST].values(), told[KPI_HISTORY].values()
    newest, until = max((event.at for event in events), default=0), decoder.told_until([*latest, *history])
    found = compare(recompute(events, definitions, newest), definitions, [*history, *latest], list(latest))
    if until != newest:
        found["different"] += 1
        found["examples"].insert(0, {"key": [], "field": "watermark", "expected": newest, "found": until})
    return found


class World:
    """One worker that owns everything, its topics, and what it has committed."""

    def __init__(self, definitions: Definitions, dice: random.Random) -> None:
        self.definitions, self.dice = definitions, dice
        self.partitions = range(definitions.partitions)
        self.topics: dict[tuple[str, int], list[Record]] = defaultdict(list)
        self.position: Counter[tuple[str, int]] = Counter()
        self.states = {(room, one): StateTable() for room in ("deals", "kpis") for one in self.partitions}
        self.told: dict[str, dict[bytes, dict[str, Any]]] = {KPI_LATEST: {}, KPI_HISTORY: {}}
        self.clock = NOW
        self.restart()

    def restart(self) -> None:
        """Forget everything but what is committed."""
        self.deals = DealsRoom(self.definitions, ticks=False)
        self.kpis = KpisRoom(self.definitions)
        for (name, partition), table in self.states.items():
            again = self.states[name, partition] = StateTable()
            again.rows = dict(table.items())
            room: Room = self.deals if name == "deals" else self.kpis
            room.open(partition, again)

    def send(self, sent: Sent) -> None:
        self._append(sent.topic, crc32(sent.key or b"") % len(self.partitions), sent.key, sent.value)

    def settle(self) -> None:
        """Say that nothing more comes, and let everything be told."""
        for partition in self.partitions:
            self._append(TICKS, partition, None, b'{"settle": true}')
        for _ in range(40):
            self.flush(pause=2_000_000)
        self.rest()

    def rest(self) -> None:
        """Let time pass until nothing is owed to anybody."""
        for _ in range(100_000):
            self.flush(pause=10_000_000)
            if not any(one.owes(self._moment(one)) for one in (self.deals, self.kpis)):
                return
        raise AssertionError("the rooms do not come to rest")

    def flush(self, *, share: float = 1.0, most: int = 10**9, only: int | None = None, pause: int = 100_000) -> None:
        """Read some of what waits, at most so much of a topic's partition, and commit what follows from it."""
        places = [(topic, one) for topic in SOURCES for one in self.partitions if only in (None, one)]
        self.dice.shuffle(places)
        for place in places:
            if self.dice.random() < share:
                self._read(self.deals, place, most)
        for one in self.partitions:
            self._read(self.kpis, (DELTAS, one), 10**9)
        self.clock += pause
        for room in (self.deals, self.kpis):
            self._drain(room)

    @property
    def is_in_a_round(self) -> bool:
        """Are the KPIs of a partition in the middle of a round?"""
        return any(one.round is not None for one in self.kpis._owned.values())

    def audit(self) -> Comparison:
        """Recompute everything, as `dealpulse audit` does."""
        return recomputed(self.definitions, self.topics, self.told)

    def _drain(self, room: Room) -> None:
        for topic, partition, key, value, _ in room.drain(self._moment(room)):
            if topic in self.told and value is None:
                self.told[topic].pop(key or b"", None)
            elif topic in self.told:
                self.told[topic][key or b""] = orjson.loads(value or b"")
            elif topic == DELTAS:
                self._append(topic, partition, key, value)

    def _append(self, topic: str, partition: int, key: bytes | None, value: bytes | None) -> None:
        records = self.topics[topic, partition]
        records.append(Record((topic, partition), len(records), key, value, time.time_ns() // 10**6))

    def _read(self, room: Room, place: tuple[str, int], most: int) -> None:
        begin, end = self.position[place], len(self.topics[place])
        end = min(end, begin + self.dice.randrange(1, most + 1)) if most < end - begin else end
        if begin < end:
            room.handle(place[1], place[0], self.topics[place][begin:end])
            self.position[place] = end

    def _moment(self, room: Room) -> Moment:
        ended = frozenset((topic, one) for topic in room.sources for one in self.partitions if self._is_at_end((topic, one)))
        caught_up = frozenset(one for one in self.partitions if all((topic, one) in ended for topic in room.sources))
        return Moment(self.clock, caught_up, ended)

    def _is_at_end(self, place: tuple[str, int]) -> bool:
        return self.position[place] >= len(self.topics[place])
