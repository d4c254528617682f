"""What can be wrong with a record?  One row each: topic, key, value, and the reason that must be given."""

from __future__ import annotations

import json
from typing import Any

from streams.topics import ACTIVITY, STAGE_CHANGE

GOOD: dict[str, Any] = {"event_id": "p", "occurred_at": "2024-05-06T07:08:09Z", "deal_id": "poison"}
CALL = GOOD | {"type": "call"}
Row = tuple[str, bytes | None, bytes | None, str]


def text(event: dict[str, Any], **changed: Any) -> bytes:
    return json.dumps({**event, **changed}).encode()


def literal(event: dict[str, Any], name: str, value: str) -> bytes:
    """Return the event with a field written as given, which need not be JSON."""
    return f'{json.dumps(event)[:-1]}, "{name}": {value}}}'.encode()


def _both(value: bytes | None, reason: str, key: bytes | None = b"poison") -> list[Row]:
    return [(STAGE_CHANGE, key, value, reason), (ACTIVITY, key, value, reason)]


def _stage(value: bytes, reason: str, key: bytes | None = b"poison") -> Row:
    return STAGE_CHANGE, key, value, reason


def _call(value: bytes, reason: str, key: bytes | None = b"poison") -> Row:
    return ACTIVITY, key, value, reason


ROWS: list[Row] = [
    *_both(b"{", "not_json"),
    *_both(None, "not_json"),
    *_both(b"", "not_json"),
    *_both(literal(GOOD, "x", "NaN"), "not_json"),
    *_both(b'{"a": ' * 2000 + b"1" + b"}" * 2000, "not_json"),
    *_both(b"[" * 20_000, "not_an_object"),
    *_both(b'{"a": "\xff"}', "bad_encoding"),
    *_both(text(CALL)[:-1] + b', "x": "\xed\xa0\x80"}', "bad_encoding"),
    *_both(text(CALL) + b" " * (64 * 1024), "too_large"),
    *_both(b"\xff" * (64 * 1024 + 1), "too_large"),
    *_both(b"null", "not_an_object"),
    *_both(b"[]", "not_an_object"),
    *_both(b"{}", "missing_field"),
    _stage(text(GOOD, deal_id=None), "missing_field"),
    _call(text(GOOD), "missing_field"),
    _stage(text(GOOD, to_stage=5), "wrong_type"),
    _stage(text(GOOD, deleted="yes"), "wrong_type"),
    _stage(text(GOOD, event_id=True), "wrong_type"),
    _call(text(CALL, rep_id=["anna"]), "wrong_type"),
    _call(text(CALL, type="dance"), "unknown_value"),
    _stage(text(GOOD, currency="XXL"), "unknown_value"),
    _stage(text(GOOD, to_stage="x" * 257), "too_long"),
    _call(text(CALL, event_id=10**300), "too_long"),
    _stage(text(GOOD, occurred_at="yesterday"), "bad_time"),
    _stage(literal({"event_id": "p", "deal_id": "poison"}, "occurred_at", "1" + "0" * 400), "bad_time"),
    _call(literal({"event_id": "p", "deal_id": "poison", "type": "call"}, "occurred_at", "1e400"), "bad_time"),
    _stage(text(GOOD, occurred_at="9999-12-31T23:59:59Z"), "time_out_of_range"),
    _call(text(CALL, occurred_at="1969-07-20T20:17:40Z"), "time_out_of_range"),
    _stage(text(GOOD, occurred_at=-1.5), "time_out_of_range"),
    _stage(text(GOOD, amount=1e300), "bad_amount"),
    _stage(literal(GOOD, "amount", "1" + "0" * 400), "bad_amount"),
    _stage(literal(GOOD, "cost", "1e400"), "bad_amount"),
    _stage(text(GOOD, amount="NaN"), "bad_amount"),
    _stage(text(GOOD), "key_mismatch", b""),
    _stage(text(GOOD), "key_mismatch", None),
    _stage(text(GOOD), "key_mismatch", b"\xff\xfe"),
    _call(text(CALL), "key_mismatch", b"another"),
]
