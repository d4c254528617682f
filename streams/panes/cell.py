"""What is in a cell?  A small map from measure to integer, and nothing else is ever summed.

A measure key is kind << 16 | sub.  `sub` is a currency, a histogram bucket, an activity's type and direction, or a maturity;
most kinds have none.  Zero entries are dropped, so a cell taken back to nothing is empty.
"""

from __future__ import annotations

from enum import IntEnum

import msgspec

Cell = dict[int, int]


class Measure(IntEnum):
    """Every kind of integer that is ever summed.  Times in ms, money in minor units."""

    NEW_LEADS = 1
    ENTERED = 2
    LEFT = 3
    STAY_MS = 4
    STAY = 5  # histogram
    COHORT_ENTERED = 6
    COHORT_ADVANCED = 7
    CREATED = 8  # sub, as in ASKED: 0 for all of them, else those of one maturity
    CREATED_WON = 9
    ASKED = 10  # created, in the cuts of the response KPIs
    ANSWERED = 11
    WITHIN_SLA = 12
    RESPONSE_MS = 13
    RESPONSE = 14  # histogram
    BUSINESS_MS = 15
    BUSINESS = 16  # histogram
    WON = 17
    LOST = 18
    WON_CYCLES = 19
    WON_CYCLE_MS = 20
    WON_CYCLE = 21  # histogram
    CLOSED_CYCLES = 22
    CLOSED_CYCLE_MS = 23
    CLOSED_CYCLE = 24  # histogram
    REVENUE = 25  # sub: currency
    REVENUE_DEALS = 26  # sub: currency
    ACTIVITIES = 27  # sub: type * 4 + direction as said
    OUTBOUND_CALLS = 28
    CONNECTED_CALLS = 29
    TALK_MS = 30
    TALKS = 31
    LEADS = 32
    ACTIVE = 33
    VALUE = 34  # sub: currency
    VALUE_DEALS = 35  # sub: currency
    WAITING = 36
    ADVANCED_IN_TIME = 37  # of the cohort, before it was mature: what alerts judge, the same live and in a replay
    WON_IN_TIME = 38


_ACTIVITIES = Measure.ACTIVITIES.value


def currency_code(currency: str) -> int:
    """Return a three-letter currency as a number below 26^3."""
    first, second, third = currency.encode("ascii")
    return ((first - 65) * 26 + second - 65) * 26 + third - 65


def currency_name(code: int) -> str:
    """Return the currency of a code."""
    return chr(code // 676 + 65) + chr(code // 26 % 26 + 65) + chr(code % 26 + 65)


def of_maturity(measure: Measure, days: int) -> int:
    """Return the key of the entries of a cohort that are mature after so many days: for them who mature apart from most."""
    return measure << 16 | days + 1


def add(total: Cell, cell: Cell, times: int = 1) -> None:
    """Add a cell to a total, in place; times -1 takes it away."""
    if times != 1:
        cell = {key: value * times for key, value in cell.items()}
    if not total and all(cell.values()):
        total.update(cell)
        return
    for key, value in cell.items():
        found = total.get(key, 0) + value
        if found:
            total[key] = found
        else:
            total.pop(key, None)


_TYPES_AT = 48  # behind the bits of all measures


def activity_type(sub: int) -> int:
    """Return the bit of an activity's type, by its sub: a call changes nothing that is told of e-mails."""
    return 1 << _TYPES_AT + (sub >> 2)


def kinds(cell: Cell) -> int:
    """Return the kinds of a cell as a bit mask; activities by their type, too."""
    mask = 0
    for key in cell:
        kind = key >> 16
        mask |= 1 << kind
        if kind == _ACTIVITIES:
            mask |= 1 << _TYPES_AT + ((key & 0xFFFF) >> 2)
    return mask


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Cell).decode
_decode_wide = msgspec.msgpack.Decoder(dict[int, int | bytes]).decode
_FITS = 1 << 63


def narrow(cell: Cell) -> dict[int, int | bytes]:
    """Return a cell as MessagePack can hold it: integers beyond 64 bits as bytes, so that no sum ever overflows."""
    return {
        key: value if -_FITS <= value < _FITS else value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True)
        for key, value in cell.items()
    }


def widen(cell: dict[int, int | bytes]) -> Cell:
    """Return the cell that was narrowed."""
    return {
        key: value if isinstance(value, int) else int.from_bytes(value, "big", signed=True) for key, value in cell.items()
    }


def pack(cell: Cell) -> bytes:
    """Return a cell as bytes."""
    try:
        return _encode(cell)
    except OverflowError:
        return _encode(narrow(cell))


def unpack(data: bytes) -> Cell:
    """Return the cell of bytes."""
    try:
        return _decode(data)
    except msgspec.ValidationError:
        return widen(_decode_wide(data))
