"""Of which form is the state, and on which definitions do the numbers in it depend?

A state goes on only under the definitions that it was computed with.  What belongs to them stands in `meaning`;
what may change at any time stands in HARMLESS; a test holds that every setting is in one of the two.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from hashlib import blake2b
from typing import Any

import msgspec

from streams.config import Definitions
from streams.kpis.catalogue import CATALOGUE

# What the rows in a room's changelog look like.  A change that older rows do not survive raises the number, and so does one
# whose rows an earlier version would misread; tests/upgrade holds recorded rows of each number against the code.
FORMATS = {"deals": 5, "kpis": 4, "alerts": 1, "notify": 1}

# Settings that no number depends on.
HARMLESS = frozenset(
    {
        "grace",  # when a value is called final, not what it is
        "publish_interval", "pace", "flush_interval", "tick_interval",
        "replication",
        "bad_input",  # when to stop, not what to refuse
        "rules",  # judged from the day on which they are there; alerts are no numbers
        "slack",
        "targets", "spend", "rates",  # not used yet
    }
)  # fmt: skip
# The same within a stage and a rep: not used yet.
HARMLESS_OF_STAGES = frozenset({"qualified", "opportunity", "meeting", "proposal", "limit_days", "probability"})
HARMLESS_OF_REPS = frozenset({"manager"})
_ON, _OFF = "on", "off"
_MOST_NAMED = 5


def meaning(definitions: Definitions) -> dict[str, Any]:
    """Return all that the numbers of a state depend on; equal meanings give equal numbers."""
    plain = msgspec.json.decode(msgspec.json.encode(definitions))  # as it is read back
    return {
        "format": dict(FORMATS),
        # State names KPIs by their place in this list.
        "catalogue": [[kpi.id, kpi.base, kpi.unit, kpi.formula, *kpi.cuts] for kpi in CATALOGUE],
        "kpis": {kpi.id: _ON if definitions.kpis.get(kpi.id, True) else _OFF for kpi in CATALOGUE},
        "windows": dict.fromkeys(sorted(definitions.windows), _ON),
        "cuts": dict.fromkeys(sorted(definitions.cuts), _ON),
        "business": {**plain["business"], "holidays": sorted(definitions.business.holidays)},
        "pipelines": {
            name: {**one, "stages": [_without(stage, HARMLESS_OF_STAGES) for stage in one["stages"]]}
            for name, one in plain["pipelines"].items()
        },
        "reps": {name: _without(one, HARMLESS_OF_REPS) for name, one in plain["reps"].items()},
        **{name: plain[name] for name in ("currency", "sla", "max_future", "partitions")},
    }


def _without(setting: Mapping[str, Any], harmless: AbstractSet[str]) -> dict[str, Any]:
    return {name: value for name, value in setting.items() if name not in harmless}


def digest(means: Mapping[str, Any]) -> str:
    """Return a short text that is the same for equal meanings only."""
    return blake2b(msgspec.json.encode(means, order="sorted"), digest_size=10).hexdigest()


def digest_of_rules(definitions: Definitions) -> str:
    """Return a short text that is the same for equal rules only; no number depends on them, alerts do."""
    return digest({"rules": msgspec.to_builtins(definitions.rules)})


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what differs between two meanings, a phrase each: `reps.anna.team was Central, is East`."""
    old, new = dict(_leaves(before, "")), dict(_leaves(now, ""))
    found = [
        f"{name} was {_said(old, name)}, is {_said(new, name)}"
        for name in sorted(old.keys() | new.keys())
        if not name.startswith(("catalogue", "format")) and old.get(name) != new.get(name)
    ]
    if before.get("format") != now.get("format"):
        found.insert(0, "it was written by another version of dealpulse, whose state has another form")
    if before.get("catalogue") != now.get("catalogue"):
        found.insert(0, "this version of dealpulse has other KPIs")
    return found


def in_words(phrases: list[str]) -> str:
    """Return the phrases as part of a sentence, the first few of them named."""
    named = "; ".join(phrases[:_MOST_NAMED])
    return named if len(phrases) <= _MOST_NAMED else f"{named}; and {len(phrases) - _MOST_NAMED} more"


def _said(leaves: Mapping[str, Any], name: str) -> str:
    value = leaves.get(name)
    return "not set" if value is None else str(value)


def _leaves(node: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _leaves(value, f"{name}.{key}" if name else str(key))
    elif isinstance(node, (list, tuple)):
        for place, value in enumerate(node):
            yield from _leaves(value, f"{name}[{place}]")
    else:
        yield name, node
