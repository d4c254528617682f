"""What does this record say?  Bytes to an accepted event or a rejection, quickly; no bytes make it raise.

The fast path reads straight into typed structs and takes only what needs no second thought.  Whatever it
does not take - broken, or merely unusual - goes to `validate`, which accepts it or finds the reason.  What the
fast path takes, `validate` would take too, with the identical event (a property test holds them together).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any

import msgspec

from streams.events import validate
from streams.events.amounts import plain
from streams.events.contract import (
    ACTIVITY_TYPES,
    DIRECTIONS,
    EARLIEST,
    MAX_BYTES,
    MAX_DEPTH,
    MAX_TEXT,
    OUTCOMES,
    SAYABLE,
    Activity,
    Limits,
    Rejection,
    StageChange,
)
from streams.events.currencies import MINOR_DIGITS
from streams.events.times import instant, is_date, milliseconds

__all__ = ["Limits", "decode_activity", "decode_stage_change"]

_Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)] | None
# Integers beyond 64 bits are left to the full check: the typed decoder reads only some of them.
_Id = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)] | Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | None
_Time = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)] | int | float | None
_UNSAID = msgspec.Raw(b"null")


class _StageWire(msgspec.Struct, gc=False):
    event_id: _Id = None
    occurred_at: _Time = None
    deal_id: _Id = None
    to_stage: _Text = None
    from_stage: _Text = None
    pipeline: _Text = None
    rep_id: _Id = None
    customer_id: _Id = None
    product: _Text = None
    region: _Text = None
    lead_source: _Text = None
    amount: msgspec.Raw = _UNSAID
    currency: _Text = None
    quantity: msgspec.Raw = _UNSAID
    cost: msgspec.Raw = _UNSAID
    close_date: _Text = None
    lost_reason: _Text = None
    attributes: dict[str, str | int | float | bool | None] | None = None
    clear: list[str] | None = None
    deleted: bool | None = None


class _ActivityWire(msgspec.Struct, gc=False):
    event_id: _Id = None
    occurred_at: _Time = None
    type: _Text = None
    deal_id: _Id = None
    rep_id: _Id = None
    customer_id: _Id = None
    direction: _Text = None
    outcome: _Text = None
    duration_s: int | float | None = None
    automated: bool | None = None
    planned: bool | None = None
    due_at: _Time = None


_read_stage = msgspec.json.Decoder(_StageWire).decode
_read_activity = msgspec.json.Decoder(_ActivityWire).decode
_TYPES = {word: place for place, word in enumerate(ACTIVITY_TYPES)}
_DIRECTIONS = {word: place for place, word in enumerate(DIRECTIONS)} | {"": 0}
_OUTCOMES = {word: place for place, word in enumerate(OUTCOMES)} | {"": 0}

_SAYABLE = frozenset(SAYABLE)
_MAX_AMOUNT = 64  # bytes of an amount that is worth remembering

# Shorter than this, a value can neither be too large nor nested too deep.
_SHORT = 2 * MAX_DEPTH


def decode_stage_change(key: bytes | None, value: bytes | None, received: int, limits: Limits) -> StageChange | Rejection:
    """Decode a record of crm.deal-stage-change; `received` is the record's Kafka timestamp in µs."""
    return _fast_stage_change(key, value, received, limits) or validate.stage_change(key, value, received, limits)


def decode_activity(key: bytes | None, value: bytes | None, received: int, limits: Limits) -> Activity | Rejection:
    """Decode a record of crm.activity; `received` is the record's Kafka timestamp in µs."""
    return _fast_activity(key, value, received, limits) or validate.activity(key, value, received, limits)


def _is_plain(value: bytes) -> bool:
    """Tell whether a long or non-ASCII value is within bounds and UTF-8, also where the typed decoder skips it."""
    if len(value) > MAX_BYTES or value.count(b"{") + value.count(b"[") > MAX_DEPTH:
        return False
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _id(said: str | int | None) -> str | None:
    """Return an id as trimmed text, None where nothing is said; an integer is taken as its digits."""
    if said is None:
        return None
    return said.strip() or None if type(said) is str else str(said)


def _fast_activity(key: bytes | None, value: bytes | None, received: int, limits: Limits) -> Activity | None:
    """Return the event, None where a closer look is needed."""
    if not value or ((len(value) > _SHORT or not value.isascii()) and not _is_plain(value)):
        return None
    try:
        wire = _read_activity(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    event_id, deal_id, rep_id, said_at = _id(wire.event_id), _id(wire.deal_id), _id(wire.rep_id), wire.occurred_at
    owner = deal_id or rep_id
    if event_id is None or said_at is None or owner is None or owner.encode() != key:
        return None
    at = instant(said_at, limits.zone)
    kind = _TYPES.get(wire.type)
    direction = _DIRECTIONS.get(wire.direction)
    outcome = _OUTCOMES.get(wire.outcome)
    duration = -1 if wire.duration_s is None else milliseconds(wire.duration_s)
    if at is None or kind is None or direction is None or outcome is None or duration is None:
        return None
    if not EARLIEST <= at <= received + limits.max_future:
        return None
    if wire.due_at is not None and instant(wire.due_at, limits.zone) is None:
        return None
    automated, planned = wire.automated is True, wire.planned is True
    customer_id = _id(wire.customer_id)
    return Activity(event_id, at, deal_id, rep_id, customer_id, kind, direction, outcome, duration, automated, planned)


def _fast_stage_change(key: bytes | None, value: bytes | None, received: int, limits: Limits) -> StageChange | None:
    """Return the event, None where a closer look is needed."""
    if not value or ((len(value) > _SHORT or not value.isascii()) and not _is_plain(value)):
        return None
    try:
        wire = _read_stage(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    event_id, deal_id, said_at = _id(wire.event_id), _id(wire.deal_id), wire.occurred_at
    if event_id is None or said_at is None or deal_id is None or deal_id.encode() != key:
        return None
    at = instant(said_at, limits.zone)
    said = _said(wire)
    if at is None or said is None or not EARLIEST <= at <= received + limits.max_future:
        return None
    clear: tuple[str, ...] = ()
    if wire.clear:
        if not _SAYABLE.issuperset(wire.clear):
            return None
        clear = tuple(dict.fromkeys(wire.clear))
    to_stage, from_stage, pipeline = _id(wire.to_stage), _id(wire.from_stage), _id(wire.pipeline)
    return StageChange(event_id, at, deal_id, to_stage, from_stage, pipeline, said, clear, wire.deleted)


def _said(wire: _StageWire) -> dict[str, Any] | None:
    """Collect what the event says about its deal, None where a closer look is needed."""
    said: dict[str, Any] = {}
    for name, value in (
        ("rep_id", wire.rep_id),
        ("customer_id", wire.customer_id),
        ("product", wire.product),
        ("region", wire.region),
        ("lead_source", wire.lead_source),
        ("lost_reason", wire.lost_reason),
    ):
        if value is not None and (text := _id(value)) is not None:
            said[name] = text
    for name, raw in (("amount", wire.amount), ("quantity", wire.quantity), ("cost", wire.cost)):
        if raw is not _UNSAID:
            digits = bytes(raw)
            amount = _amount(digits) if len(digits) <= _MAX_AMOUNT else None
            if amount is None:
                return None
            if amount:
                said[name] = amount
    if wire.currency:
        if wire.currency not in MINOR_DIGITS:
            return None
        said["currency"] = wire.currency
    if wire.close_date:
        if not is_date(wire.close_date):
            return None
        said["close_date"] = wire.close_date
    if wire.attributes:
        attributes = validate.tidy_attributes(wire.attributes)
        if not isinstance(attributes, dict):
            return None
        said["attributes"] = attributes
    return said


@lru_cache(maxsize=32768)
def _amount(raw: bytes) -> str | None:
    """Return a JSON number or string as plain decimal text, "" where nothing is said, None for a closer look."""
    text = raw.decode()
    if text == "null":
        return ""
    if text[0] != '"':
        return plain(text)
    inner = text[1:-1].strip()
    return plain(inner) if inner else ""
