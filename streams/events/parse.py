"""Is it a JSON object?  Bytes to the object with its numbers as they were written, or why there is none."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

import msgspec

from streams.events.contract import MAX_BYTES, MAX_DEPTH, MAX_TEXT, Reason, Rejection

MAX_DETAIL = 200

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")
# Group 1 is half a surrogate pair; a whole pair and any other escape are passed over.
_ESCAPE = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.", re.DOTALL
)


class Number(msgspec.Struct, frozen=True, gc=False):
    """A JSON number as it was written, so that no digit is lost and no magnitude is too much."""

    text: str
    whole: bool

    def value(self) -> float:
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
    """Return the object with its numbers as written; of two equal names the last one wins."""
    if not value:
        return Rejection(Reason.NOT_JSON, "the record has no value")
    if len(value) > MAX_BYTES:
        return Rejection(Reason.TOO_LARGE, f"{len(value)} bytes, at most {MAX_BYTES} are read")
    text = value.decode("utf-8", "replace")
    try:
        found = _load(text)
    except RecursionError:
        is_array = text.lstrip(" \t\r\n").startswith("[")
        return Rejection(Reason.NOT_AN_OBJECT if is_array else Reason.NOT_JSON, f"nested deeper than {MAX_DEPTH}")
    except ValueError as error:
        return Rejection(Reason.NOT_JSON, str(error)[:MAX_DETAIL])
    if not _is_utf8(value) or any(escape[1] for escape in _ESCAPE.finditer(text)):
        return Rejection(Reason.BAD_ENCODING, "the text is not valid UTF-8, or holds half a surrogate pair")
    return found if isinstance(found, dict) else Rejection(Reason.NOT_AN_OBJECT, f"found {kind_of(found)}")


def _load(text: str) -> object:
    """Parse JSON; RecursionError where it is too deep, by our bound or because the caller's stack is nearly used up."""
    if _is_too_deep(text):
        raise RecursionError
    return _JSON.decode(text)


def _is_too_deep(text: str) -> bool:
    """Tell whether arrays and objects are nested deeper than MAX_DEPTH."""
    if text.count("{") + text.count("[") <= MAX_DEPTH:
        return False
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > MAX_DEPTH:
            return True
    return False


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def kind_of(value: object) -> str:
    """Return for people what a JSON value is."""
    kinds = {dict: "an object", list: "an array", bool: "a boolean", str: "a string", Number: "a number"}
    return kinds.get(type(value), "null")
