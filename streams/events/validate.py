"""Why is this event refused?  The full check of a record, field by field, in the contract's order of reasons.

Slow and complete: it reads what `decode` would not take at first sight, and is the last word on it.  Every
field is checked before the first reason is chosen, so a missing field wins over a wrong type elsewhere.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

import msgspec

from streams.events import times
from streams.events.amounts import plain
from streams.events.contract import (
    ACTIVITY_TYPES,
    DIRECTIONS,
    EARLIEST,
    MAX_ATTRIBUTES,
    MAX_BYTES,
    MAX_DEPTH,
    MAX_TEXT,
    OUTCOMES,
    SAYABLE,
    Activity,
    Limits,
    Reason,
    Rejection,
    StageChange,
)
from streams.events.currencies import MINOR_DIGITS

_ORDER = {reason: place for place, reason in enumerate(Reason)}
_MAX_SHOWN = 60
_MAX_DETAIL = 200
_INT_64 = range(-(2**63), 2**63)

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")
_ESCAPE = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.", re.DOTALL
)


class Number(msgspec.Struct, frozen=True, gc=False):
    """A JSON number as it was written, so that no digit is lost and no magnitude is too much."""

    text: str
    whole: bool

    def value(self) -> int | float:
        """Return an int for an integer literal, else (or where it is absurdly long) a float, perhaps infinite."""
        return int(self.text) if self.whole and len(self.text) <= MAX_TEXT else float(self.text)


def _integer(text: str) -> Number:
    return Number("0" if text == "-0" else text, whole=True)


def _fraction(text: str) -> Number:
    return Number(text, whole=False)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


_JSON = json.JSONDecoder(parse_int=_integer, parse_float=_fraction, parse_constant=_no_number)


def read_object(value: bytes | None) -> dict[str, Any] | Rejection:
    """Return the JSON object with its numbers as written, or why there is none."""
    if not value:
        return Rejection(Reason.NOT_JSON, "the record has no value")
    if len(value) > MAX_BYTES:
        return Rejection(Reason.TOO_LARGE, f"{len(value)} bytes, at most {MAX_BYTES} are read")
    text = value.decode("utf-8", "replace")
    if too_deep(text):
        return _unreadable(text)
    try:
        found = _JSON.decode(text)
    except RecursionError:  # only where the caller's own stack is nearly used up
        return _unreadable(text)
    except ValueError as error:
        return Rejection(Reason.NOT_JSON, str(error)[:_MAX_DETAIL])
    if not _is_utf8(value) or any(escape[1] for escape in _ESCAPE.finditer(text)):
        return Rejection(Reason.BAD_ENCODING, "the text is not valid UTF-8, or holds half a surrogate pair")
    if not isinstance(found, dict):
        return Rejection(Reason.NOT_AN_OBJECT, f"expected an object, found {_kind(found)}")
    return found


def too_deep(text: str) -> bool:
    """Tell whether arrays and objects are nested deeper than MAX_DEPTH."""
    if text.count("{") + text.count("[") <= MAX_DEPTH:
        return False
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > MAX_DEPTH:
            return True
    return False


def _unreadable(text: str) -> Rejection:
    detail = f"nested deeper than {MAX_DEPTH}"
    is_array = text.lstrip(" \t\r\n").startswith("[")
    return Rejection(Reason.NOT_AN_OBJECT if is_array else Reason.NOT_JSON, detail)


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _kind(value: object) -> str:
    if value is None:
        return "null"
    kinds = {dict: "an object", list: "an array", bool: "a boolean", str: "a string", Number: "a number"}
    return kinds[type(value)]


def _shown(value: object) -> str:
    if isinstance(value, str):
        return repr(value[:_MAX_SHOWN])[: _MAX_SHOWN + 20]
    return value.text[:_MAX_SHOWN] if isinstance(value, Number) else _kind(value)


class Fields:
    """The fields of one event: each method reads one of them and notes what is wrong with it."""

    def __init__(self, raw: dict[str, Any]) -> None:
        self._raw = raw
        self._wrong: list[Rejection] = []

    def refuse(self, reason: Reason, name: str, what: str) -> None:
        """Note a reason against the event."""
        self._wrong.append(Rejection(reason, f"{name}: {what}"[:_MAX_DETAIL]))

    def first_reason(self) -> Rejection | None:
        """Return the reason that comes first in the contract's order, None if the event is fine."""
        return min(self._wrong, key=lambda wrong: _ORDER[wrong.reason], default=None)

    def said(self, name: str) -> Any:
        """Return the value, strings trimmed; None where nothing is said."""
        value = self._raw.get(name)
        return (value.strip() or None) if isinstance(value, str) else value

    def wrong_type(self, name: str, expected: str) -> None:
        """Note that the field is of a type it cannot have."""
        self.refuse(Reason.WRONG_TYPE, name, f"expected {expected}, found {_kind(self._raw[name])}")

    def _short(self, name: str, value: str) -> str | None:
        if len(value) <= MAX_TEXT:
            return value
        self.refuse(Reason.TOO_LONG, name, f"{len(value)} characters, at most {MAX_TEXT} are kept")
        return None

    def require(self, name: str) -> None:
        """Note a required field that is not said."""
        if self.said(name) is None:
            self.refuse(Reason.MISSING_FIELD, name, "required, but missing, null or empty")

    def text(self, name: str) -> str | None:
        """Read a string, or for an id also an integer."""
        value = self.said(name)
        is_id = name.endswith("_id")
        if is_id and isinstance(value, Number) and value.whole:
            value = value.text
        if value is None:
            return None
        if not isinstance(value, str):
            return self.wrong_type(name, "a string or an integer" if is_id else "a string")
        return self._short(name, value)

    def one_of(self, name: str, known: tuple[str | None, ...]) -> int:
        """Read a word of a closed set as its place in it; 0 where nothing acceptable is said."""
        value = self.said(name)
        if value is None:
            return 0
        if not isinstance(value, str):
            self.wrong_type(name, "a string")
        elif value in known:
            return known.index(value)
        else:
            words = ", ".join(word for word in known if word)
            self.refuse(Reason.UNKNOWN_VALUE, name, f"{_shown(value)} is not one of {words}")
        return 0

    def flag(self, name: str) -> bool | None:
        """Read a boolean."""
        value = self.said(name)
        if value is None or isinstance(value, bool):
            return value
        return self.wrong_type(name, "true or false")

    def time(self, name: str, limits: Limits) -> int | None:
        """Read a time in any of its forms, as µs."""
        value = self.said(name)
        if value is None:
            return None
        if isinstance(value, Number):
            found = times.instant(value.value(), limits.zone)
        elif isinstance(value, str):
            if self._short(name, value) is None:
                return None
            found = times.instant(value, limits.zone)
        else:
            return self.wrong_type(name, "a time as text or number")
        if found is None:
            self.refuse(Reason.BAD_TIME, name, f"{_shown(value)} is no RFC 3339 time with a zone, date or epoch number")
        return found

    def occurred_at(self, received: int, limits: Limits) -> int:
        """Read when the event happened, and hold it against the accepted range."""
        self.require("occurred_at")
        found = self.time("occurred_at", limits)
        if found is not None and not EARLIEST <= found <= received + limits.max_future:
            what = "before 2000" if found < EARLIEST else "later than the record may be ahead of its arrival"
            self.refuse(Reason.TIME_OUT_OF_RANGE, "occurred_at", f"{_shown(self.said('occurred_at'))} is {what}")
        return found or 0

    def date(self, name: str) -> str | None:
        """Read a calendar date, YYYY-MM-DD."""
        value = self.text(name)
        if value is not None and not times.is_date(value):
            self.refuse(Reason.BAD_TIME, name, f"{_shown(value)} is no date; write YYYY-MM-DD")
        return value

    def amount(self, name: str) -> str | None:
        """Read a number or a decimal string as plain decimal text."""
        value = self.said(name)
        if value is None:
            return None
        if isinstance(value, Number):
            found = plain(value.text)
        elif isinstance(value, str):
            if self._short(name, value) is None:
                return None
            found = plain(value)
        else:
            return self.wrong_type(name, "a number or a decimal string")
        if found is None:
            self.refuse(Reason.BAD_AMOUNT, name, f"{_shown(value)} is no amount of at most 15 digits before the point")
        return found

    def currency(self, name: str) -> str | None:
        """Read an active ISO 4217 code."""
        value = self.said(name)
        if value is None:
            return None
        if not isinstance(value, str):
            return self.wrong_type(name, "a string")
        if value not in MINOR_DIGITS:
            self.refuse(Reason.UNKNOWN_VALUE, name, f"{_shown(value)} is no active ISO 4217 code")
        return value

    def duration(self, name: str) -> int:
        """Read seconds as whole ms; -1 where nothing acceptable is said."""
        value = self.said(name)
        if value is None:
            return -1
        if not isinstance(value, Number):
            self.wrong_type(name, "a number of seconds")
            return -1
        found = times.milliseconds(value.value())
        if found is None:
            most = times.MAX_DURATION_S
            self.refuse(Reason.UNKNOWN_VALUE, name, f"{_shown(value)} is not between 0 and {most} seconds")
            return -1
        return found

    def clear(self) -> tuple[str, ...]:
        """Read the names of the fields whose values are taken away, each once."""
        value = self._raw.get("clear")
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            self.refuse(Reason.WRONG_TYPE, "clear", "expected a list of field names")
            return ()
        names = tuple(dict.fromkeys(name.strip() for name in value))
        for name in names:
            if name not in SAYABLE:
                self.refuse(Reason.UNKNOWN_VALUE, "clear", f"{_shown(name)} cannot be cleared")
        return names

    def attributes(self) -> dict[str, Any] | None:
        """Read the flat object for scoring."""
        value = self._raw.get("attributes")
        if value is None:
            return None
        if not isinstance(value, dict):
            return self.wrong_type("attributes", "an object")
        found = tidy_attributes({name: one.value() if isinstance(one, Number) else one for name, one in value.items()})
        if isinstance(found, dict):
            return found or None
        self.refuse(*found)
        return None

    def keyed_by(self, key: bytes | None, owner: str | None) -> None:
        """Hold the record key against the id that it must equal."""
        if owner is not None and key != owner.encode():
            shown = repr((key or b"")[:_MAX_SHOWN].decode("utf-8", "replace"))[: _MAX_SHOWN + 20]
            self.refuse(Reason.KEY_MISMATCH, "record key", f"{shown} is not {_shown(owner)}")


def tidy_attributes(raw: dict[str, Any]) -> dict[str, Any] | tuple[Reason, str, str]:
    """Return the attributes with strings trimmed and numbers of at most 64 bits, or what is wrong with them."""
    found: dict[str, Any] = {}
    for name, value in raw.items():
        if isinstance(value, str):
            found[name] = value.strip()
            continue
        if isinstance(value, (list, dict)):
            return Reason.WRONG_TYPE, "attributes", f"{_shown(name)} is {_kind(value)}; only flat values are kept"
        if isinstance(value, int) and value not in _INT_64:
            value = float(value)
        if isinstance(value, float) and not -1.8e308 < value < 1.8e308:
            return Reason.WRONG_TYPE, "attributes", f"{_shown(name)} is no number that can be kept"
        found[name] = value
    size = len(msgspec.json.encode(found))
    if size > MAX_ATTRIBUTES:
        return Reason.TOO_LONG, "attributes", f"{size} bytes, at most {MAX_ATTRIBUTES} are kept"
    return found


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
    readers = {
        "amount": fields.amount,
        "quantity": fields.amount,
        "cost": fields.amount,
        "currency": fields.currency,
        "close_date": fields.date,
        "attributes": lambda _: fields.attributes(),
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
