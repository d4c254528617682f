"""Does every path give facts(after) - facts(before)?  Against a record whose facts are worked out from scratch."""

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.deals.fold import Noticed, Refusal, apply_activity, apply_stage_change, facts_without_deal
from streams.deals.record import Deal, decode, encode
from streams.deals.terms import FIRST_LEVEL, Kind, Terms
from streams.events.contract import StageChange
from tests import strategies
from tests.audit.tables import DEFAULT_STAGES, act, change, us
from tests.audit.tables import settings as definitions
from tests.deals.told import TERMS, deal_of, from_scratch, small_deals, take, timeless, words

ALPHABET = Terms(strategies.definitions())


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(events=strategies.deal_history("d1", most=7).flatmap(st.permutations))
def test_what_was_added_is_always_what_the_record_says_now(events):
    """Late, equal, cleared, moved, deleted: after every arrival the changes so far add up to the facts."""
    deal, total = Deal(), []
    for event in events:
        total += take(deal, event, ALPHABET)
        assert timeless(total) == from_scratch(deal, ALPHABET)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(events=strategies.deal_history("d1", most=9))
def test_arrivals_in_order_take_the_short_paths_to_the_same_facts(events):
    """As most CRMs send: each event newer than all before it, stage events first where instants are equal."""
    deal, total = Deal(), []
    for event in sorted(events, key=lambda one: (one.at, not isinstance(one, StageChange), one.event_id)):
        total += take(deal, event, ALPHABET)
    assert timeless(total) == from_scratch(deal, ALPHABET)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(events=strategies.deal_history("d1", most=6), seed=st.randoms(use_true_random=False))
def test_any_order_of_arrival_makes_the_same_facts(events, seed):
    """A number is a function of the set of events."""
    shuffled = list(events)
    seed.shuffle(shuffled)
    assert from_scratch(deal_of(*events, terms=ALPHABET), ALPHABET) == from_scratch(
        deal_of(*shuffled, terms=ALPHABET), ALPHABET
    )


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(events=strategies.deal_history("d1", most=6))
def test_a_repeat_is_refused_and_changes_nothing(events):
    """However it comes in, an id that is held is a duplicate."""
    deal = deal_of(*events, terms=ALPHABET)
    kept = encode(deal)
    assert {take(deal, event, ALPHABET) for event in events} <= {Refusal.DUPLICATE}
    assert encode(deal) == kept


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(events=strategies.deal_history("d1", most=6))
def test_a_restart_between_any_two_events_changes_nothing(events):
    """The record is all there is: read back after each event, it takes in the next one alike."""
    kept = encode(Deal())
    for event in events:
        deal = decode(kept)
        take(deal, event, ALPHABET)
        kept = encode(deal)
    assert kept == encode(deal_of(*events, terms=ALPHABET))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(arrivals=strategies.busy_deal("d1"))
def test_a_restart_between_any_two_events_of_a_large_deal_changes_nothing(arrivals):
    """Older activities are read back with the record: the same changes and refusals as of a deal that stays in memory."""
    with small_deals():
        kept, deal = encode(Deal()), Deal()
        for event in arrivals:
            again = decode(kept)
            assert take(again, event, ALPHABET) == take(deal, event, ALPHABET)
            kept = encode(again)
            assert kept == encode(deal)


def test_a_repeat_with_other_content_is_a_duplicate_too():
    """One content per id: the first one that came is the one that counts."""
    deal = deal_of(change("1", "2024-03-01 10:00", "New"))
    assert take(deal, change("1", "2024-03-09 10:00", "Won")) is Refusal.DUPLICATE
    assert take(deal, act("1", "2024-03-01 10:00")) is not Refusal.DUPLICATE


def test_levels_change_on_the_day_of_the_deals_newest_event():
    """A late correction changes the level of today, not of the day that it speaks of."""
    deal = deal_of(change("1", "2024-03-01 10:00", "New"), change("2", "2024-03-05 10:00", "Qualified"))
    changes = take(deal, change("3", "2024-03-02 10:00", rep_id="anna"))
    days = {fact[1] for fact, _ in changes if fact[0] >= FIRST_LEVEL}
    assert days == {TERMS.calendar.day_of(us("2024-03-05 10:00"))}


@pytest.mark.parametrize(
    "stages",
    ["New Qualified Contacted Proposal", "New Qualified Contacted Qualified", "New Proposal Qualified Contacted New Won",
     "New Contacted Lost", "New Qualified New Qualified Proposal", "Contacted New Qualified", "renewals: Due Won Due Paid"],
)  # fmt: skip
def test_a_deal_that_went_back_advances_once_from_each_stage(stages):
    """Each move only adds to the end: what it changes is what all of them say, less what they said before."""
    deal, total = Deal(), []
    *pipeline, moves = stages.split(": ")
    for day, stage in enumerate(moves.split(), start=1):
        total += take(deal, change(str(day), f"2024-03-0{day} 10:00", stage, pipeline="".join(pipeline) or None))
        assert timeless(total) == from_scratch(deal, TERMS)


def test_a_stage_of_the_same_name_in_another_pipeline_is_another_stage():
    """It has a first entry of its own, and nobody advances from one pipeline to a stage of the other."""
    terms = Terms(definitions(pipelines={"default": {"stages": DEFAULT_STAGES}, "renewals": {"stages": DEFAULT_STAGES}}))
    deal, total = Deal(), []
    moves = ("default", "New"), ("renewals", "New"), ("renewals", "Proposal"), ("default", "Qualified"), ("renewals", "Won")
    for day, (pipeline, stage) in enumerate(moves, start=1):
        total += take(deal, change(str(day), f"2024-03-0{day} 10:00", stage, pipeline=pipeline), terms)
        assert timeless(total) == from_scratch(deal, terms)


def test_the_first_touch_ends_the_waiting_once():
    """The second call adds one activity and nothing else."""
    deal = deal_of(change("1", "2024-03-01 10:00", "New"), act("a", "2024-03-01 11:00"))
    assert [fact[0] for fact, _ in take(deal, act("b", "2024-03-01 12:00"))] == [Kind.ACTIVITY]


def test_a_late_activity_before_a_creation_that_closings_moved_behind_is_in_no_stage():
    """Won the evening before: that counts at the creation, so the call of that night came before the first entry."""
    events = [
        change("1", "2024-03-01 20:00", "Won"),
        change("2", "2024-03-02 10:00", "New", rep_id="anna"),
        act("a", "2024-03-02 05:00", rep_id="borys"),
        act("b", "2024-03-01 19:00", rep_id="borys"),
    ]
    deal, total = Deal(), []
    for event in events:
        total += take(deal, event)
    assert timeless(total) == from_scratch(deal, TERMS)
    assert [one.get("stage") for one in words((fact for fact, _ in total), Kind.ACTIVITY)] == [None, None]


def test_an_earlier_touch_that_comes_late_replaces_the_response():
    """Answered at 11, and at 10:30 as it turns out."""
    deal = deal_of(change("1", "2024-03-01 10:00", "New"), act("a", "2024-03-01 11:00"))
    changes = take(deal, act("b", "2024-03-01 10:30"))
    assert [(fact[3], count) for fact, count in changes if fact[0] is Kind.RESPONSE] == [(1_800_000, 1), (3_600_000, -1)]


def test_activities_of_a_deleted_deal_count_when_it_comes_back():
    """What came while it was deleted is kept, and its touch is the response."""
    deal = deal_of(change("1", "2024-03-01 10:00", "New"), change("2", "2024-03-02 10:00", deleted=True))
    assert take(deal, act("a", "2024-03-01 11:00")) == []
    changes = timeless(take(deal, change("3", "2024-03-03 10:00", deleted=False)))
    assert [one["a"] for one in words(changes, Kind.RESPONSE)] == [3_600_000]


@pytest.mark.parametrize(
    ("from_stage", "mismatches"), [(None, 0), ("Qualified", 0), ("New", 1), ("Limbo", 1)], ids=str
)  # fmt: skip
def test_another_stage_to_come_from_is_counted_and_not_fatal(from_stage, mismatches):
    """The deal stands in Qualified."""
    deal = deal_of(change("1", "2024-03-01 10:00", "New"), change("2", "2024-03-02 10:00", "Qualified"))
    event, noticed = change("3", "2024-03-03 10:00", "Proposal"), Noticed()
    event.from_stage = from_stage
    assert apply_stage_change(deal, event, TERMS, noticed)
    assert noticed.stage_mismatches == mismatches


def test_closings_long_before_creation_and_stages_that_are_not_configured_are_noticed():
    """Each is counted once, when it shows."""
    deal, noticed = Deal(), Noticed()
    for event in (
        change("1", "2024-01-01 10:00", "Won"), change("2", "2024-03-02 10:00", "New"), change("3", "2024-03-03 10:00", "Limbo"),
    ):  # fmt: skip
        apply_stage_change(deal, event, TERMS, noticed)
    assert (noticed.anomalies, noticed.unconfigured) == (1, {("default", "Limbo")})


def test_an_activity_without_a_deal_counts_for_its_rep_without_a_stage():
    """Two facts of a call with a duration; none when nobody did it."""
    alone = act("a", "2024-03-01 11:00", deal_id=None, rep_id="anna", duration_ms=5)
    found = [fact for fact, _ in facts_without_deal(alone, TERMS)]
    assert words(found, Kind.ACTIVITY) == [{"rep": "anna", "a": 0, "b": False, "when": us("2024-03-01 11:00")}]
    assert words(found, Kind.TALK) == [{"rep": "anna", "a": 5, "when": us("2024-03-01 11:00")}]


def test_an_automatic_activity_without_a_deal_counts_nowhere():
    """It is accepted and adds nothing."""
    assert facts_without_deal(act("a", "2024-03-01 11:00", deal_id=None, rep_id="anna", automated=True), TERMS) == []


def test_many_deals_do_not_know_of_each_other():
    """The same event ids on two records are two events."""
    total = Counter()
    for _ in range(2):
        deal = Deal()
        total += timeless(apply_stage_change(deal, change("1", "2024-03-01 10:00", "New"), TERMS, Noticed()))
        total += timeless(apply_activity(deal, act("1", "2024-03-01 10:00"), TERMS, Noticed()))
    assert {count for fact, count in total.items() if fact[0] is Kind.ENTER} == {2}
