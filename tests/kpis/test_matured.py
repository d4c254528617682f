"""Which rules find something to judge, and are those the rules that the configuration accepts?"""

from __future__ import annotations

from typing import Any

import pytest

from streams.config import CUTS, DEFAULT_RULES, Definitions, Rule
from streams.deals.terms import READ_BY, Kind
from streams.kpis.catalogue import JUDGED_BY
from streams.limits import can_fire
from tests.audit.tables import act, change, settings, us
from tests.in_memory import InMemory
from tests.kpis.live import live

RULES = tuple(Rule(f"{kind}-{cut}", kind, cut) for kind in ("conversion_drop", "response_rise") for cut in CUTS)
WHOSE = {"rep_id": "anna", "product": "p", "region": "EU", "lead_source": "web", "customer_id": "c"}


def judged(definitions: Definitions) -> set[str]:
    """Return the rules that get matured panes of a deal that was in every cut."""
    flow = InMemory(definitions)
    flow.feed([change("e1", "2024-01-01 10:00", "New", **WHOSE), act("a1", "2024-01-01 11:00", "call", "outbound")])
    flow.feed([change("e2", "2024-01-02 10:00", "Won")])
    flow.feed([change("e3", "2024-04-01 10:00", "New", deal_id="other")])
    return {one["rule"] for one in flow.matured}


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"cuts": ["all", "team"]},
        {"kpis": {"lead_conversion": False}},
        {"kpis": {"stage_conversion": False}},
        {"kpis": {"first_response_within_sla": False}},
        {"kpis": dict.fromkeys(JUDGED_BY["response_rise"], False)},
    ],
    ids=["all on", "two cuts", "no lead_conversion", "no stage_conversion", "no share within SLA", "no response"],
)
def test_a_rule_is_accepted_where_it_finds_something_to_judge(changed):
    """Each kind in each cut."""
    plain = settings(**changed, rules=[], partitions=1)
    everything = Definitions(**{name: getattr(plain, name) for name in plain.__struct_fields__} | {"rules": RULES})
    assert judged(everything) == {rule.name for rule in RULES if can_fire(rule, plain)}


def test_what_rules_judge_is_made_for_the_kpis_that_are_named():
    """The facts of cohorts and of responses."""
    assert JUDGED_BY["conversion_drop"] == (*READ_BY[Kind.CONVERSION], *READ_BY[Kind.COHORT])
    assert JUDGED_BY["response_rise"] == READ_BY[Kind.RESPONSE]


def test_the_default_rules_are_in_force_by_default():
    """With every cut and KPI on."""
    assert all(can_fire(rule, Definitions()) for rule in DEFAULT_RULES)


# ------------------------------------------------------------------ when a cohort is complete

OFFICE = {"zone": "UTC", "hours": "Mon-Fri 09:00-18:00"}
NEW_YEAR = [f"2025-01-0{day}" for day in range(1, 9)]


def answered(created: str, answer: str, **said: Any) -> list[tuple[int, int, int]]:
    """Return n, k and instant of what is judged of one lead and its answer, looked at every six hours."""
    rule = {"name": "late", "kind": "response_rise", "cut": "all"}
    flow = InMemory(settings(partitions=1, rules=[rule], **said))
    flow.feed([change("e", created, "New")])
    start = us(created)
    ticks = [start + step * 21_600_000_000 for step in range(200)]
    for at in ticks:
        flow.feed([act("a", answer, "call", "outbound")] if at <= us(answer) < at + 21_600_000_000 else [], tick=at)
    return [(one["n"], one["k"], one["at"]) for one in flow.matured]


@pytest.mark.parametrize(
    ("created", "answer", "said", "at"),
    [
        ("2024-03-04 10:00", "2024-03-04 10:30", {"sla": {"first_response": "1h"}}, "2024-03-06 01:00"),
        ("2024-03-04 23:59", "2024-03-05 23:59", {"sla": {"first_response": "24h"}}, "2024-03-07 01:00"),
        ("2024-03-04 10:00", "2024-03-04 10:30", {"business": OFFICE}, "2024-03-06 01:00"),
        ("2024-03-01 17:55", "2024-03-04 09:20", {"business": OFFICE}, "2024-03-05 01:00"),
        ("2024-12-31 17:55", "2025-01-09 09:20", {"business": OFFICE | {"holidays": NEW_YEAR}}, "2025-01-10 01:00"),
        ("2024-03-05 09:00", "2024-03-11 13:00", {"business": OFFICE, "sla": {"first_response": "40h"}}, "2024-03-13 01:00"),
        ("2024-03-04 09:00", "2024-03-13 18:00", {"business": OFFICE, "sla": {"first_response": "72h"}}, "2024-03-16 01:00"),
        ("2024-03-04 20:00", "2024-03-05 23:00", {"business": OFFICE, "sla": {"first_response": "9h"}}, "2024-03-07 01:00"),
    ],
    ids=["an hour", "a day", "office", "a weekend", "holidays", "40 office hours", "72 office hours", "till closing time"],
)  # fmt: skip
def test_a_day_is_judged_when_each_of_its_leads_has_had_its_whole_sla(created, answer, said, at):
    """The lead is answered in time, mostly at the last moment; the day is over for whoever came with its end, and the grace is."""
    assert answered(created, answer, **said) == [(1, 1, us(at))]


def test_what_could_not_be_complete_before_its_day_is_let_go_is_never_judged():
    """400 days of office hours are years, and days are kept for 400: neither live nor in one round."""
    assert answered("2024-03-04 10:00", "2024-03-04 10:30", business=OFFICE, sla={"first_response": "400d"}) == []
    rule = {"name": "late", "kind": "response_rise", "cut": "all"}
    flow = InMemory(settings(partitions=1, rules=[rule], business=OFFICE, sla={"first_response": "400d"}))
    flow.feed([change("e", "2021-03-04 10:00", "New")], tick=us("2024-03-04 10:00"))
    assert flow.matured == []


def test_a_cohort_is_complete_also_when_an_hour_was_lost_to_the_clocks():
    """A lead of Friday night, won 48 hours later: at 00:59 on Monday, Kyiv's time; there is no grace."""
    stages = [{"name": "New", "kind": "lead"}, {"name": "Won", "kind": "won"}]
    rule = {"name": "drop", "kind": "conversion_drop", "cut": "all"}
    pipelines = {"default": {"maturity_days": 2, "stages": stages}}
    kyiv = {"zone": "Europe/Kyiv"}
    flow = InMemory(settings(partitions=1, rules=[rule], business=kyiv, pipelines=pipelines, grace="0s"))
    flow.feed([change("e", "2024-03-29 21:59", "New")])
    flow.feed([], tick=us("2024-03-31 21:30"))
    flow.feed([change("w", "2024-03-31 21:59", "Won")])
    flow.feed([], tick=us("2024-04-05 12:00"))
    assert [(one["n"], one["k"]) for one in flow.matured] == [(1, 1)]


@pytest.mark.parametrize("days", [1, 30])
def test_a_win_of_a_pipeline_that_is_not_configured_is_in_time_until_the_cohort_is_judged(days):
    """Two leads of it, won after 10 and after 20 days; all that is configured has 10: looked at daily or monthly, one counts."""
    stages = [{"name": "New", "kind": "lead"}, {"name": "Won", "kind": "won"}]
    rule = {"name": "drop", "kind": "conversion_drop", "cut": "all"}
    flow = InMemory(settings(partitions=1, rules=[rule], pipelines={"default": {"maturity_days": 10, "stages": stages}}))
    ids = {"d1": "2024-01-11 10:00", "d2": "2024-01-21 10:00"}
    events = [change("e", "2024-01-01 10:00", "New", deal_id=deal, pipeline="unknown") for deal in ids]
    events += [change("w", won, "Won", deal_id=deal, pipeline="default") for deal, won in ids.items()]
    at, step = us("2024-01-01 00:00"), days * 86_400_000_000
    for start in range(at, at + 60 * 86_400_000_000, step):
        flow.feed([one for one in events if start <= one.at < start + step], tick=start + step)
    assert [(one["n"], one["k"], one["at"]) for one in flow.matured] == [(2, 1, us("2024-01-12 01:00"))]


@pytest.mark.parametrize("grace", ["0s", "1h", "6h", "30h"])
@pytest.mark.parametrize("restarts", [False, True])
def test_a_cohort_is_judged_at_the_instant_that_it_names(grace, restarts):
    """Looked at every half an hour, it is there when that instant has come and not before; in one round it names the same."""
    rules = [{"name": "late", "kind": "response_rise", "cut": "all"}]
    flow, at_once = (InMemory(settings(partitions=1, rules=rules, grace=grace)) for _ in range(2))
    lead = change("e", "2024-03-04 10:00", "New")
    flow.feed([lead])
    seen = None
    for step in range(1, 200):
        if restarts:
            flow.restart()
        flow.feed([], tick=us("2024-03-04 10:00") + step * 1_800_000_000)
        if flow.matured and seen is None:
            seen = flow.watermark
    at_once.feed([lead], tick=us("2024-04-01 12:00"))
    assert [one["at"] for one in flow.matured] == [seen]
    assert at_once.matured == flow.matured


def test_who_was_told_a_moment_ago_is_judged_all_the_same():
    """A lead two seconds before the instant and one after it, so that everybody is held back by the pace."""
    flow = live(rules=[{"name": "late", "kind": "response_rise", "cut": "all"}])
    flow.lead("2024-03-04 10:00")
    flow.wait(2)
    flow.lead("2024-03-06 00:59:58")
    assert flow.matured == []
    flow.lead("2024-03-06 01:00:01")
    flow.wait(10)
    assert [one["at"] for one in flow.matured] == [us("2024-03-06 01:00")]
