"""What does each field say, and what is wrong with it?  One method per kind of field of the contract.

Every field is checked before the first reason is chosen, so that a missing field wins over a wrong type elsewhere.
"""

from __future__ import annotations

from math import isfinite
from typing import Any

import msgspec

from streams.events import times
from streams.events.amounts import plain
from streams.events.contract import (
    EARLIEST,
    MAX_ATTRIBUTES,
    MAX_TEXT,
    SAYABLE,
    Limits,
    Reason,
    Rejection,
)
from streams.events.currencies import MINOR_DIGITS
from streams.events.parse import MAX_DETAIL, Number, kind_of

_ORDER = {reason: place for place, reason in enumerate(Reason)}
_MAX_SHOWN = 60
_INT_64 = range(-(2**63), 2**63)


def _shown(value: object) -> str:
    """Return the beginning of a value for people."""
    if isinstance(value, str):
        return repr(value[:_MAX_SHOWN])[: _MAX_SHOWN + 20]
    return value.text[:_MAX_SHOWN] if isinstance(value, Number) else kind_of(value)


def tidy_attributes(raw: dict[str, Any]) -> dict[str, Any] | tuple[Reason, str]:
    """Return the attributes with strings trimmed and numbers of at most 64 bits, or what is wrong with them."""
    found: dict[str, Any] = {}
    for name, value in raw.items():
        if isinstance(value, str):
            found[name] = value.strip()
            continue
        if isinstance(value, (list, dict)):
            return Reason.WRONG_TYPE, f"{_shown(name)} is {kind_of(value)}; only flat values are kept"
        found[name] = float(value) if isinstance(value, int) and value not in _INT_64 else value
        if isinstance(value, float) and not isfinite(value):
            return Reason.WRONG_TYPE, f"{_shown(name)} is no number that can be kept"
    size = len(msgspec.json.encode(found))
    if size > MAX_ATTRIBUTES:
        return Reason.TOO_LONG, f"{size} bytes, at most {MAX_ATTRIBUTES} are kept"
    return found


class Fields:
    """The fields of one event: each method reads one of them and notes what is wrong with it."""

    def __init__(self, raw: dict[str, Any]) -> None:
        self._raw = raw
        self._wrong: list[Rejection] = []

    def refuse(self, reason: Reason, name: str, what: str) -> None:
        """Note a reason against the event."""
        self._wrong.append(Rejection(reason, f"{name}: {what}"[:MAX_DETAIL]))

    def first_reason(self) -> Rejection | None:
        """Return the reason that comes first in the contract's order, None if the event is fine."""
        return min(self._wrong, key=lambda wrong: _ORDER[wrong.reason], default=None)

    def said(self, name: str) -> Any:
        """Return the value, strings trimmed; None where nothing is said."""
        value = self._raw.get(name)
        return (value.strip() or None) if isinstance(value, str) else value

    def wrong_type(self, name: str, expected: str) -> None:
        """Note that the field is of a type it cannot have."""
        self.refuse(Reason.WRONG_TYPE, name, f"expected {expected}, found {kind_of(self._raw[name])}")

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
            self.wrong_type(name, "a string or an integer" if is_id else "a string")
            return None
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
        self.wrong_type(name, "true or false")
        return None

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
            self.wrong_type(name, "a time as text or number")
            return None
        if found is None:
            self.refuse(Reason.BAD_TIME, name, f"{_shown(value)} is no RFC 3339 time with a zone, date or epoch number")
        return found

    def occurred_at(self, received: int, limits: Limits) -> int:
        """Read when the event happened, and hold it against the accepted range."""
        self.require("occurred_at")
        found = self.time("occurred_at", limits)
        if found is not None and not EARLIEST <= found <= received + limits.max_future:
            what = "is before 2000" if found < EARLIEST else "is more than max_future after the record arrived"
            if received < 0:
                what = "has no Kafka timestamp in milliseconds to be held against"
            self.refuse(Reason.TIME_OUT_OF_RANGE, "occurred_at", f"{_shown(self.said('occurred_at'))} {what}")
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
            self.wrong_type(name, "a number or a decimal string")
            return None
        if found is None:
            self.refuse(Reason.BAD_AMOUNT, name, f"{_shown(value)} is no amount of at most 15 digits before the point")
        return found

    def currency(self, name: str) -> str | None:
        """Read an ISO 4217 code, also one that was withdrawn since 2000."""
        value = self.said(name)
        if value is None:
            return None
        if not isinstance(value, str):
            self.wrong_type(name, "a string")
            return None
        if value not in MINOR_DIGITS:
            self.refuse(Reason.UNKNOWN_VALUE, name, f"{_shown(value)} is no ISO 4217 code in use since 2000")
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
        value = self.said("clear")
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

    def attributes(self, name: str) -> dict[str, Any] | None:
        """Read the flat object for scoring."""
        value = self.said(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            self.wrong_type(name, "an object")
            return None
        found = tidy_attributes({label: one.value() if isinstance(one, Number) else one for label, one in value.items()})
        if isinstance(found, dict):
            return found or None
        reason, what = found
        self.refuse(reason, name, what)
        return None

    def keyed_by(self, key: bytes | None, owner: str | None) -> None:
        """Hold the record key against the id that it must equal."""
        if owner is not None and key != owner.encode():
            shown = repr((key or b"")[:_MAX_SHOWN].decode("utf-8", "replace"))[: _MAX_SHOWN + 20]
            self.refuse(Reason.KEY_MISMATCH, "record key", f"{shown} is not {_shown(owner)}")
