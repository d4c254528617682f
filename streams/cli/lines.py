"""What does one line of a replayed file send?  The topic, the record key and the value's own bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from streams.events.contract import Reason
from streams.kafka.room import Headers
from streams.topics import ACTIVITY, REFERENCE, STAGE_CHANGE

TOPICS = (STAGE_CHANGE, ACTIVITY, REFERENCE)

# The broker takes records up to 1 MB; what is larger cannot even become a dead letter.
MAX_LINE = 1_000_000 - 10_000


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One record to send.  The value is the text as given, so that no number is rounded on the way."""

    topic: str
    key: bytes
    value: bytes
    partition: int = -1  # by the key
    headers: Headers | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """A line that cannot be sent anywhere; it is counted here, by the reason that the worker would give."""

    reason: Reason
    detail: str


class _Enveloped(msgspec.Struct, gc=False):
    topic: str
    value: msgspec.Raw


class _Keys(msgspec.Struct, gc=False):
    deal_id: Any = None
    rep_id: Any = None
    kind: Any = None
    id: Any = None


_read_enveloped = msgspec.json.Decoder(_Enveloped).decode
_read_keys = msgspec.json.Decoder(_Keys).decode
_read_any = msgspec.json.Decoder(msgspec.Raw).decode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def outgoing(line: bytes, default_topic: str | None) -> Outgoing | Refused | None:
    """Return what the line sends; None for an empty line.

    A line is {"topic": ..., "value": ...}, or with `default_topic` the bare event.  With `default_topic`
    every line is sent, whatever is wrong with it, so that the worker dead-letters it.
    """
    line = line.strip()
    if not line:
        return None
    if len(line) > MAX_LINE:
        return Refused(Reason.TOO_LARGE, f"more than {MAX_LINE} bytes; a record holds no more")
    try:
        found = _read_enveloped(line)
    except _UNREADABLE:
        return _bare(line, default_topic)
    if found.topic not in TOPICS:
        if default_topic is not None:  # a field of the CRM's own
            return _bare(line, default_topic)
        return Refused(Reason.UNKNOWN_VALUE, f"topic {found.topic!r}; known: {', '.join(TOPICS)}")
    value = bytes(found.value)
    return Outgoing(found.topic, key_of(found.topic, value), value)


def _bare(line: bytes, topic: str | None) -> Outgoing | Refused:
    if topic is not None:
        return Outgoing(topic, key_of(topic, line), line)
    try:
        _read_any(line)
    except _UNREADABLE as error:
        return Refused(Reason.NOT_JSON, str(error))
    if not line.startswith(b"{"):
        return Refused(Reason.NOT_AN_OBJECT, "the line is JSON, but no object")
    return Refused(Reason.MISSING_FIELD, "the line names no topic; for bare events give --topic")


def key_of(topic: str, value: bytes) -> bytes:
    """Return the record key of an event; empty when it has none, and the worker will say what is wrong."""
    try:
        found = _read_keys(value)
    except _UNREADABLE:
        return b""
    if topic == REFERENCE:
        return f"{id_text(found.kind)}:{id_text(found.id)}".encode() if found.kind and found.id else b""
    key = id_text(found.deal_id)
    if not key and topic == ACTIVITY:
        key = id_text(found.rep_id)
    return key.encode(errors="replace")


def id_text(value: object) -> str:
    """Return an id as text: trimmed, an integer as its digits; empty for anything else."""
    if isinstance(value, str):
        return value.strip()
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""
