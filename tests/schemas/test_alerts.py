"""Is what the alerts room writes what the schemas say?"""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import orjson
import pytest

from streams import topics
from streams.alerts.judge import Pane
from streams.alerts.room import AlertsRoom
from streams.config import Definitions, Rule
from streams.kafka.room import Moment, StateTable

FOLDER = Path(__file__).parents[2] / "schemas"
DAY = 86_400_000_000
SCHEMA_OF = {topics.ALERTS: "alert.v1", topics.ALERT_EVENTS: "alert-event.v1"}


class Record:
    """A record as the edge hands it over."""

    def __init__(self, value: bytes) -> None:
        self._value = value

    def value(self) -> bytes:
        return self._value


def told(rule: Rule, entity: list[str], shares: list[int], first: int = 20_000) -> list[tuple[str, bytes, dict]]:
    """Return what is written when so many of 20 come, day after day."""
    room = AlertsRoom(Definitions(rules=(rule,)))
    room.open(0, StateTable())
    panes = [Pane(rule.name, entity, day, 20, k, day * DAY) for day, k in enumerate(shares, start=first)]
    for pane in panes:
        room.handle(0, topics.MATURED, [Record(orjson.dumps({f: getattr(pane, f) for f in pane.__struct_fields__}))])
    written = room.drain(Moment(0, frozenset({0})))
    return [(topic, key, json.loads(value)) for topic, _, key, value, _ in written]


@pytest.mark.parametrize(
    ("rule", "entity", "good", "bad"),
    [
        (Rule("drop", "conversion_drop", "stage", baseline=0.5), ["stage", "default", "New"], 12, 1),
        (Rule("rise", "response_rise", "team", baseline=0.1), ["team", "Central"], 20, 4),
    ],
    ids=["drop", "rise"],
)
def test_alerts_and_their_events_match_their_schemas(rule, entity, good, bad):
    """A bad month, and then two good ones, write valid records on both topics."""
    written = told(rule, entity, [bad] * 30 + [good] * 60)
    events = [value["transition"] for topic, _, value in written if topic == topics.ALERT_EVENTS]
    assert events == ["fired", "resolved"]
    for topic, key, value in written:
        schema = json.loads((FOLDER / f"{SCHEMA_OF[topic]}.json").read_text(encoding="utf-8"))
        faults = [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(value)]
        assert faults == []
        assert key.decode() == value["fingerprint"]


def test_examples_of_the_readme_are_what_the_room_writes():
    """Ten days as ever, then a bad week: the very records, but for the last bits of a logarithm."""
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    rule = Rule("conversion-drop", "conversion_drop", "stage", baseline=0.2)
    written = told(rule, ["stage", "default", "Qualified"], [4] * 10 + [2, 1, 2, 3, 1, 2, 2], first=20_505)
    assert [topic for topic, *_ in written] == [topics.ALERTS, topics.ALERT_EVENTS]
    for topic, _, record in written:
        example = json.loads(re.search(rf"```json {SCHEMA_OF[topic]}\n(.*?)```", readme, re.DOTALL)[1])
        assert example.pop("evidence") == pytest.approx(record.pop("evidence"))
        assert example == record
