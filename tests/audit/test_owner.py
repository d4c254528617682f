"""Whose is a fact: the rules of design section 5, worked out by hand."""

import pytest

from tests.audit.tables import Numbers, act, change


def reps(kpi, *events):
    """Return the values by rep."""
    return {entity[0]: value for entity, value in Numbers(events).entities(kpi, "rep").items()}


NEW = change("1", "2024-03-04 10:00", "New", rep_id="anna")
WON = change("9", "2024-04-01 10:00", "Won")


def test_a_period_fact_belongs_to_who_had_the_deal_then():
    """Anna's lead, reassigned to Borys before the win: her lead, his win."""
    given = change("2", "2024-03-20 10:00", rep_id="borys")
    assert reps("new_leads", NEW, given, WON) == {"anna": 1}
    assert reps("win_rate", NEW, given, WON) == {"borys": 1.0}


def test_events_of_the_instant_are_included():
    """Borys is named at the very instant of the entry, by an event later in order."""
    assert reps("new_leads", NEW, change("2", "2024-03-04 10:00", rep_id="borys")) == {"borys": 1}


def test_nothing_said_yet_asks_the_first_value_said_later():
    """The lead had no rep; the first one named is Borys, though Anna followed."""
    silent = change("1", "2024-03-04 10:00", "New")
    named = [change("2", "2024-03-05 10:00", rep_id="borys"), change("3", "2024-03-06 10:00", rep_id="anna")]
    assert reps("new_leads", silent, *named) == {"borys": 1}


def test_after_a_clear_nobody_is_known():
    """Cleared before the win: no rep's win, though one is named later."""
    events = [NEW, change("2", "2024-03-20 10:00", clear=["rep_id"]), WON, change("a", "2024-05-01 10:00", rep_id="cleo")]
    assert reps("win_rate", *events) == {}
    assert Numbers(events).share("win_rate") == (1, 1)


def test_in_one_event_the_value_wins_over_the_clear():
    """Taken away and given in one breath is given."""
    assert reps("win_rate", NEW, change("2", "2024-03-20 10:00", clear=["rep_id"], rep_id="borys"), WON) == {"borys": 1.0}


def test_first_value_later_skips_clears():
    """Never said, cleared later, then said: the value said."""
    events = [
        change("1", "2024-03-04 10:00", "New"),
        change("2", "2024-03-05 10:00", clear=["rep_id"]),
        change("3", "2024-03-06 10:00", rep_id="borys"),
    ]
    assert reps("new_leads", *events) == {"borys": 1}


def test_an_exit_belongs_to_the_values_just_before_the_event_that_made_it():
    """The event that moves the deal to Qualified also names Borys: Anna's exit, his entry."""
    moved = change("2", "2024-03-05 10:00", "Qualified", rep_id="borys")
    numbers = Numbers([NEW, moved])
    assert numbers.entities("stage_left", "rep_stage") == {("anna", "default", "New"): 1}
    assert numbers.entities("time_in_stage", "rep_stage") == {("anna", "default", "New"): 86400.0}
    assert numbers.entities("stage_entered", "rep_stage") == {
        ("anna", "default", "New"): 1,
        ("borys", "default", "Qualified"): 1,
    }


def test_an_exit_of_nobody_asks_the_event_that_made_it_first():
    """Nobody before; the leaving event names Borys."""
    silent = change("1", "2024-03-04 10:00", "New")
    moved = change("2", "2024-03-05 10:00", "Qualified", rep_id="borys")
    assert Numbers([silent, moved]).entities("stage_left", "rep_stage") == {("borys", "default", "New"): 1}


def test_a_cohort_asks_what_was_said_before_the_deal_left_the_stage():
    """The rep named on the second day, still in New, is the cohort's; the one who won it is not."""
    events = [
        change("1", "2024-03-04 10:00", "New"),
        change("2", "2024-03-05 10:00", rep_id="anna"),
        change("3", "2024-03-06 10:00", "Won", rep_id="borys"),
    ]
    assert reps("lead_conversion", *events) == {"anna": 1.0}


@pytest.mark.parametrize("leaving", ["2024-03-06 10:00", "2024-03-04 10:00"])
def test_a_cohort_does_not_learn_from_the_leaving_event(leaving):
    """Only the won deal has a rep: in no rep's cohort, even at the same instant (no survivorship)."""
    events = [change("1", "2024-03-04 10:00", "New"), change("2", leaving, "Won", rep_id="borys")]
    assert reps("lead_conversion", *events) == {}
    assert Numbers(events).entities("stage_conversion", "rep_stage") == {}
    assert reps("new_leads", *events) == {"borys": 1}


def test_a_cohort_belongs_to_who_had_it_at_its_start():
    """Reassigned within the stage: still Anna's cohort."""
    assert reps("lead_conversion", NEW, change("2", "2024-03-05 10:00", rep_id="borys"), WON) == {"anna": 1.0}


def test_a_cohort_is_nobodys_after_a_clear_at_its_start():
    """Cleared at the instant of creation: a rep named later in New does not count."""
    events = [NEW, change("2", "2024-03-04 10:00", clear=["rep_id"]), change("3", "2024-03-05 10:00", rep_id="borys")]
    assert reps("lead_conversion", *events) == {}


def test_region_is_the_deals_else_its_reps():
    """Anna's region is EU; what the deal says goes before it; cleared, it is the rep's again."""
    said = change("2", "2024-03-05 10:00", region="US")
    cleared = change("3", "2024-03-06 10:00", clear=["region"])
    assert Numbers([NEW]).entities("new_leads", "region") == {("EU",): 1}
    assert Numbers([NEW, said]).entities("active_deals", "region", "now") == {("US",): 1}
    assert Numbers([NEW, said, cleared]).entities("active_deals", "region", "now") == {("EU",): 1}
    assert Numbers([NEW, said]).entities("new_leads", "region") == {("US",): 1}


def test_team_is_the_reps_present_one():
    """Cleo has no team, an unknown rep neither: in all and rep, in no team."""
    events = [
        change("1", "2024-03-04 10:00", "New", deal_id=rep, rep_id=rep) for rep in ("anna", "borys", "cleo", "stranger")
    ]
    numbers = Numbers(events)
    assert numbers.entities("new_leads", "team") == {("Central",): 1, ("West",): 1}
    assert numbers.value("new_leads") == 4
    assert len(numbers.entities("new_leads", "rep")) == 4


def test_levels_belong_to_the_present():
    """Last said; cleared: nobody's, and no first value later."""
    given = change("2", "2024-03-05 10:00", rep_id="borys")
    assert Numbers([NEW, given]).entities("active_deals", "rep", "now") == {("borys",): 1}
    cleared = change("3", "2024-03-06 10:00", clear=["rep_id"])
    assert Numbers([NEW, given, cleared]).entities("active_deals", "rep", "now") == {}


def test_an_activity_belongs_to_the_rep_it_names_else_to_the_deals_at_that_time():
    """Borys calls on Anna's deal; an unnamed call before the creation is Anna's too (the first one said later)."""
    calls = [act("a", "2024-03-05 10:00", rep_id="borys"), act("b", "2024-03-05 10:00"), act("c", "2024-03-01 10:00")]
    assert reps("calls", NEW, *calls) == {"anna": 2, "borys": 1}


def test_an_activity_has_the_stage_of_its_instant():
    """Before the first entry none; at the instant of the entry that stage; pipelines of their own."""
    calls = [act("a", "2024-03-01 10:00"), act("b", "2024-03-04 10:00"), act("c", "2024-03-06 10:00")]
    moved = change("2", "2024-03-05 10:00", "Due", pipeline="renewals")
    assert Numbers([NEW, moved, *calls]).entities("calls", "rep_stage") == {
        ("anna", "default", "New"): 1,
        ("anna", "renewals", "Due"): 1,
    }
