"""Are wrong settings refused with a sentence that names them?"""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.alerts import detector
from streams.config import ConfigError, Definitions, definitions_from, seconds


def test_the_example_of_the_contract_is_accepted():
    """Every setting of the contract's example, and those it names beside it."""
    found = definitions_from(
        {
            "currency": "EUR",
            "business": {"zone": "Europe/Kyiv", "hours": "Mon-Fri 09:00-18:00", "holidays": ["2026-01-01"]},
            "pipelines": {"default": {"maturity_days": 28, "stages": [{"name": "New", "kind": "lead"}]}},
            "reps": {"anna": {"team": "Central", "manager": "olha", "region": "EU"}},
            "sla": {"first_response": "1h"},
            "targets": [],
            "spend": [],
            "rates": {},
        }
    )
    assert (found.sla.first_response, found.reps["anna"].team) == (3600.0, "Central")


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        ({"curency": "EUR"}, "unknown setting curency; did you mean 'currency'"),
        ({"teams": {}}, "unknown setting teams; known: currency, business"),
        ({"cuts": []}, "cuts: there is none, so no KPI could be told"),
        ({"currency": "euro"}, "currency: 'euro'"),
        ({"currency": "ZZZ"}, "currency: 'ZZZ' is no ISO 4217 code in use since 2000"),
        ({"business": {"zone": "Kyiv"}}, "business.zone: 'Kyiv'"),
        ({"business": {"hours": "9 to 5"}}, "business.hours: '9 to 5'"),
        ({"business": {"hours": "Xxx 09:00-18:00"}}, "business.hours"),
        ({"business": {"holidays": ["new year"]}}, "business.holidays: 'new year'"),
        ({"business": {"holidays": ["20260101"]}}, "business.holidays: '20260101'"),
        ({"business": {"holidays": ["2026-W01-4"]}}, "business.holidays: '2026-W01-4'"),
        ({"business": {"zones": "UTC"}}, "unknown setting business.zones; did you mean 'zone'"),
        (
            {"pipelines": {"p": {"stages": [{"name": "A", "sort": 1}]}}},
            "unknown setting pipelines.p.stages.A.sort; known: name, kind",
        ),
        ({"pipelines": {"p": {"stages": [{"name": "A"}, {"name": "A"}]}}}, "pipelines.p.stages: 'A' stands there twice"),
        (
            {"pipelines": {"p": {"stages": [{"name": "A", "kind": "wun"}]}}},
            "pipelines.p.stages.A.kind: unknown 'wun'; known: lead, lost, open, won",
        ),
        ({"kpis": {"win_rte": False}}, "kpis: unknown 'win_rte'; did you mean 'win_rate'"),
        ({"cuts": ["reps"]}, "cuts: unknown 'reps'"),
        ({"windows": ["2h"]}, "windows: unknown '2h'"),
        ({"grace": "soon"}, "grace: 'soon' is no duration"),
        ({"rules": [{"name": "r", "kind": "conversion_drop", "cut": "stages"}]}, "rules.r.cut: unknown 'stages'"),
        ({"partitions": 0}, "partitions: must be between 1 and 1024; 0 is not"),
        ({"tick_interval": 0}, "tick_interval: must be between 1ms and 1h"),
        ({"publish_interval": 0}, "publish_interval: must be between 1ms and 1h"),
        ({"flush_interval": 0}, "flush_interval: must be between 1ms and 1h"),
        ({"pace": {"2h": 2}}, "pace: unknown '2h'"),
        ({"pipelines": {"p": {"stages": 5}}}, "pipelines.p.stages: 5 is no list; write [...]"),
        (
            {"pipelines": {"p": {"stages": [5]}}},
            "pipelines.p.stages[0]: 5 is no mapping; write lines of the form name: value",
        ),
        (
            {"pipelines": {"p": {"stages": [{"name": 7}]}}},
            "pipelines.p.stages[0].name: 7 is no text; write one, in quotes if",
        ),
        (
            {"pipelines": {"p": {"stages": [{"name": "A", "qualified": "yes"}]}}},
            "stages.A.qualified: 'yes' is no switch; write true",
        ),
        ({"pipelines": {"p": {"stages": [{"kind": "won"}]}}}, "pipelines.p.stages[0].name is missing"),
        ({"pipelines": {"p": {"maturity_days": 5}}}, "pipelines.p.stages is missing"),
        ({"reps": {"anna": {"team": 5}}}, "reps.anna.team: 5 is no text"),
        ({"reps": {"anna": {"tem": "A"}}}, "unknown setting reps.anna.tem; did you mean 'team'?"),
        ({"reps": {"anna": None}}, "reps.anna: nothing is no mapping"),
        ({"reps": []}, "reps: [] is no mapping"),
        ({"kpis": {"win_rate": "off"}}, "kpis.win_rate: 'off' is no switch; write true or false"),
        ({"pace": {"day": "often"}}, "pace.day: 'often' is no number"),
        ({"partitions": True}, "partitions: True is no whole number"),
        ({"partitions": 1.5}, "partitions: 1.5 is no whole number"),
        ({"windows": [1]}, "windows[0]: 1 is no text"),
        ({"business": {"hours": 630}}, "business.hours: 630 is no text"),
        ({"slack": {"channel": ["a"]}}, "slack.channel: ['a'] is no text"),
        ({"targets": 5}, "targets: 5 is no list"),
        (
            {"rules": [{"name": "r", "kind": "drop", "cut": "stage"}]},
            "rules.r.kind: unknown 'drop'; known: conversion_drop, response_rise",
        ),
        (
            {"rules": [{"name": "r", "kind": "conversion_drop", "cut": "stage", "baseline": 10**400}]},
            "rules.r.baseline: 1000",
        ),
        ({"rules": ["r"]}, "rules[0]: 'r' is no mapping"),
        ({"pipelines": {"p": {"stages": [{"name": ""}]}}}, "pipelines.p.stages[0].name: '' is no name"),
        ({"pipelines": {"p": {"stages": [{"name": "A"}, {"name": "B "}]}}}, "pipelines.p.stages[1].name: 'B ' is no name"),
        ({"pipelines": {" ": {"stages": []}}}, "pipelines: ' ' is no name; write 1 to 256 characters"),
        ({"pipelines": {"p": {"stages": [], "maturity_days": -1}}}, "pipelines.p.maturity_days: must be between 0 and 390"),
        ({"pipelines": {"p": {"stages": [], "maturity_days": 400}}}, "pipelines.p.maturity_days: must be between 0 and 390"),
        ({"replication": 0}, "replication: must be between 1 and 100; 0 is not"),
        ({"grace": -1}, "grace: must be between 0s and 400d"),
        ({"grace": float("inf")}, "grace: inf is no duration"),
        ({"grace": float("nan")}, "grace: nan is no duration"),
        ({"grace": 10**400}, "is no duration"),
        ({"grace": "9" * 400 + "d"}, "grace: must be between 0s and 400d"),
        ({"max_future": -1}, "max_future: must be between 0s and 400d"),
        ({"sla": {"first_response": 0}}, "sla.first_response: must be between 1s and 400d"),
        ({"sla": {"first_response": "401d"}}, "sla.first_response: must be between 1s and 400d"),
        ({"slack": {"catch_up_limit": -1}}, "slack.catch_up_limit: must be between 1m and 36500d"),
        ({"bad_input": {"share": 1.5}}, "bad_input.share: must be between 0 and 1"),
        ({"bad_input": {"share": float("nan")}}, "bad_input.share: must be between 0 and 1"),
        ({"bad_input": {"of_last": 0}}, "bad_input.of_last: must be between 1 and 1000000"),
        ({"bad_input": {"at_least": 0}}, "bad_input.at_least: must be between 1 and 1000000"),
        ({"bad_input": {"of_last": 100}}, "bad_input.at_least: 200 of the last 100"),
        ({"pace": {"day": 0}}, "pace.day: must be between 1 and 3600 publish_intervals"),
        ([], "expected a mapping"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(raw, sentence):
    """The sentence names the setting."""
    with pytest.raises(ConfigError) as refused:
        definitions_from(raw)
    assert sentence in str(refused.value)


ANYTHING = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.sampled_from(["open", "1h", "stage"])
    ),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["name", "kind", "stages", "cut", "team", "default", "stop"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(raw=st.dictionaries(st.sampled_from(Definitions.__struct_fields__), ANYTHING, max_size=3))
def test_whatever_stands_there_is_taken_or_refused(raw):
    """Nothing else is raised."""
    with contextlib.suppress(ConfigError):
        definitions_from(raw)


DROP = {"name": "r", "kind": "conversion_drop", "cut": "stage"}


RISE = {"name": "r", "kind": "response_rise", "cut": "team"}


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        (DROP | {"baseline": 0}, "rules.r.baseline: must be between 0.0001 and 0.9999"),
        (DROP | {"baseline": 1}, "rules.r.baseline: must be between 0.0001 and 0.9999"),
        (DROP | {"baseline": 25}, "such as 0.25 for 25 %; 25"),
        (DROP | {"baseline": float("nan")}, "rules.r.baseline"),
        (RISE | {"baseline": 0.95}, "rules.r.baseline: must be between 0.0001 and 0.9499"),
        (DROP | {"budget_days": 0}, "rules.r.budget_days: must be between 1 and 36500 days; 0 is not"),
        (DROP | {"min_entries": 0}, "rules.r.min_entries: must be between 1 and"),
        (DROP | {"min_events": 0}, "rules.r.min_events: must be between 1 and"),
        (DROP | {"name": ""}, "rules[0].name: must have 1 to 100 characters"),
        (DROP | {"name": "x" * 101}, "rules[0].name: must have 1 to 100 characters"),
    ],
)
def test_a_rule_that_cannot_be_judged_is_refused_by_name(rule, sentence):
    """It would end every worker with the first matured day."""
    with pytest.raises(ConfigError) as refused:
        definitions_from({"rules": [rule]})
    assert sentence in str(refused.value)


def test_two_rules_of_one_name_are_refused():
    """One state would be judged by both."""
    with pytest.raises(ConfigError, match="rules: 'r' stands there twice"):
        definitions_from({"rules": [DROP, RISE]})


@pytest.mark.parametrize(
    ("raw", "rule", "sentence"),
    [
        ({}, RISE | {"cut": "product"}, "can never fire, there is no such KPI; write one of: all, pipeline, team, rep, lead_source"),
        ({}, RISE | {"cut": "stage"}, "a response_rise by stage can never fire"),
        ({}, DROP | {"cut": "customer"}, "a conversion_drop by customer can never fire"),
        ({"cuts": ["all", "team"]}, DROP, "cuts does not have stage; add it there, or write one of: all, team"),
        ({"cuts": ["stage"]}, RISE, "cuts does not have team; add it there, or take the rule out"),
        ({"kpis": {"stage_conversion": False}}, DROP, "kpis switches off stage_conversion; switch one on, or write one of: all"),
    ],
)  # fmt: skip
def test_a_rule_that_can_never_fire_is_refused(raw, rule, sentence):
    """With the cuts in which it could."""
    with pytest.raises(ConfigError) as refused:
        definitions_from({**raw, "rules": [rule]})
    assert str(refused.value).startswith("rules.r.cut: ")
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("raw", "in_force"),
    [
        ({}, ["conversion-drop", "response-rise"]),
        ({"cuts": ["all", "team"]}, ["response-rise"]),
        ({"kpis": {"stage_conversion": False}}, ["response-rise"]),
        ({"cuts": ["all"]}, []),
    ],
)
def test_a_default_rule_without_anything_to_judge_is_not_in_force(raw, in_force):
    """Nobody asked for it, so it is no mistake."""
    assert [rule.name for rule in definitions_from(raw).rules] == in_force


def test_what_is_said_of_rises_is_what_the_detector_can():
    """A baseline that is nearly everybody has no alternative above it."""
    assert detector.rises(0.9499)
    assert not detector.rises(detector.HIGHEST)


@pytest.mark.parametrize(
    ("text", "expected"), [("100ms", 0.1), ("30s", 30.0), ("5m", 300.0), ("1h", 3600.0), ("14d", 1_209_600.0), (2, 2.0)]
)
def test_durations_are_read_in_their_units(text, expected):
    """A bare number is seconds."""
    assert seconds(text, "grace") == expected


@pytest.mark.parametrize(
    ("raw", "seconds_between"),
    [
        ({}, 2.0),
        ({"publish_interval": "100ms"}, 0.2),
        ({"pace": {"1h": 1}}, 1.0),
        ({"pace": {"1h": 1}, "windows": ["day"]}, 2.0),
        ({"flush_interval": "50ms"}, 0.05),
    ],
)
def test_a_flush_lingers_no_longer_than_the_shortest_pace(raw, seconds_between):
    """Two publish intervals where no pace is shorter, and what is set where it is set."""
    assert definitions_from(raw).flush_every == pytest.approx(seconds_between)


@pytest.mark.parametrize("name", [" anna ", "", "a\nb", "\ud800", "x" * 257, "\x1b[31m"])
def test_a_name_that_no_event_can_say_is_refused(name):
    """Of a rep, a pipeline and a rule alike."""
    stages = [{"name": "New", "kind": "lead"}]
    for raw in (
        {"reps": {name: {"team": "T"}}},
        {"pipelines": {name: {"stages": stages}}},
        {"pipelines": {"default": {"stages": [*stages, {"name": name}]}}},
    ):
        with pytest.raises(ConfigError, match="is no name"):
            definitions_from(raw)
