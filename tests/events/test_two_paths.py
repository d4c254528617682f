from __future__ import annotations

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streams.events import decode, validate
from streams.events.contract import ACTIVITY_TYPES, DIRECTIONS, OUTCOMES, SAYABLE
from tests.events.records import ACTIVITY, LIMITS, RECEIVED, STAGE_CHANGE

ODD_TEXT = st.sampled_from(
    ["", " ", " x", "x\u00a0", "x" * 256, "x" * 257, " " + "x" * 256, "є", "😀", "\x00", "a\tb", "NaN", "1e5", "d1", "call"]
)  # fmt: skip
NUMBERS = (
    st.integers(-(10**18), 10**18)
    | st.sampled_from([0, -0.0, 1.0, 1e5, 1e16, 1e17, 1e308, 2**63, -(2**63) - 1, 10**15, 10**256, 10**400, 1e7, 1e7 + 1])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.floats(0, 2e9)
)
JUNK = st.none() | st.booleans() | NUMBERS | ODD_TEXT | st.text(max_size=6) | st.just([]) | st.just({}) | st.just([[1]])
TIMES = st.sampled_from(
    [
        "2024-05-06", "2024-05-06T07:08:09Z", "2024-05-06t07:08:09.5z", "2024-05-06 07:08:09.1234567+03:00",
        "2024-05-06T07:08:60.123Z", " 2024-05-06T07:08:09Z", "2024-05-06T07:08:09", "2025-01-01T00:05:00.000001Z",
        "2025-01-01T00:05:00Z", "1999-12-31T23:59:59.999999Z", "0000-01-01", "9999-12-31", "2023-02-29",
        1714979289, 1714979289.25, 1714979289123, 1714979289123456, -1, 1e17,
    ]
)  # fmt: skip
AMOUNTS = st.decimals(allow_nan=False, allow_infinity=False, places=3).map(str) | st.sampled_from(
    ["12", "-1.50", "+1", ".5", "5.", "1e3", "1e15", "999999999999999", " 1 ", "1,5", "0x1", "٣"]
)
VALUES = {
    "event_id": st.sampled_from(["e1", 1]),
    "occurred_at": TIMES,
    "deal_id": st.sampled_from(["d1", " d1", "d1 "]),
    "rep_id": st.sampled_from(["r1", 5, "d1"]),
    "type": st.sampled_from(ACTIVITY_TYPES),
    "direction": st.sampled_from(DIRECTIONS),
    "outcome": st.sampled_from(OUTCOMES),
    "duration_s": st.floats(-1, 4.1e6) | st.integers(-1, 4_000_001),
    "due_at": TIMES,
    "amount": AMOUNTS | NUMBERS,
    "quantity": AMOUNTS | NUMBERS,
    "cost": AMOUNTS | NUMBERS,
    "currency": st.sampled_from(["EUR", "JPY", " USD", "eur", "XXX"]),
    "close_date": st.sampled_from(["2024-05-06", " 2024-05-06", "2024-02-30", "0000-01-01"]),
    "attributes": st.dictionaries(st.text(max_size=3), JUNK, max_size=3) | st.just({"x": "y" * 1020}),
    "clear": st.lists(st.sampled_from([*SAYABLE, " rep_id", "pipeline", "", 1]), max_size=3),
    "deleted": st.booleans(),
    "automated": st.booleans(),
    "planned": st.booleans(),
}
NAMES = [
    *VALUES,
    "customer_id",
    "to_stage",
    "from_stage",
    "pipeline",
    "product",
    "region",
    "lead_source",
    "lost_reason",
    "zz",
]


@st.composite
def records(draw):
    """Write a valid record with up to four fields changed, as JSON of either style, and perhaps a few bytes broken."""
    event = {**draw(st.sampled_from([STAGE_CHANGE, ACTIVITY]))}
    for name in draw(st.lists(st.sampled_from(NAMES), max_size=4)):
        event[name] = draw(VALUES.get(name, ODD_TEXT) if draw(st.integers(0, 3)) else JUNK)
    for name in draw(st.lists(st.sampled_from(list(event)), max_size=1)):
        del event[name]
    separators = draw(st.sampled_from([(",", ":"), (", ", ": ")]))
    value = json.dumps(event, ensure_ascii=draw(st.booleans()), separators=separators).encode("utf-8", "surrogatepass")
    if not draw(st.integers(0, 4)):
        at = draw(st.integers(0, len(value)))
        value = value[:at] + draw(st.binary(max_size=3)) + value[at + draw(st.integers(0, 3)) :]
    return draw(st.sampled_from([b"d1", b"d1", b"d1", b"r1", b"5", b"", None])), value


def both_ways(name, record):
    """Return what the fast path and the full check make of a record; the fast one None where it does not decide."""
    key, value = record
    asked = []
    full = getattr(validate, name)

    def noted(*arguments):
        asked.append(arguments)
        return full(*arguments)

    setattr(validate, name, noted)
    try:
        found = getattr(decode, f"decode_{name}")(key, value, RECEIVED, LIMITS)
    finally:
        setattr(validate, name, full)
    return (None if asked else found), full(key, value, RECEIVED, LIMITS)


@settings(deadline=None, max_examples=150)
@given(records())
@example((b"d1", json.dumps(STAGE_CHANGE | {"to_stage": "", "pipeline": " "}).encode()))
@example((b"d1", json.dumps(STAGE_CHANGE)[:-1].encode() + b', "attributes": {"x": ' + b"9" * 400 + b"}}"))
def test_what_the_fast_path_takes_of_stage_changes_the_full_check_takes_alike(record):
    """The identical event to the type of every value, also at the edges of types, lengths, times and amounts."""
    fast, full = both_ways("stage_change", record)
    assert fast is None or repr(fast) == repr(full)


@settings(deadline=None, max_examples=150)
@given(records())
@example((b"d1", json.dumps(ACTIVITY | {"direction": "", "duration_s": 4.35}).encode()))
@example((b"d1", json.dumps(ACTIVITY | {"type": "meeting", "direction": "internal", "outcome": "held"}).encode()))
def test_what_the_fast_path_takes_of_activities_the_full_check_takes_alike(record):
    """The identical event to the type of every value, also at the edges of types, lengths, times and durations."""
    fast, full = both_ways("activity", record)
    assert fast is None or repr(fast) == repr(full)


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=3), st.integers(0, 10_000), st.booleans())
def test_bytes_that_the_typed_decoder_skips_are_judged_all_the_same(junk, place, escaped):
    """In an unknown field too, broken UTF-8, surrogates and bad JSON are found: the fast path never takes them."""
    inside = rb"\ud83d\ude00 \\ [1, {\"a\": \"b\"}]" if escaped else '"ключ": [1.5e3, "значення", {"a": null}]'.encode()
    inside = b'"' + inside + b'"' if escaped else b"{" + inside + b"}"
    at = place % len(inside)
    value = json.dumps(ACTIVITY).encode()[:-1] + b', "zz": ' + inside[:at] + junk + inside[at:] + b"}"
    fast, full = both_ways("activity", (b"d1", value))
    assert fast is None or repr(fast) == repr(full)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("activity", {"rep_id": 7, "duration_s": 12.5, "due_at": 1714979289, "direction": None, "customer_id": ""}),
        ("activity", {"event_id": 5, "occurred_at": 1714979289.5, "note": "є" * 300, "rep_id": " r1 "}),
        ("activity", {"occurred_at": "2024-05-06", "planned": True, "automated": None, "outcome": ""}),
        ("stage_change", {"amount": 12.5, "cost": None, "quantity": "3", "currency": "EUR", "close_date": "2024-05-06"}),
        ("stage_change", {"rep_id": 7, "customer_id": "", "clear": ["region"], "attributes": {"size": 5}, "to_stage": ""}),
    ],
)
def test_ordinary_events_do_not_need_the_full_check(name, changes):
    """Integer ids, nulls, blanks, numbers for times and non-ASCII text are everyday input and stay on the fast path."""
    event = (ACTIVITY if name == "activity" else STAGE_CHANGE) | changes
    assert both_ways(name, (b"d1", json.dumps(event, ensure_ascii=False).encode()))[0] is not None
