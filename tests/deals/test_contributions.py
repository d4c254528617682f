"""What does a deal add to the numbers?  Each kind of fact, worked out by hand."""

import pytest

from streams.deals.contributions import facts
from streams.deals.terms import Kind, Terms
from streams.panes.cell import currency_name
from tests.audit.tables import act, change, settings, us
from tests.deals.told import deal_of, facts_of

NEW = change("1", "2024-03-01 10:00", "New")


def test_a_deleted_deal_has_no_facts_at_all():
    """Its activities leave too; they come back with an explicit false."""
    told = (NEW, act("a", "2024-03-01 11:00"), change("2", "2024-03-02 10:00", deleted=True))
    assert facts(deal_of(*told), Terms(settings())) == []
    assert facts(deal_of(*told, change("3", "2024-03-03 10:00", deleted=False)), Terms(settings())) != []


def test_a_deal_without_an_entry_has_only_its_activities():
    """Nothing but attributes was said: the call counts for its rep, without a stage."""
    told = (change("1", "2024-03-01 10:00", rep_id="anna", amount="5"), act("a", "2024-03-01 11:00"))
    found = facts(deal_of(*told), Terms(settings()))
    assert [fact[0] for fact in found] == [Kind.ACTIVITY]
    assert facts_of(Kind.ACTIVITY, *told) == [{"rep": "anna", "a": 0, "b": False, "when": us("2024-03-01 11:00")}]


# ------------------------------------------------------------------ stages


def test_each_entry_counts_at_its_instant_for_the_rep_of_that_instant():
    """New for anna, Qualified for borys, who is named by the event that entered it."""
    found = facts_of(
        Kind.ENTER,
        change("1", "2024-03-01 10:00", "New", rep_id="anna"),
        change("2", "2024-03-02 10:04", "Qualified", rep_id="borys"),
    )
    assert found == [
        {"pipeline": "default", "stage": "New", "rep": "anna", "when": us("2024-03-01 10:00")},
        {"pipeline": "default", "stage": "Qualified", "rep": "borys", "when": us("2024-03-02 10:00")},
    ]


def test_no_fact_says_what_no_cut_asks_for():
    """By stage alone, all that enter it in five minutes are one sum; so are all calls of a rep, whatever the stage."""
    story = change("1", "2024-03-01 10:00", "New", rep_id="anna"), act("a", "2024-03-01 11:00", rep_id="anna")
    terms = Terms(settings(cuts=["rep", "stage"]))
    assert [one.keys() for one in facts_of(Kind.ENTER, *story, terms=terms)] == [{"pipeline", "stage", "when"}]
    assert [one.keys() for one in facts_of(Kind.ACTIVITY, *story, terms=terms)] == [{"rep", "a", "b", "when"}]


def test_an_exit_belongs_to_the_values_just_before_the_event_that_made_it():
    """Borys is named by the event that left New, so the exit is still anna's; it stayed 24 hours and 4 minutes."""
    found = facts_of(
        Kind.LEAVE,
        change("1", "2024-03-01 10:00", "New", rep_id="anna"),
        change("2", "2024-03-02 10:04", "Qualified", rep_id="borys"),
    )
    assert found == [{"pipeline": "default", "stage": "New", "rep": "anna", "a": 86_640_000, "when": us("2024-03-02 10:00")}]


def test_an_exit_from_a_stage_of_nobody_belongs_to_the_first_rep_said_later():
    """Nobody was known before the exit; "later" begins with the event that made it."""
    found = facts_of(Kind.LEAVE, NEW, change("2", "2024-03-02 10:00", "Qualified", rep_id="borys"))
    assert [one["rep"] for one in found] == ["borys"]


def test_a_stay_is_floored_to_milliseconds():
    """1,999 µs are 1 ms."""
    late = change("2", "2024-03-01 10:00", "Qualified")
    late.at += 1_999
    assert facts_of(Kind.LEAVE, NEW, late)[0]["a"] == 1


@pytest.mark.parametrize(
    ("later", "advanced"),
    [
        ([], False),
        (["Qualified"], True),
        (["Won"], True),
        (["Lost"], False),
        (["Limbo"], False),
        (["Limbo", "Proposal"], True),
        (["Qualified", "New"], True),
        (["Lost", "Qualified"], True),
    ],
    ids=lambda one: "-".join(one) if isinstance(one, list) else "",
)
def test_a_conversion_is_a_later_entry_of_higher_rank_also_when_it_was_taken_back(later, advanced):
    """Lost stages and those that are not configured have no rank, so they are no advance."""
    events = [NEW, *(change(str(n), f"2024-03-0{n} 10:00", stage) for n, stage in enumerate(later, 2))]
    found = [one["a"] for one in facts_of(Kind.CONVERSION, *events) if one["stage"] == "New"]
    assert found == [advanced]


def test_ranks_of_different_pipelines_do_not_compare():
    """From New of the sales pipeline to Won of the renewals is an exit, not an advance."""
    found = facts_of(Kind.CONVERSION, NEW, change("2", "2024-03-02 10:00", "Won", pipeline="renewals"))
    assert [one["a"] for one in found] == [False]


def test_a_stage_is_a_cohort_once_and_only_where_it_has_a_rank_and_can_be_left():
    """New twice, Limbo, Lost and Won: one cohort of New and none of the others."""
    stages = ("New", "Qualified", "New", "Limbo", "Lost", "Won")
    events = [change(str(n), f"2024-03-0{n} 10:00", stage) for n, stage in enumerate(stages, 1)]
    assert [one["stage"] for one in facts_of(Kind.CONVERSION, *events)] == ["New", "Qualified"]


@pytest.mark.parametrize(
    ("events", "rep"),
    [
        ([change("1", "2024-03-01 10:00", "New", rep_id="anna"), change("2", "2024-03-02 10:00", rep_id="borys")], "anna"),
        ([NEW, change("2", "2024-03-02 10:00", rep_id="borys"), change("3", "2024-03-03 10:00", "Won")], "borys"),
        ([NEW, change("2", "2024-03-02 10:00", "Won", rep_id="borys")], None),
        ([NEW, change("2", "2024-03-01 10:00", "Won", rep_id="borys")], None),
        ([NEW, change("2", "2024-03-01 10:00", rep_id="borys"), change("3", "2024-03-01 10:00", "Won")], "borys"),
        ([change("1", "2024-03-01 10:00", "New", rep_id="anna"), change("2", "2024-03-01 10:00", clear=["rep_id"])], None),
        ([NEW, change("2", "2024-03-02 10:00", "Qualified"), change("3", "2024-03-03 10:00", rep_id="borys")], None),
    ],
    ids=[
        "known-at-the-start", "said-before-it-left", "revealed-by-the-outcome", "revealed-at-the-same-instant",
        "said-at-the-same-instant-before-it-left", "cleared-at-the-same-instant", "said-after-it-left",
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", [Kind.COHORT, Kind.CONVERSION, Kind.RESPONSE], ids=lambda kind: kind.name)
def test_a_cohort_belongs_to_what_was_known_before_the_deal_left_it(events, rep, kind):
    """Never to what only the outcome revealed: that would count the survivors."""
    assert facts_of(kind, *events)[0].get("rep") == rep


# ------------------------------------------------------------------ creation and response


def test_a_new_lead_belongs_to_what_is_known_at_its_instant_else_to_what_is_said_later():
    """The product is known at creation, the source only from the event of the win: period facts may look there."""
    won = change("2", "2024-03-02 10:00", "Won", lead_source="web", product="P2")
    found = facts_of(Kind.LEAD, change("1", "2024-03-01 10:00", "New", product="P1", rep_id="anna"), won)
    assert found == [
        {
            "pipeline": "default", "rep": "anna", "product": "P1", "region": "EU", "lead_source": "web",
            "when": us("2024-03-01 10:00"),
        }
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("said", "region"),
    [({"region": "US", "rep_id": "anna"}, "US"), ({"rep_id": "anna"}, "EU"), ({"rep_id": "borys"}, None), ({}, None)],
    ids=["the-deals", "its-reps", "a-rep-without", "nobody"],
)
def test_the_region_is_the_deals_else_its_reps(said, region):
    """Never known: in no cut by region."""
    assert facts_of(Kind.COHORT, change("1", "2024-03-01 10:00", "New", **said))[0].get("region") == region


@pytest.mark.parametrize(
    ("last", "won"), [("New", False), ("Won", True), ("Lost", False), ("Proposal", False)]
)  # fmt: skip
def test_a_lead_is_converted_when_the_last_entry_is_won(last, won):
    """The outcome so far; a re-opening takes it back."""
    events = [NEW, change("2", "2024-03-02 10:00", "Won"), change("3", "2024-03-03 10:00", last)]
    assert facts_of(Kind.COHORT, *events)[0]["a"] is won


@pytest.mark.parametrize(
    ("touch", "milliseconds"),
    [
        (act("a", "2024-03-01 10:00"), 0),
        (act("a", "2024-03-01 11:00"), 3_600_000),
        (act("a", "2024-03-01 09:59"), None),
        (act("a", "2024-03-01 11:00", direction="inbound"), None),
        (act("a", "2024-03-01 11:00", outcome="no_answer"), 3_600_000),
        (act("a", "2024-03-01 11:00", "email"), 3_600_000),
        (act("a", "2024-03-01 11:00", "proposal"), 3_600_000),
        (act("a", "2024-03-01 11:00", "meeting"), None),
        (act("a", "2024-03-01 11:00", "meeting", "outbound"), 3_600_000),
        (act("a", "2024-03-01 11:00", "message"), None),
        (act("a", "2024-03-01 11:00", "message", "outbound"), 3_600_000),
        (act("a", "2024-03-01 11:00", "task", "outbound"), None),
        (act("a", "2024-03-01 11:00", "email", automated=True), None),
        (act("a", "2024-03-01 11:00", planned=True), None),
    ],
    ids=[
        "at-creation", "an-hour-later", "before-creation", "inbound", "not-answered", "email", "proposal",
        "meeting-unsaid", "meeting-out", "message-unsaid", "message-out", "task", "automatic", "planned",
    ],
)  # fmt: skip
def test_the_first_response_is_the_first_human_outbound_touch_at_or_after_creation(touch, milliseconds):
    """A direction that was not said is outbound for calls, e-mails and proposals only."""
    assert facts_of(Kind.RESPONSE, NEW, touch)[0].get("a") == milliseconds


def test_business_time_of_a_response_leaves_the_weekend_out():
    """Created on Friday at 17:00, called on Monday at 9:30: an hour and a half of office time."""
    terms = Terms(settings(business={"zone": "UTC", "hours": "Mon-Fri 09:00-18:00"}))
    told = (change("1", "2024-03-01 17:00", "New"), act("a", "2024-03-04 09:30"))
    assert facts_of(Kind.RESPONSE, *told, terms=terms)[0]["b"] == 5_400_000


def test_a_touch_before_creation_is_the_response_when_the_creation_moves_before_it():
    """A late stage event creates the deal at 9: the call at 10 answers after an hour."""
    told = (
        change("2", "2024-03-01 11:00", "New"),
        act("a", "2024-03-01 10:00"),
        change("1", "2024-03-01 09:00", "Qualified"),
    )
    assert facts_of(Kind.RESPONSE, *told)[0]["a"] == 3_600_000


# ------------------------------------------------------------------ closing


def test_a_close_belongs_to_its_instant_and_its_pipeline():
    """Whose it was on the day it was won; the rep of the next day gets nothing."""
    told = (
        change("1", "2024-03-01 10:00", "New", rep_id="anna"),
        change("2", "2024-03-02 10:00", "Won"),
        change("3", "2024-03-03 10:00", rep_id="borys"),
    )
    won = {"pipeline": "default", "rep": "anna", "region": "EU", "a": True, "when": us("2024-03-02 10:00")}
    assert facts_of(Kind.OUTCOME, *told) == [won]
    assert facts_of(Kind.CYCLE, *told) == [won | {"b": 86_400_000}]


@pytest.mark.parametrize(
    ("said", "money"),
    [
        ({}, None),
        ({"amount": "0"}, ("EUR", 0)),
        ({"amount": "12.345"}, ("EUR", 1234)),
        ({"amount": "12.355"}, ("EUR", 1236)),
        ({"amount": "12.5", "currency": "JPY"}, ("JPY", 12)),
        ({"amount": "-1", "currency": "KWD"}, ("KWD", -1000)),
        ({"amount": "5", "clear": ["amount"]}, ("EUR", 500)),
    ],
    ids=[
        "none",
        "zero-is-an-amount",
        "half-to-even-down",
        "half-to-even-up",
        "no-minor-units",
        "negative",
        "value-beats-clear",
    ],
)
def test_money_is_whole_minor_units_of_the_present_currency(said, money):
    """Half is rounded to even; an amount of 0 is an amount; yen have no minor units, dinars three digits of them."""
    found = facts_of(Kind.MONEY, change("1", "2024-03-01 10:00", "New", **said), change("2", "2024-03-02 10:00", "Won"))
    assert [(currency_name(one["a"]), one["b"]) for one in found] == ([] if money is None else [money])


def test_a_currency_said_later_restates_the_amount():
    """Corrections restate: 12.5 said in euros and then in yen is 12 yen, rounded once."""
    told = (change("1", "2024-03-01 10:00", "Won", amount="12.5"), change("2", "2024-03-02 10:00", currency="JPY"))
    assert [one["b"] for one in facts_of(Kind.MONEY, *told)] == [12]


def test_a_lost_deal_has_no_money_and_a_reopened_one_no_close():
    """Only a win is revenue."""
    lost = (change("1", "2024-03-01 10:00", "New", amount="5"), change("2", "2024-03-02 10:00", "Lost"))
    assert facts_of(Kind.MONEY, *lost) == []
    assert facts_of(Kind.OUTCOME, *lost, change("3", "2024-03-03 10:00", "Qualified")) == []


# ------------------------------------------------------------------ activities


@pytest.mark.parametrize(
    ("at", "where"),
    [
        ("2024-03-01 09:59", {}),
        ("2024-03-01 10:00", {"pipeline": "default", "stage": "New"}),
        ("2024-03-02 09:59", {"pipeline": "default", "stage": "New"}),
        ("2024-03-02 10:00", {"pipeline": "default", "stage": "Qualified"}),
        ("2024-03-09 10:00", {"pipeline": "default", "stage": "Qualified"}),
    ],
    ids=["before-the-first-entry", "at-it", "before-the-second", "at-the-second", "long-after"],
)
def test_an_activity_has_the_stage_of_its_instant(at, where):
    """Stage events come before activities of the same instant."""
    found = facts_of(Kind.ACTIVITY, NEW, change("2", "2024-03-02 10:00", "Qualified"), act("a", at))
    assert {name: found[0][name] for name in ("pipeline", "stage") if name in found[0]} == where


@pytest.mark.parametrize(
    ("named", "rep"), [("cleo", "cleo"), (None, "anna")], ids=["its-own", "the-deals"]
)  # fmt: skip
def test_an_activity_belongs_to_the_rep_it_names_else_to_the_deals(named, rep):
    """The one it names does not change the deal's."""
    told = (change("1", "2024-03-01 10:00", "New", rep_id="anna"), act("a", "2024-03-01 11:00", rep_id=named))
    assert facts_of(Kind.ACTIVITY, *told)[0]["rep"] == rep
    assert facts_of(Kind.LEVEL, *told)[0]["rep"] == "anna"


def test_talk_is_the_duration_of_calls_only():
    """A call without a duration and a meeting with one have none."""
    told = (
        act("a", "2024-03-01 11:00", duration_ms=61_500),
        act("b", "2024-03-01 11:00"),
        act("c", "2024-03-01 11:00", "meeting", duration_ms=5_000),
    )
    assert [one["a"] for one in facts_of(Kind.TALK, NEW, *told)] == [61_500]


@pytest.mark.parametrize("more", [{"automated": True}, {"planned": True}], ids=str)
def test_what_no_person_did_is_no_activity(more):
    """Automatic and planned ones are kept, but count nowhere."""
    assert facts_of(Kind.ACTIVITY, NEW, act("a", "2024-03-01 11:00", duration_ms=5, **more)) == []


def test_a_planned_activity_and_its_completion_may_share_an_id():
    """The completion counts; saying it again does not."""
    told = (act("a", "2024-03-01 11:00", planned=True), act("a", "2024-03-02 11:00"), act("a", "2024-03-03 11:00"))
    assert [one["when"] for one in facts_of(Kind.ACTIVITY, NEW, *told)] == [us("2024-03-02 11:00")]


# ------------------------------------------------------------------ levels


def test_levels_belong_to_the_present():
    """The last word on each name, the stage of the last entry."""
    told = (
        change("1", "2024-03-01 10:00", "New", rep_id="anna", product="P1", amount="5"),
        change("2", "2024-03-02 10:00", "Qualified", rep_id="borys", clear=["product"]),
    )
    assert facts_of(Kind.LEVEL, *told) == [{"pipeline": "default", "stage": "Qualified", "rep": "borys", "a": False}]
    assert [(one["rep"], one["b"]) for one in facts_of(Kind.VALUE, *told)] == [("borys", 500)]


@pytest.mark.parametrize("kind", [Kind.LEVEL, Kind.VALUE, Kind.WAIT], ids=lambda kind: kind.name)
def test_a_closed_deal_is_in_no_level(kind):
    """Neither active, nor of value, nor waiting."""
    told = (change("1", "2024-03-01 10:00", "New", amount="5"), change("2", "2024-03-02 10:00", "Lost"))
    assert facts_of(kind, *told) == []


def test_a_deal_waits_from_its_creation_until_the_first_touch():
    """An inbound call is no answer."""
    told = (NEW, act("a", "2024-03-01 11:00", direction="inbound"))
    assert facts_of(Kind.WAIT, *told) == [{"pipeline": "default", "a": us("2024-03-01 10:00")}]
    assert facts_of(Kind.WAIT, *told, act("b", "2024-03-01 12:00")) == []


def test_a_kpi_switched_off_makes_no_facts():
    """A fact that no enabled KPI reads is not made."""
    terms = Terms(settings(kpis={"new_leads": False}))
    assert facts_of(Kind.LEAD, NEW, terms=terms) == []
    assert facts_of(Kind.COHORT, NEW, terms=terms) != []


@pytest.mark.parametrize(
    ("won", "in_time"), [("2024-03-02 10:00", True), ("2024-03-29 10:00", True), ("2024-03-29 10:01", False)]
)  # fmt: skip
@pytest.mark.parametrize("kind", [Kind.COHORT, Kind.CONVERSION], ids=lambda kind: kind.name)
def test_alerts_judge_only_what_happened_before_the_cohort_was_mature(kind, won, in_time):
    """28 days after it began; the KPI itself counts the win whenever it comes."""
    told = facts_of(kind, NEW, change("2", won, "Won"))[0]
    assert (told["a"], told["b"]) == (True, in_time)
