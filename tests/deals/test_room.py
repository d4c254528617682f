"""What does the room make of a run of records?  Events into deals and deltas, what is refused into dead letters."""

import json
import random
from base64 import b64decode
from collections import Counter

import pytest

from streams import metrics, topics
from streams.cli.dlq import as_table
from streams.deals.record import ROW_BYTES, decode
from streams.deals.room import DealsRoom, TooMuchBadInputError, dead_letter
from streams.events.contract import REPLAY_OF, Reason, Rejection
from streams.kafka.room import Moment, StateTable
from streams.kpis.catalogue import BY_ID
from streams.panes import delta
from streams.panes.cell import Measure
from tests.audit.tables import settings, us
from tests.deals.told import NEVER, small_deals
from tests.faults.wide.world import Record

RECEIVED = us("2024-03-10 00:00")


def _call(offset, at, **said):
    value = json.dumps(
        {"event_id": f"c{offset}", "occurred_at": at, "deal_id": "d", "type": "call", "rep_id": "anna"} | said
    )
    return Record((topics.ACTIVITY, 0), offset, b"d", value.encode(), RECEIVED // 1000)


def test_a_refused_record_among_others_is_a_dead_letter_and_time_is_that_of_the_others():
    """One of an unknown type between two calls: both calls are held, the deltas tell the time of the later one."""
    room, state = DealsRoom(settings(), ticks=False), StateTable()
    room.open(0, state)
    run = [
        _call(0, "2024-03-04T11:00:00Z"),
        _call(1, "2024-03-05T10:00:00Z", type="dance"),
        _call(2, "2024-03-04T10:00:00Z"),
    ]
    room.handle(0, topics.ACTIVITY, run)
    output = room.drain(Moment(RECEIVED, frozenset(), frozenset({(topics.STAGE_CHANGE, 0)})))
    letters = [json.loads(value) for topic, _, _, value, _ in output if topic == topics.DEAD_LETTER]
    deltas = [delta.decode(value) for topic, _, _, value, _ in output if topic == topics.DELTAS]
    assert [(letter["reason"], letter["offset"]) for letter in letters] == [("unknown_value", 1)]
    assert decode((state.rows[b"dd"], b"")).activities == 2
    assert {one.progress[0].watermark for one in deltas} == {us("2024-03-04 11:00")}


def test_the_newest_record_is_that_of_any_partition():
    """One that is an hour behind is read after the others, again and again; the one read last is not the newest."""
    room = DealsRoom(settings(), ticks=False)
    for partition in (0, 1):
        room.open(partition, StateTable())
    for partition, offset, behind in ((0, 0, 0), (1, 0, 3_600_000), (1, 1, 3_599_000)):
        call = _call(offset, "2024-03-04T11:00:00Z")
        at = RECEIVED // 1000 - behind
        room.handle(partition, topics.ACTIVITY, [Record((topics.ACTIVITY, partition), offset, b"d", call.value(), at)])
        room.drain(Moment(RECEIVED, frozenset()))
    shown = metrics.REGISTRY.get_sample_value("dealpulse_last_event_timestamp_seconds")
    assert shown == RECEIVED / 1_000_000


class _WithHeaders(Record):
    __slots__ = ("said",)
    said: list[tuple[str, bytes | None]]

    def headers(self):
        return self.said


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ([("other", b"1"), (REPLAY_OF, b"crm.activity/4@1207")], "crm.activity/4@1207"),
        ([("other", b"crm.activity/4@1207")], None),
        ([(REPLAY_OF, b"\xff/4@1")], None),
        ([(REPLAY_OF, b"crm.activity/4@" + b"1" * 100_000)], None),
        ([(REPLAY_OF, None)], None),
    ],
    ids=["ours", "none", "no text", "long", "null"],
)
def test_the_letter_of_a_record_that_was_sent_again_names_the_first_one(headers, told):
    """What somebody else wrote into the header is left out: the letter stays small and keeps to its schema."""
    record = _WithHeaders((topics.ACTIVITY, 0), 9, b"d", b"{", RECEIVED // 1000)
    object.__setattr__(record, "said", headers)  # a record is frozen
    letter = json.loads(dead_letter(Rejection(Reason.NOT_JSON, "no JSON"), record))
    assert letter.get("replay_of") == told


class _WithABrokenName(Record):
    __slots__ = ()

    def headers(self):
        """Do what confluent-kafka does with a header whose name is no UTF-8."""
        try:
            b"\xff".decode()
        except UnicodeDecodeError as error:
            raise SystemError("<method 'headers'> returned a result with an exception set") from error


def test_a_record_whose_headers_cannot_be_read_is_refused_as_any_other():
    """Anybody can write headers: it would else end every worker, one after the other."""
    room = DealsRoom(settings(), ticks=False)
    room.open(0, StateTable())
    room.handle(0, topics.ACTIVITY, [_WithABrokenName((topics.ACTIVITY, 0), 9, b"d", b"{", RECEIVED // 1000)])
    told = room.drain(Moment(RECEIVED, frozenset()))
    assert [json.loads(value)["reason"] for topic, _, _, value, _ in told if topic == topics.DEAD_LETTER] == ["not_json"]


NOTHING, STAGES_END = frozenset(), frozenset({(topics.STAGE_CHANGE, 0)})


@pytest.mark.parametrize(
    ("key", "value", "cut"),
    [
        (16 * 1024, 320 * 1024, False),
        (16 * 1024 + 1, 1, True),
        (1, 320 * 1024 + 1, True),
        (None, None, False),
    ],
    ids=["as large as fits", "key", "value", "neither"],
)
def test_a_letter_that_does_not_hold_all_of_a_record_says_so(key, value, cut):
    """What is cut off must not be sent again as if it were all."""
    key, value = (size and b"x" * size for size in (key, value))
    letter = json.loads(
        dead_letter(Rejection(Reason.TOO_LARGE, "too large"), Record((topics.ACTIVITY, 0), 9, key, value, 1))
    )
    kept = [None if text is None else b64decode(text) for text in (letter["key_base64"], letter["value_base64"])]
    assert kept == [key and key[: 16 * 1024], value and value[: 320 * 1024]]
    assert letter.get("truncated", False) is cut


@pytest.mark.parametrize(
    ("time", "clock"),
    [
        (RECEIVED, RECEIVED),
        (RECEIVED + 300_000_000, RECEIVED + 300_000_000),
        (RECEIVED + 300_000_001, -1),
        (0, -1),
        (-1, -1),
    ],
)
def test_a_tick_moves_the_clock_unless_it_is_of_the_future(time, clock):
    """As for events, `max_future` is 5 minutes after the record's Kafka timestamp; what was reached is never taken back."""
    room = DealsRoom(settings(), ticks=False)
    room.open(0, StateTable())
    for said in (time, 1):
        tick = Record((topics.TICKS, 0), 1, None, json.dumps({"time": said}).encode(), RECEIVED // 1000)
        room.handle(0, topics.TICKS, [tick])
        room.drain(Moment(RECEIVED, frozenset()))
    assert room.watermark(0) == max(clock, 1)


def test_deltas_say_when_the_oldest_event_in_them_was_written():
    """By Kafka's clock, over all that came in since the last flush; with nothing new, none."""
    room = DealsRoom(settings(), ticks=False)
    room.open(0, StateTable())
    told = []
    for second, stamps in enumerate(([700, 500, 600], [400], [])):
        for number, stamp in enumerate(stamps):
            call = _call(10 * second + number, "2024-03-04T11:00:00Z")
            room.handle(
                0, topics.ACTIVITY, [Record(call.of, call.at, call.its_key, call.its_value, RECEIVED // 1000 + stamp)]
            )
        output = room.drain(Moment(RECEIVED + second * 1_000_000, frozenset((0,)), STAGES_END))
        told.append({delta.decode(value).born for topic, _, _, value, _ in output if topic == topics.DELTAS})
    assert told == [{RECEIVED + 500_000}, {RECEIVED + 400_000}, {0}]


def _settle(offset):
    return Record((topics.TICKS, 0), offset, None, b'{"settle": true}', RECEIVED // 1000)


@pytest.mark.parametrize(
    "records",
    [
        [],
        [_call(0, "2024-03-04T11:00:00Z", type="dance")],
        [_settle(0)],
        [_call(0, "2024-03-04T11:00:00Z", type=""), _settle(0)],
    ],
    ids=["nothing", "refused", "settled", "refused and settled"],
)
@pytest.mark.parametrize("caught_up", [NOTHING, frozenset({0})], ids=["reading", "read"])
def test_without_an_accepted_event_there_is_nothing_to_tell_and_the_room_rests(records, caught_up):
    """No time is known: neither delta nor state row follows the first flush, however long it lasts."""
    room, state = DealsRoom(settings(), ticks=False), StateTable()
    room.open(0, state)
    for record in records:
        room.handle(0, record.topic(), [record])
    told = room.drain(Moment(RECEIVED, caught_up))
    state.changed.clear()
    assert [topic for topic, *_ in told if topic == topics.DELTAS] == []
    assert not any(room.due(Moment(RECEIVED + seconds * 1_000_000, caught_up)) for seconds in range(1, 600))
    assert room.drain(Moment(RECEIVED + 600_000_000, caught_up)) == []
    assert state.changed == set()


def test_a_tick_says_what_the_worlds_clock_says():
    """Also when that was put back by an hour: then it moves nothing until the world is there again, as it must."""
    room = DealsRoom(settings(tick_interval="5s"), ticks=True)
    room.open(0, StateTable())
    told = room.drain(Moment(RECEIVED, frozenset({0}), put_back=3_600_000_000))
    assert [value for topic, _, _, value, _ in told if topic == topics.TICKS] == [
        json.dumps({"time": RECEIVED - 3_600_000_000}, separators=(",", ":")).encode()
    ]


@pytest.mark.parametrize("value", [b"no json", b"[", b'{"time": "now"}', b'{"x": ' + b"[" * 3000 + b"]" * 3000 + b"}", None])
def test_what_is_no_tick_moves_no_clock(value):
    """Nor does it end the worker, and the next one after it, however deeply it is nested."""
    room = DealsRoom(settings(), ticks=False)
    room.open(0, StateTable())
    room.handle(0, topics.TICKS, [Record((topics.TICKS, 0), 0, None, value, RECEIVED // 1000)])
    assert _progress(room.drain(Moment(RECEIVED, NOTHING))) == []


def _progress(told):
    return [delta.decode(value).progress[0] for topic, _, _, value, _ in told if topic == topics.DELTAS]


def test_an_event_whose_time_is_not_known_yet_is_told_as_soon_as_it_is():
    """Its partition holds more of the other topic: nothing to tell for a while, and then what there is, read to its end or not."""
    room = DealsRoom(settings(cuts=["team"]), ticks=False)
    room.open(0, StateTable())
    assert _progress(room.drain(Moment(RECEIVED, NOTHING))) == []
    room.handle(0, topics.ACTIVITY, [_call(0, "2024-03-04T11:00:00Z", rep_id=None)])
    room.drain(Moment(RECEIVED + 1_000_000, NOTHING))
    later = Moment(RECEIVED + 2_000_000, NOTHING, STAGES_END)
    assert room.due(later)
    assert room.owes(later)
    assert {one.watermark for one in _progress(room.drain(later))} == {us("2024-03-04 11:00")}
    assert not room.owes(later)
    assert not room.due(Moment(RECEIVED + 4_000_000, NOTHING, STAGES_END))


def test_that_no_more_is_coming_is_told_with_the_first_time():
    """Said before any event was accepted, and again after one: readers learn it with its time."""
    room = DealsRoom(settings(), ticks=False)
    room.open(0, StateTable())
    room.handle(0, topics.TICKS, [_settle(0)])
    room.drain(Moment(RECEIVED, frozenset({0})))
    room.handle(0, topics.ACTIVITY, [_call(0, "2024-03-04T11:00:00Z")])
    room.handle(0, topics.TICKS, [_settle(1)])
    told = _progress(room.drain(Moment(RECEIVED + 1_000_000, frozenset({0}), STAGES_END)))
    assert set(told) == {delta.Progress(us("2024-03-04 11:00"), caught_up=True, settled=True)}


def test_an_event_after_the_word_that_no_more_is_coming_takes_it_back():
    """More is coming: the clock waits for the partition again."""
    room = DealsRoom(settings(), ticks=False)
    room.open(0, StateTable())
    told = []
    for second, (topic, record) in enumerate(
        [
            (topics.ACTIVITY, _call(0, "2024-03-04T11:00:00Z")),
            (topics.TICKS, _settle(0)),
            (topics.ACTIVITY, _call(1, "2024-03-04T11:10:00Z")),
        ]
    ):
        room.handle(0, topic, [record])
        told.append(
            {one.settled for one in _progress(room.drain(Moment(RECEIVED + second * 1_000_000, NOTHING, STAGES_END)))}
        )
    assert told == [{False}, {True}, {False}]


def test_what_changed_is_told_at_once_also_between_two_words_of_how_far_time_is():
    """A hundred flushes in a second: each delta is sent with its flush, since it is never worked out again."""
    room = DealsRoom(settings(cuts=["all"]), ticks=False)
    room.open(0, StateTable())
    for number in range(4):
        room.handle(0, topics.ACTIVITY, [_call(number, "2024-03-04T11:00:00Z")])
        output = room.drain(Moment(RECEIVED + number * 10_000, NOTHING, STAGES_END))
        entities = [
            delta.decode_entity(one)
            for topic, _, _, value, _ in output
            if topic == topics.DELTAS
            for one in delta.decode(value).entities
        ]
        assert [one.entity for one in entities] == [("all",)]


def test_an_activity_without_a_deal_is_counted_once_while_it_is_remembered():
    """In the same flush, in another, and by who takes over: the last 4,096 of each rep."""

    def alone(number, rep="anna"):
        value = {"event_id": f"a{number}", "occurred_at": "2024-03-04T11:00:00Z", "type": "call", "rep_id": rep}
        return Record((topics.ACTIVITY, 0), number, rep.encode(), json.dumps(value).encode(), RECEIVED // 1000)

    def counted(room, *records):
        room.handle(0, topics.ACTIVITY, records)
        output = room.drain(Moment(RECEIVED, NOTHING, STAGES_END))
        deltas = [delta.decode(value) for topic, _, _, value, _ in output if topic == topics.DELTAS]
        cells = [cell for one in deltas for packed in one.entities for cell in delta.decode_entity(packed).panes.values()]
        return sum(count for cell in cells for key, count in cell.items() if key >> 16 == Measure.ACTIVITIES)

    state = StateTable()
    for expected in ([3, 1], [0, 0]):
        room = DealsRoom(settings(cuts=["all"]), ticks=False)
        room.open(0, state)
        flushes = (alone(1), alone(1), alone(1, "borys"), alone(2)), (alone(1), alone(3), alone(2))
        assert [counted(room, *flush) for flush in flushes] == expected
    assert counted(room, *(alone(number) for number in range(4, 4_097))) == 4_093
    assert counted(room, alone(1), alone(4_097), alone(2)) == 1
    assert counted(room, alone(1)) == 1


class Working:
    """A room over one partition, and what its changelog holds."""

    def __init__(self, definitions):
        self.definitions, self.changelog, self.now = definitions, {}, RECEIVED
        self.restart()

    def restart(self):
        """Forget all that is not in the changelog, as a worker that takes over."""
        self.room, self.state = DealsRoom(self.definitions, ticks=False), StateTable()
        self.state.rows = dict(self.changelog)
        self.room.open(0, self.state)

    def flush(self, records):
        """Take in records; return what is told.  Older activities are written only if they changed."""
        for record in records:
            self.room.handle(0, record.topic(), [record])
        self.now += 1_000_000
        told = self.room.drain(Moment(self.now, frozenset()))
        for key in self.state.changed:
            row = self.state.rows.get(key)
            assert key[:1] != b"o" or row != self.changelog.get(key)
            if row is None:
                del self.changelog[key]
            else:
                self.changelog[key] = row
        self.state.changed.clear()
        return told

    def deal(self, key):
        """Return a deal as the changelog has it."""
        deal = decode((self.changelog[b"d" + key], self.changelog.get(b"od" + key, b"")))
        assert len(deal.rows) == deal.activities * ROW_BYTES
        return deal


def _life(seed, count=400):
    """Yield records of two deals, one of them of many reps: most in order, some a while late, some again, a deletion."""
    rng, sent = random.Random(seed), []
    for number in range(count):
        at = us("2024-03-01 10:00") + (number if rng.random() < 0.9 else rng.randrange(number + 1)) * 60_000_000
        deal = rng.choice("xxy")
        said = {"event_id": f"e{number}", "occurred_at": at // 1_000_000, "deal_id": deal}
        rep = "anna" if deal == "x" and rng.random() < 0.95 else f"rep-{rng.randrange(40)}"
        if rng.random() < 0.1:
            more = {"to_stage": rng.choice(("New", "Qualified", "Proposal", "Won")), "said": {}, "rep_id": rep}
            if rng.random() < 0.05:
                more = {"deleted": rng.random() < 0.5}
            topic = topics.STAGE_CHANGE
        else:
            more = {"type": rng.choice(("call", "email", "meeting")), **({"rep_id": rep} if rng.random() < 0.8 else {})}
            topic = topics.ACTIVITY
        sent.append((topic, said | more))
        if rng.random() < 0.2:
            topic, again = rng.choice(sent)
            sent.append((topic, again | rng.choice(({}, {"occurred_at": at // 1_000_000 + 30}))))
    for offset, (topic, said) in enumerate(sent):
        yield Record((topic, 0), offset, said["deal_id"].encode(), json.dumps(said).encode(), RECEIVED // 1000)


_OF_MOVES = {"activities", "talk_time", "stage_entered", "stage_left", "time_in_stage"}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    "definitions",
    [settings(), settings(cuts=["rep", "stage"], kpis={kpi: kpi in _OF_MOVES for kpi in BY_ID})],
    ids=["everything", "only moves"],
)
def test_where_activities_are_kept_and_who_takes_over_changes_nothing(definitions, seed):
    """A worker whose records hold all activities, and one of which each flush is the last: the same told, the same held."""
    rng, records = random.Random(seed), list(_life(seed))
    whole, parted, older = Working(definitions), Working(definitions), set()
    while records:
        flush, records = records[: (size := rng.choice((1, 1, 5, 20)))], records[size:]
        with small_deals(recent=NEVER):
            told = whole.flush(flush)
        with small_deals():
            assert parted.flush(flush) == told
        older.add(len(parted.changelog.get(b"odx", b"")))
        parted.restart()
    assert len(older) > 3
    for key in (b"x", b"y"):
        assert parted.deal(key) == whole.deal(key)
        assert b"od" + key not in whole.changelog
        assert parted.deal(key).settled_activities > 0


def test_older_activities_that_are_all_let_go_are_taken_out_of_the_changelog():
    """31 reps with names of a kilobyte fill a record: what else there was is settled."""
    working = Working(settings())
    names = ["anna"] * 64 + [f"{number:02}" + 254 * "\N{GRINNING FACE}" for number in range(40)]
    records = [
        _call(number, f"2024-03-01T{10 + number // 60}:{number % 60:02}:00Z", rep_id=name)
        for number, name in enumerate(names)
    ]
    working.flush(records[:64])
    assert len(working.changelog[b"odd"]) == 32 * ROW_BYTES
    for record in records[64:]:
        working.flush([record])
    assert b"odd" not in working.changelog
    assert 0 < working.deal(b"d").activities < 64


@pytest.mark.parametrize("stamp", [RECEIVED, RECEIVED * 1_000, 253_402_300_800_000, 2**63 - 1, -1], ids=str)
@pytest.mark.parametrize("at", ["2024-03-04T10:00:00Z", "9999-12-31T23:00:00Z"])
def test_a_record_whose_kafka_timestamp_is_in_another_unit_is_refused(stamp, at):
    """µs or ns where ms belong: nothing says whether the event is of the future, and no calendar holds such a year."""
    room, state = DealsRoom(settings(), ticks=False), StateTable()
    room.open(0, state)
    value = json.dumps({"event_id": "a", "deal_id": "d", "occurred_at": at, "type": "call"}).encode()
    tick = json.dumps({"time": 253_402_300_800_000_000}).encode()
    room.handle(0, topics.ACTIVITY, [Record((topics.ACTIVITY, 0), 1, b"d", value, stamp)])
    room.handle(0, topics.TICKS, [Record((topics.TICKS, 0), 1, None, tick, stamp)])
    (letter,) = [one[3] for one in room.drain(Moment(RECEIVED, frozenset())) if one[0] == topics.DEAD_LETTER]
    assert json.loads(letter)["reason"] == "time_out_of_range"
    assert "has no Kafka timestamp in milliseconds to be held against" in json.loads(letter)["detail"]
    (row,) = as_table([json.loads(letter)]).columns[0]._cells
    assert row == "-"


def test_bad_input_now_and_then_stops_nobody():
    """One in twenty for 8,000 records, however they come in: never more than 50 of the last 1,000."""
    room = DealsRoom(settings(), ticks=False)
    room.open(0, StateTable())
    for first in range(0, 8_000, 40):
        room.handle(
            0,
            topics.ACTIVITY,
            [
                _call(
                    at, f"2024-03-05T{at // 3600:02}:{at // 60 % 60:02}:{at % 60:02}Z", type="call" if at % 20 else "dance"
                )
                for at in range(first, first + 40)
            ],
        )
    output = room.drain(Moment(RECEIVED, NOTHING, STAGES_END))
    assert sum(topic == topics.DEAD_LETTER for topic, *_ in output) == 400


def test_a_file_that_is_replayed_twice_is_no_bad_input():
    """Of a deal with more activities than are held the oldest come too late the second time: each a dead letter, and no reason to stop."""
    room, state = DealsRoom(settings(), ticks=False), StateTable()
    room.open(0, state)
    calls = [_call(number, f"2024-03-04T{number // 60:02}:{number % 60:02}:00Z") for number in range(1_000)]
    for _ in range(2):
        room.handle(0, topics.ACTIVITY, calls)
    output = room.drain(Moment(RECEIVED, frozenset(), frozenset()))
    reasons = Counter(json.loads(value)["reason"] for topic, _, _, value, _ in output if topic == topics.DEAD_LETTER)
    assert reasons.keys() == {"too_late"}
    assert reasons["too_late"] > 200
    wrong = [_call(number, "2024-03-05T10:00:00Z", type="dance") for number in range(2_000, 2_400)]
    with pytest.raises(TooMuchBadInputError):
        room.handle(0, topics.ACTIVITY, wrong)
