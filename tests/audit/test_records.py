"""What the records say: every family of docs/kpis.md, worked out by hand."""

import pytest

from streams.audit.recompute import recompute
from streams.audit.tally import SHAPES
from streams.kpis.catalogue import CATALOGUE
from tests.audit.tables import Numbers, act, change, settings, us

NEW = change("1", "2024-03-04 10:00", "New", rep_id="anna", amount="100")
QUALIFIED = change("2", "2024-03-05 10:00", "Qualified")
PROPOSAL = change("3", "2024-03-07 10:00", "Proposal")
WON = change("5", "2024-03-14 10:00", "Won")
LOST = change("6", "2024-03-15 10:00", "Lost")
JOURNEY = [NEW, QUALIFIED, PROPOSAL, WON]


def test_every_kpi_of_the_catalogue_is_recomputed():
    """A row without a shape here would go unaudited."""
    assert {kpi.id for kpi in CATALOGUE} == {*SHAPES, "oldest_waiting"}


# ------------------------------------------------------------------ funnel


def test_levels_follow_the_present_stage():
    """Leads are active; qualified deals are active but no leads; closed ones neither."""
    lead, qualified = Numbers([NEW]), Numbers([NEW, QUALIFIED])
    assert (lead.value("leads_in_funnel", window="now"), lead.value("active_deals", window="now")) == (1, 1)
    assert (qualified.value("leads_in_funnel", window="now"), qualified.value("active_deals", window="now")) == (None, 1)
    assert Numbers(JOURNEY).value("active_deals", window="now") is None
    assert qualified.entities("active_deals", "stage", "now") == {("default", "Qualified"): 1}


def test_entries_and_exits_count_each_time():
    """New, Qualified, New, Qualified: two of each stage in, New left twice, Qualified once."""
    back = [change("3", "2024-03-06 10:00", "New"), change("4", "2024-03-08 10:00", "Qualified")]
    numbers = Numbers([NEW, QUALIFIED, *back])
    assert numbers.entities("stage_entered", "stage") == {("default", "New"): 2, ("default", "Qualified"): 2}
    assert numbers.entities("stage_left", "stage") == {("default", "New"): 2, ("default", "Qualified"): 1}


def test_time_in_stage_of_a_reopened_stage():
    """New 1 day and again 2 days: n 2, mean 1.5 days, p50 (rank 1) 1 day, p90 (rank 2) 2 days."""
    back = [change("3", "2024-03-06 10:00", "New"), change("4", "2024-03-08 10:00", "Qualified")]
    found = Numbers([NEW, QUALIFIED, *back]).one("time_in_stage", "stage", ("default", "New"))
    assert (found.n, found.value, found.stats) == (2, 86400, {"mean": 129600, "p50": 86400, "p90": 172800})
    assert (found.numerator, found.denominator) == (None, None)


def test_closed_stages_are_left_too():
    """Won for a day, then lost: Won was left after 86,400 s."""
    assert Numbers([NEW, WON, LOST]).value("time_in_stage", "stage", ("default", "Won")) == 86400


def test_stage_conversion_counts_later_entries_of_higher_rank():
    """New, Qualified, New, Lost: New advanced (even if taken back), Qualified did not; Lost has no rank."""
    numbers = Numbers([NEW, QUALIFIED, change("3", "2024-03-06 10:00", "New"), LOST])
    assert numbers.share("stage_conversion", "stage", ("default", "New")) == (1, 1)
    assert numbers.share("stage_conversion", "stage", ("default", "Qualified")) == (0, 1)
    assert numbers.one("stage_conversion", "stage", ("default", "Lost")) is None


def test_stage_conversion_needs_a_configured_stage_and_its_own_pipeline():
    """Limbo has no rank; a win in another pipeline is no advance from New."""
    events = [NEW, change("2", "2024-03-05 10:00", "Limbo"), change("3", "2024-03-06 10:00", "Won", pipeline="renewals")]
    numbers = Numbers(events)
    assert numbers.one("stage_conversion", "stage", ("default", "Limbo")) is None
    assert numbers.share("stage_conversion", "stage", ("default", "New")) == (0, 1)


def test_stage_conversion_is_a_cohort_of_the_first_entry():
    """Entered New in March, advanced in May: March's cohort, at the first entry's instant."""
    numbers = Numbers([NEW, change("2", "2024-05-05 10:00", "Qualified")])
    assert numbers.share("stage_conversion", "stage", ("default", "New"), window="month", start="2024-03-01 00:00") == (1, 1)
    assert numbers.one("stage_conversion", "stage", ("default", "New"), window="month", start="2024-05-01 00:00") is None


def test_win_rate_sits_at_the_close_and_lead_conversion_at_the_creation():
    """Created in March, won in April."""
    numbers = Numbers([NEW, change("5", "2024-04-14 10:00", "Won")])
    assert numbers.share("win_rate", window="month", start="2024-04-01 00:00") == (1, 1)
    assert numbers.share("lead_conversion", window="month", start="2024-03-01 00:00") == (1, 1)
    assert numbers.one("win_rate", window="month", start="2024-03-01 00:00") is None


def test_reopening_takes_the_close_back():
    """Won, then back to Proposal: no win, no revenue, no cycle; the lead is not converted."""
    numbers = Numbers([*JOURNEY, change("7", "2024-03-20 10:00", "Proposal")])
    assert numbers.share("lead_conversion") == (0, 1)
    assert [numbers.one(kpi) for kpi in ("win_rate", "sales_cycle", "closed_cycle")] == [None] * 3
    assert numbers.one("revenue", currency="EUR") is None


def test_won_to_lost_without_losses_has_no_value():
    """Denominator 0: value null; n is won + lost."""
    found = Numbers(JOURNEY).one("won_lost_ratio")
    assert (found.value, found.n, found.numerator, found.denominator) == (None, 1, 1, 0)


def test_won_to_lost():
    """Two won, one lost."""
    events = [
        change("1", "2024-03-04 10:00", stage, deal_id=name)
        for name, stage in zip("abc", ["Won", "Won", "Lost"], strict=True)
    ]
    found = Numbers(events).one("won_lost_ratio")
    assert (found.value, found.n, found.numerator, found.denominator) == (2.0, 3, 2, 1)


def test_cycles_run_from_creation_to_close():
    """10 days to the win; another deal lost after 1 day counts in the closed cycle only."""
    other = [change("1", "2024-03-04 10:00", "New", deal_id="e"), change("2", "2024-03-05 10:00", "Lost", deal_id="e")]
    numbers = Numbers([*JOURNEY, *other])
    assert (numbers.one("sales_cycle").n, numbers.value("sales_cycle")) == (1, 864000)
    assert numbers.one("closed_cycle").stats == {"mean": 475200, "p50": 86400, "p90": 864000}


def test_close_belongs_to_the_pipeline_of_the_closing_entry():
    """Created in default, won in renewals."""
    numbers = Numbers([NEW, change("5", "2024-04-14 10:00", "Won", pipeline="renewals")])
    assert numbers.entities("win_rate", "pipeline") == {("renewals",): 1.0}
    assert numbers.entities("lead_conversion", "pipeline") == {("default",): 1.0}


def test_deleted_deal_and_its_activities_leave_every_number():
    """And an explicit false brings all of it back."""
    call = act("a", "2024-03-05 10:00")
    gone = change("8", "2024-03-20 10:00", deleted=True)
    assert Numbers([*JOURNEY, call, gone]).records == {}
    back = Numbers([*JOURNEY, call, gone, change("9", "2024-03-21 10:00", deleted=False)])
    assert (back.value("win_rate"), back.value("calls")) == (1.0, 1)


def test_deal_without_an_entry_is_in_no_number_but_its_activities_are():
    """Only attributes were said: the rep is known, a stage is not."""
    numbers = Numbers([change("1", "2024-03-04 10:00", rep_id="anna"), act("a", "2024-03-05 10:00")])
    assert {key[0] for key in numbers.records} == {"activities", "calls", "connect_rate"}
    assert numbers.entities("calls", "team") == {("Central",): 1}
    assert numbers.entities("calls", "rep_stage") == {}


# ------------------------------------------------------------------ money


def test_revenue_is_restated_by_a_later_price_and_currency():
    """100 EUR at the win, corrected to 120.505 USD afterwards: 120.50 USD (half-even) at the close, nothing in EUR."""
    numbers = Numbers([*JOURNEY, change("8", "2024-05-01 10:00", amount="120.505", currency="USD")])
    assert numbers.value("revenue", window="month", start="2024-03-01 00:00", currency="USD") == 120.5
    assert numbers.one("revenue", currency="EUR") is None


@pytest.mark.parametrize(
    ("amount", "currency", "value"),
    [("10.005", "EUR", 10.0), ("10.015", "EUR", 10.02), ("0.5", "JPY", 0), ("1.5", "JPY", 2), ("1.2345", "KWD", 1.234)],
)
def test_money_is_rounded_half_even_to_the_minor_unit(amount, currency, value):
    """EUR has 2 digits, JPY none, KWD 3."""
    events = [*JOURNEY, change("8", "2024-05-01 10:00", amount=amount, currency=currency)]
    assert Numbers(events).value("revenue", currency=currency) == value


def test_average_deal_size_divides_by_deals_with_an_amount():
    """100, 0 and nothing said: 100 / 2; an amount of 0 is an amount; a cleared one is none."""
    free = change("1", "2024-03-04 10:00", "Won", deal_id="e", amount="0")
    silent = change("1", "2024-03-04 10:00", "Won", deal_id="f")
    cleared = [
        change("1", "2024-03-04 10:00", "Won", deal_id="g", amount="7"),
        change("2", "2024-03-05 10:00", deal_id="g", clear=["amount"]),
    ]
    found = Numbers([*JOURNEY, free, silent, *cleared]).one("avg_deal_size", currency="EUR")
    assert (found.value, found.n, found.numerator, found.denominator) == (50.0, 2, 100.0, 2)


def test_money_has_one_record_per_currency():
    """Two currencies are never added."""
    other = change("1", "2024-03-04 10:00", "Won", deal_id="e", amount="5", currency="USD")
    numbers = Numbers([*JOURNEY, other])
    assert (numbers.value("revenue", currency="EUR"), numbers.value("revenue", currency="USD")) == (100.0, 5.0)
    assert numbers.one("revenue") is None


def test_pipeline_value_sums_the_active_deals():
    """Present amounts, n = deals with one."""
    other = [change("1", "2024-03-04 10:00", "New", deal_id=name, amount="1.10") for name in "ef"]
    silent = change("1", "2024-03-04 10:00", "New", deal_id="g")
    found = Numbers([NEW, *other, silent]).one("pipeline_value", window="now", currency="EUR")
    assert (found.value, found.n) == (102.2, 3)


def test_revenue_by_customer_is_by_who_was_the_customer_at_the_win():
    """The customer said at the win; a later one does not take it away."""
    said = change("4", "2024-03-10 10:00", customer_id="c1")
    numbers = Numbers([*JOURNEY, said, change("8", "2024-05-01 10:00", customer_id="c2")])
    assert numbers.entities("revenue", "customer") == {("c1",): 100.0}


# ------------------------------------------------------------------ activities


def test_activities_count_the_human_ones():
    """Automated and planned ones are not human; a note counts among all but has no count of its own."""
    events = [
        act("a", "2024-03-05 10:00"),
        act("b", "2024-03-05 10:00", "email", automated=True),
        act("c", "2024-03-05 10:00", "meeting", planned=True),
        act("d", "2024-03-05 10:00", "note"),
    ]
    numbers = Numbers(events)
    assert (numbers.value("activities"), numbers.value("calls")) == (2, 1)
    assert (numbers.one("emails"), numbers.one("meetings")) == (None, None)


def test_planned_activity_and_its_completion_may_share_an_id():
    """One meeting planned, the same id held: one meeting, however often it arrives."""
    planned = act("a", "2024-03-05 10:00", "meeting", planned=True)
    held = act("a", "2024-03-06 10:00", "meeting", outcome="held")
    assert Numbers([planned, held, held, planned]).value("meetings") == 1


def test_directions_are_counted_as_said():
    """A call without a direction is unknown in the stats."""
    directions = [None, "outbound", "inbound", "internal", "inbound"]
    found = Numbers([act(str(at), "2024-03-05 10:00", direction=one) for at, one in enumerate(directions)]).one("calls")
    assert found.stats == {"inbound": 2, "outbound": 1, "internal": 1, "unknown": 1}
    assert (found.value, found.n) == (5, 5)


def test_connect_rate_is_of_outbound_calls():
    """No direction counts as outbound; an inbound one that connected does not."""
    events = [
        act("a", "2024-03-05 10:00", outcome="connected"),
        act("b", "2024-03-05 10:00", direction="outbound", outcome="no_answer"),
        act("c", "2024-03-05 10:00", direction="inbound", outcome="connected"),
    ]
    assert Numbers(events).share("connect_rate") == (1, 2)


def test_talk_time_sums_calls_with_a_duration():
    """0 seconds is a duration; an e-mail's is not talk."""
    events = [
        act("a", "2024-03-05 10:00", duration_ms=61_500),
        act("b", "2024-03-05 10:00", duration_ms=0),
        act("c", "2024-03-05 10:00"),
        act("d", "2024-03-05 10:00", "email", duration_ms=9_000),
    ]
    found = Numbers(events).one("talk_time")
    assert (found.value, found.n, found.unit) == (61.5, 2, "seconds")


def test_activity_without_a_deal_counts_for_all_team_and_rep():
    """The key is the rep; repeats are dropped per rep."""
    alone = act("a", "2024-03-05 10:00", deal_id=None, rep_id="anna")
    other = act("a", "2024-03-05 10:00", deal_id=None, rep_id="borys")
    numbers = Numbers([alone, other, alone])
    assert numbers.value("activities") == 2
    assert numbers.entities("activities", "rep") == {("anna",): 1, ("borys",): 1}
    assert numbers.entities("activities", "rep_stage") == {}


# ------------------------------------------------------------------ first response


def test_first_response_is_the_first_outbound_touch_at_or_after_creation():
    """Before creation, inbound, automated, planned, a task and a meeting without direction are no response."""
    silent = [
        act("a", "2024-03-04 09:59"),
        act("b", "2024-03-04 10:01", direction="inbound"),
        act("c", "2024-03-04 10:02", "email", automated=True),
        act("d", "2024-03-04 10:03", "email", planned=True),
        act("e", "2024-03-04 10:04", "task", "outbound"),
        act("f", "2024-03-04 10:05", "meeting"),
    ]
    numbers = Numbers([NEW, *silent])
    assert numbers.share("first_response_answered") == (0, 1)
    assert numbers.one("first_response_time") is None
    answered = Numbers([NEW, *silent, act("g", "2024-03-04 10:30", "email"), act("h", "2024-03-04 10:40")])
    assert (answered.value("first_response_time"), answered.one("first_response_time").n) == (1800, 1)
    assert answered.share("first_response_answered") == (1, 1)


def test_a_touch_at_the_instant_of_creation_answers_in_no_time():
    """An unanswered call is a touch; zero is a duration."""
    numbers = Numbers([NEW, act("a", "2024-03-04 10:00", outcome="no_answer")])
    assert (numbers.value("first_response_time"), numbers.share("first_response_within_sla")) == (0, (1, 1))


def test_first_response_follows_a_creation_that_moves():
    """A late event creates the deal two hours earlier: an earlier touch is now the first."""
    events = [NEW, act("a", "2024-03-04 09:00"), act("b", "2024-03-04 11:00")]
    assert Numbers(events).value("first_response_time") == 3600
    assert Numbers([*events, change("0", "2024-03-04 08:00", "New")]).value("first_response_time") == 3600
    assert Numbers([*events, change("0", "2024-03-04 08:30", "New")]).value("first_response_time") == 1800


@pytest.mark.parametrize(("minutes", "kept"), [("10:59", 1), ("11:00", 1), ("11:01", 0)])
def test_sla_includes_its_end(minutes, kept):
    """One hour by default; without business hours the clock never stops."""
    assert Numbers([NEW, act("a", f"2024-03-04 {minutes}")]).share("first_response_within_sla") == (kept, 1)


def test_first_response_in_business_time():
    """Created Friday 17:30 in Kyiv (15:30 UTC), answered Monday 09:20 (07:20 UTC): 30 + 20 minutes, in time."""
    definitions = settings(business={"zone": "Europe/Kyiv", "hours": "Mon-Fri 09:00-18:00"})
    events = [change("1", "2024-03-01 15:30", "New"), act("a", "2024-03-04 07:20")]
    numbers = Numbers(events, definitions=definitions)
    assert numbers.value("first_response_business") == 3000
    assert numbers.value("first_response_time") == 229_800
    assert numbers.share("first_response_within_sla") == (1, 1)


def test_waiting_leads_and_the_oldest():
    """Two wait, one was answered, one is closed; the older waits since 1 June, 14 days and 2 hours."""
    events = [
        change("1", "2024-06-01 10:00", "New", deal_id="a", rep_id="anna"),
        change("1", "2024-06-10 10:00", "Qualified", deal_id="b"),
        change("1", "2024-05-01 10:00", "New", deal_id="c"),
        act("a", "2024-05-02 10:00", deal_id="c"),
        change("1", "2024-05-01 10:00", "Lost", deal_id="e"),
    ]
    numbers = Numbers(events, watermark="2024-06-15 12:00")
    assert numbers.value("waiting_leads", window="now") == 2
    oldest = numbers.one("oldest_waiting", window="now")
    assert (oldest.value, oldest.n, oldest.previous) == (14 * 86400 + 7200, 2, None)
    assert numbers.entities("oldest_waiting", "team", "now") == {("Central",): 14 * 86400 + 7200}


# ------------------------------------------------------------------ settings


def test_what_is_switched_off_is_not_expected():
    """KPIs, cuts and windows are the configuration's."""
    definitions = settings(kpis={"win_rate": False}, cuts=["all", "rep"], windows=["month"])
    keys = Numbers(JOURNEY, definitions=definitions).records
    assert "win_rate" not in {key[0] for key in keys}
    assert {key[1] for key in keys} == {"all", "rep"}
    assert {key[3] for key in keys} <= {"month", "now"}


def test_a_repeat_changes_nothing():
    """Neither do order and the number of arrivals."""
    events = [*JOURNEY, act("a", "2024-03-04 10:30")]
    once = recompute(events, settings(), us("2024-06-15 12:00"))
    assert recompute([*reversed(events), *events], settings(), us("2024-06-15 12:00")) == once
