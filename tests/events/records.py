"""Events to begin with: a valid record of each topic, to be broken by one change at a time."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from streams.events.contract import Activity, Rejection, StageChange
from streams.events.decode import Limits, decode_activity, decode_stage_change

KYIV = ZoneInfo("Europe/Kyiv")
LIMITS = Limits(max_future=300_000_000, zone=KYIV)
RECEIVED = 1_735_689_600_000_000  # 2025-01-01T00:00:00Z
AT = 1_714_979_289_000_000  # 2024-05-06T07:08:09Z

ABSENT = object()
STAGE_CHANGE = {"event_id": "e1", "occurred_at": "2024-05-06T07:08:09Z", "deal_id": "d1", "to_stage": "Won"}
ACTIVITY = {"event_id": "e1", "occurred_at": "2024-05-06T07:08:09Z", "deal_id": "d1", "type": "call"}


def changed(event, changes):
    return {name: value for name, value in (event | changes).items() if value is not ABSENT}


def stage_change(*, key=b"d1", limits=LIMITS, **changes) -> StageChange | Rejection:
    value = json.dumps(changed(STAGE_CHANGE, changes)).encode()
    return decode_stage_change(key, value, RECEIVED, limits)


def activity(*, key=b"d1", limits=LIMITS, **changes) -> Activity | Rejection:
    value = json.dumps(changed(ACTIVITY, changes)).encode()
    return decode_activity(key, value, RECEIVED, limits)


def with_literal(name: str, literal: bytes, event=None) -> bytes:
    """Write the event with one field's value given as raw JSON, which json.dumps could not write."""
    rest = json.dumps(changed(event or STAGE_CHANGE, {name: ABSENT})).encode()
    return rest[:-1] + b', "' + name.encode() + b'": ' + literal + b"}"


def utc(text: str) -> int:
    """Return the µs of an ISO time with a zone, by the standard library."""
    moment = datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC)
    return (moment.days * 86_400 + moment.seconds) * 1_000_000 + moment.microseconds
