"""Does it show that deals rest?  Two rooms take in the same events; one's rows are packed after every flush."""

from __future__ import annotations

import random
from operator import itemgetter

import pytest

from bench import j2
from streams import topics
from streams.config import definitions_from
from streams.deals.room import DealsRoom
from streams.kafka.room import Moment, StateTable
from tests.faults.wide.world import Record

DEALS, EVENTS, FLUSHES = 40, 4000, 30  # a hundred events a deal: with older activities apart
NOW = 1_750_000_000_000_000


class Side:
    """A room and its table."""

    def __init__(self, definitions) -> None:
        self.room, self.table = DealsRoom(definitions, ticks=False), StateTable()
        self.room.open(0, self.table)

    def flush(self, number, runs):
        """Return what goes out, and the rows that do."""
        for topic, run in filter(itemgetter(1), runs):
            self.room.handle(0, topic, run)
        outputs = self.room.drain(Moment(NOW + number * 1_000_000, frozenset()))
        changed, self.table.changed = self.table.changed, set()
        return outputs, {key: self.table.rows.get(key) for key in changed}

    def pack(self):
        """Let everything rest."""
        resting = self.table.resting
        if not resting.packer.has_learned:
            resting.packer.learn(list(self.table.rows.values()))
        self.table.lay_down()
        resting.pack(1 << 30)
        assert not resting.waiting


def runs():
    """Return the runs of each flush: late and repeated events, activities without a deal, and poison among them."""
    dice = random.Random(5)
    events = list(j2.events(EVENTS, deals=DEALS))
    events = [events[place] for place in sorted(range(EVENTS), key=lambda place: place + dice.gauss(0, 40))]
    events += dice.sample(events, 200)
    alone = [
        (topics.ACTIVITY, b"rep-001", value.replace(b'"deal_id":"%s",' % key, b""))
        for topic, key, value in events
        if topic == topics.ACTIVITY
    ][:100]
    events += [*alone, *alone[:20], (topics.ACTIVITY, b"deal-000001", b"{")]
    size = len(events) // FLUSHES + 1
    for at in range(0, len(events), size):
        part = events[at : at + size]
        yield [
            (
                topic,
                [
                    Record((topic, 0), at + n, key, value, NOW // 1000)
                    for n, (of, key, value) in enumerate(part)
                    if of == topic
                ],
            )
            for topic in (topics.STAGE_CHANGE, topics.ACTIVITY)
        ]


@pytest.mark.parametrize("narrow", [True, False], ids=["the short way", "the whole catalogue"])
def test_a_room_whose_rows_are_packed_says_and_keeps_the_same(narrow):
    """Outputs and changelog rows are equal to the byte, flush for flush, and so is what is held in the end."""
    definitions = definitions_from(j2.definitions(narrow=narrow) | {"partitions": 1})
    plain, resting = Side(definitions), Side(definitions)
    touched = 0
    for number, run in enumerate(runs()):
        said = resting.flush(number, run)
        assert said == plain.flush(number, run)
        touched += len(said[1])
        resting.pack()
        assert resting.table.rows == {}
    assert dict(resting.table.items()) == plain.table.rows
    assert resting.table.count() == len(plain.table.rows) > DEALS
    assert touched > 10 * DEALS
