"""Is every setting either part of what numbers mean, or harmless; and is a difference named?"""

from __future__ import annotations

import pytest

from streams.config import Definitions, definitions_from
from streams.state import FORMATS, HARMLESS, differences, digest, in_words, meaning
from streams.topics import ROOMS

STAGES = [{"name": "New", "kind": "lead"}, {"name": "Won", "kind": "won"}]
RAW = {
    "reps": {"anna": {"team": "Central"}},
    "business": {"zone": "Europe/Kyiv", "hours": "Mon-Fri 09:00-18:00"},
    "pipelines": {"default": {"stages": STAGES}},
    "windows": ["day", "all"],
    "cuts": ["all", "team"],
}
MEANT = meaning(definitions_from(RAW))

HARMLESS_CHANGES = {
    "grace": "2h",
    "publish_interval": "5s",
    "pace": {"year": 5},
    "flush_interval": "1s",
    "tick_interval": "1s",
    "replication": 3,
    "bad_input": {"stop": False},
    "rules": [],
    "slack": {"channel": "#sales"},
    "targets": [1],
    "spend": [1],
    "rates": {"UAH": 0.02},
}
MEANINGFUL_CHANGES = {
    "currency": ("USD", "currency was EUR, is USD"),
    "business": ({"zone": "UTC"}, "business.zone was Europe/Kyiv, is UTC"),
    "pipelines": (
        {"default": {"stages": [STAGES[0], {"name": "Won", "kind": "lost"}]}},
        "pipelines.default.stages[1].kind was won, is lost",
    ),
    "reps": ({"anna": {"team": "East"}}, "reps.anna.team was Central, is East"),
    "sla": ({"first_response": "2h"}, "sla.first_response was 3600.0, is 7200.0"),
    "windows": (["all"], "windows.day was on, is not set"),
    "cuts": (["all", "team", "rep"], "cuts.rep was not set, is on"),
    "kpis": ({"win_rate": False}, "kpis.win_rate was on, is off"),
    "max_future": ("1m", "max_future was 300.0, is 60.0"),
    "partitions": (6, "partitions was 12, is 6"),
}


def test_every_setting_is_decided_upon():
    """A new setting belongs to the meaning, or to the harmless ones: somebody has to say which."""
    settings = set(Definitions.__struct_fields__)
    assert settings == HARMLESS | (MEANT.keys() - {"format", "catalogue"})
    assert HARMLESS.isdisjoint(MEANT)
    assert (HARMLESS_CHANGES.keys(), MEANINGFUL_CHANGES.keys()) == (HARMLESS, settings - HARMLESS)
    assert tuple(FORMATS) == ROOMS


@pytest.mark.parametrize("setting", HARMLESS_CHANGES)
def test_a_harmless_change_changes_no_meaning(setting):
    """The state goes on."""
    assert digest(meaning(definitions_from({**RAW, setting: HARMLESS_CHANGES[setting]}))) == digest(MEANT)


@pytest.mark.parametrize("setting", MEANINGFUL_CHANGES)
def test_any_other_change_is_named(setting):
    """With what it was and what it is."""
    value, phrase = MEANINGFUL_CHANGES[setting]
    now = meaning(definitions_from({**RAW, setting: value}))
    assert digest(now) != digest(MEANT)
    assert phrase in differences(MEANT, now)


@pytest.mark.parametrize(
    "same",
    [
        {"windows": ["all", "day"], "cuts": ["team", "all"]},
        {"kpis": {"win_rate": True}},
        {"currency": "EUR", "sla": {"first_response": "60m"}},
        {"reps": {"anna": {"team": "Central", "manager": "Olha"}}},
        {
            "pipelines": {
                "default": {"stages": [{**STAGES[0], "qualified": True, "probability": 0.5, "limit_days": 3}, STAGES[1]]}
            }
        },
    ],
    ids=["order", "on by default", "other words", "manager", "what stages do not use"],
)
def test_the_same_said_otherwise_is_the_same(same):
    """Order, defaults that are spelt out, units, and what is not used yet do not matter."""
    assert digest(meaning(definitions_from({**RAW, **same}))) == digest(MEANT)


def test_another_version_of_dealpulse_is_named_first():
    """Its form of the state, and its catalogue."""
    older = {**MEANT, "format": {**FORMATS, "deals": 0}, "catalogue": MEANT["catalogue"][1:], "currency": "USD"}
    found = differences(older, MEANT)
    assert found == [
        "this version of dealpulse has other KPIs",
        "it was written by another version of dealpulse, whose state has another form",
        "currency was USD, is EUR",
    ]
    assert digest(older) != digest(MEANT)


def test_many_differences_are_cut_short():
    """Nobody reads a hundred of them."""
    assert in_words([str(number) for number in range(7)]) == "0; 1; 2; 3; 4; and 2 more"
