from __future__ import annotations

import json

import pytest

from streams.events.contract import ACTIVITY_TYPES, DIRECTIONS, OUTCOMES, SAYABLE, Activity, Rejection, StageChange
from streams.events.decode import decode_activity, decode_stage_change
from tests.events.records import ABSENT, AT, LIMITS, RECEIVED, STAGE_CHANGE, activity, stage_change, utc, with_literal


def test_a_stage_change_with_everything_said():
    """Every field of the contract arrives under its name, in its normal form."""
    found = stage_change(
        event_id=7,
        occurred_at="2024-05-06T10:08:09+03:00",
        from_stage=" Proposal ",
        pipeline="default",
        rep_id=12,
        customer_id="c-1",
        product="GTX Pro",
        region="EU",
        lead_source="web",
        amount=1234.50,
        currency="EUR",
        quantity=3,
        cost="1e3",
        close_date="2024-06-30",
        lost_reason="price",
        attributes={"size": 40, "score": 0.5, "vip": True, "note": " x ", "none": None},
        clear=["region", "region", "cost"],
        deleted=False,
    )
    said = {
        "rep_id": "12",
        "customer_id": "c-1",
        "product": "GTX Pro",
        "region": "EU",
        "lead_source": "web",
        "amount": "1234.5",
        "currency": "EUR",
        "quantity": "3",
        "cost": "1000",
        "close_date": "2024-06-30",
        "lost_reason": "price",
        "attributes": {"size": 40, "score": 0.5, "vip": True, "note": "x", "none": None},
    }
    assert found == StageChange(
        "7", AT, "d1", "Won", "Proposal", "default", said=said, clear=("region", "cost"), deleted=False
    )


def test_an_activity_with_everything_said():
    """Words become places in the contract's tables, seconds whole milliseconds."""
    found = activity(
        event_id=7,
        rep_id=12,
        customer_id="c-1",
        type="meeting",
        direction="outbound",
        outcome="held",
        duration_s=90.5,
        automated=True,
        planned=True,
        due_at="2024-05-07",
    )
    expected = (ACTIVITY_TYPES.index("meeting"), DIRECTIONS.index("outbound"), OUTCOMES.index("held"), 90_500)
    assert found == Activity("7", AT, "d1", "12", "c-1", *expected, automated=True, planned=True)


def test_the_least_that_a_stage_change_says():
    """Nothing is invented for what was not said."""
    assert stage_change(to_stage=ABSENT) == StageChange("e1", AT, "d1", None, None, None, {}, (), None)


def test_the_least_that_an_activity_says():
    """Direction and outcome are 0, the duration -1, the flags false."""
    expected = Activity("e1", AT, "d1", None, None, 0, 0, 0, -1, automated=False, planned=False)
    assert activity() == expected


def test_an_activity_without_a_deal_is_keyed_by_its_rep():
    """The rep's id is the owner where no deal is named."""
    found = activity(deal_id=ABSENT, rep_id="r1", key=b"r1")
    assert (found.deal_id, found.rep_id) == (None, "r1")


@pytest.mark.parametrize("nothing", [None, "", "  \t\u00a0 "])
@pytest.mark.parametrize("field", ["to_stage", "from_stage", "pipeline", "deleted", "clear", *SAYABLE])
def test_null_and_empty_strings_say_nothing_in_a_stage_change(field, nothing):
    """Null, an empty string and a blank one are the same as a missing field."""
    assert stage_change(**{field: nothing}) == stage_change(**{field: ABSENT})


@pytest.mark.parametrize("nothing", [None, "", "  \t\u00a0 "])
@pytest.mark.parametrize(
    "field", ["rep_id", "customer_id", "direction", "outcome", "duration_s", "automated", "planned", "due_at"]
)
def test_null_and_empty_strings_say_nothing_in_an_activity(field, nothing):
    """Null, an empty string and a blank one are the same as a missing field."""
    assert activity(**{field: nothing}) == activity()


@pytest.mark.parametrize("blank", [" ", "\t", "\n", "\u00a0", "\u3000", "\u2028", " \r\n "])
def test_strings_are_trimmed_of_all_unicode_white_space(blank):
    """Around a value white space is dropped, inside it is kept."""
    found = stage_change(to_stage=f"{blank}Closed{blank}Won{blank}", product=f"{blank}GTX{blank}")
    assert (found.to_stage, found.said) == (f"Closed{blank}Won", {"product": "GTX"})


def test_control_characters_inside_are_kept():
    """NUL and its kind are data; only white space around a value goes."""
    assert stage_change(to_stage="a\x00b\x1bc\x7f").to_stage == "a\x00b\x1bc\x7f"


def test_exactly_256_characters_pass_after_trimming():
    """The limit counts characters, not bytes, of what is left after trimming."""
    assert stage_change(product=" " * 50 + "є" * 256 + " ").said == {"product": "є" * 256}


@pytest.mark.parametrize("field", ["rep_id", "customer_id"])
@pytest.mark.parametrize("number", [0, -5, 2**63, 10**255])
def test_ids_may_be_integers_of_any_size_that_fits_a_string(field, number):
    """An integer id is the text of its digits."""
    assert stage_change(**{field: number}).said == {field: str(number)}


def test_an_integer_deal_id_equals_the_key_as_text():
    """The key of deal 42 is b"42"."""
    assert stage_change(deal_id=42, key=b"42").deal_id == "42"


def test_the_key_is_utf_8():
    """A Ukrainian deal id is compared by its UTF-8 bytes."""
    assert activity(deal_id="угода-1", key="угода-1".encode()).deal_id == "угода-1"


def test_unknown_fields_are_ignored_whatever_they_hold():
    """Deep, huge or odd values of fields that nobody reads change nothing."""
    value = with_literal("extra", b'{"a": [1e400, {"b": [[[]]]}, ' + b"9" * 5000 + b"]}")
    assert decode_stage_change(b"d1", value, RECEIVED, LIMITS) == stage_change()


def test_of_a_field_that_stands_twice_the_last_one_wins():
    """Duplicate names are legal JSON; even a broken first value does not count."""
    value = with_literal("to_stage", b'"Lost", "region": 5, "region": "EU"', STAGE_CHANGE | {"to_stage": "Won"})
    found = decode_stage_change(b"d1", value, RECEIVED, LIMITS)
    assert (found.to_stage, found.said) == ("Lost", {"region": "EU"})


def test_escaped_names_and_characters_mean_the_same():
    """JSON escapes in names and values are read, whole surrogate pairs included."""
    value = rb'{"event_id": "e1", "occurred_\u0061t": 1714979289, "deal_id": "\u0064\u0031", "to_stage": "\ud83d\ude00"}'
    assert decode_stage_change(b"d1", value, RECEIVED, LIMITS).to_stage == "😀"


@pytest.mark.parametrize(
    ("literal", "text"),
    [
        (b"1234.50", "1234.50"),
        (b"1234567890.12345678901234567890", "1234567890.12345678901234567890"),
        (b"1e2", "100"),
        (b"-0.0", "0"),
        (b'"1234.50"', "1234.50"),
        (b'" -12.5 "', "-12.5"),
        (rb'"\u0031"', "1"),
    ],
)
@pytest.mark.parametrize("field", ["amount", "quantity", "cost"])
def test_amounts_keep_every_digit_that_was_written(field, literal, text):
    """Numbers do not pass through binary floats, and strings mean the same as numbers."""
    found = decode_stage_change(b"d1", with_literal(field, literal), RECEIVED, LIMITS)
    assert found.said == {field: text}


@pytest.mark.parametrize(
    ("occurred_at", "accepted"),
    [
        ("1999-12-31T23:59:59.999999Z", False),
        ("2000-01-01T00:00:00Z", True),
        ("2025-01-01T00:05:00Z", True),
        ("2025-01-01T00:05:00.000001Z", False),
        ("2025-01-01T02:05:00+02:00", True),
    ],
)
def test_accepted_times_run_from_2000_to_max_future_after_the_record(occurred_at, accepted):
    """Both ends are inclusive, to the microsecond."""
    assert isinstance(stage_change(occurred_at=occurred_at), StageChange) is accepted


def test_a_date_alone_counts_in_the_business_zone():
    """The sixth of May begins in Kyiv three hours before it begins in UTC."""
    assert stage_change(occurred_at="2024-05-06").at == utc("2024-05-06T00:00:00+03:00")


@pytest.mark.parametrize("due_at", ["1969-01-01", "9999-12-31T23:59:59Z", 0, -5, 1_714_979_289_000])
def test_a_due_time_may_be_any_time(due_at):
    """Only occurred_at is held against a range."""
    assert activity(due_at=due_at) == activity()


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), 0.1, -3])
def test_attribute_numbers_of_64_bits_stay_what_they_are(number):
    """An int stays an int, a float a float."""
    kept = stage_change(attributes={"x": number}).said["attributes"]["x"]
    assert (kept, type(kept)) == (number, type(number))


def test_larger_attribute_integers_become_floats():
    """What is behind can store 64-bit integers only."""
    kept = stage_change(attributes={"x": 10**30}).said["attributes"]["x"]
    assert (kept, type(kept)) == (1e30, float)


def test_attributes_may_be_1_kib_as_compact_json():
    """1,024 bytes of compact UTF-8 JSON pass, one more does not."""
    fits = {"x": "a" * (1024 - len('{"x":""}'))}
    over = {"x": fits["x"] + "a"}
    assert stage_change(attributes=fits).said == {"attributes": fits}
    assert isinstance(stage_change(attributes=over), Rejection)


def test_empty_attributes_say_nothing():
    """An object without fields is not kept."""
    assert stage_change(attributes={}).said == {}


@pytest.mark.parametrize("field", SAYABLE)
def test_everything_sayable_can_be_cleared(field):
    """`clear` takes the names of SAYABLE, trimmed."""
    assert stage_change(clear=[f" {field} "]).clear == (field,)


@pytest.mark.parametrize("kind", ACTIVITY_TYPES)
def test_every_type_of_activity_is_known(kind):
    """Each word of the closed set is its place in it."""
    assert activity(type=kind).type == ACTIVITY_TYPES.index(kind)


@pytest.mark.parametrize(("field", "words"), [("direction", DIRECTIONS[1:]), ("outcome", OUTCOMES[1:])])
def test_every_direction_and_outcome_is_known(field, words):
    """Each word of the closed sets is its place in them, not 0."""
    places = [getattr(activity(**{field: word}), field) for word in words]
    assert places == list(range(1, len(words) + 1))


def test_json_may_have_white_space_around_it():
    """Tabs, newlines and spaces around the object are JSON."""
    value = b" \t\r\n" + json.dumps({**STAGE_CHANGE, "type": "call"}).encode() + b"\n"
    assert isinstance(decode_activity(b"d1", value, RECEIVED, LIMITS), Activity)
