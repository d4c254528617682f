"""Why is this event refused?  The full check of a record, in the contract's order of reasons.

Slow and complete: it reads what `decode` would not take at first sight, and is the last word on it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from streams.events.contract import (
    ACTIVITY_TYPES,
    DIRECTIONS,
    OUTCOMES,
    SAYABLE,
    Activity,
    Limits,
    Reason,
    Rejection,
    StageChange,
)
from streams.events.fields import Fields
from streams.events.parse import read_object


def stage_change(key: bytes | None, value: bytes | None, received: int, limits: Limits) -> StageChange | Rejection:
    """Check a record of crm.deal-stage-change completely."""
    raw = read_object(value)
    if isinstance(raw, Rejection):
        return raw
    fields = Fields(raw)
    for name in ("event_id", "deal_id"):
        fields.require(name)
    event = StageChange(
        event_id=fields.text("event_id") or "",
        at=fields.occurred_at(received, limits),
        deal_id=fields.text("deal_id") or "",
        to_stage=fields.text("to_stage"),
        from_stage=fields.text("from_stage"),
        pipeline=fields.text("pipeline"),
        said=_said(fields),
        clear=fields.clear(),
        deleted=fields.flag("deleted"),
    )
    fields.keyed_by(key, event.deal_id or None)
    return fields.first_reason() or event


def _said(fields: Fields) -> dict[str, Any]:
    readers: dict[str, Callable[[str], Any]] = {
        "amount": fields.amount,
        "quantity": fields.amount,
        "cost": fields.amount,
        "currency": fields.currency,
        "close_date": fields.date,
        "attributes": fields.attributes,
    }
    read = {name: readers.get(name, fields.text)(name) for name in SAYABLE}
    return {name: value for name, value in read.items() if value is not None}


def activity(key: bytes | None, value: bytes | None, received: int, limits: Limits) -> Activity | Rejection:
    """Check a record of crm.activity completely."""
    raw = read_object(value)
    if isinstance(raw, Rejection):
        return raw
    fields = Fields(raw)
    for name in ("event_id", "type"):
        fields.require(name)
    if fields.said("deal_id") is None and fields.said("rep_id") is None:
        fields.refuse(Reason.MISSING_FIELD, "deal_id", "neither deal_id nor rep_id is said")
    event = Activity(
        event_id=fields.text("event_id") or "",
        at=fields.occurred_at(received, limits),
        deal_id=fields.text("deal_id"),
        rep_id=fields.text("rep_id"),
        customer_id=fields.text("customer_id"),
        type=fields.one_of("type", ACTIVITY_TYPES),
        direction=fields.one_of("direction", DIRECTIONS),
        outcome=fields.one_of("outcome", OUTCOMES),
        duration_ms=fields.duration("duration_s"),
        automated=fields.flag("automated") or False,
        planned=fields.flag("planned") or False,
    )
    fields.time("due_at", limits)
    fields.keyed_by(key, event.rep_id if fields.said("deal_id") is None else event.deal_id)
    return fields.first_reason() or event
