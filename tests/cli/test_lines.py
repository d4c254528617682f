"""What does one line of a replayed file send?"""

import orjson
import pytest

from streams.cli.lines import MAX_LINE, Outgoing, Refused, id_text, key_of, outgoing
from streams.events.contract import Reason
from streams.topics import ACTIVITY, REFERENCE, STAGE_CHANGE


def line(topic: object, value: str) -> bytes:
    return b'{"topic": ' + orjson.dumps(topic) + b', "value": ' + value.encode() + b"}"


@pytest.mark.parametrize(
    ("topic", "value", "key"),
    [
        (STAGE_CHANGE, '{"deal_id": "d1"}', b"d1"),
        (STAGE_CHANGE, '{"deal_id": "  d1\\t"}', b"d1"),
        (STAGE_CHANGE, '{"deal_id": 17}', b"17"),
        (STAGE_CHANGE, '{"deal_id": -17}', b"-17"),
        (STAGE_CHANGE, '{"deal_id": 123456789012345678901234567890}', b"123456789012345678901234567890"),
        (STAGE_CHANGE, '{"deal_id": "угода"}', "угода".encode()),
        (ACTIVITY, '{"deal_id": "d1", "rep_id": "anna"}', b"d1"),
        (ACTIVITY, '{"deal_id": null, "rep_id": " anna "}', b"anna"),
        (ACTIVITY, '{"deal_id": " ", "rep_id": 5}', b"5"),
        (REFERENCE, '{"kind": "rep", "id": "anna"}', b"rep:anna"),
    ],
)
def test_the_key_is_the_deal_and_without_one_the_rep(topic, value, key):
    """Ids are trimmed, integers are their digits; only an activity may do without a deal."""
    assert key_of(topic, value.encode()) == key


@pytest.mark.parametrize(
    "value",
    ['{"rep_id": "anna"}', "{}", '{"deal_id": true}', '{"deal_id": 1.5}', '{"deal_id": ["d1"]}', '{"deal_id": " "}', "[1]", '"d1"', "7", "null", "{"],
)  # fmt: skip
def test_a_value_without_a_usable_key_is_sent_with_an_empty_one(value):
    """The worker says what is wrong with it."""
    assert key_of(STAGE_CHANGE, value.encode()) == b""


@pytest.mark.parametrize(
    "value",
    [
        '{"deal_id":"d1","amount":1e400}',
        '{"deal_id":"d1", "amount": 12345678901234567890.123456789}',
        '{"deal_id":"d1","amount":0.10,"deal_id":"d1"}',
        '{"deal_id":"d1","x":"\\u00e9é"}',
        "[1,  2]",
        "null",
    ],
)
def test_the_value_is_sent_as_it_was_written(value):
    """No number is rounded and no byte changed on the way."""
    found = outgoing(line(STAGE_CHANGE, value), None)
    assert isinstance(found, Outgoing)
    assert found.value == value.encode()


def test_bytes_that_are_no_utf8_are_sent_as_they_are():
    """The worker dead-letters them as bad_encoding."""
    found = outgoing(b'{"topic": "crm.activity", "value": {"rep_id": "anna", "x": "\xff"}}', None)
    assert found == Outgoing(ACTIVITY, b"anna", b'{"rep_id": "anna", "x": "\xff"}')


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"not json", Reason.NOT_JSON),
        (b'{"topic": "crm.activity", "value": {"x": NaN}}', Reason.NOT_JSON),
        (b'{"topic": "crm.activity", "value": {"x": 1}', Reason.NOT_JSON),
        (b"[1, 2]", Reason.NOT_AN_OBJECT),
        (b'{"deal_id": "d1"}', Reason.MISSING_FIELD),
        (b'{"topic": "crm.activity"}', Reason.MISSING_FIELD),
        (b'{"topic": "crm.activities", "value": {}}', Reason.UNKNOWN_VALUE),
        (b'{"x": "' + b"x" * MAX_LINE + b'"}', Reason.TOO_LARGE),
    ],
)
def test_a_line_that_can_go_nowhere_is_refused_with_its_reason(text, reason):
    """It is counted, never lost silently."""
    found = outgoing(text, None)
    assert isinstance(found, Refused)
    assert found.reason == reason


@pytest.mark.parametrize("text", [b"not json", b"[1, 2]", b'{"deal_id": NaN}', b"\xff"])
def test_with_a_topic_every_line_is_sent(text):
    """So that what is no event gets dead-lettered where its producer will look for it."""
    assert outgoing(text, ACTIVITY) == Outgoing(ACTIVITY, b"", text)


def test_a_bare_event_goes_to_the_topic_given():
    """White space around the line is no part of the event."""
    assert outgoing(b' {"deal_id": 7} \r\n', STAGE_CHANGE) == Outgoing(STAGE_CHANGE, b"7", b'{"deal_id": 7}')


def test_a_bare_event_may_have_fields_of_the_names_of_an_envelope():
    """A field of the CRM's own called topic; one of ours is an envelope, whatever --topic says."""
    bare = b'{"event_id": 1, "rep_id": "a", "topic": "Demo call", "value": 100}'
    assert outgoing(bare, ACTIVITY) == Outgoing(ACTIVITY, b"a", bare)
    assert outgoing(line(STAGE_CHANGE, '{"deal_id": 7}'), ACTIVITY) == Outgoing(STAGE_CHANGE, b"7", b'{"deal_id": 7}')


def test_an_empty_line_is_nothing():
    """Files end with one."""
    assert outgoing(b" \n", STAGE_CHANGE) is None


def test_a_boolean_is_no_id():
    """Python thinks that it is an integer."""
    assert not id_text(value=True)


def test_a_line_that_no_stack_can_read_is_refused_like_any_other():
    """The worker dead-letters such a value, and the lines behind it are sent."""
    deep = b"[" * 100_000
    found = outgoing(deep, None)
    assert isinstance(found, Refused)
    assert found.reason is Reason.NOT_JSON
    assert outgoing(deep, ACTIVITY) == Outgoing(ACTIVITY, b"", deep)
    assert key_of(ACTIVITY, b'{"deal_id": ' + deep) == b""
