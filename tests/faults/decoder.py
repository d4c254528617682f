"""What does a good event of these feeds say?  Plain json and datetime, none of the product's code, only the form of its answer.

The feeds say of each record whether it must be refused and why; what they call good has one form: ISO times with an offset,
texts without blanks around them, amounts as numbers or decimal texts.  Whatever else stands there is an error here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from streams.config import Definitions
from streams.events.contract import Activity, Event, Limits, Rejection, StageChange
from streams.events.decode import decode_activity, decode_stage_change
from streams.topics import ACTIVITY
from tests.flow import poison

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TYPES = ["call", "email", "meeting", "message", "proposal", "task", "note", "form", "payment", "other"]
_DIRECTIONS = [None, "inbound", "outbound", "internal"]
_OUTCOMES = [None, "connected", "no_answer"]
_TEXTS = ("rep_id", "customer_id", "product", "region", "lead_source", "currency")

_BAD = {(topic, value) for topic, _, value, _ in poison.ROWS}

Record = tuple[str, bytes | None, bytes | None, int]  # topic, key, value, Kafka timestamp in ms


def decode(topic: str, key: bytes | None, value: bytes) -> Event:
    """Return a good event."""
    said: dict[str, Any] = json.loads(value, parse_float=Decimal)
    at = _instant(said.pop("occurred_at"))
    event_id, deal_id = str(said.pop("event_id")), said.pop("deal_id", None)
    event = _activity(event_id, at, deal_id, said) if topic == ACTIVITY else _change(event_id, at, deal_id, said)
    said.pop("known_later", None)  # a feed's note to itself, which stays where the event is late anyway
    assert not said, f"a feed says something new: {said}"
    assert key == str(deal_id or event.rep_id).encode(), key  # type: ignore[union-attr]  # a change has its deal
    return event


def _instant(text: str) -> int:
    return (datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1)


def _change(event_id: str, at: int, deal_id: str, said: dict[str, Any]) -> StageChange:
    stages = (said.pop("to_stage", None), said.pop("from_stage", None), said.pop("pipeline", None))
    clear, deleted = tuple(said.pop("clear", ())), said.pop("deleted", None)
    words = {name: str(said.pop(name)) for name in _TEXTS if said.get(name) is not None}
    if said.get("amount") is not None:
        amount = Decimal(said.pop("amount"))
        words["amount"] = f"{amount:f}" if amount else "0"
    return StageChange(event_id, at, deal_id, *stages, words, clear, deleted)


def _activity(event_id: str, at: int, deal_id: str | None, said: dict[str, Any]) -> Activity:
    duration = said.pop("duration_s", None)
    return Activity(
        event_id,
        at,
        deal_id,
        said.pop("rep_id", None),
        said.pop("customer_id", None),
        _TYPES.index(said.pop("type")),
        _DIRECTIONS.index(said.pop("direction", None)),
        _OUTCOMES.index(said.pop("outcome", None)),
        -1 if duration is None else int(duration * 1000),
        said.pop("automated", False),
        said.pop("planned", False),
    )


def read(topic: str, key: bytes | None, value: bytes | None) -> Event | None:
    """Return the event of a record of these feeds; None of one that they call bad."""
    return None if (topic, value) in _BAD else decode(topic, key, value or b"")


def newest_of(records: Iterable[Record], definitions: Definitions) -> int:
    """Return the greatest time of a good event; what the product reads in each record must be what is said there."""
    limits, newest = Limits(300_000_000, definitions.zone), -1
    for topic, key, value, received in records:
        theirs = (decode_activity if topic == ACTIVITY else decode_stage_change)(key, value, received * 1000, limits)
        ours = read(topic, key, value)
        assert (None if isinstance(theirs, Rejection) else theirs) == ours, (key, value, theirs, ours)
        newest = max(newest, ours.at if ours else -1)
    return newest


def told_until(records: Iterable[Mapping[str, Any]]) -> int:
    """Return the greatest watermark that a record names, in µs."""
    return max(((_instant(one["watermark"])) for one in records), default=-1)
