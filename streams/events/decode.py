"""What do these records say?  Bytes to accepted events or rejections, quickly; no bytes make it raise.

The fast path reads straight into typed structs and takes only what needs no second thought.  Whatever it
does not take - broken, or merely unusual - goes to `validate`, which accepts it or finds the reason.  What the
fast path takes, `validate` would take too, with the identical event (a property test holds them together).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Annotated, Any, NoReturn

import msgspec

from streams.events import validate
from streams.events.amounts import MAX_WHOLE_DIGITS, plain
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
from streams.events.fields import tidy_attributes
from streams.events.times import MAX_DURATION_S, instant, is_date, milliseconds

__all__ = ["Limits", "decode_activities", "decode_activity", "decode_stage_change", "decode_stage_changes"]

_String = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
# Integers beyond 64 bits are left to the full check: the typed decoder reads only some of them.
_Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Seconds = Annotated[int, msgspec.Meta(ge=0, le=MAX_DURATION_S)]
_UNSAID = msgspec.Raw(b"null")


class _StageWire(msgspec.Struct, gc=False):
    event_id: _String | _Integer = ""
    occurred_at: _String | int | float = ""
    deal_id: _String | _Integer = ""
    to_stage: _String | None = None
    from_stage: _String | None = None
    pipeline: _String | None = None
    rep_id: _String | _Integer | None = None
    customer_id: _String | _Integer | None = None
    product: _String | None = None
    region: _String | None = None
    lead_source: _String | None = None
    amount: msgspec.Raw = _UNSAID
    currency: _String | None = None
    quantity: msgspec.Raw = _UNSAID
    cost: msgspec.Raw = _UNSAID
    close_date: _String | None = None
    lost_reason: _String | None = None
    attributes: dict[str, str | _Integer | float | bool | None] | None = None
    clear: list[str] | None = None
    deleted: bool | None = None


class _ActivityWire(msgspec.Struct, gc=False):
    event_id: _String | _Integer = ""
    occurred_at: _String | int | float = ""
    type: _String = ""
    deal_id: _String | _Integer | None = None
    rep_id: _String | _Integer | None = None
    customer_id: _String | _Integer | None = None
    direction: _String | None = None
    outcome: _String | None = None
    duration_s: _Seconds | float | None = None
    automated: bool | None = None
    planned: bool | None = None
    due_at: _String | int | float | None = None


class _Doubt(Exception):  # noqa: N818  # no error: a second look decides
    """Not taken at first sight."""


_DOUBTS = (_Doubt, KeyError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

_read_stage = msgspec.json.Decoder(_StageWire).decode
_read_activity = msgspec.json.Decoder(_ActivityWire).decode
_TYPES = {word: place for place, word in enumerate(ACTIVITY_TYPES)}
_DIRECTIONS: dict[str | None, int] = {word: place for place, word in enumerate(DIRECTIONS)} | {"": 0}
_OUTCOMES: dict[str | None, int] = {word: place for place, word in enumerate(OUTCOMES)} | {"": 0}
_SAYABLE = frozenset(SAYABLE)
_MAX_AMOUNT = 64  # bytes of an amount that is worth remembering

# Shorter than this, a value can neither be too large nor nested too deep.
_SHORT = 2 * MAX_DEPTH


# Key, value, and the record's Kafka timestamp in µs.
Record = tuple[bytes | None, bytes | None, int]


def decode_stage_change(key: bytes | None, value: bytes | None, received: int, limits: Limits) -> StageChange | Rejection:
    """Decode a record of crm.deal-stage-change; `received` is the record's Kafka timestamp in µs."""
    return decode_stage_changes(((key, value, received),), limits)[0]


def decode_activity(key: bytes | None, value: bytes | None, received: int, limits: Limits) -> Activity | Rejection:
    """Decode a record of crm.activity; `received` is the record's Kafka timestamp in µs."""
    return decode_activities(((key, value, received),), limits)[0]


def decode_stage_changes(records: Iterable[Record], limits: Limits) -> list[StageChange | Rejection]:
    """Decode records of crm.deal-stage-change."""
    events: list[StageChange | Rejection] = []
    read, zone, ahead, take = _read_stage, limits.zone, limits.max_future, events.append
    for key, value, received in records:
        try:
            if value and ((len(value) <= _SHORT and value.isascii()) or _is_sound(value)):
                wire = read(value)
                event_id, deal_id = wire.event_id, wire.deal_id
                event_id = event_id.strip() if type(event_id) is str else str(event_id)
                deal_id = deal_id.strip() if type(deal_id) is str else str(deal_id)
                at = instant(wire.occurred_at, zone)
                if (
                    event_id
                    and deal_id
                    and at is not None
                    and EARLIEST <= at <= received + ahead
                    and deal_id.encode() == key
                ):
                    take(
                        StageChange(
                            event_id,
                            at,
                            deal_id,
                            (wire.to_stage.strip() or None) if wire.to_stage else None,
                            (wire.from_stage.strip() or None) if wire.from_stage else None,
                            (wire.pipeline.strip() or None) if wire.pipeline else None,
                            _said(wire),
                            _cleared(wire.clear) if wire.clear else (),
                            wire.deleted,
                        )
                    )
                    continue
        except _DOUBTS:
            pass
        take(validate.stage_change(key, value, received, limits))
    return events


def decode_activities(records: Iterable[Record], limits: Limits) -> list[Activity | Rejection]:
    """Decode records of crm.activity."""
    events: list[Activity | Rejection] = []
    read, zone, ahead, take = _read_activity, limits.zone, limits.max_future, events.append
    for key, value, received in records:
        try:
            if value and ((len(value) <= _SHORT and value.isascii()) or _is_sound(value)):
                wire = read(value)
                event_id, deal_id, rep_id, customer_id = wire.event_id, wire.deal_id, wire.rep_id, wire.customer_id
                event_id = event_id.strip() if type(event_id) is str else str(event_id)
                deal_id = deal_id.strip() if type(deal_id) is str else _digits(deal_id)
                rep_id = rep_id.strip() if type(rep_id) is str else _digits(rep_id)
                owner = deal_id or rep_id
                duration = wire.duration_s
                duration = duration * 1000 if type(duration) is int else -1 if duration is None else milliseconds(duration)
                at = instant(wire.occurred_at, zone)
                if (
                    event_id
                    and owner
                    and duration is not None
                    and at is not None
                    and EARLIEST <= at <= received + ahead
                    and owner.encode() == key
                    and (wire.due_at is None or instant(wire.due_at, zone) is not None)
                ):
                    take(
                        Activity(
                            event_id,
                            at,
                            deal_id or None,
                            rep_id or None,
                            None if customer_id is None else str(customer_id).strip() or None,
                            _TYPES[wire.type],
                            _DIRECTIONS[wire.direction],
                            _OUTCOMES[wire.outcome],
                            duration,
                            wire.automated is True,
                            wire.planned is True,
                        )
                    )
                    continue
        except _DOUBTS:
            pass
        take(validate.activity(key, value, received, limits))
    return events


def _is_sound(value: bytes) -> bool:
    """Tell whether a long or non-ASCII value is within bounds and UTF-8, also where the typed decoder skips it."""
    if len(value) > MAX_BYTES or value.count(b"{") + value.count(b"[") > MAX_DEPTH:
        return False
    value.decode()
    return True


def _digits(said: str | int | None) -> str | None:
    """Return an id that is no string as text."""
    return None if said is None else str(said)


def _doubt() -> NoReturn:
    raise _Doubt


def _said(wire: _StageWire) -> dict[str, Any]:
    """Collect what the event says about its deal; written out, since a loop over the names takes three times as long."""
    said: dict[str, Any] = {}
    rep_id, customer_id = wire.rep_id, wire.customer_id
    if rep_id is not None and rep_id != "":
        said["rep_id"] = (rep_id.strip() or _doubt()) if type(rep_id) is str else str(rep_id)
    if customer_id is not None and customer_id != "":
        said["customer_id"] = (customer_id.strip() or _doubt()) if type(customer_id) is str else str(customer_id)
    if wire.product:
        said["product"] = wire.product.strip() or _doubt()
    if wire.region:
        said["region"] = wire.region.strip() or _doubt()
    if wire.lead_source:
        said["lead_source"] = wire.lead_source.strip() or _doubt()
    if wire.amount is not _UNSAID and (amount := _amount(wire.amount)):
        said["amount"] = amount
    if wire.currency:
        said["currency"] = wire.currency if wire.currency in MINOR_DIGITS else _doubt()
    if wire.quantity is not _UNSAID and (quantity := _amount(wire.quantity)):
        said["quantity"] = quantity
    if wire.cost is not _UNSAID and (cost := _amount(wire.cost)):
        said["cost"] = cost
    if wire.close_date:
        said["close_date"] = wire.close_date if is_date(wire.close_date) else _doubt()
    if wire.lost_reason:
        said["lost_reason"] = wire.lost_reason.strip() or _doubt()
    if wire.attributes:
        attributes = tidy_attributes(wire.attributes)
        said["attributes"] = attributes if isinstance(attributes, dict) else _doubt()
    return said


def _amount(raw: msgspec.Raw) -> str | None:
    """Return a JSON number or string as plain decimal text, None where nothing is said."""
    said = bytes(raw)  # of digits alone it is a number, which in JSON has no zeros in front
    return said.decode() if said.isdigit() and len(said) <= MAX_WHOLE_DIGITS else _any_amount(said)


@lru_cache(maxsize=32768)
def _any_amount(raw: bytes) -> str | None:
    if len(raw) > _MAX_AMOUNT:  # what raises is not cached, so that the cache stays small
        raise _Doubt
    text = raw.decode()
    if text == "null":
        return None
    if text[0] == '"':
        text = text[1:-1].strip()
    return (plain(text) or _doubt()) if text else None


def _cleared(names: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names)) if _SAYABLE.issuperset(names) else _doubt()
