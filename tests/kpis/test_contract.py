"""Is every record on the topics what its schema says, and does its key say what it is of?"""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
from referencing import Registry, Resource

from streams.kpis.catalogue import CATALOGUE, ENTITY_FIELDS
from tests.audit.tables import act, change, us
from tests.in_memory import InMemory
from tests.kpis.rounds import flow_of, lead

SCHEMAS = Path(__file__).parents[2] / "schemas"


def validator(name: str) -> jsonschema.Draft202012Validator:
    documents = [json.loads(path.read_text(encoding="utf-8")) for path in SCHEMAS.glob("*.json")]
    registry = Registry().with_resources((one["$id"], Resource.from_contents(one)) for one in documents)
    schema = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
    return jsonschema.Draft202012Validator(schema, registry=registry, format_checker=jsonschema.FormatChecker())


def everything() -> InMemory:
    """Return a flow in which every KPI has a record."""
    flow = flow_of()
    said = {"rep_id": "anna", "customer_id": "c", "product": "P", "region": "EU", "lead_source": "web", "amount": "12.5"}
    flow.feed(
        [
            lead("a", "2024-03-01 10:00", **said),
            act("x", "2024-03-01 10:05", deal_id="a", duration_ms=1_500, outcome="connected"),
        ]
    )
    flow.feed(
        [act(kind, "2024-03-01 11:00", kind, deal_id="a") for kind in ("email", "meeting", "message", "proposal", "task")]
    )
    flow.feed(
        [
            change("b", "2024-03-01 12:00", "Won", deal_id="a"),
            lead("l", "2024-03-02 10:00", "New", amount="7", currency="JPY", rep_id="borys"),
        ]
    )
    flow.feed([change("m", "2024-03-02 11:00", "Lost", deal_id="l"), lead("w", "2024-03-02 12:00", amount="1")])
    flow.feed([], tick=us("2024-04-02 12:00"))
    return flow


def test_every_record_and_key_is_what_the_schemas_say():
    """All KPIs, both topics, records and keys."""
    flow, records, keys = everything(), validator("kpi-record.v1"), validator("kpi-key.v1")
    faults = [
        error.message
        for told in (flow.latest, flow.history)
        for key, one in told.items()
        for error in (*records.iter_errors(one), *keys.iter_errors(json.loads(key)))
    ]
    assert faults == []


def test_every_kpi_of_the_catalogue_is_written_by_every_cut():
    """A story with leads, calls, wins and losses has something to say on each."""
    flow = everything()
    told = [*flow.latest.values(), *flow.history.values()]
    assert {one["kpi"] for one in told} == {kpi.id for kpi in CATALOGUE}
    assert {one["cut"] for one in told} == set(ENTITY_FIELDS)


def test_a_key_says_what_its_record_is_of():
    """[kpi, cut, entity values, window, start, currency] as compact JSON."""
    flow = everything()
    for told in (flow.latest, flow.history):
        for key, one in told.items():
            window = one["window"]
            parts = [one["kpi"], one["cut"], list(one["entity"].values()), window["name"], window["start"], one["currency"]]
            assert key == json.dumps(parts, separators=(",", ":"), ensure_ascii=False).encode()
