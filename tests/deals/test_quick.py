"""Does the short way come to the same as the long one?  Records and facts side by side."""

from itertools import repeat

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.deals.fold import Noticed, Refusal, apply_activity, apply_stage_change
from streams.deals.quick import add_activity, append_stage_change, begin
from streams.deals.record import MAX_ACTIVITIES, RECENT, ROW_BYTES, SETTLED_AT_ONCE, decode, encode
from streams.deals.terms import Terms
from streams.events.contract import StageChange
from streams.kpis.catalogue import BY_ID
from tests import strategies
from tests.audit.tables import act, change
from tests.audit.tables import settings as told
from tests.deals.told import TERMS, deal_of, small_deals, timeless

_OF_MOVES = {"activities", "talk_time", "stage_entered", "stage_left", "time_in_stage"}
ONLY_MOVES = Terms(told(cuts=["rep", "stage"], kpis={kpi: kpi in _OF_MOVES for kpi in BY_ID}))
BY_REP_AND_STAGE = Terms(told(cuts=["rep_stage"], kpis={kpi: kpi in _OF_MOVES for kpi in BY_ID}))
TALK = Terms(told(kpis={kpi: kpi == "talk_time" for kpi in BY_ID}))
NOTHING = encode(deal_of())
NO_STAGES = Terms(told(cuts=["all", "rep", "team", "stage"]))


def both(kept, event, terms):
    """Return what each way makes of an event, each as (record, changes or refusal, what was noticed); None: not taken."""
    short, long, found = Noticed(), Noticed(), []
    if isinstance(event, StageChange):
        quick = (
            begin(event, terms, found, short) if kept == NOTHING else append_stage_change(kept, event, terms, found, short)
        )
        apply = apply_stage_change
    else:
        quick, apply = add_activity(kept, event, terms, found, short), apply_activity
    deal = decode(kept)
    slow = apply(deal, event, terms, long)
    if quick is None:
        assert (found, short) == ([], Noticed())
        return None, (encode(deal), slow, long)
    if isinstance(quick, Refusal):
        return (kept, quick, short), (encode(deal), slow, long)
    if isinstance(quick, bytes):
        quick = quick, kept[1]
    return (quick, timeless(zip(found, repeat(1))), short), (encode(deal), timeless(slow), long)


@pytest.mark.parametrize(
    "terms",
    [ONLY_MOVES, BY_REP_AND_STAGE, TALK, NO_STAGES, TERMS],
    ids=["only moves", "by rep and stage", "talk time alone", "no stages of activities", "everything"],
)
@settings(max_examples=strategies.tries(150), deadline=None, suppress_health_check=list(HealthCheck))
@given(events=strategies.deal_history("d1", most=8), seed=st.randoms(use_true_random=False), repeat=st.booleans())
def test_what_is_taken_the_short_way_is_what_the_long_way_makes(terms, events, seed, repeat):
    """Whatever the order: the same record to the byte, the same facts, the same refusals, the same noticed."""
    arrivals = sorted(events, key=lambda one: one.at) if seed.random() < 0.7 else list(events)
    if repeat and arrivals:
        arrivals.append(arrivals[-1])
    kept = encode(deal_of())
    for event in arrivals:
        quick, slow = both(kept, event, terms)
        assert quick in (None, slow)
        kept = slow[0]


@pytest.mark.parametrize(
    "terms", [ONLY_MOVES, NO_STAGES, TERMS], ids=["only moves", "no stages of activities", "everything"]
)
@settings(max_examples=strategies.tries(100), deadline=None, suppress_health_check=list(HealthCheck))
@given(arrivals=strategies.busy_deal("d1"))
def test_a_deal_with_older_activities_is_the_same_whichever_way_its_events_come_in(terms, arrivals):
    """Record and older activities to the byte, also when some have been settled."""
    with small_deals():
        kept = encode(deal_of())
        for event in arrivals:
            quick, slow = both(kept, event, terms)
            assert quick in (None, slow)
            kept = slow[0]


NEW, CALLED = change("1", "2024-03-01 10:00", "New", rep_id="anna"), act("a", "2024-03-01 10:20", rep_id="anna")
QUALIFIED = change("2", "2024-03-02 10:00", "Qualified")


@pytest.mark.parametrize(
    ("before", "event"),
    [
        ([], NEW),
        ([], change("1", "2024-03-01 10:00", "Won")),
        ([], change("1", "2024-03-01 10:00", "New", pipeline="default", rep_id="anna", customer_id="c", product="GTX")),
        ([NEW, CALLED], act("b", "2024-03-01 12:00", rep_id="anna")),
        ([NEW, CALLED], act("b", "2024-03-01 12:00")),
        ([NEW, CALLED], act("b", "2024-03-01 12:00", rep_id="anna", planned=True)),
        ([NEW, CALLED], QUALIFIED),
        ([NEW, CALLED], change("2", "2024-03-02 10:00", "Qualified", rep_id="borys")),
        ([NEW, CALLED, QUALIFIED], change("3", "2024-03-03 10:00", "Won")),
        ([NEW, change("2", "2024-03-02 10:00", "Won")], change("3", "2024-03-03 10:00", "Lost")),
        ([NEW, CALLED], change("2", "2024-03-02 10:00", "New", amount="10")),
        ([NEW, CALLED], change("2", "2024-03-02 10:00", amount="10", lost_reason="price")),
        # where the two topics are not in step:
        ([NEW, CALLED, QUALIFIED], act("b", "2024-03-01 10:30", rep_id="anna")),
        ([NEW, CALLED], change("2", "2024-03-01 10:10", "Qualified", rep_id="anna")),
        # late, and the first touch:
        ([NEW, CALLED, act("b", "2024-03-01 11:00", rep_id="anna")], act("c", "2024-03-01 10:30", rep_id="anna")),
        ([NEW, CALLED], act("c", "2024-03-01 10:10", rep_id="anna")),
        ([NEW, CALLED], act("c", "2024-03-01 09:10", rep_id="anna")),
    ],
    ids=str,
)
def test_the_usual_next_event_takes_the_short_way(before, event):
    """A call, a plan, a move, another owner, a win."""
    quick, slow = both(encode(deal_of(*before, terms=ONLY_MOVES)), event, ONLY_MOVES)
    assert quick == slow


ANYBODY = act("a", "2024-03-01 10:20")
HANDED_OVER = change("2", "2024-03-02 10:00", "Qualified", rep_id="borys")


@pytest.mark.parametrize("terms", [ONLY_MOVES, TERMS], ids=["only moves", "everything"])
@pytest.mark.parametrize(
    ("before", "event"),
    [
        # whose the call of 10:20 is changes with it:
        ([NEW, ANYBODY], change("2", "2024-03-01 10:10", "Qualified", rep_id="borys")),
        # whose the call is, the record's present rep does not tell:
        ([NEW, HANDED_OVER], ANYBODY),
        # late, by somebody who is not known from the head:
        ([NEW, act("b", "2024-03-01 11:00", rep_id="anna")], act("c", "2024-03-01 10:30", rep_id="borys")),
        ([NEW, act("b", "2024-03-01 11:00", rep_id="anna")], act("c", "2024-03-01 10:30")),
        # opened again, or created only now, by which the close before it moves behind it:
        ([NEW, change("2", "2024-03-02 10:00", "Won")], change("3", "2024-03-03 10:00", "New")),
        ([change("1", "2024-03-01 01:00", "Won")], change("2", "2024-03-01 10:00", "New")),
        # of a deal that is in no stage yet:
        ([change("1", "2024-03-01 10:00", rep_id="anna")], QUALIFIED),
        ([change("1", "2024-03-01 10:00", rep_id="anna")], change("2", "2024-03-02 10:00", "Won", pipeline="default")),
        # an id that is held, with other content:
        ([NEW, QUALIFIED], change("2", "2024-03-05 10:00", "Won")),
        ([NEW, CALLED], act("a", "2024-03-05 10:00", rep_id="anna")),
        # said for the first time, so it reaches back:
        ([NEW, CALLED], change("2", "2024-03-02 10:00", "Qualified", product="GTX")),
        ([NEW, CALLED], act("b", "2024-03-01 12:00", rep_id="borys")),
    ],
    ids=str,
)
def test_what_is_not_usual_is_left_to_the_long_way_or_comes_to_the_same(before, event, terms):
    """The head of the record does not tell enough."""
    quick, slow = both(encode(deal_of(*before, terms=terms)), event, terms)
    assert quick in (None, slow)


FULL = MAX_ACTIVITIES + SETTLED_AT_ONCE - 1


def _call(number, **more):
    return act(f"a{number}", f"2024-03-01 {number // 60:02}:{number % 60:02}", rep_id="anna", **more)


@pytest.mark.parametrize("terms", [ONLY_MOVES, TERMS], ids=["only moves", "everything"])
@pytest.mark.parametrize("held", [FULL - 1, FULL + 1, FULL + 10])
def test_a_record_with_settled_activities_goes_on_in_the_short_way(held, terms):
    """Else each further activity of a busy deal would take the long one."""
    kept = encode(deal_of(*map(_call, range(held)), terms=terms))
    quick, slow = both(kept, _call(held), terms)
    assert quick == slow


@pytest.mark.parametrize(
    ("held", "event"), [(FULL, _call(FULL)), (FULL + 1, _call(30)), (FULL + 1, _call(FULL, planned=True))], ids=str
)
def test_what_a_full_record_may_refuse_or_settle_takes_the_long_way(held, event):
    """The 576th settles a block; what is not newer than all that is held may be too late."""
    assert both(encode(deal_of(*map(_call, range(held)))), event, TERMS)[0] is None


@pytest.mark.parametrize("held", [2 * RECENT - 2, 2 * RECENT - 1, 2 * RECENT, 3 * RECENT - 1, FULL - 1, FULL + 1])
@pytest.mark.parametrize("terms", [ONLY_MOVES, TERMS], ids=["only moves", "everything"])
def test_activities_become_older_ones_in_the_short_way(held, terms):
    """Else a busy deal would be unpacked for every 32nd, and stay so until the next flush."""
    quick, slow = both(encode(deal_of(*map(_call, range(held)), terms=terms)), _call(held), terms)
    assert quick == slow


@pytest.mark.parametrize("held", [2, RECENT, 2 * RECENT - 1, 2 * RECENT + 5, 10 * RECENT])
def test_a_late_activity_goes_among_those_that_the_record_keeps(held):
    """Also the one by which older ones come to be; what belongs among older ones takes the long way."""
    kept = encode(deal_of(*(_call(2 * number) for number in range(held)), terms=ONLY_MOVES))
    older = len(kept[1]) // ROW_BYTES
    for number in sorted({0, older - 1, older, held - 2} - {-1}):
        late = act("late", f"2024-03-01 {(2 * number + 1) // 60:02}:{(2 * number + 1) % 60:02}", rep_id="anna")
        quick, slow = both(kept, late, ONLY_MOVES)
        assert quick == (slow if number >= older else None)


@pytest.mark.parametrize("held", [2 * RECENT, 10 * RECENT, FULL + 20])
def test_a_repeat_of_an_older_activity_is_dropped_in_the_short_way(held):
    """With other content and another time, too: one content per id, the first one that came."""
    deal = deal_of(*map(_call, range(held)))
    kept, oldest = encode(deal), max(0, held - deal.activities)
    for number in (oldest, oldest + 1, held - RECENT - 1, held - 1):
        again = act(f"a{number}", "2024-03-09 10:00", "meeting")
        quick, slow = both(kept, again, TERMS)
        assert quick == slow == (kept, Refusal.DUPLICATE, Noticed())


@pytest.mark.parametrize("event", [QUALIFIED, change("2", "2024-03-02 10:00", "Won", rep_id="borys")], ids=str)
def test_a_deal_with_settled_activities_moves_in_the_short_way(event):
    """A move newer than all that is held changes nothing of them."""
    kept = encode(deal_of(NEW, *(_call(number + 600) for number in range(FULL + 1)), terms=ONLY_MOVES))
    quick, slow = both(kept, event, ONLY_MOVES)
    assert quick == slow
