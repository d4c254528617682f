"""Are those letters chosen that a worker would accept now, each of them once?"""

from base64 import b64encode
from zoneinfo import ZoneInfo

import orjson
import pytest

from streams.cli.letters import Choice, Letter, Skip, again, plan, read_letter, why_not
from streams.cli.lines import Outgoing
from streams.events.contract import REPLAY_OF, Limits, Reason, Rejection
from streams.topics import ACTIVITY, DLQ_REPLAYS, REFERENCE, STAGE_CHANGE

NOW = 1_760_000_000_000_000
LIMITS = Limits(300_000_000, ZoneInfo("UTC"))


def letter(offset=0, at=NOW // 1_000_000, *, reason="time_out_of_range", topic=ACTIVITY, timestamp=None, value=None, **more):
    """Make the letter of a call that happened at `at`, refused because its record came before that."""
    event = {"event_id": offset, "occurred_at": at, "deal_id": "d", "type": "call"}
    data = orjson.dumps(event) if value is None else value
    return Letter(
        Reason(reason), "", topic, 3, offset, NOW // 1000 - 1000 if timestamp is None else timestamp,
        b64encode(b"d").decode(), b64encode(data).decode(), **more,
    )  # fmt: skip


def planned(letters, choice=Choice(), sent=frozenset(), now=NOW):  # noqa: B008  # frozen
    return plan((((0, place), one) for place, one in enumerate(letters)), choice, set(sent), LIMITS, now)


def test_it_is_the_letter_that_the_schema_describes():
    """Fields that are not asked for are left aside."""
    read = read_letter(
        b'{"reason": "bad_time", "detail": "x", "topic": "crm.activity", "partition": 3, "offset": 7, "timestamp": 1,'
        b' "key_base64": "ZA==", "value_base64": null, "truncated": true, "replay_of": "crm.activity/3@5", "more": 1}'
    )
    assert read == Letter(
        Reason.BAD_TIME, "x", ACTIVITY, 3, 7, 1, "ZA==", None, truncated=True, replay_of="crm.activity/3@5"
    )


# ------------------------------------------------------------------ what can be sent


AHEAD = NOW // 1_000_000 + 400  # a hundred seconds more than are let through


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (letter(), None),
        (letter(at=AHEAD), Reason.TIME_OUT_OF_RANGE),
        (letter(reason="not_json", value=b"<xml/>"), Reason.NOT_JSON),
        (letter(reason="too_late"), Reason.TOO_LATE),
        (letter(topic=STAGE_CHANGE), None),
        (letter(topic=REFERENCE), Skip.OTHER_TOPIC),
        (letter(truncated=True), Skip.TRUNCATED),
    ],
    ids=["accepted now", "still ahead", "no JSON", "too late", "stage change", "reference", "cut"],
)
def test_what_a_worker_would_refuse_again_is_not_sent(one, why):
    """Nothing that stays bad can become a second letter."""
    found = why_not(one, set(), LIMITS, NOW)
    assert (found.reason if isinstance(found, Rejection) else found) == why


def test_time_that_passes_makes_an_event_acceptable():
    """The record gets the present as its Kafka timestamp; kept as it was, it would be refused for ever."""
    one = letter(at=AHEAD)
    assert why_not(one, set(), LIMITS, NOW + 100_000_000 - 1).reason is Reason.TIME_OUT_OF_RANGE
    assert why_not(one, set(), LIMITS, NOW + 100_000_000) is None


def test_what_was_sent_again_is_not_sent_twice():
    """The mark is found by what the letter says."""
    first, second = letter(1), letter(2)
    found = planned([first, second], sent=[first.mark])
    assert (found.places, found.skipped) == ({(0, 1)}, {Skip.SENT_ALREADY: 1})


def test_a_letter_of_a_topic_that_was_created_anew_is_another():
    """Its origin is the same, its time is not."""
    assert planned([letter(1, timestamp=5)], sent=[letter(1, timestamp=4).mark]).places == {(0, 0)}


def test_of_a_chain_the_newest_is_sent_and_names_the_first():
    """Sent again, refused again: the first letter has its mark, the second names it."""
    first = letter(1)
    record, mark = again(first)
    assert record.headers == [(REPLAY_OF, b"crm.activity/3@1")]
    second = letter(9, replay_of="crm.activity/3@1")
    found = planned([first, second], sent=[(mark.key, mark.value)])
    assert found.places == {(0, 1)}
    assert again(second)[0].headers == [(REPLAY_OF, b"crm.activity/3@1")]
    assert planned([first, second], sent=[first.mark, second.mark]).places == set()


def test_it_is_the_same_record_in_the_same_partition():
    """Byte for byte, so that it is where its deal's others are, whatever placed them there."""
    value = b'{"event_id": 1,  "amount": 1.10}'
    one = letter(7, value=value, timestamp=1_772_020_800_000)
    assert again(one) == (
        Outgoing(ACTIVITY, b"d", value, 3, [(REPLAY_OF, b"crm.activity/3@7")]),
        Outgoing(DLQ_REPLAYS, b"crm.activity/3@7", b'{"timestamp":1772020800000}'),
    )


# ------------------------------------------------------------------ what somebody chooses


@pytest.mark.parametrize(
    ("choice", "places"),
    [
        (Choice(), {0, 1, 2, 3}),
        (Choice(reason="bad_amount"), {1}),
        (Choice(since=30_000), {2, 3}),
        (Choice(since=30_001), {3}),
        (Choice(origin="crm.activity/3@2"), {2}),
        (Choice(origin="crm.activity/4@2"), set()),
        (Choice(limit=2), {2, 3}),
        (Choice(limit=1, reason="time_out_of_range"), {3}),
        (Choice(limit=9), {0, 1, 2, 3}),
    ],
)
def test_a_choice(choice, places):
    """Since is inclusive and of the record's time, a limit takes the newest, whatever their order."""
    letters = [
        letter(0, timestamp=10),
        letter(1, timestamp=20, reason="bad_amount"),
        letter(2, timestamp=30),
        letter(3, timestamp=40),
    ]
    found = planned(letters, choice)
    assert found.places == {(0, place) for place in places}
    assert found.counts.total() == len(places)


def test_a_limit_is_of_those_that_can_be_sent():
    """What is skipped takes nobody's place."""
    found = planned([letter(0, timestamp=10), letter(1, AHEAD, timestamp=20)], Choice(limit=1))
    assert (found.places, found.skipped) == ({(0, 0)}, {Skip.STILL_REFUSED: 1})


def test_the_plan_counts_and_says_what_was_wrong_first():
    """By reason and topic; of what would be refused again, the first with its detail."""
    found = planned([letter(0), letter(1, topic=STAGE_CHANGE), letter(2, value=b"{"), letter(3, AHEAD)])
    assert found.counts == {("time_out_of_range", ACTIVITY): 1, ("time_out_of_range", STAGE_CHANGE): 1}
    assert found.by_reason == {"time_out_of_range": 2}
    assert found.skipped == {Skip.STILL_REFUSED: 2}
    assert found.first_refusal.startswith("crm.activity/3@2: not_json: ")


def test_how_many_there_are_of_each_reason_is_plain_text():
    """A program reads it as JSON."""
    assert orjson.dumps(planned([letter(1), letter(2)]).by_reason) == b'{"time_out_of_range":2}'
