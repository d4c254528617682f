"""Do the schemas say what is on the topics, no more and no less?"""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from zoneinfo import ZoneInfo

import jsonschema
import pytest

from streams import config
from streams.events import contract
from streams.events.contract import Event, Limits, Reason, Rejection
from streams.events.decode import decode_activity, decode_stage_change
from streams.kpis.catalogue import ENTITY_FIELDS
from streams.topics import all_topics

FOLDER = Path(__file__).parents[2] / "schemas"
README = (FOLDER / "README.md").read_text(encoding="utf-8")
SCHEMAS = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))}
EXAMPLES = dict(re.findall(r"```json (\S+)\n(.*?)```", README, re.DOTALL))
WRITTEN = ["kpi-record.v1", "alert.v1", "alert-event.v1", "dead-letter.v1"]

MONTH = {"name": "month", "start": "2017-06-01T00:00:00+00:00", "end": "2017-07-01T00:00:00+00:00"}
NOW = {"name": "now", "start": None, "end": None}


def faults(name: str, value: object) -> list[str]:
    checker = jsonschema.Draft202012Validator(SCHEMAS[name], format_checker=jsonschema.FormatChecker())
    return [error.message for error in checker.iter_errors(value)]


def example(name: str) -> dict:
    return json.loads(EXAMPLES[name])


@pytest.mark.parametrize("name", SCHEMAS)
def test_schema_is_valid_and_named_after_its_file(name):
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])
    assert SCHEMAS[name]["$id"] == f"urn:dealpulse:{name}"
    assert SCHEMAS[name]["description"]


@pytest.mark.parametrize("name", [name for name in SCHEMAS if name != "kpi-key.v1"])
def test_example_of_the_readme_matches(name):
    assert faults(name, example(name)) == []


@pytest.mark.parametrize("name", WRITTEN)
def test_schema_of_what_we_write_is_closed(name):
    assert faults(name, {**example(name), "surprise": 1})


@pytest.mark.parametrize("name", WRITTEN)
def test_no_field_of_what_we_write_may_be_missing(name):
    whole = example(name)
    for field in whole:
        assert faults(name, {key: value for key, value in whole.items() if key != field}), field


def test_a_dead_letter_may_say_that_it_was_sent_again():
    """As topic, partition and offset of the first one."""
    letter = example("dead-letter.v1")
    assert faults("dead-letter.v1", {**letter, "replay_of": "crm.activity/4@1207"}) == []
    assert faults("dead-letter.v1", {**letter, "replay_of": "yesterday"})


# ------------------------------------------------------------------ in step with the code


def test_cuts_and_their_fields_are_the_catalogue_s():
    for name in ("kpi-record.v1", "alert.v1", "alert-event.v1"):
        schema = SCHEMAS[name]
        assert tuple(schema["$defs"]["cut"]["enum"]) == tuple(ENTITY_FIELDS)
        rules = [rule for rule in schema["allOf"] if "cut" in rule["if"]["properties"]]
        found = {
            rule["if"]["properties"]["cut"]["const"]: tuple(rule["then"]["properties"]["entity"]["required"])
            for rule in rules
        }
        assert found == ENTITY_FIELDS


def test_closed_sets_are_the_code_s():
    activity = SCHEMAS["activity-event.v1"]["properties"]
    said = SCHEMAS["stage-change-event.v1"]["properties"]["clear"]["items"]["enum"]
    assert SCHEMAS["dead-letter.v1"]["properties"]["reason"]["enum"] == [reason.value for reason in Reason]
    assert tuple(activity["type"]["enum"]) == contract.ACTIVITY_TYPES
    assert set(activity["direction"]["enum"]) == set(contract.DIRECTIONS)
    assert set(activity["outcome"]["enum"]) == set(contract.OUTCOMES)
    assert tuple(said) == contract.SAYABLE


def test_windows_are_the_configured_ones_and_now():
    names = SCHEMAS["kpi-record.v1"]["properties"]["window"]["properties"]["name"]["enum"]
    assert names == [*config.WINDOWS, "now"]
    assert SCHEMAS["kpi-key.v1"]["prefixItems"][3]["enum"] == names


def test_readme_names_public_topics_as_they_are():
    named = set(re.findall(r"^\| `((?:crm|dealpulse)\.[a-z0-9.-]+)`", README, re.MULTILINE))
    assert named <= {topic.name for topic in all_topics("dealpulse")}
    assert len(named) == 7


# ------------------------------------------------------------------ KPI records as they are written


RECEIVED = 1_900_000_000_000_000
LIMITS = Limits(max_future=300_000_000, zone=ZoneInfo("Europe/Kyiv"))


def decoded(event: dict) -> Event:
    decode = decode_activity if "type" in event else decode_stage_change
    key = str(event.get("deal_id") or event.get("rep_id") or "").encode()
    return decode(key, json.dumps(event).encode(), RECEIVED, LIMITS)


def changed(name: str, **fields: object) -> dict:
    return {**copy.deepcopy(example(name)), **fields}


@pytest.mark.parametrize(
    "fields",
    [
        {"entity": {}},
        {"entity": {"team": "Central", "region": "EU"}},
        {"cut": "region"},
        {"cut": "planet"},
        {"unit": "money"},
        {"currency": "EUR"},
        {"unit": "percent"},
        {"value": "0.6"},
        {"n": 1.5},
        {"n": -1},
        {"numerator": None},
        {"window": NOW | {"name": "month"}},
        {"window": MONTH | {"name": "now"}},
        {"window": MONTH | {"name": "fortnight"}},
        {"window": MONTH | {"start": "2017-06-01T00:00:00+02:00"}},
        {"stats": {"mean": 1, "p50": 1}},
        {"mature_share": 1.2},
        {"final": None},
        {"watermark": "yesterday"},
    ],
    ids=str,
)
def test_kpi_record_that_is_wrong_does_not_match(fields):
    assert faults("kpi-record.v1", changed("kpi-record.v1", **fields))


@pytest.mark.parametrize(
    "fields",
    [{"state": "resolved"}, {"ratio": 9.3}, {"entity": {"stage": "Qualified"}}, {"text": ""}, {"since": "2026-03-10"}],
    ids=str,
)
def test_alert_event_that_contradicts_itself_does_not_match(fields):
    assert faults("alert-event.v1", changed("alert-event.v1", **fields))


def test_a_back_test_may_say_that_it_is_one():
    assert faults("alert.v1", changed("alert.v1", simulated=True)) == []


# ------------------------------------------------------------------ source events: the schema against the decoder

STAGE = {"event_id": "e", "occurred_at": "2026-03-02T09:12:31Z", "deal_id": "d"}
CALL = {"event_id": "e", "occurred_at": "2026-03-02T09:12:31Z", "type": "call", "deal_id": "d"}


def accepted(event: dict) -> bool:
    return not isinstance(decoded(event), Rejection)


def matches(event: dict) -> bool:
    return not faults("activity-event.v1" if "type" in event else "stage-change-event.v1", event)


FINE = [
    STAGE,
    STAGE | {"unknown": [1]},
    STAGE | {"event_id": 7, "deal_id": 8},
    STAGE | {"occurred_at": "2026-03-02"},
    STAGE | {"occurred_at": 1772440000.25},
    STAGE | {"occurred_at": 1772440000123},
    STAGE | {"occurred_at": 1772440000123456},
    STAGE | {"occurred_at": "2026-03-02T09:12:31.5+02:00"},
    STAGE | {"to_stage": None, "amount": None, "clear": None, "deleted": None},
    STAGE | {"amount": -3, "quantity": "2", "cost": "-0.005", "currency": "JPY"},
    STAGE | {"close_date": "2026-04-01"},
    STAGE | {"clear": ["rep_id", "attributes"]},
    STAGE | {"attributes": {"a": 1, "b": "x", "c": None, "d": True}},
    STAGE | {"deleted": True},
    CALL,
    CALL | {"deal_id": None, "rep_id": "anna"},
    CALL | {"direction": "inbound", "outcome": "no_answer", "duration_s": 0},
    CALL | {"planned": True, "due_at": "2026-03-05", "automated": False},
    CALL | {"due_at": "2026-03-05 09:00:00.123456789z"},
    CALL | {"deal_id": "", "rep_id": "anna"},
]
WRONG = [
    {key: value for key, value in STAGE.items() if key != "event_id"},
    STAGE | {"event_id": None},
    STAGE | {"event_id": True},
    STAGE | {"event_id": 1.5},
    STAGE | {"deal_id": " "},
    STAGE | {"deal_id": "d" * 257},
    STAGE | {"occurred_at": "yesterday"},
    STAGE | {"occurred_at": "2026-03-02T09:12:31"},
    STAGE | {"occurred_at": "2026-03-02T09:12Z"},
    STAGE | {"occurred_at": 1e17},
    STAGE | {"occurred_at": False},
    STAGE | {"to_stage": 3},
    STAGE | {"amount": "12 EUR"},
    STAGE | {"amount": True},
    STAGE | {"amount": 1e15},
    STAGE | {"currency": "eur"},
    STAGE | {"close_date": "soon"},
    STAGE | {"clear": "rep_id"},
    STAGE | {"clear": ["pipeline"]},
    STAGE | {"attributes": {"a": {"b": 1}}},
    STAGE | {"attributes": []},
    STAGE | {"deleted": "yes"},
    CALL | {"type": "fax"},
    CALL | {"direction": "upwards"},
    CALL | {"outcome": "maybe"},
    CALL | {"duration_s": -1},
    CALL | {"duration_s": "60"},
    CALL | {"automated": 1},
    CALL | {"deal_id": None},
    CALL | {"deal_id": ""},
    CALL | {"due_at": "tomorrow"},
    CALL | {"due_at": 1e17},
]


@pytest.mark.parametrize("event", FINE, ids=str)
def test_what_matches_the_schema_is_accepted(event):
    assert matches(event)
    assert accepted(event)


@pytest.mark.parametrize("event", WRONG, ids=str)
def test_what_does_not_match_the_schema_is_refused(event):
    assert not matches(event)
    assert not accepted(event)
