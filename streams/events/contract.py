"""What is an event?  The decoded forms of the two topics, and the closed set of reasons for refusal."""

from __future__ import annotations

from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

MAX_BYTES = 64 * 1024
MAX_TEXT = 256
MAX_ATTRIBUTES = 1024
EARLIEST = 946_684_800_000_000  # 2000-01-01T00:00:00Z in µs
_LATEST_STAMP = (
    7_258_118_400_000  # 2200-01-01T00:00:00Z in ms: a producer that stamps records later than this counts in another unit
)
# A header of records that were refused and are sent again: where the first of them stands, as topic/partition@offset.
REPLAY_OF = "dealpulse-replay-of"
# Nesting that no reader's stack can refuse, so that the same bytes are accepted by every worker.
MAX_DEPTH = 256

ACTIVITY_TYPES = (
    "call", "email", "meeting", "message", "proposal", "task", "note", "form", "payment", "other",
)  # fmt: skip
DIRECTIONS = (None, "inbound", "outbound", "internal")
OUTCOMES = (
    None, "connected", "no_answer", "voicemail", "accepted", "declined", "held", "no_show", "positive", "neutral",
    "negative", "opened", "clicked", "replied", "completed",
)  # fmt: skip

# What a stage event can say about its deal, and what `clear` can take away.
SAYABLE = (
    "rep_id", "customer_id", "product", "region", "lead_source", "amount", "currency", "quantity", "cost",
    "close_date", "lost_reason", "attributes",
)  # fmt: skip


class Limits(msgspec.Struct, frozen=True):
    """What acceptance depends on besides the record: µs into the future, and the zone of dates alone."""

    max_future: int
    zone: ZoneInfo


class Reason(StrEnum):
    """Why an event was refused; metric label and dead-letter field.  In order of precedence after too_large."""

    NOT_JSON = "not_json"
    BAD_ENCODING = "bad_encoding"
    TOO_LARGE = "too_large"
    NOT_AN_OBJECT = "not_an_object"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    UNKNOWN_VALUE = "unknown_value"
    TOO_LONG = "too_long"
    BAD_TIME = "bad_time"
    TIME_OUT_OF_RANGE = "time_out_of_range"
    BAD_AMOUNT = "bad_amount"
    KEY_MISMATCH = "key_mismatch"
    TOO_LATE = "too_late"


def received_at(stamp: int) -> int:
    """Return when Kafka took a record in, µs since 1970, by its timestamp (ms); -1 where that is in another unit, or not there.

    Whoever stamps records in µs or ns would else have no event refused for being of the future.
    """
    return stamp * 1000 if 0 <= stamp <= _LATEST_STAMP else -1


class Rejection(msgspec.Struct, frozen=True, gc=False):
    """An event that is not accepted: the reason, and for people the field and what was wrong with it."""

    reason: Reason
    detail: str


class StageChange(msgspec.Struct, gc=False):
    """An accepted event of crm.deal-stage-change.

    `at` is µs since 1970 UTC.  `said` holds only what was said, by the names of SAYABLE: text, except
    amount, cost and quantity (plain decimal text such as "-10.5", no exponent) and attributes (a dict).
    """

    event_id: str
    at: int
    deal_id: str
    to_stage: str | None
    from_stage: str | None
    pipeline: str | None
    said: dict[str, Any]
    clear: tuple[str, ...]
    deleted: bool | None


class Activity(msgspec.Struct, gc=False):
    """An accepted event of crm.activity.

    `type`, `direction` and `outcome` are indexes into ACTIVITY_TYPES, DIRECTIONS and OUTCOMES (0 = not
    said for the latter two); `duration_ms` is -1 when not said.  Without `deal_id`, `rep_id` is set.
    """

    event_id: str
    at: int
    deal_id: str | None
    rep_id: str | None
    customer_id: str | None
    type: int
    direction: int
    outcome: int
    duration_ms: int
    automated: bool
    planned: bool


Event = StageChange | Activity
