"""Does a room of a generation that is being computed work as ever, and is it heard nowhere?"""

from __future__ import annotations

import orjson

from streams import topics
from streams.config import BadInput, Definitions
from streams.kafka.room import Moment, Output, StateTable
from streams.rebuild.shadow import SHADOWED, InTheShadow, shadow_topics, undisturbed
from streams.topics import shadow

MOMENT = Moment(0, frozenset())


class Saying:
    """A room that says what it is told to."""

    name = "deals"
    sources = (topics.STAGE_CHANGE,)

    def __init__(self, *outputs: Output) -> None:
        self.outputs = list(outputs)
        self.calls: list[tuple] = []

    def open(self, partition: int, state: StateTable) -> None:
        self.calls.append(("open", partition, state))

    def close(self, partition: int) -> None:
        self.calls.append(("close", partition))

    def handle(self, partition: int, topic: str, run: list) -> int:
        self.calls.append(("handle", partition, topic, run))
        return 7

    def due(self, moment: Moment) -> bool:
        return bool(self.outputs)

    def owes(self, moment: Moment) -> bool:
        return bool(self.outputs)

    def drain(self, moment: Moment) -> list[Output]:
        return self.outputs


def letter(offset: int) -> Output:
    value = orjson.dumps({"topic": topics.ACTIVITY, "partition": 3, "offset": offset, "reason": "not_json"})
    return (topics.DEAD_LETTER, -1, None, value, None)


def test_what_readers_would_see_goes_elsewhere():
    """Each topic to its shadow, with key, value and headers; what tells people nowhere; what is between rooms as ever."""
    said = [
        (topic, -1, b"k", b"v", [("h", b"1")]) for topic in (*SHADOWED, topics.DELTAS, topics.ALERT_EVENTS, topics.JUDGED)
    ]
    heard = InTheShadow(Saying(*said), "app-g2", {}).drain(MOMENT)
    names = [*(shadow("app-g2", topic).name for topic in SHADOWED), topics.DELTAS]
    assert heard == [(name, -1, b"k", b"v", [("h", b"1")]) for name in names]


def test_a_dead_letter_is_written_once():
    """Only for a record that no generation has read before."""
    room = InTheShadow(Saying(letter(9), letter(10)), "app-g2", {f"{topics.ACTIVITY}/3": 10, f"{topics.ACTIVITY}/4": 99})
    assert room.drain(MOMENT) == [letter(10)]


def test_the_room_itself_is_as_ever():
    """Its name, its sources, its state and its records."""
    inside, state = Saying(), StateTable()
    room = InTheShadow(inside, "app-g2", {})
    room.open(1, state)
    assert room.handle(1, topics.STAGE_CHANGE, []) == 7
    room.close(1)
    assert (room.name, room.sources, room.due(MOMENT), room.owes(MOMENT)) == (inside.name, inside.sources, False, False)
    assert inside.calls == [("open", 1, state), ("handle", 1, topics.STAGE_CHANGE, []), ("close", 1)]


def test_its_topics_are_its_own():
    """Changelogs and shadows carry the generation's name."""
    names = {topic.name for topic in shadow_topics("app-g2")}
    assert {"app-g2-deals-changelog", "app-g2-shadow-kpi.latest.v1", "app-g2-shadow-alerts.v1"} <= names
    assert names >= {topics.DELTAS, topics.STAGE_CHANGE}


def test_bad_input_of_the_past_does_not_stop_it():
    """It was refused before; everything else stays as defined."""
    strict = Definitions(bad_input=BadInput(share=0.1))
    assert undisturbed(strict).bad_input == BadInput(share=0.1, stop=False)
    assert undisturbed(strict).currency == strict.currency
