from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.events.contract import Activity, Reason, Rejection, StageChange
from streams.events.decode import decode_activity, decode_stage_change
from tests.events.records import (
    ABSENT,
    ACTIVITY,
    LIMITS,
    RECEIVED,
    STAGE_CHANGE,
    activity,
    stage_change,
    with_literal,
)

BOTH = pytest.mark.parametrize("decode", [decode_stage_change, decode_activity])
VALID = json.dumps({**STAGE_CHANGE, **ACTIVITY}).encode()


@BOTH
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "not_json"),
        (b"", "not_json"),
        (b" ", "not_json"),
        (b"{", "not_json"),
        (b"{}x", "not_json"),
        (b"{'a': 1}", "not_json"),
        (b'{"a": 1,}', "not_json"),
        (b'{"a": 01}', "not_json"),
        (b'{"a": NaN}', "not_json"),
        (b'{"a": Infinity}', "not_json"),
        (b'{"a": -Infinity}', "not_json"),
        (b"NaN", "not_json"),
        (b'{"a": "\n"}', "not_json"),
        (rb'{"a": "\x"}', "not_json"),
        (b"\xef\xbb\xbf{}", "not_json"),
        (b"\xff\xfe{}", "not_json"),
        ('{"a": 1}'.encode("utf-16"), "not_json"),
        (VALID[:-1], "not_json"),
        (VALID[:-1] + b', "x": NaN}', "not_json"),
        (b'{"a": ' * 2000, "not_json"),
        (b'{"a": ' * 2000 + b"1" + b"}" * 2000, "not_json"),
        (VALID[:-1] + b', "x": ' + b"[" * 300 + b"]" * 300 + b"}", "not_json"),
        (b'{"a": "\xff"}', "bad_encoding"),
        (VALID[:-1] + b', "x": "\xff"}', "bad_encoding"),
        (VALID[:-1] + b', "\xc3": 1}', "bad_encoding"),
        (VALID[:-1] + b', "x": "\xed\xa0\x80"}', "bad_encoding"),
        (VALID[:-1] + rb', "x": "\ud800"}', "bad_encoding"),
        (VALID[:-1] + rb', "x": "\ude00\ud83d"}', "bad_encoding"),
        (VALID[:-1] + rb', "\uDBFF": 1}', "bad_encoding"),
        (b'["\xff"]', "bad_encoding"),
        (b'"caf\xe9"', "bad_encoding"),
        (b" " * (64 * 1024 + 1), "too_large"),
        (b"\xff" * 2_000_000, "too_large"),
        (b"[" * 2_000_000, "too_large"),
        (VALID[:-1] + b', "x": "' + b"x" * 65_536 + b'"}', "too_large"),
        (b"null", "not_an_object"),
        (b"true", "not_an_object"),
        (b"1e400", "not_an_object"),
        (b'"{}"', "not_an_object"),
        (b"[]", "not_an_object"),
        (b"[" + VALID + b"]", "not_an_object"),
        (b"[" * 2000, "not_an_object"),
        (b" \n[" + b"[" * 2000 + b"]" * 2001, "not_an_object"),
        (b"{}", "missing_field"),
    ],
)
def test_what_is_no_json_object_is_told_apart(decode, value, reason):
    """Bytes that hold no event, on either topic: the exact reason, whatever the bytes."""
    assert decode(b"d1", value, RECEIVED, LIMITS).reason == reason


@BOTH
def test_nesting_as_deep_as_the_bound_is_read(decode):
    """An unknown field may be nested so deep that with the event itself it makes 256."""
    deep = VALID[:-1] + b', "x": ' + b"[" * 255 + b"]" * 255 + b"}"
    assert not isinstance(decode(b"d1", deep, RECEIVED, LIMITS), Rejection)


@BOTH
def test_brackets_inside_strings_are_not_nesting(decode):
    """Only arrays and objects count."""
    flat = VALID[:-1] + b', "x": "' + b"[" * 5000 + rb"\"{" + b'"}'
    assert not isinstance(decode(b"d1", flat, RECEIVED, LIMITS), Rejection)


@BOTH
def test_exactly_64_kib_are_read(decode):
    """The limit itself is allowed."""
    value = VALID + b" " * (64 * 1024 - len(VALID))
    assert not isinstance(decode(b"d1", value, RECEIVED, LIMITS), Rejection)


LONG = "x" * 257
STAGE_ROWS = [
    ("event_id", ABSENT, "missing_field"),
    ("event_id", None, "missing_field"),
    ("event_id", " ", "missing_field"),
    ("event_id", True, "wrong_type"),
    ("event_id", 1.0, "wrong_type"),
    ("event_id", ["e"], "wrong_type"),
    ("event_id", LONG, "too_long"),
    ("event_id", 10**256, "too_long"),
    ("event_id", -(10**255), "too_long"),
    ("occurred_at", ABSENT, "missing_field"),
    ("occurred_at", "", "missing_field"),
    ("occurred_at", True, "wrong_type"),
    ("occurred_at", {}, "wrong_type"),
    ("occurred_at", LONG, "too_long"),
    ("occurred_at", "yesterday", "bad_time"),
    ("occurred_at", "2024-05-06T07:08:09", "bad_time"),
    ("occurred_at", "1714979289", "bad_time"),
    ("occurred_at", 10**17, "bad_time"),
    ("occurred_at", 10**400, "bad_time"),
    ("occurred_at", 0, "time_out_of_range"),
    ("occurred_at", -1, "time_out_of_range"),
    ("occurred_at", -1.5, "time_out_of_range"),
    ("occurred_at", "1969-07-20T20:17:40Z", "time_out_of_range"),
    ("occurred_at", "0000-01-01T00:00:00Z", "time_out_of_range"),
    ("occurred_at", "9999-12-31T23:59:59Z", "time_out_of_range"),
    ("occurred_at", "9999-12-31", "time_out_of_range"),
    ("deal_id", ABSENT, "missing_field"),
    ("deal_id", 1.5, "wrong_type"),
    ("deal_id", LONG, "too_long"),
    ("deal_id", "d2", "key_mismatch"),
    ("deal_id", "D1", "key_mismatch"),
    *[
        (field, wrong, "wrong_type")
        for field in ("to_stage", "from_stage", "pipeline", "product", "region", "lead_source", "lost_reason")
        for wrong in (5, 1.5, True, [], {})
    ],
    *[(field, wrong, "wrong_type") for field in ("rep_id", "customer_id") for wrong in (1.0, False, [], {})],
    *[
        (field, LONG, "too_long")
        for field in ("to_stage", "from_stage", "pipeline", "rep_id", "customer_id", "product", "region", "lead_source")
    ],
    *[
        (field, wrong, reason)
        for field in ("amount", "quantity", "cost")
        for wrong, reason in (
            (True, "wrong_type"),
            ([1], "wrong_type"),
            ({"value": 1}, "wrong_type"),
            (LONG, "too_long"),
            ("12,50", "bad_amount"),
            ("NaN", "bad_amount"),
            ("Infinity", "bad_amount"),
            ("ten", "bad_amount"),
            (10**15, "bad_amount"),
            (10**400, "bad_amount"),
            ("1e400", "bad_amount"),
        )
    ],
    ("currency", 978, "wrong_type"),
    ("currency", "eur", "unknown_value"),
    ("currency", "XXX", "unknown_value"),
    ("currency", "PLZ", "unknown_value"),
    ("currency", LONG, "unknown_value"),
    ("close_date", 20240506, "wrong_type"),
    ("close_date", "2024-02-30", "bad_time"),
    ("close_date", "06.05.2024", "bad_time"),
    ("close_date", "2024-05-06T00:00:00Z", "bad_time"),
    ("close_date", LONG, "too_long"),
    ("attributes", "x", "wrong_type"),
    ("attributes", ["x"], "wrong_type"),
    ("attributes", {"x": []}, "wrong_type"),
    ("attributes", {"x": {}}, "wrong_type"),
    ("attributes", {"x": 10**400}, "wrong_type"),
    ("attributes", {"x": "y" * 1100}, "too_long"),
    ("attributes", {"y" * 1100: None}, "too_long"),
    ("clear", "rep_id", "wrong_type"),
    ("clear", {"rep_id": True}, "wrong_type"),
    ("clear", [1], "wrong_type"),
    ("clear", [None], "wrong_type"),
    ("clear", ["pipeline"], "unknown_value"),
    ("clear", ["deleted"], "unknown_value"),
    ("clear", ["rep_id", "nonsense"], "unknown_value"),
    ("clear", [""], "unknown_value"),
    ("clear", [LONG], "unknown_value"),
    ("deleted", 1, "wrong_type"),
    ("deleted", "true", "wrong_type"),
]
ACTIVITY_ROWS = [
    ("event_id", ABSENT, "missing_field"),
    ("type", ABSENT, "missing_field"),
    ("type", None, "missing_field"),
    ("type", "", "missing_field"),
    ("type", 1, "wrong_type"),
    ("type", "phone", "unknown_value"),
    ("type", "Call", "unknown_value"),
    ("type", LONG, "unknown_value"),
    ("deal_id", ABSENT, "missing_field"),
    ("deal_id", "", "missing_field"),
    ("deal_id", False, "wrong_type"),
    ("deal_id", "d2", "key_mismatch"),
    ("rep_id", 1.5, "wrong_type"),
    ("rep_id", LONG, "too_long"),
    ("customer_id", [], "wrong_type"),
    ("customer_id", 10**300, "too_long"),
    ("direction", 1, "wrong_type"),
    ("direction", "out", "unknown_value"),
    ("outcome", True, "wrong_type"),
    ("outcome", "great", "unknown_value"),
    ("duration_s", "60", "wrong_type"),
    ("duration_s", True, "wrong_type"),
    ("duration_s", -1, "unknown_value"),
    ("duration_s", -0.001, "unknown_value"),
    ("duration_s", 10_000_001, "unknown_value"),
    ("duration_s", 10**400, "unknown_value"),
    ("automated", 0, "wrong_type"),
    ("automated", "no", "wrong_type"),
    ("planned", [], "wrong_type"),
    ("due_at", True, "wrong_type"),
    ("due_at", LONG, "too_long"),
    ("due_at", "tomorrow", "bad_time"),
    ("due_at", "2024-05-06T07:08:09", "bad_time"),
    ("due_at", 10**17, "bad_time"),
]


@pytest.mark.parametrize(("field", "value", "reason"), STAGE_ROWS)
def test_every_field_of_a_stage_change_has_its_reasons(field, value, reason):
    """One broken field, one reason, and the detail names the field."""
    found = stage_change(**{field: value})
    assert (found.reason, field in found.detail or reason == "key_mismatch") == (reason, True)


@pytest.mark.parametrize(("field", "value", "reason"), ACTIVITY_ROWS)
def test_every_field_of_an_activity_has_its_reasons(field, value, reason):
    """One broken field, one reason, and the detail names the field."""
    found = activity(**{field: value})
    assert (found.reason, field in found.detail or reason == "key_mismatch") == (reason, True)


@pytest.mark.parametrize(
    ("field", "literal", "reason"),
    [
        *[(field, literal, "bad_amount") for field in ("amount", "quantity", "cost") for literal in (
            b"1e400", b"-1e400", b"1e-400", b"9" * 5000, b"1e999999999999999999999", b"0." + b"1" * 5000
        )],
        *[("occurred_at", literal, "bad_time") for literal in (b"1e400", b"-1e400", b"9" * 5000, b"1e17")],
        *[(field, b"9" * 5000, "too_long") for field in ("event_id", "deal_id", "rep_id", "customer_id")],
        *[(field, b"1e400", "wrong_type") for field in ("event_id", "deal_id", "rep_id", "to_stage")],
        *[("attributes", literal, "wrong_type") for literal in (b'{"x": 1e400}', b'{"x": ' + b"9" * 5000 + b"}")],
    ],
)  # fmt: skip
def test_absurd_magnitudes_have_a_reason_and_crash_nothing(field, literal, reason):
    """Numbers beyond every machine type are refused by the field they stand in."""
    assert decode_stage_change(b"d1", with_literal(field, literal), RECEIVED, LIMITS).reason == reason


@pytest.mark.parametrize("literal", [b"1e400", b"9" * 5000, b"-" + b"9" * 5000])
def test_an_absurd_duration_is_an_unknown_value(literal):
    """A duration has bounds like any closed set."""
    value = with_literal("duration_s", literal, ACTIVITY)
    assert decode_activity(b"d1", value, RECEIVED, LIMITS).reason == "unknown_value"


@pytest.mark.parametrize("key", [None, b"", b"d", b"d1 ", b"D1", b"\xff", b"x" * 100_000])
def test_a_key_that_is_not_the_deal_is_a_mismatch(key):
    """No key, an empty one and any other bytes: the record would sit in the wrong partition."""
    assert (stage_change(key=key).reason, activity(key=key).reason) == ("key_mismatch", "key_mismatch")


def test_an_activity_with_a_deal_keyed_by_its_rep_is_a_mismatch():
    """Where a deal is named, the key is the deal."""
    assert activity(rep_id="r1", key=b"r1").reason == "key_mismatch"


BROKEN = {  # one way to break a stage change for each reason that a field can have, in the contract's order
    "missing_field": {"event_id": None},
    "wrong_type": {"deleted": "yes"},
    "unknown_value": {"currency": "???"},
    "too_long": {"lost_reason": LONG},
    "bad_time": {"close_date": "soon"},
    "time_out_of_range": {"occurred_at": "1999-01-01"},
    "bad_amount": {"amount": "much"},
    "key_mismatch": {"key": b"other"},
}


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(BROKEN, 2)))
def test_of_two_reasons_the_first_in_the_contract_s_order_is_given(first, second):
    """The order of reasons decides over the whole event, not the order of fields."""
    assert stage_change(**BROKEN[second], **BROKEN[first]).reason == first


def test_all_reasons_at_once_give_the_first():
    """An event that is wrong in every way misses a field."""
    assert stage_change(**{name: value for way in BROKEN.values() for name, value in way.items()}).reason == "missing_field"


def test_the_order_of_the_enum_is_the_order_of_the_contract():
    """The tests above follow design and enum alike."""
    assert [reason for reason in Reason if reason in BROKEN] == list(BROKEN)


@settings(deadline=None)
@given(st.sampled_from([*STAGE_ROWS, ("to_stage", "y" * 60_000, ""), ("amount", "\x00" * 256, "")]))
def test_a_detail_is_short_and_shows_little_of_the_value(row):
    """At most 200 characters, at most 80 of them from the value."""
    field, value, _ = row
    found = stage_change(**{field: value})
    assert (len(found.detail) <= 200, found.detail.count("x") <= 80, found.detail.count("y") <= 82) == (True,) * 3


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"close_date": "06.05.2024"}, "close_date: '06.05.2024' is no date; write YYYY-MM-DD"),
        ({"occurred_at": "1999-01-01"}, "occurred_at: '1999-01-01' is before 2000"),
        ({"occurred_at": 915148800}, "occurred_at: 915148800 is before 2000"),
        ({"occurred_at": "2031-01-01"}, "occurred_at: '2031-01-01' is more than max_future after the record arrived"),
        ({"currency": "XXX1"}, "currency: 'XXX1' is no ISO 4217 code in use since 2000"),
        ({"amount": 1e20}, "amount: 1e+20 is no amount of at most 15 digits before the point"),
        ({"attributes": {"a": [1]}}, "attributes: 'a' is an array; only flat values are kept"),
    ],
    ids=lambda one: "" if isinstance(one, str) else str(*one),
)
def test_a_detail_names_field_value_and_remedy(changes, detail):
    """People read it in the dead-letter topic."""
    assert stage_change(**changes).detail == detail


@settings(deadline=None)
@given(st.none() | st.binary(max_size=400), st.none() | st.binary(max_size=10))
def test_no_bytes_make_decoding_raise(value, key):
    """Any key and any value give an event or a rejection."""
    assert isinstance(decode_stage_change(key, value, RECEIVED, LIMITS), StageChange | Rejection)
    assert isinstance(decode_activity(key, value, RECEIVED, LIMITS), Activity | Rejection)
