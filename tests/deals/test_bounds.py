"""What happens when a record is full?  The oldest is settled: it keeps its numbers and can no longer be corrected."""

from base64 import b64decode
from collections import Counter
from cProfile import Profile
from pstats import Stats

import pytest

from streams.deals.fold import Noticed, Refusal, apply_activity, apply_stage_change
from streams.deals.record import MAX_ACTIVITIES, MAX_SETTLED_STAGES, MAX_STAGE_EVENTS, SETTLED_AT_ONCE, Deal, decode, encode
from streams.deals.settle import fit, settle_activities
from streams.deals.terms import Kind, Terms
from tests.audit.tables import act, change, settings, us
from tests.deals.told import TERMS, deal_of, from_scratch, take, timeless

MINUTE = 60_000_000
START = us("2024-03-01 10:00")


def stage_at(number, stage=None, **said):
    event = change(f"e{number:04}", "2024-03-01 10:00", stage, **said)
    event.at = START + number * MINUTE
    return event


def call_at(number, **more):
    event = act(f"a{number:04}", "2024-03-01 10:00", **more)
    event.at = START + number * MINUTE
    return event


def back_and_forth(count):
    """Return a deal's creation and its way between two stages."""
    return [stage_at(0, "New"), *(stage_at(n, ("Qualified", "Proposal")[n % 2]) for n in range(1, count))]


def settling(deal, events):
    """Fold events in; return the changes so far and what was noticed."""
    total, noticed = Counter(), Noticed()
    for event in events:
        apply = apply_stage_change if event.event_id[0] == "e" else apply_activity
        for fact, count in apply(deal, event, TERMS, noticed):
            total[fact] += count
    return total, noticed


# ------------------------------------------------------------------ stage events


def test_a_full_record_holds_64_stage_events_and_counts_those_it_settled():
    """One more settles one."""
    deal = Deal()
    _, noticed = settling(deal, back_and_forth(MAX_STAGE_EVENTS + 3))
    assert (len(deal.stages), deal.settled, noticed.settled) == (MAX_STAGE_EVENTS, 3, 3)


def test_the_event_that_created_the_deal_is_never_settled():
    """Whose creation it is and how long the cycle was must not be forgotten."""
    deal = Deal()
    settling(deal, back_and_forth(200))
    assert (deal.stages[0].event_id, deal.created) == ("e0000", START)


@pytest.mark.parametrize(
    ("minute", "refused"), [(-5, True), (0.5, True), (2.5, True), (5.5, True), (6.5, False), (70, False)], ids=str
)  # fmt: skip
def test_what_is_older_than_all_that_is_held_is_too_late(minute, refused):
    """67 events came: minutes 2 to 4 are settled, the exits until minute 6 with them, and minute 1 is held, since the deal may yet advance from the stage it came to."""
    deal = deal_of(*back_and_forth(MAX_STAGE_EVENTS + 3))
    event = stage_at(0, "Limbo")
    event.event_id, event.at = "late", START + int(minute * MINUTE)
    assert (take(deal, event) is Refusal.TOO_LATE) is refused


def test_settling_changes_no_number():
    """200 entries came, so 200 are counted, though 64 are held; each exit once."""
    total, _ = settling(Deal(), back_and_forth(200))
    kinds = Counter()
    for fact, count in timeless(total.items()).items():
        kinds[fact[0]] += count
    assert (kinds[Kind.ENTER], kinds[Kind.LEAVE], kinds[Kind.LEVEL], kinds[Kind.LEAD]) == (200, 199, 1, 1)


def test_the_first_entry_of_a_stage_stays_the_first_when_it_is_settled():
    """Each of the three stages is a cohort once, however often it was entered."""
    total, _ = settling(Deal(), back_and_forth(200))
    cohorts = Counter()
    for fact, count in total.items():
        if fact[0] is Kind.CONVERSION:
            cohorts[fact[2][1]] += count
    assert +cohorts == Counter({"New": 1, "Qualified": 1, "Proposal": 1})


def test_what_moves_the_deal_is_settled_last():
    """A hundred corrections of the amount come before the win: it converted, and left its stage when it did."""
    way = [
        stage_at(0, "New"),
        stage_at(1, "Qualified"),
        *(stage_at(n, amount=n) for n in range(2, 100)),
        stage_at(100, "Won"),
    ]
    total, _ = settling(Deal(), way)
    counted = {
        fact: count for fact, count in timeless(total.items()).items() if count and fact[0] in (Kind.LEAVE, Kind.CONVERSION)
    }
    few, _ = settling(Deal(), [*way[:2], way[99], way[100]])
    assert counted == {
        fact: count for fact, count in timeless(few.items()).items() if count and fact[0] in (Kind.LEAVE, Kind.CONVERSION)
    }


def test_whose_a_lead_was_stays_known_when_what_said_so_is_long_ago():
    """Anna had it before it left its first stage; a hundred corrections of the amount later it is won, for her."""
    way = [stage_at(0, "New"), stage_at(1, rep_id="anna"), stage_at(2, "Qualified", rep_id="borys")]
    total, _ = settling(Deal(), [*way, *(stage_at(n, amount=n) for n in range(3, 103)), stage_at(103, "Won")])
    leads = [(fact[2][2], fact[3]) for fact in timeless(total.items()) if fact[0] is Kind.COHORT]
    assert leads == [("anna", True)]


def test_what_was_known_between_settled_events_is_too_late():
    """Which product was known in minute 2 nobody can say any more, so nobody can be told either what another one changes."""
    way = [stage_at(0, "New"), stage_at(1, "Qualified", product="p1")]
    way += [stage_at(n, product=f"p{n}") for n in range(2, MAX_STAGE_EVENTS + 3)]
    deal = deal_of(*way)
    assert [held.at for held in deal.stages[:3]] == [START, START + MINUTE, START + 5 * MINUTE]
    for minute, refused in ((1.5, True), (2.5, True), (4.5, True), (5.5, False), (80, False)):
        event = stage_at(0, product="basic")
        event.event_id, event.at = f"late-{minute}", START + int(minute * MINUTE)
        assert (take(deal_of(*way), event) is Refusal.TOO_LATE) is refused, minute


@pytest.mark.parametrize("name", ["rep_id", "product", "region", "lead_source", "amount"])
def test_what_a_settled_event_said_is_still_known(name):
    """Said in minute 1 only: it lives on in the event behind it."""
    deal = deal_of(stage_at(0, "New"), stage_at(1, **{name: "7"}), *(stage_at(n) for n in range(2, 100)))
    assert {event.said.get(name) for event in deal.stages} == {"7", None}


def test_a_settled_clear_still_clears():
    """Named at creation, cleared in minute 1: nobody, also when the clear is settled."""
    deal = deal_of(stage_at(0, "New", rep_id="anna"), stage_at(1, clear=["rep_id"]), *(stage_at(n) for n in range(2, 100)))
    assert deal.rep is None


def test_no_number_falls_below_nothing_when_a_deal_with_settled_events_is_deleted():
    """Deleting takes back what was added, and no more."""
    deal = Deal()
    total, _ = settling(deal, back_and_forth(MAX_STAGE_EVENTS + 1))
    total.update(dict(take(deal, stage_at(500, deleted=True))))
    assert {fact: count for fact, count in timeless(total.items()).items() if count < 0} == {}


def test_settling_a_moved_close_does_not_change_whose_the_deal_is():
    """The close at midnight, before the creation at ten, counts behind it: its rep is the present one."""
    closing = change("e0000", "2024-03-01 00:00", "Won", rep_id="borys")
    rest = [stage_at(n) for n in range(2, MAX_STAGE_EVENTS)]
    deal = deal_of(closing, stage_at(1, "New", rep_id="anna"), *rest)
    assert deal.rep == "borys"
    take(deal, stage_at(100))
    take(deal, stage_at(101))
    assert (deal.settled, deal.rep) == (2, "borys")


# A deal of which 4 stage events were held and 3 products let go of, as it was kept when one mark held for all kinds of events.
OF_BEFORE = (
    "ADLVhZYSBgD//////////wAy1YWWEgYAAAhgcJYSBgAACGBwlhIGAAkDBABHAEoATgBSAGUAAADBAAAA0gAAAGRlZmF1bHROZXdhbm5hYW5uYZ"
    "WjTmV3pGFubmGicDGicDWicDaXzwAGEpZwYAgApWUwMDAwAMCBAAGQwJfPAAYSlnPzjwClZTAwMDHAwIECApDAl88ABhKWgkGrAKVlMDAwNcDA"
    "gQIDkMCXzwAGEpaF1TIApWUwMDA2wMCBAgSQwJiQA5DPAAYSloJBqwD/AJD/"
)


def test_a_record_of_before_takes_in_no_more_than_it_did():
    """It cannot say which words live on in a later event: an amount from before that one is too late, one from behind it is not."""
    deal = decode((b64decode(OF_BEFORE), b""))
    assert (deal.settled, deal.reworded_until) == (3, deal.settled_until)
    for minutes, refused in ((-1, True), (1, False)):
        late = stage_at(0, amount="7")
        late.event_id, late.at = f"late{minutes}", deal.settled_until + minutes * MINUTE
        assert (take(deal, late) is Refusal.TOO_LATE) is refused


# ------------------------------------------------------------------ activities


def test_a_full_record_holds_at_least_512_activities_and_all_of_them_stay_counted():
    """600 calls came: with the 576th a block of 64 was settled."""
    deal = Deal()
    total, noticed = settling(deal, [stage_at(0, "New"), *(call_at(n) for n in range(1, 601))])
    assert (deal.activities, noticed.settled) == (600 - SETTLED_AT_ONCE, SETTLED_AT_ONCE)
    assert sum(count for fact, count in total.items() if fact[0] is Kind.ACTIVITY) == 600


@pytest.mark.parametrize(("minute", "refused"), [(1, True), (64, True), (65, True), (66, False), (900, False)], ids=str)
def test_an_activity_older_than_all_that_are_held_is_too_late(minute, refused):
    """Minutes 1 to 64 of 600 are settled; one of the oldest held's instant may have been settled with them."""
    deal = deal_of(stage_at(0, "New"), *(call_at(n) for n in range(1, 601)))
    late = call_at(minute)
    late.event_id = "late"
    assert (take(deal, late) is Refusal.TOO_LATE) is refused


def test_a_settled_first_touch_is_still_the_response():
    """The call of minute 1 is gone from the record; the answer came after a minute all the same."""
    deal = deal_of(stage_at(0, "New"), *(call_at(n) for n in range(1, 601)))
    assert [fact[3] for fact in from_scratch(deal, TERMS) if fact[0] is Kind.RESPONSE] == [60_000]


@pytest.mark.parametrize("calls", [MAX_ACTIVITIES, 700])
def test_a_first_touch_that_is_let_go_of_before_the_deal_is_created_is_the_response(calls):
    """Which topic comes first is a matter of the connector: the call of minute 1 answers what is heard of last."""
    deal = deal_of(*(call_at(n) for n in range(1, calls)), stage_at(0, "New"))
    assert [fact[3] for fact in from_scratch(deal, TERMS) if fact[0] is Kind.RESPONSE] == [60_000]


def test_the_answer_stays_one_when_the_move_before_it_is_settled():
    """The call of minute 3 stood in a stage that nobody can tell any more; it came after three minutes all the same."""
    deal = deal_of(stage_at(0, "New"), stage_at(1, "Proposal"), stage_at(2, "Qualified"), call_at(3))
    settling(deal, back_and_forth(100)[4:])
    assert deal.blurred_until > START + 3 * MINUTE
    take(deal, stage_at(200, deleted=True))
    take(deal, stage_at(201, deleted=False))
    assert [fact[3] for fact in from_scratch(deal, TERMS) if fact[0] is Kind.RESPONSE] == [180_000]


def test_whose_an_activity_was_between_settled_moves_is_too_late_to_ask():
    """Minutes 2 to 38 are settled: a call of minute 20 stood in a stage that nobody can tell; a planned one asks nothing."""
    deal = deal_of(*back_and_forth(101))
    assert deal.blurred_until == START + 39 * MINUTE
    asked = [(20, {}), (20, {"planned": True}), (20, {"automated": True}), (39, {})]
    found = [take(deal, call_at(minute, **more)) for minute, more in asked]
    assert [one is Refusal.TOO_LATE for one in found] == [True, False, False, False]


def test_deleting_a_deal_with_settled_activities_leaves_those_and_takes_the_rest():
    """64 of 600 can no longer be corrected."""
    deal = Deal()
    total, _ = settling(deal, [stage_at(0, "New"), *(call_at(n) for n in range(1, 601))])
    total.update(dict(take(deal, stage_at(700, deleted=True))))
    left = timeless(total.items())
    assert {fact[0] for fact in left} == {Kind.ACTIVITY}
    assert sum(left.values()) == SETTLED_AT_ONCE


def test_calls_that_a_deleted_deal_lets_go_of_are_counted_when_it_is_restored():
    """Five hundred, then it is deleted, then a hundred more, with which a block of 64 is settled."""
    calls = [call_at(n) for n in range(1, 601)]
    way = [stage_at(0, "New"), *calls[:500], stage_at(501, deleted=True), *calls[500:], stage_at(700, deleted=False)]
    total, noticed = settling(Deal(), way)
    assert noticed.settled == SETTLED_AT_ONCE
    assert sum(count for fact, count in total.items() if fact[0] is Kind.ACTIVITY) == 600


# ------------------------------------------------------------------ size


def written(deal, calls):
    """Return the bytes of state that further calls write, each flushed alone."""
    total, before = 0, encode(deal)[1]
    for call in calls:
        take(deal, call)
        record, older = encode(deal)
        total += len(record) + (len(older) if older != before else 0)
        before = older
    return total


def test_what_an_event_writes_does_not_grow_with_what_is_held():
    """Of 100 and of 400 activities the same 32 to 63 stand in the record; the others are written with every 32nd."""
    events = [stage_at(0, "New"), *(call_at(n) for n in range(1, 465))]
    few, many = (written(deal_of(*events[:held]), events[held : held + 64]) / 64 for held in (100, 400))
    assert few < many < 1.25 * few < 2_000


def test_a_full_record_of_usual_texts_is_within_32_kb():
    """64 stage events and 575 activities with ids of a CRM, names and amounts."""
    deal = deal_of(
        *(
            stage_at(n, ("New", "Qualified")[n % 2], rep_id=f"rep-{n % 3}", amount=f"{n}.50")
            for n in range(MAX_STAGE_EVENTS)
        ),
        *(call_at(n, rep_id=f"rep-{n % 7}") for n in range(MAX_ACTIVITIES + SETTLED_AT_ONCE - 1)),
    )
    assert sum(map(len, encode(deal))) < 32 << 10


def test_no_accepted_events_make_a_record_that_the_worker_refuses_to_write():
    """Attributes may have 1 KiB in all; a state row over 64 KiB stops the worker for good."""
    deal = deal_of(*(stage_at(n, attributes={"note": "x" * 1_000}) for n in range(MAX_STAGE_EVENTS)))
    assert len(encode(deal)[0]) <= 32 << 10


def test_where_reps_weigh_most_the_stage_events_stay():
    """Five hundred reps with long names do not fit a record: calls are let go of, and the deal keeps what it was."""
    way = [stage_at(n, ("New", "Qualified")[n % 2], rep_id="anna", amount=f"{n}") for n in range(40)]
    deal = deal_of(*way, *(call_at(100 + n, rep_id=f"{n:03} {'ж' * 40}") for n in range(500)))
    (record, _), settled, _ = fit(deal, TERMS)
    assert len(record) <= 32 << 10
    assert (len(deal.stages), deal.activities) == (40, 500 - settled)


def test_a_deleted_deal_that_is_too_large_counts_what_it_lets_go_of():
    """When it is restored all five hundred calls are counted."""
    deal = deal_of(stage_at(0, "New"), *(call_at(1 + n, rep_id=f"{n:03} {'ж' * 40}") for n in range(500)))
    take(deal, stage_at(600, deleted=True))
    (record, older), settled, counted = fit(deal, TERMS)
    restored = dict(take(decode((record, older)), stage_at(601, deleted=False)))
    calls = sum(count for fact, count in restored.items() if fact[0] is Kind.ACTIVITY)
    assert (settled > 0, sum(count for _, count in counted), calls) == (True, settled, 500 - settled)


def test_where_something_hangs_on_every_event_nothing_is_taken_back_that_was_not_added():
    """Eight events with texts of a kilobyte each: the record lets go of what still matters, and what it shows then is what is counted."""
    names = ("rep_id", "product", "region", "lead_source", "customer_id", "lost_reason")

    def said(number, *some):
        return {name: f"{number}{name[:3]}" + "\U0001f600" * 250 for name in some}

    way = [
        stage_at(1, "New", **said(1, "product", "customer_id", "lost_reason") | {"rep_id": "anna"}),
        stage_at(302, **said(2, *names)),
        stage_at(309, "Qualified", **said(3, *names)),
        stage_at(923, "New", **said(4, *names)),
        stage_at(930, amount="8", **said(5, "product", "rep_id")),
        stage_at(931, amount="9", **said(6, "product", "lead_source", "customer_id", "lost_reason")),
        stage_at(938, "Qualified", **said(7, *names)),
        stage_at(939, "Won", **said(8, "product", "region")),
    ]
    deal, total, settled = Deal(), Counter(), 0
    for event in way:
        changes = apply_stage_change(deal, event, TERMS, Noticed())
        kept, gone, counted = fit(deal, TERMS)
        settled += gone
        deal = decode(kept)
        for fact, count in timeless([*changes, *counted]).items():
            total[fact] += count
    assert settled > 0
    assert not -total
    assert Counter({fact: count for fact, count in total.items() if fact[0] is Kind.COHORT and count}) == Counter(
        fact for fact in from_scratch(deal, TERMS) if fact[0] is Kind.COHORT
    )


def test_an_advance_that_was_let_go_of_stays_one_whatever_comes_late():
    """A later closing without a word of its pipeline showed it as well, until an event before it was of another one."""
    deal = Deal()
    way = [stage_at(0, "New", pipeline="default", rep_id="anna"), stage_at(10, "Proposal")]
    way += [stage_at(20 + number, ("A", "B")[number % 2], pipeline="renewals") for number in range(60)]
    way += [stage_at(100, "Lost", pipeline="default"), stage_at(110, "Won")]
    way += [stage_at(120 + number, product=f"p{number}") for number in range(12)]
    total, noticed = settling(deal, [*way, stage_at(105, "X", pipeline="ghost")])
    assert (noticed.late, noticed.settled) == (1, 13)
    conversions = {fact[2][1]: fact[3] for fact, count in total.items() if fact[0] is Kind.CONVERSION and count}
    assert conversions["New"] is True


def test_a_full_record_that_has_let_go_of_nothing_takes_in_what_is_late():
    """Sixty-four stage events, and one that comes before the second."""
    deal = deal_of(stage_at(0, "New"), *(stage_at(n, amount=f"{n}") for n in range(1, MAX_STAGE_EVENTS)))
    late = stage_at(0, "Qualified")
    late.event_id, late.at = "late", START + MINUTE // 2
    assert take(deal, late) is not Refusal.TOO_LATE


def test_reps_of_settled_activities_are_let_go():
    """A rep that no held activity names takes no room; the 65,536th would not fit a row."""
    deal = deal_of(*(call_at(n, rep_id=f"rep-{n}") for n in range(MAX_ACTIVITIES + 200)))
    assert len(deal.reps) <= MAX_ACTIVITIES + SETTLED_AT_ONCE


TWO_HUNDRED = Terms(
    settings(pipelines={"default": {"stages": [{"name": f"stage {n}", "kind": "open"} for n in range(200)]}})
)


def calls_of_the_next(way, terms):
    """Return how many calls the last event of a deal takes."""
    deal = deal_of(*way[:-1], terms=terms)
    profile = Profile()
    profile.runcall(take, deal, way[-1], terms)
    return Stats(profile).total_calls


def test_a_deal_that_can_let_go_of_nothing_costs_no_more_than_others():
    """Backwards from stage to stage it may yet advance from each: that is seen without asking all that the record shows for each event."""
    backwards = [stage_at(n * 10, f"stage {199 - n}") for n in range(80)]
    assert calls_of_the_next(backwards, TWO_HUNDRED) < 3 * calls_of_the_next(back_and_forth(80), TERMS)


@pytest.mark.slow  # 12 s
def test_settled_stages_are_bounded():
    """Of two hundred stages that a deal went through, the conversions of 64 are noted as settled."""
    terms = TWO_HUNDRED
    deal = deal_of(*(stage_at(n, f"stage {n}") for n in range(200)), terms=terms)
    assert (deal.settled, len(deal.settled_stages)) == (200 - MAX_STAGE_EVENTS, MAX_SETTLED_STAGES)


def test_a_record_without_activities_any_more_takes_the_next_one():
    """Names alone may take all the room that there is; what is not behind the newest event may be what went."""
    wide = "\N{GRINNING FACE}" * 250
    said = dict.fromkeys(("customer_id", "product", "region", "lead_source", "lost_reason"), wide)
    deal = Deal()
    for number in range(2):
        settling(deal, [stage_at(number, f"{wide}{number}", pipeline=f"{wide}{number}", rep_id=f"{wide}{number}", **said)])
    for number in range(2, 40):
        settling(deal, [call_at(number, rep_id=f"{wide}{number}")])
        kept, _, _ = fit(deal, TERMS)
        deal = decode(kept)
    assert deal.settled_activities > 0
    settle_activities(deal, deal.activities, TERMS)
    assert (deal.rows, deal.reps) == (b"", [])
    assert apply_activity(deal, call_at(38.5), TERMS, Noticed()) is Refusal.TOO_LATE
    assert not isinstance(apply_activity(deal, call_at(40), TERMS, Noticed()), Refusal)
