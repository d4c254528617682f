"""Which rules find something to judge, and are those the rules that the configuration accepts?"""

from __future__ import annotations

import pytest

from streams.config import CUTS, DEFAULT_RULES, Definitions, Rule
from streams.deals.terms import READ_BY, Kind
from streams.kpis.catalogue import JUDGED_BY
from streams.limits import can_fire
from tests.audit.tables import act, change, settings
from tests.in_memory import InMemory

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
