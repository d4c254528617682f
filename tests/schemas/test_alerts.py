"""Is what the alerts room writes what the schemas say?"""

from __future__ import annotations

import json
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


def story(rule: Rule, entity: list[str], good: int, bad: int) -> list[tuple[str, bytes, dict]]:
    """Return what is written while a bad month follows the baseline, and a good one the bad one."""
    room = AlertsRoom(Definitions(rules=(rule,)))
    room.open(0, StateTable())
    shares = [bad] * 30 + [good] * 60
    panes = [Pane(rule.name, entity, day, 20, k, day * DAY) for day, k in enumerate(shares, start=20_000)]
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
    """A story with a firing and a resolved alert writes valid records on both topics."""
    written = story(rule, entity, good, bad)
    events = [value["transition"] for topic, _, value in written if topic == topics.ALERT_EVENTS]
    assert events == ["fired", "resolved"]
    for topic, key, value in written:
        schema = json.loads((FOLDER / f"{SCHEMA_OF[topic]}.json").read_text(encoding="utf-8"))
        faults = [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(value)]
        assert faults == []
        assert key.decode() == value["fingerprint"]
