"""What does an installation that has run for a while spend on an event?  Builds its state, then measures.

Deals are worked on until they are won; then the next deal takes the place, so the number of open ones stays. What is measured
are the rooms of bench/rooms.py: deals and kpis in this process, without a broker, catching up or live.
"""

from __future__ import annotations

import gc
import itertools
import random
from array import array
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, NamedTuple

from bench import j2
from bench.rooms import Rooms, pieces
from streams import config, topics
from streams.panes.delta import partition_of
from streams.worker import GC_THRESHOLDS

FLUSH = 100_000  # events; of a worker that is days behind: J2's million are eight
RATE = 50_000  # events/s at which the rooms are fed, by their own clock: it sets how often they publish
SECOND = timedelta(days=1) / 1_000_000 * RATE  # of events in a second of that clock: a million events a day
LIVE_FLUSH, LIVE_RATE = 500, 1_000  # the same when events are taken in as they happen
HISTORY = timedelta(days=30)  # over which what is held happened
MOVES = 0.15  # of the events are moves, the others activities
MOVES_HELD = 3  # of a deal, whatever the length of its history
BUILT = 100_000  # events that build the deals of which the others are copies
PARTS, PART = 3, 100_000  # of the events measured
WINDOWS = ("day", "24h", "1h", "7d", "week", "month", "28d", "90d", "quarter", "year", "all")
_APART = 64  # events by which deals with as many differ
_WON = j2.STAGES.index("Won")


class Point(NamedTuple):
    """One installation; the defaults are the base that all curves have in common."""

    deals: int = 100_000
    reps: int = 200
    history: int = 20  # events of a deal, on average
    windows: int = 3
    partitions: int = 4
    late: float = 0.0  # share of events up to a day older than the newest of their deal
    live: bool = False  # events are taken in as they happen, a thousand a second; else the rooms catch up
    full: bool = False  # the whole catalogue in all cuts; else what J2 counts

    @property
    def customers(self) -> int:
        """Return how many there are: as many for a deal as in J2."""
        return max(1, self.deals * j2.CUSTOMERS // j2.DEALS)

    def definitions(self) -> config.Definitions:
        """Return its dealpulse.yaml."""
        raw = j2.definitions(narrow=not self.full, reps=self.reps)
        return config.definitions_from({**raw, "windows": list(WINDOWS[: self.windows]), "partitions": self.partitions})


class Life:
    """The events of deals that go on and on; the same point gives the same bytes."""

    def __init__(self, point: Point) -> None:
        self.point = point
        self.rng = random.Random(j2.SEED)
        self.kinds = min(point.deals, max(point.reps, BUILT // point.history))  # deals beyond these are copies of them
        self.stages = bytearray(b"\xff" * self.kinds)  # the place of the stage; 255: not begun
        self.newest = array("d", bytes(8 * self.kinds))  # seconds after START
        self.lives: Counter[int] = Counter()  # deals that were won before in this place
        self.sent = 0

    def key(self, place: int) -> bytes:
        """Return the id of the deal that is in a place now."""
        before = self.lives.get(place)
        return b"deal-%07d-%d" % (place, before) if before else b"deal-%07d" % place

    def customer(self, place: int) -> str:
        """Return whose deals are in a place; all names are of one length."""
        return f"customer-{place % self.point.customers:07d}"

    def length(self, place: int) -> int:
        """Return how many events are held of a deal: of long histories they differ, since some costs come once in 32 or 64."""
        mean = self.point.history
        return mean if mean < _APART else mean - _APART // 2 + place * _APART // self.kinds

    def past(self) -> Iterator[tuple[str, bytes, bytes]]:
        """Yield the events that built the state, in time order."""
        held = [place for place in range(self.kinds) for _ in range(self.length(place))]
        self.rng.shuffle(held)
        for number, place in enumerate(held):
            yield self._event(place, number / len(held) * HISTORY.total_seconds(), MOVES_HELD / self.point.history)

    def copied(self) -> None:
        """Let the other deals be there, as they are in the state now."""
        times = -(-self.point.deals // self.kinds)
        self.stages = (self.stages * times)[: self.point.deals]
        self.newest = (self.newest * times)[: self.point.deals]

    def present(self) -> Iterator[tuple[str, bytes, bytes]]:
        """Yield events without end."""
        rng, deals, late = self.rng, self.point.deals, self.point.late
        for number in itertools.count(1):
            place = rng.randrange(deals)
            at = HISTORY.total_seconds() + (
                number / LIVE_RATE if self.point.live else number / RATE * SECOND.total_seconds()
            )
            if late and rng.random() < late:
                at = max(0.0, self.newest[place] - rng.random() * 86400)
            yield self._event(place, at, MOVES)

    def _event(self, place: int, at: float, moves: float) -> tuple[str, bytes, bytes]:
        deal, stage, rng = place % self.kinds, self.stages[place], self.rng
        if stage == 255 or rng.random() < moves:
            if stage == _WON:
                self.lives[place] += 1
            self.stages[place] = stage = 0 if stage in {255, _WON} else stage + 1
            topic, said = topics.STAGE_CHANGE, {**j2.move(deal, stage), "customer_id": self.customer(place)}
        else:
            topic, said = topics.ACTIVITY, j2.activity(rng)
        self.newest[place] = max(self.newest[place], at)
        self.sent += 1
        key, rep = self.key(place), f"rep-{deal % self.point.reps:03d}"
        return topic, key, j2.event(self.sent, j2.START + timedelta(seconds=at), key.decode(), rep, said)


def build(point: Point) -> tuple[Rooms, Life]:
    """Return the rooms with all that is held, and the life that goes on in them."""
    gc.set_threshold(*GC_THRESHOLDS)
    rooms, life = Rooms(point.definitions(), step=FLUSH * 1_000_000 // RATE), Life(point)
    _flush(rooms, life.past())
    _copy_deals(rooms, life)
    life.copied()
    if point.live:
        rooms.step = LIVE_FLUSH * 1_000_000 // LIVE_RATE
    return rooms, life


def _copy_deals(rooms: Rooms, life: Life) -> None:
    """Copy the rows of the deals there are to the keys of the others, in any order, as they would have come.

    Their customers are others, too; what the kpis hold of those begins with the events that are still to come.
    """
    others = list(range(life.kinds, life.point.deals))
    life.rng.shuffle(others)
    by_key = {key: row for table in rooms.tables[: rooms.count] for key, row in table.rows.items()}
    for place in others:
        model = place % life.kinds
        key = b"deal-%07d" % place
        table = rooms.tables[partition_of((key.decode(),), rooms.count)]
        for kind in (b"d", b"od"):
            row = by_key.get(kind + life.key(model))
            if row is not None:
                copy = row.replace(life.customer(model).encode(), life.customer(place).encode())
                # Two places may have one customer; the copy is a row of its own all the same.
                table.rows[kind + key] = copy[:-1] + copy[-1:]


def _flush(rooms: Rooms, events: Iterator[tuple[str, bytes, bytes]], *, live: bool = False) -> None:
    while taken := list(itertools.islice(events, LIVE_FLUSH if live else FLUSH)):
        rooms.flush(list(pieces(taken, rooms.count, 0)), ended=live)


def measure(point: Point) -> dict[str, Any]:
    """Return the µs of CPU an event, by what they are spent on."""
    rooms, life = build(point)
    # Long enough for rounds over all reps, and for most customers to have events.
    part = max(PART, 10 * point.reps, point.customers if point.full else 0)
    present = life.present()
    for _ in range(2):
        rooms.now += 3_600_000_000  # what the past had to tell is no reason to publish seldom
        _flush(rooms, itertools.islice(present, part), live=point.live)
    parts: list[Counter[str]] = []
    rooms.records = rooms.record_bytes = rooms.rows = rooms.row_bytes = 0
    for _ in range(PARTS):
        rooms.watch.seconds = Counter()
        _flush(rooms, itertools.islice(present, part), live=point.live)
        parts.append(rooms.watch.seconds)
    least = {
        name: min(one[name] for one in parts) / part * 1e6 for name in ("deals: events", "deals: flush", "kpis: deltas")
    }
    telling = sum(one["kpis: flush"] for one in parts) / part / PARTS * 1e6
    return {
        "point": point._asdict(),
        **least,
        "kpis: flush": telling,
        "us": sum(least.values()) + telling,
        "spread": [sum(one.values()) / part * 1e6 for one in parts],
        "records": rooms.records / part / PARTS,
        "rows": rooms.rows / part / PARTS,
        "row_bytes": rooms.row_bytes / part / PARTS,
    }
