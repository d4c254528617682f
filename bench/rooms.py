"""How many µs of CPU does each room spend on an event?  J2 through deals and kpis in this process, without a broker.

Run: python -m bench.rooms [--events N] [--full] [--skew N] [--flush N] [--profile]

What the edge adds (fetching, the transaction) is not in it; bench.run measures the whole worker.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import itertools
import pstats
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from bench import j2
from streams import config, topics
from streams.deals.room import DealsRoom
from streams.kafka.room import Moment, Output, StateTable
from streams.kpis.room import KpisRoom
from streams.panes.delta import partition_of
from streams.worker import GC_THRESHOLDS

PIECE = 500
J2_EVENTS_PER_DEAL = 20  # of a million events; a deal's first events cost more
RECEIVED_MS = 1_750_000_000_000


class Record:
    """A record as the rooms see it."""

    __slots__ = ("_key", "_partition", "_topic", "_value")

    def __init__(self, topic: str, partition: int, key: bytes | None, value: bytes) -> None:
        self._topic, self._partition, self._key, self._value = topic, partition, key, value

    def __len__(self) -> int:
        return len(self._value)

    def topic(self) -> str:
        """Return the topic."""
        return self._topic

    def partition(self) -> int:
        """Return the partition."""
        return self._partition

    def key(self) -> bytes | None:
        """Return the key."""
        return self._key

    def value(self) -> bytes:
        """Return the value."""
        return self._value

    def timestamp(self) -> tuple[int, int]:
        """Return kind and milliseconds."""
        return 1, RECEIVED_MS

    def offset(self) -> int:
        """Return an offset; nobody here compares them."""
        return 0


class Watch:
    """CPU µs by what they were spent on."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()

    def time(self, name: str, call: Callable[..., Any], *arguments: Any) -> Any:
        """Call it, and note the CPU time it took."""
        begun = time.process_time()
        found = call(*arguments)
        self.seconds[name] += time.process_time() - begun
        return found


class Rooms:
    """Both rooms with all their partitions, wired as topics wire them."""

    def __init__(self, definitions: config.Definitions, step: int = 1_000_000) -> None:
        """Begin empty; between two flushes the clock of the worker moves on by `step` µs."""
        self.step = step
        self.count = definitions.partitions
        self.deals, self.kpis = DealsRoom(definitions, ticks=False), KpisRoom(definitions)
        self.tables = [StateTable() for _ in range(2 * self.count)]
        self.watch = Watch()
        self.now = RECEIVED_MS * 1000
        self.rows = self.row_bytes = self.records = self.record_bytes = 0
        self.most_changed = 0  # bytes of the sets of changed keys at the end of a flush
        for one in range(self.count):
            self.deals.open(one, self.tables[one])
            self.kpis.open(one, self.tables[self.count + one])

    def flush(self, pieces: Iterable[tuple[int, str, list[Record]]], *, ended: bool = False) -> None:
        """Take in the pieces of one flush, and let both rooms tell what is due."""
        for partition, topic, records in pieces:
            self.watch.time("deals: events", self.deals.handle, partition, topic, records)
        self.now += self.step
        all_of_them = frozenset(range(self.count)) if ended else frozenset()
        sources = frozenset((topic, one) for topic in self.deals.sources for one in all_of_them)
        moment = Moment(self.now, all_of_them, sources)
        deltas = self.watch.time("deals: flush", self.deals.drain, moment)
        self._count(deltas)
        busy = False
        for topic, partition, _, value, _ in deltas:
            if topic == topics.DELTAS and value is not None:
                record = Record(topic, partition, None, value)
                self.watch.time("kpis: deltas", self.kpis.handle, partition, topic, [record])
                busy = True
        if busy or self.kpis.due(moment):  # as the flusher asks
            self._count(self.watch.time("kpis: flush", self.kpis.drain, moment))
        self._rows()

    def _count(self, outputs: list[Output]) -> None:
        self.records += len(outputs)
        self.record_bytes += sum(len(output[3] or b"") for output in outputs)

    def _rows(self) -> None:
        self.most_changed = max(self.most_changed, sum(sys.getsizeof(table.changed) for table in self.tables))
        for table in self.tables:
            self.rows += len(table.changed)
            self.row_bytes += sum(len(table.rows.get(key, b"")) for key in table.changed)
            table.changed.clear()


def pieces(
    events: Iterable[tuple[str, bytes, bytes]], partitions: int, skew: int
) -> Iterator[tuple[int, str, list[Record]]]:
    """Yield runs by partition and topic; with `skew` the activities come so many records after the stage changes."""
    waiting: dict[tuple[int, str], list[Record]] = {}
    late: deque[Record] = deque()
    for topic, key, value in events:
        record = Record(topic, partition_of((key.decode(),), partitions), key, value)
        if topic == topics.ACTIVITY and skew:
            late.append(record)
            if len(late) <= skew:
                continue
            record = late.popleft()
        place = (record.partition(), record.topic())
        run = waiting.setdefault(place, [])
        run.append(record)
        if len(run) == PIECE:
            yield *place, waiting.pop(place)
    for record in late:
        waiting.setdefault((record.partition(), record.topic()), []).append(record)
    for place, run in waiting.items():
        yield *place, run


def run(options: argparse.Namespace) -> None:
    """Measure and print."""
    gc.set_threshold(*GC_THRESHOLDS)
    definitions = config.definitions_from(j2.definitions(narrow=not options.full))
    rooms = Rooms(definitions)
    todo = list(pieces(j2.events(options.events, deals=options.events // J2_EVENTS_PER_DEAL), rooms.count, options.skew))
    per_flush = max(1, options.flush // PIECE)
    batches = [todo[at : at + per_flush] for at in range(0, len(todo), per_flush)]
    profile = cProfile.Profile() if options.profile else None
    if profile:
        profile.enable()
    for batch in batches:
        rooms.flush(batch)
    for _ in itertools.repeat(None, 20):
        rooms.flush([], ended=True)
    if profile:
        profile.disable()
        pstats.Stats(profile).sort_stats("tottime").print_stats(45)
    total = sum(rooms.watch.seconds.values())
    for name, seconds in rooms.watch.seconds.items():
        print(f"{name:15} {seconds / options.events * 1e6:6.2f} µs")
    print(f"{'together':15} {total / options.events * 1e6:6.2f} µs an event")
    print(
        f"state rows {rooms.rows:,}, {rooms.row_bytes / 1e6:.0f} MB; records {rooms.records:,}, {rooms.record_bytes / 1e6:.0f} MB"
    )


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(prog="python -m bench.rooms", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--events",
        type=int,
        default=200_000,
        metavar="N",
        help="of J2, with a twentieth of them as deals (default: %(default)s)",
    )
    parser.add_argument("--full", action="store_true", help="the whole catalogue, all cuts and windows")
    parser.add_argument("--skew", type=int, default=0, metavar="N", help="activities come N records late")
    parser.add_argument("--flush", type=int, default=10_000, metavar="N", help="events a flush (default: %(default)s)")
    parser.add_argument("--profile", action="store_true", help="also print where the time goes (slower)")
    run(parser.parse_args())


if __name__ == "__main__":
    main()
