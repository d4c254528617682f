"""Which settings cannot work although their types are right?  What each may be, and a sentence for what is not."""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from typing import TYPE_CHECKING

from streams.events.contract import MAX_TEXT
from streams.kpis.catalogue import BY_ID, JUDGED_BY

if TYPE_CHECKING:
    from streams.config import Definitions, Rule

_DAY = 86_400.0
# Least, most, and how people write them.  Beyond the most, times would leave the calendar.
_RANGES: dict[str, tuple[float, float, str]] = {
    "sla.first_response": (1, 400 * _DAY, "1s and 400d"),
    "slack.catch_up_limit": (60, 36_500 * _DAY, "1m and 36500d"),  # an alert is a tick and a flush old when it is written
    "grace": (0, 400 * _DAY, "0s and 400d"),
    "max_future": (0, 400 * _DAY, "0s and 400d"),
    "publish_interval": (0.001, 3600, "1ms and 1h"),
    "flush_interval": (0.001, 3600, "1ms and 1h"),
    "tick_interval": (0.001, 3600, "1ms and 1h"),
    "partitions": (1, 1024, "1 and 1024"),
    "replication": (1, 100, "1 and 100"),
    "bad_input.share": (0, 1, "0 and 1, such as 0.2"),
    "bad_input.of_last": (1, 1_000_000, "1 and 1000000"),
    "bad_input.at_least": (1, 1_000_000, "1 and 1000000"),
}
_PACE = (1, 3600, "1 and 3600 publish_intervals")
_MATURITY = (0, 390, "0 and 390: days are kept for 400")
_RULE_RANGES: dict[str, tuple[float, float, str]] = {
    "budget_days": (1, 36_500, "1 and 36500 days"),  # its logarithm is what the evidence must reach
    "min_entries": (1, 1_000_000_000, "1 and 1000000000"),
    "min_events": (1, 1_000_000_000, "1 and 1000000000"),
}
# A share of nothing or of everything has no likelihood; and nothing is judged above alerts.detector.HIGHEST, which no rise passes.
_BASELINES: dict[str, tuple[float, float, str]] = {
    "conversion_drop": (0.0001, 0.9999, "0.0001 and 0.9999, such as 0.25 for 25 %"),
    "response_rise": (0.0001, 0.9499, "0.0001 and 0.9499, such as 0.1 for 10 % answered late"),
}
_LONGEST_NAME = 100  # an alert's fingerprint holds it, and is cut at 128


def impossible(found: Definitions) -> Iterator[str]:
    """Yield what cannot work, each named with what to write."""
    for setting, bounds in _RANGES.items():
        yield from _outside(setting, attrgetter(setting)(found), bounds)
    if not found.cuts:
        yield "cuts: there is none, so no KPI could be told; write at least one, or leave it out for all of them"
    for window, times in found.pace.items():
        yield from _outside(f"pace.{window}", times, _PACE)
    if found.bad_input.at_least > found.bad_input.of_last:
        yield (
            f"bad_input.at_least: {found.bad_input.at_least} of the last {found.bad_input.of_last} can never be refused; "
            "write no more than bad_input.of_last"
        )
    yield from _of_pipelines(found)
    yield from _of_reps(found)
    yield from _of_rules(found)


def _outside(setting: str, value: float | None, bounds: tuple[float, float, str]) -> Iterator[str]:
    least, most, said = bounds
    if value is not None and not least <= value <= most:  # so that no number is outside, too
        yield f"{setting}: must be between {said}; {value} is not"


def _no_name(setting: str, name: str) -> Iterator[str]:
    """Yield a sentence for a name that no event can say: they are read without the space around their values."""
    if not 1 <= len(name) <= MAX_TEXT or name != name.strip() or not name.isprintable():
        yield f"{setting}: {name!r} is no name; write 1 to {MAX_TEXT} characters, without space around them and without control characters"


def _of_reps(found: Definitions) -> Iterator[str]:
    for name, rep in found.reps.items():
        yield from _no_name("reps", name)
        for setting, value in (("team", rep.team), ("region", rep.region)):
            if value:
                yield from _no_name(f"reps.{name}.{setting}", value)


def _of_pipelines(found: Definitions) -> Iterator[str]:
    for name, pipeline in found.pipelines.items():
        yield from _no_name("pipelines", name)
        stages = [stage.name for stage in pipeline.stages]
        for at, stage in enumerate(stages):
            yield from _no_name(f"pipelines.{name}.stages[{at}].name", stage)
            if stage in stages[:at]:
                yield f"pipelines.{name}.stages: {stage!r} stands there twice; stage names must differ"
        yield from _outside(f"pipelines.{name}.maturity_days", pipeline.maturity_days, _MATURITY)


# ------------------------------------------------------------------ alert rules


def _of_rules(found: Definitions) -> Iterator[str]:
    names = [rule.name for rule in found.rules]
    for at, rule in enumerate(found.rules):
        if not 1 <= len(rule.name.strip()) <= len(rule.name) <= _LONGEST_NAME or not rule.name.isprintable():
            yield f"rules[{at}].name: must have 1 to {_LONGEST_NAME} characters, none of them a control character"
        if rule.name in names[:at]:
            yield f"rules: {rule.name!r} stands there twice; rule names must differ"
        for setting, bounds in _RULE_RANGES.items():
            yield from _outside(f"rules.{rule.name}.{setting}", getattr(rule, setting), bounds)
        yield from _outside(f"rules.{rule.name}.baseline", rule.baseline, _BASELINES[rule.kind])
        if not can_fire(rule, found):
            yield _why_never(rule, found)


def can_fire(rule: Rule, found: Definitions) -> bool:
    """Is there anything that this rule judges?"""
    return rule.cut in _cuts_of(rule.kind, found)


def _cuts_of(kind: str, found: Definitions) -> list[str]:
    """Return the cuts in which a rule of this kind finds something to judge."""
    judged = [BY_ID[kpi] for kpi in JUDGED_BY[kind] if found.kpis.get(kpi, True)]
    return [cut for cut in found.cuts if any(cut in kpi.cuts for kpi in judged)]


def _why_never(rule: Rule, found: Definitions) -> str:
    works = _cuts_of(rule.kind, found)
    instead = f"write one of: {', '.join(works)}" if works else "take the rule out"
    judged = [kpi for kpi in JUDGED_BY[rule.kind] if rule.cut in BY_ID[kpi].cuts]
    if not judged:
        return f"rules.{rule.name}.cut: a {rule.kind} by {rule.cut} can never fire, there is no such KPI; {instead}"
    if rule.cut not in found.cuts:
        return f"rules.{rule.name}.cut: it can never fire, since cuts does not have {rule.cut}; add it there, or {instead}"
    return (
        f"rules.{rule.name}.cut: it can never fire, since kpis switches off {', '.join(judged)}; switch one on, or {instead}"
    )
