"""What does the room make of a run of records?  Events into deals and deltas, what is refused into dead letters."""

import json

from streams import topics
from streams.deals.record import decode
from streams.deals.room import DealsRoom
from streams.kafka.room import Moment, StateTable
from streams.panes import delta
from tests.audit.tables import settings, us
from tests.faults.wide.world import Record

RECEIVED = us("2024-03-10 00:00")


def _call(offset, at, **said):
    value = json.dumps(
        {"event_id": f"c{offset}", "occurred_at": at, "deal_id": "d", "type": "call", "rep_id": "anna"} | said
    )
    return Record((topics.ACTIVITY, 0), offset, b"d", value.encode(), RECEIVED // 1000)


def test_a_refused_record_among_others_is_a_dead_letter_and_time_is_that_of_the_others():
    """One of an unknown type between two calls: both calls are held, the deltas tell the time of the later one."""
    room, state = DealsRoom(settings(), ticks=False), StateTable()
    room.open(0, state)
    run = [
        _call(0, "2024-03-04T11:00:00Z"),
        _call(1, "2024-03-05T10:00:00Z", type="dance"),
        _call(2, "2024-03-04T10:00:00Z"),
    ]
    room.handle(0, topics.ACTIVITY, run)
    output = room.drain(Moment(RECEIVED, frozenset(), frozenset({(topics.STAGE_CHANGE, 0)})))
    letters = [json.loads(value) for topic, _, _, value, _ in output if topic == topics.DEAD_LETTER]
    deltas = [delta.decode(value) for topic, _, _, value, _ in output if topic == topics.DELTAS]
    assert [(letter["reason"], letter["offset"]) for letter in letters] == [("unknown_value", 1)]
    assert decode((state.rows[b"dd"], b"")).activities == 2
    assert {one.progress[0].watermark for one in deltas} == {us("2024-03-04 11:00")}
