"""How much is it?  Amounts as plain decimal text, exactly as said, and as whole minor units of a currency."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import lru_cache

from streams.events.contract import MAX_TEXT
from streams.events.currencies import MINOR_DIGITS

MAX_WHOLE_DIGITS = 15

_PLAIN = re.compile(r"-?[1-9][0-9]{0,14}(?:\.[0-9]{1,200})?")
_DECIMAL = re.compile(r"([+-]?)(?=\.?[0-9])([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?)0*([0-9]+))?")
# Wide enough that nothing which passed `plain` is rounded before the last step.
_EXACT = Context(prec=2 * MAX_TEXT, rounding=ROUND_HALF_EVEN)


def plain(text: str) -> str | None:
    """Return the number without exponent, plus sign or needless zeros in front; None if it is no acceptable amount.

    Digits after the point stay as written.  Refused: more than 15 digits before the point, more than 256 characters.
    """
    if _PLAIN.fullmatch(text):
        return text
    found = _DECIMAL.fullmatch(text) if len(text) <= MAX_TEXT else None
    if not found:
        return None
    sign, whole, fraction = found[1], found[2], found[3] or ""
    digits = (whole + fraction).lstrip("0")
    if not digits:
        return "0"
    exponent = int(found[4] + found[5]) if found[5] else 0
    point = len(digits) - len(fraction) + exponent
    if not -MAX_TEXT < point <= MAX_WHOLE_DIGITS:
        return None
    shown = _placed(digits, point)
    return (("-" if sign == "-" else "") + shown) if len(shown) < MAX_TEXT else None


def _placed(digits: str, point: int) -> str:
    """Put the decimal point after so many digits."""
    if point <= 0:
        return "0." + "0" * -point + digits
    if point >= len(digits):
        return digits + "0" * (point - len(digits))
    return f"{digits[:point]}.{digits[point:]}"


@lru_cache(maxsize=32768)
def to_minor(text: str, currency: str) -> int:
    """Round plain decimal text half-even to whole minor units.  KeyError for a code that is not in MINOR_DIGITS."""
    scaled = _EXACT.scaleb(Decimal(text), MINOR_DIGITS[currency])
    return int(_EXACT.to_integral_value(scaled))
