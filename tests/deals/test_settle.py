"""Does a record that lets go of events count what one would count that holds them all?"""

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.deals.contributions import facts
from streams.deals.fold import Noticed, Refusal, apply_activity, apply_stage_change
from streams.deals.record import Deal, decode, encode
from streams.deals.terms import Kind
from streams.events.contract import Event, StageChange
from tests import strategies
from tests.audit.tables import act, change
from tests.deals.told import TERMS, bounded, take, timeless

MINUTE = 60_000_000
trying = settings(max_examples=strategies.tries(100), deadline=None, suppress_health_check=list(HealthCheck))
MOVES = {Kind.ENTER, Kind.LEAVE}
FINAL = MOVES | {Kind.CONVERSION, Kind.ACTIVITY, Kind.TALK}


def told(events: list[Event], held: int) -> tuple[Counter, Deal, int]:
    """Fold a deal's events in; return what is counted, the record and how many were refused."""
    total: Counter = Counter()
    deal, refused = Deal(), 0
    with bounded(MAX_STAGE_EVENTS=held):
        for event in events:
            apply = apply_stage_change if isinstance(event, StageChange) else apply_activity
            changes = apply(deal, event, TERMS, Noticed())
            if isinstance(changes, Refusal):
                refused += 1
            else:
                for fact, count in changes:
                    total[fact] += count
            deal = decode(encode(deal))
    return timeless(total.items()), deal, refused


SAID = st.fixed_dictionaries(
    {},
    optional={
        "rep_id": st.sampled_from(["anna", "borys"]), "product": st.sampled_from(["X", "Y"]), "region": st.just("north"),
        "lead_source": st.sampled_from(["web", "fair"]), "customer_id": st.sampled_from(["c1", "c2"]), "amount": st.sampled_from(["5", "7"]),
    },
)  # fmt: skip
STAGES = st.sampled_from([None, None, "New", "Qualified", "Proposal", "Won", "Lost", "Odd"])


@st.composite
def stories(draw, *, most: int = 60, deleted: bool = False) -> list[Event]:
    """Draw the events of a deal in order; somebody has it from the beginning, perhaps before it has a stage.

    `deleted`: now and then it is deleted, or restored.
    """
    events: list[Event] = [change("e00", "2024-03-01 10:00", draw(STAGES), rep_id="anna")]
    at = events[0].at
    for number in range(1, draw(st.integers(20, most))):
        # Some at the instant of the one before, but not a whole record of one instant: of that what comes next is refused.
        at += draw(st.sampled_from([0, MINUTE, 7 * MINUTE, 2_000 * MINUTE])) if number % 4 else MINUTE
        if draw(st.integers(0, 4)) == 0:
            event: Event = act(
                f"a{number:02}", "2024-03-01 10:00", rep_id=draw(st.sampled_from([None, "borys"])),
                direction=draw(st.sampled_from(["inbound", "outbound"])),
            )  # fmt: skip
        else:
            clear = draw(st.sampled_from([[], [], [], [], ["rep_id"], ["product"]]))
            said = {name: value for name, value in draw(SAID).items() if name not in clear}
            pipeline = draw(st.sampled_from([None, None, None, "default", "renewals"]))
            event = change(f"e{number:02}", "2024-03-01 10:00", draw(STAGES), pipeline=pipeline, clear=clear, **said)
            if deleted and draw(st.integers(0, 9)) == 0:
                event.deleted = draw(st.booleans())
        event.at = at
        events.append(event)
    return events


def test_a_full_record_of_a_deal_without_a_stage_still_takes_in_its_first():
    """Only names were said; what comes late, but after all that was let go of, begins the deal."""
    names = [change(f"e{day}", f"2024-03-0{day} 10:00", rep_id="anna" if day % 2 else "borys") for day in range(1, 9)]
    first = change("late", "2024-03-07 12:00", "New")
    counted, deal, refused = told([*names, first], 4)
    assert (counted, refused) == (told([*names, first], 64)[0], 0)
    assert (deal.settled > 0, deal.stage) == (True, "New")


@trying
@given(story=stories())
def test_in_order_a_full_record_counts_what_one_without_bounds_counts(story):
    """Sixteen stage events are held of up to 60: whatever comes, every number is that of the whole history."""
    assert told(story, 16)[0] == told(story, 1_000)[0]


@trying
@given(story=stories())
def test_what_the_record_shows_was_counted_and_what_is_missing_is_final(story):
    """So a deletion takes back nothing that was not there, and leaves only what can no longer be corrected."""
    total, deal, _ = told(story, 16)
    deletion = change("gone", "2024-03-01 10:00", deleted=True)
    deletion.at = story[-1].at + MINUTE
    assert {fact[0] for fact in told([*story, deletion], 16)[0]} <= FINAL
    shown = timeless((fact, 1) for fact in facts(deal, TERMS))
    assert not shown - total
    assert {fact[0] for fact in total - shown} <= FINAL


def test_moves_and_calls_of_a_deleted_deal_are_counted_when_it_is_restored():
    """Sixty-four moves, each with a call, then it is deleted, moves on twenty times, and is restored: no move and no call is missing."""
    way: list[Event] = [change("e000", "2024-03-01 10:00", "New", rep_id="anna")]
    way += [change(f"e{number:03}", "2024-03-01 10:00", ("Qualified", "Proposal")[number % 2]) for number in range(1, 64)]
    way += [act(f"a{number:03}", "2024-03-01 10:00") for number in range(64)]
    way.append(change("e064", "2024-03-01 10:00", deleted=True))
    way += [change(f"e{number:03}", "2024-03-01 10:00", ("Qualified", "Proposal")[number % 2]) for number in range(65, 85)]
    way.append(change("e085", "2024-03-01 10:00", deleted=False))
    for event in way:
        event.at += int(event.event_id[1:]) * MINUTE
    way.sort(key=lambda event: event.at)
    assert told(way, 64)[0] == told(way, 1_000)[0]


@trying
@given(story=stories(deleted=True))
def test_a_deal_that_is_restored_counts_what_one_without_bounds_counts(story):
    """What was let go of while it was deleted, too: it was counted when it was let go of."""
    restored = change("restored", "2024-03-01 10:00", deleted=False)
    restored.at = story[-1].at + MINUTE
    assert told([*story, restored], 16)[0] == told([*story, restored], 1_000)[0]


@st.composite
def late_events(draw) -> Event:
    """Draw a call of nobody in particular, or any stage event."""
    if draw(st.booleans()):
        return act("late", "2024-03-01 10:00", direction="outbound")
    return change("late", "2024-03-01 10:00", draw(STAGES), **draw(SAID))


@trying
@given(story=stories(), late=late_events(), when=st.floats(0, 1))
def test_a_late_event_is_counted_as_if_everything_were_held_or_refused(story, late, when):
    """At any instant: what it needs to know of it is still known, or it is too late."""
    late.at = int(story[0].at + when * (story[-1].at - story[0].at))
    found, _, refused = told([*story, late], 16)
    if not refused:
        assert found == told([*story, late], 1_000)[0]


@trying
@given(story=stories(deleted=True), place=st.floats(0, 1, exclude_max=True))
def test_an_event_that_is_repeated_changes_nothing(story, place):
    """Also one that was let go of, whose id nobody knows any more."""
    _, deal, _ = told(story, 16)
    with bounded(MAX_STAGE_EVENTS=16):
        changes = take(deal, story[int(place * len(story))])
    assert isinstance(changes, Refusal) or not timeless(changes)


@pytest.mark.parametrize(("stage", "said"), [(None, {"amount": "7"}), (None, {"product": "X"}), ("Proposal", {})], ids=str)
@pytest.mark.parametrize("hours", [1, 30])
def test_what_comes_late_may_come_before_a_burst_of_amounts(stage, said, hours):
    """Two hundred amounts in twenty minutes: nothing hangs on those that were let go of."""
    way = [change("e000", "2024-03-01 10:00", "New", rep_id="anna"), change("e001", "2024-03-01 10:00", "Qualified")]
    way += [change(f"e{number:03}", "2024-03-01 10:00", amount=f"{number}") for number in range(2, 202)]
    for number, event in enumerate(way):
        event.at += number * MINUTE // 10 + (2 * 24 * 60 * MINUTE if number > 1 else 0)
    late = change("late", "2024-03-01 10:00", stage, **said)
    late.at = way[-1].at - hours * 60 * MINUTE
    total, _, refused = told([*way, late], 64)
    assert (total, refused) == (told([*way, late], 1_000)[0], 0)


def test_an_amount_may_come_before_a_move_that_was_let_go_of():
    """Sixty moves, then a hundred amounts: in which stage the deal was is not known any more, what it was worth does not depend on it."""
    way = [change("e000", "2024-03-01 10:00", "New", rep_id="anna")]
    way += [change(f"e{number:03}", "2024-03-01 10:00", ("Qualified", "Proposal")[number % 2]) for number in range(1, 60)]
    way += [change(f"e{number:03}", "2024-03-01 10:00", amount=f"{number}") for number in range(60, 160)]
    for number, event in enumerate(way):
        event.at += number * MINUTE
    late = change("late", "2024-03-01 10:00", amount="7")
    late.at = way[50].at
    total, deal, refused = told([*way, late], 64)
    assert deal.settled_until > late.at
    assert (total, refused) == (told([*way, late], 1_000)[0], 0)


@pytest.mark.parametrize(
    ("minutes", "late"), [(60, 24 * 60), (1, 20)], ids=["hourly, late by a day", "every minute, late by twenty"]
)
def test_what_is_late_by_some_events_is_not_refused(minutes, late):
    """Products and amounts in turn, for weeks or for hours, one in ten late: the newer half of the record is there to be corrected."""
    way = [change("e000", "2024-03-01 10:00", "New", rep_id="anna"), change("e001", "2024-03-01 10:00", "Qualified")]
    for number in range(2, 400):
        said = {"product": f"p{number % 7}"} if number % 2 else {"amount": f"{number}"}
        way.append(change(f"e{number:03}", "2024-03-01 10:00", **said))
    for number, event in enumerate(way):
        event.at += number * minutes * MINUTE
    on_time = [event for number, event in enumerate(way) if number % 10]
    arrivals = sorted(way, key=lambda event: event.at + (0 if event in on_time else late * MINUTE))
    total, _, refused = told(arrivals, 64)
    assert refused == 0
    assert total == told(way, 1_000)[0]


def test_events_of_one_day_that_come_in_order_are_all_taken_in():
    """Dates without times: a hundred events at midnight, then as many a day later."""
    way = [change("e000", "2024-03-01 00:00", "New", rep_id="anna")]
    way += [change(f"e{number:03}", "2024-03-01 00:00", amount=f"{number}") for number in range(1, 60)]
    way += [change(f"e{number:03}", "2024-03-02 00:00", ("New", "Qualified")[number % 2]) for number in range(60, 100)]
    total, _, refused = told(way, 64)
    assert refused == 0
    assert total == told(way, 1_000)[0]


def test_what_was_cleared_before_it_was_said_stays_unknown():
    """Nobody has the deal from its second minute on, and that stays so when somebody is named in the end."""
    way: list[Event] = [change("e0", "2024-03-01 10:00", "New"), change("e1", "2024-03-01 10:01", clear=["rep_id"])]
    way += [act("a0", "2024-03-01 10:02"), change("e2", "2024-03-01 10:03", "Qualified", product="X")]
    way += [change("e3", "2024-03-01 10:04", "Proposal", product="Y"), change("e4", "2024-03-01 10:05", customer_id="c1")]
    way += [change("e5", "2024-03-01 10:06", lead_source="web"), change("e6", "2024-03-01 10:07", region="north")]
    way.append(change("e7", "2024-03-01 10:08", rep_id="anna"))
    total, _, refused = told(way, 6)
    assert (total, refused) == (told(way, 1_000)[0], 0)


def test_closings_of_a_day_before_the_creation_count_behind_it_though_the_record_was_full():
    """Lost and won at night, eighty updates, and created in the evening: what it was worth by then was said last."""
    way = [change("e000", "2024-03-01 00:00", "Lost", rep_id="anna"), change("e001", "2024-03-01 00:01", amount="5")]
    way.append(change("e002", "2024-03-01 00:02", "Won"))
    for number in range(3, 83):
        way.append(change(f"e{number:03}", "2024-03-01 01:00", product=f"p{number}"))
        way[-1].at += number * MINUTE
    way.append(change("e083", "2024-03-01 20:00", "New", amount="9"))
    total, _, refused = told(way, 64)
    assert [fact[4] for fact in total if fact[0] is Kind.MONEY] == [900]
    assert (total, refused) == (told(way, 1_000)[0], 0)


def test_a_creation_that_comes_late_is_refused_where_closings_of_a_day_before_it_were_let_go_of():
    """They would have to count behind it."""
    way = [change(f"e{number:03}", "2024-03-01 00:00", ("Won", "Lost")[number % 2], rep_id="anna") for number in range(80)]
    for number, event in enumerate(way):
        event.at += number * 60 * MINUTE
    _, deal, _ = told(way, 64)
    for hours, refused in ((1, True), (23, True), (25, False)):
        late = change("late", "2024-03-01 00:00", "New")
        late.at = deal.settled_until + hours * 60 * MINUTE
        total, _, count = told([*way, late], 64)
        assert bool(count) is refused
        assert refused or total == told([*way, late], 1_000)[0]


def test_what_comes_next_may_be_of_the_newest_instant():
    """The record is full when the deal is won; at the same instant it is lost."""
    moves = [
        (0, "New", {}), (10, None, {"clear": ["rep_id"], "lead_source": "fair"}), (20, "Won", {"customer_id": "c1"}),
        (30, "Qualified", {"clear": ["rep_id"]}), (40, "Proposal", {"rep_id": "borys"}), (50, "Won", {"clear": ["product"]}),
        (60, "Qualified", {"rep_id": "anna"}), (70, "New", {}), (70, "Qualified", {}),
        *((number, None, {}) for number in range(80, 87)), (90, "Won", {}), (90, "Lost", {}),
    ]  # fmt: skip
    way = [change(f"e{place:02}", "2024-03-01 10:00", stage, **said) for place, (_, stage, said) in enumerate(moves)]
    for event, (minutes, _, _) in zip(way, moves, strict=True):
        event.at += minutes * MINUTE
    total, _, refused = told(way, 16)
    assert (total, refused) == (told(way, 1_000)[0], 0)


def test_whose_revenue_it_is_is_known_though_the_amount_comes_last():
    """Won, then a customer, another customer, a hundred updates, and only then the amount: it is the first one's."""
    way = [change("e000", "2024-03-01 10:00", "New", rep_id="anna"), change("e001", "2024-03-01 10:00", "Won")]
    way += [change("e002", "2024-03-01 10:00", customer_id="c1"), change("e003", "2024-03-01 10:00", customer_id="c2")]
    way += [change(f"e{number:03}", "2024-03-01 10:00", product=f"p{number}") for number in range(4, 104)]
    way.append(change("e104", "2024-03-01 10:00", amount="5"))
    for number, event in enumerate(way):
        event.at += number * MINUTE
    total, _, refused = told(way, 64)
    assert [fact[2][6] for fact in total if fact[0] is Kind.MONEY] == ["c1"]
    assert (total, refused) == (told(way, 1_000)[0], 0)


def test_what_is_let_go_of_although_something_hangs_on_it_stays_counted_where_the_deal_was():
    """Back and forth, then lost: something hangs on each move, and one has to go all the same."""
    stages = ("New", "Qualified", "New", "Qualified", "Lost")
    events = [change(f"e{day}", f"2024-03-0{day} 10:00", stage, rep_id="anna") for day, stage in enumerate(stages, start=1)]
    (counted, deal, refused), everything = told(events, 4), told(events, 64)[0]
    moves = [Counter({fact: count for fact, count in one.items() if fact[0] in MOVES}) for one in (counted, everything)]
    assert moves[0] == moves[1]
    assert (deal.settled, refused) == (1, 0)
