"""What is kept of a deal, and is it read back as it was written?"""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.deals.record import (
    ID_AT,
    RECENT,
    ROW_BYTES,
    Deal,
    Row,
    decode,
    encode,
    fingerprint,
    has_activity,
    has_older,
    has_stage_event,
    holds,
    insert_activity,
    insert_stage_event,
    row_of,
    stage_event,
    unpack_rows,
)  # fmt: skip
from tests import strategies
from tests.audit.tables import act, change, us
from tests.deals.told import deal_of

LONGEST_CALL_MS = 0xFFFFFFFE


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(events=strategies.deal_history("d1", most=8))
def test_a_record_is_read_back_as_it_was_written(events):
    """All of it: events, rows, ids, and what follows from them."""
    deal = deal_of(*events)
    again = decode(encode(deal))
    assert (again.stages, again) == (deal.stages, deal)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(activity=strategies.activities("d1"))
def test_an_activity_is_unpacked_as_it_came(activity):
    """Packed into a row of fixed size and back."""
    deal = Deal()
    insert_activity(deal, activity, fingerprint("a", activity.planned))
    assert unpack_rows(deal) == [row_of(activity)]


@pytest.mark.parametrize("milliseconds", [-1, 0, 1, LONGEST_CALL_MS - 1, LONGEST_CALL_MS])
def test_every_duration_up_to_49_days_is_kept(milliseconds):
    """-1 stands for not said."""
    deal = deal_of(act("a", "2024-03-01 10:00", duration_ms=milliseconds))
    assert unpack_rows(deal)[0].duration_ms == milliseconds


def test_rows_stand_in_the_order_of_time_whatever_order_they_came_in():
    """Their fingerprints move with them."""
    days = list(range(1, 29))
    random.Random(7).shuffle(days)
    deal = deal_of(*(act(str(day), f"2024-03-{day:02} 10:00", rep_id=f"r{day % 3}") for day in days))
    assert [(row.at, row.rep) for row in unpack_rows(deal)] == [
        (us(f"2024-03-{day:02} 10:00"), f"r{day % 3}") for day in range(1, 29)
    ]
    assert [deal.rows[at + ID_AT : at + ROW_BYTES] for at in range(0, len(deal.rows), ROW_BYTES)] == [
        fingerprint(str(day), False) for day in range(1, 29)
    ]


def _minutes(count):
    """Return a deal with a call each minute."""
    return deal_of(*(act(str(n), f"2024-03-01 {n // 60:02}:{n % 60:02}", rep_id=f"r{n % 3}") for n in range(count)))


@pytest.mark.parametrize(
    ("held", "recent"),
    [(0, 0), (1, 1), (63, 63), (64, 32), (65, 33), (95, 63), (96, 32), (511, 63), (512, 32), (575, 63)],
)
def test_a_record_keeps_the_newest_activities_and_the_older_ones_stand_apart(held, recent):
    """All but the newest 32 to 63; the words, times and marks of every row come back."""
    deal = _minutes(held)
    record, older = encode(deal)
    assert (record[len(record) - recent * ROW_BYTES :], len(older)) == (deal.rows[len(older) :], (held - recent) * ROW_BYTES)
    again = decode((record, older))
    assert again.activities == held  # before somebody asks for rows
    assert again.rows == deal.rows


def test_older_activities_are_found_by_their_fingerprints_alone():
    """Not the recent ones, and not by bytes of another kind or across two neighbours."""
    deal = _minutes(3 * RECENT)
    _, older = encode(deal)
    marks = [deal.rows[at + ID_AT : at + ROW_BYTES] for at in range(0, len(deal.rows), ROW_BYTES)]
    assert [has_older(older, mark) for mark in marks] == [True] * 2 * RECENT + [False] * RECENT
    assert not has_older(older, deal.rows[:8])
    assert not has_older(older, marks[0][4:] + marks[1][:4])


def test_a_fingerprint_across_two_neighbours_is_not_held():
    """Only at a multiple of its size does it count."""
    assert holds(b"abcdefgh" + b"ijklmnop", b"ijklmnop")
    assert not holds(b"abcdefgh" + b"ijklmnop", b"efghijkl")


def test_a_later_true_match_counts_behind_one_across_neighbours():
    """The search goes on."""
    assert holds(b"0000abcd" + b"efgh0000" + b"abcdefgh", b"abcdefgh")


def test_a_fingerprint_elsewhere_in_a_row_is_not_held():
    """Times and counters may hold the same bytes; behind a false match the search goes on."""
    deal = Deal()
    insert_activity(deal, act("a", "2024-03-01 10:00"), b"12345678")
    insert_activity(deal, act("b", "2024-03-01 11:00"), b"abcdefgh")
    assert has_activity(deal.rows, b"abcdefgh")
    assert not has_activity(deal.rows, deal.rows[:8])
    assert has_activity(b"xyz" + deal.rows, b"12345678", 3)
    assert not has_activity(b"12345678" + deal.rows[:ID_AT] + b"00000000", b"12345678", 8)


def test_short_ids_do_not_collide():
    """Neither among themselves nor with planned ones: a call "107" is no repeat of a planned meeting "100"."""
    ids = [*map(str, range(20_000)), *(f"a{number}" for number in range(2_000)), *map(str, range(10_000_000, 10_020_000))]
    assert len({fingerprint(one, planned) for one in ids for planned in (False, True)}) == 2 * len(ids)


def test_a_planned_activity_and_its_completion_have_different_fingerprints():
    """They may share an id."""
    assert fingerprint("a", True) != fingerprint("a", False)


def test_a_rep_is_written_once_however_many_activities_name_it():
    """The rows point at it."""
    deal = deal_of(*(act(str(n), f"2024-03-01 10:{n:02}", rep_id=("anna", "borys")[n % 2]) for n in range(50)))
    assert deal.reps == ["anna", "borys"]


def test_stage_events_of_one_instant_stand_by_their_ids():
    """As UTF-8 bytes: é comes after z, an emoji after both."""
    deal = Deal()
    for event_id in ("😀", "é", "z", "B", "a", "Ａ"):
        insert_stage_event(deal, stage_event(change(event_id, "2024-03-01 10:00")))
    held = [event.event_id for event in deal.stages]
    assert held == sorted(held, key=str.encode)
    assert has_stage_event(deal, "é")
    assert not has_stage_event(deal, "e")


def test_two_new_records_share_nothing():
    """Lists that a record begins with are its own."""
    first = deal_of(change("1", "2024-03-01 10:00", "New"), act("a", "2024-03-01 10:00", rep_id="anna"))
    assert first.stages
    assert Deal().stages == []


@given(kind=st.integers(0, 9), direction=st.integers(0, 3), automated=st.booleans(), planned=st.booleans())
def test_no_flag_of_a_row_disturbs_another(kind, direction, automated, planned):
    """Type, direction and both flags share one byte."""
    deal = Deal()
    activity = act("a", "2024-03-01 10:00", automated=automated, planned=planned)
    activity.type, activity.direction = kind, direction
    insert_activity(deal, activity, b"12345678")
    assert unpack_rows(deal)[0] == Row(activity.at, kind, direction, automated, planned, 0, None, -1)


def test_a_usual_record_is_small():
    """A deal through six stages with twenty activities takes less than 2 KB."""
    stages = ("New", "Qualified", "Meeting", "Proposal", "Proposal", "Won")
    events = [change(f"evt-{n:08}", f"2024-03-{n:02} 10:00", stage, rep_id="anna") for n, stage in enumerate(stages, 1)]
    calls = [act(f"act-{n:08}", f"2024-03-02 10:{n:02}", rep_id="anna") for n in range(20)]
    assert len(encode(deal_of(*events, *calls))[0]) < 2_000
