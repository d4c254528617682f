"""Does what stands on the topics keep to its schema?  Faults of messages as a subscriber reads them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import orjson
from confluent_kafka import Message

from streams.topics import ALERT_EVENTS, ALERTS, DEAD_LETTER, KPI_HISTORY, KPI_LATEST

FOLDER = Path(__file__).parents[2] / "schemas"
OF_TOPIC = {
    KPI_LATEST: "kpi-record.v1",
    KPI_HISTORY: "kpi-record.v1",
    ALERTS: "alert.v1",
    ALERT_EVENTS: "alert-event.v1",
    DEAD_LETTER: "dead-letter.v1",
}
KPI_TOPICS = (KPI_LATEST, KPI_HISTORY)
CLOUD_EVENTS = ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time", "content-type"]


def checker(name: str) -> Any:
    """Return what checks values against a schema."""
    schema = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())


def faults(messages: list[Message]) -> Iterator[tuple[Any, str]]:
    """Yield what is wrong with messages of one topic, and in which.

    Headers are looked at one by one, values once for every shape they have: the checker needs a millisecond for each.
    """
    topic = messages[0].topic()
    of_value, of_key = checker(OF_TOPIC[topic]), checker("kpi-key.v1")
    seen = set()
    for message in messages:
        value, key = message.value(), message.key()
        record = None if value is None else orjson.loads(value)
        if record is None and topic not in (KPI_LATEST, ALERTS):
            yield key, "a tombstone where there are none"
        if record is not None and topic in KPI_TOPICS:
            yield from ((key, fault) for fault in _header_faults(message, record))
        if (shape := _shape(record)) in seen:
            continue
        seen.add(shape)
        if topic in KPI_TOPICS:
            yield from ((key, error.message) for error in of_key.iter_errors(orjson.loads(key)))
        if record is not None:
            yield from ((key, error.message) for error in of_value.iter_errors(record))


def _shape(record: dict[str, Any] | None) -> Any:
    """Return what differs between records that a schema could tell apart: fields, types, signs, and the closed sets."""
    if record is None:
        return None
    named = tuple(record.get(field) for field in ("kpi", "cut", "reason", "transition", "final"))
    signs = tuple((name, type(value), isinstance(value, int | float) and value < 0) for name, value in record.items())
    return named, signs, (record.get("window") or {}).get("name")


def _header_faults(message: Message, record: dict[str, Any]) -> Iterator[str]:
    headers = dict(message.headers() or [])
    if sorted(headers) != sorted(CLOUD_EVENTS):
        yield f"headers {sorted(headers)}"
        return
    said = (headers["ce_specversion"], headers["ce_type"], headers["content-type"])
    if said != (b"1.0", b"io.dealpulse.kpi.v1", b"application/json"):
        yield f"headers say {said}"
    if not headers["ce_id"].endswith(b"-%d" % record["revision"]):
        yield f"ce_id {headers['ce_id']} of revision {record['revision']}"
    if headers["ce_time"].decode() != record["watermark"]:
        yield f"ce_time {headers['ce_time']} at watermark {record['watermark']}"
