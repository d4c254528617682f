"""What do the numbers mean?  All that dealpulse.yaml can say, as frozen settings.

Everything is checked at start: an unknown key, a wrong type or an impossible value raises `ConfigError`, whose
text names the setting and the remedy.
"""

from __future__ import annotations

import difflib
import functools
import re
from datetime import date
from itertools import pairwise
from typing import Any, Literal
from zoneinfo import ZoneInfo, available_timezones

import msgspec
import msgspec.inspect

from streams import limits
from streams.events.currencies import MINOR_DIGITS
from streams.kpis.catalogue import BY_ID as KPI_IDS
from streams.misfits import misfits

Spans = tuple[tuple[int, int], ...]  # [begin, end)

LEAD, OPEN, WON, LOST = "lead", "open", "won", "lost"
StageKind = Literal["lead", "open", "won", "lost"]

CUTS = ("all", "pipeline", "stage", "team", "rep", "rep_stage", "product", "region", "lead_source", "customer")
WINDOWS = ("1h", "24h", "7d", "28d", "90d", "day", "week", "month", "quarter", "year", "all")
# While events keep coming, this many publish_intervals lie at least between two records of a key: the wider a window, the
# less one event is in it, and a record of it costs as much as one of an hour.
PACE = {
    "now": 5, "1h": 5, "24h": 30, "day": 30, "7d": 60, "week": 60,
    "28d": 120, "month": 120, "90d": 180, "quarter": 180, "year": 300, "all": 300,
}  # fmt: skip


_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class ConfigError(Exception):
    """A setting is wrong; the text says which one and what to do."""


# ------------------------------------------------------------------ shapes of dealpulse.yaml


class Stage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One configured stage; its place in the list is its rank (lost stages have none)."""

    name: str
    kind: StageKind = "open"
    qualified: bool = False
    opportunity: bool = False
    meeting: bool = False
    proposal: bool = False
    limit_days: float | None = None
    probability: float | None = None


class Pipeline(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Stages in order, and after how many days a cohort's outcome counts as known."""

    stages: tuple[Stage, ...]
    maturity_days: int = 28


UNCONFIGURED = Pipeline(stages=())


class Rep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a rep belongs at present."""

    team: str | None = None
    manager: str | None = None
    region: str | None = None


class Business(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The business calendar: days begin and office hours run in this zone."""

    zone: str = "UTC"
    hours: str | None = None
    holidays: tuple[str, ...] = ()


class Sla(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Promises; durations in seconds."""

    first_response: float = 3600.0


class BadInput(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When the share of rejected records says that the deployment is wrong, not the data."""

    share: float = 0.2
    of_last: int = 1000
    at_least: int = 200
    stop: bool = True


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One alert rule: a sequential test on the matured panes of one KPI and cut."""

    name: str
    kind: Literal["conversion_drop", "response_rise"]
    cut: str
    budget_days: int = 365
    baseline: float | None = None
    min_entries: int = 300  # to learn the baseline from
    min_events: int = 20  # since the change began, to speak of it


class Slack(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where Slack messages go; the token and the webhook URL come from the environment only."""

    channel: str | None = None
    catch_up_limit: float = 2 * 86400.0


DEFAULT_PIPELINES = {
    "default": Pipeline(
        stages=(
            Stage("New", "lead"),
            Stage("Qualified", "open", qualified=True, opportunity=True),
            Stage("Meeting", "open", meeting=True),
            Stage("Proposal", "open", proposal=True, limit_days=14, probability=0.4),
            Stage("Won", "won"),
            Stage("Lost", "lost"),
        )
    )
}
DEFAULT_RULES = (
    Rule("conversion-drop", "conversion_drop", "stage"),
    Rule("response-rise", "response_rise", "team"),
)


class Definitions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that a number's meaning depends on: dealpulse.yaml.  Durations in seconds."""

    currency: str = "EUR"
    business: Business = Business()
    pipelines: dict[str, Pipeline] = msgspec.field(default_factory=lambda: dict(DEFAULT_PIPELINES))
    reps: dict[str, Rep] = {}
    sla: Sla = Sla()
    windows: tuple[str, ...] = WINDOWS
    cuts: tuple[str, ...] = CUTS
    kpis: dict[str, bool] = {}
    rules: tuple[Rule, ...] = DEFAULT_RULES
    slack: Slack = Slack()
    grace: float = 3600.0
    publish_interval: float = 1.0
    pace: dict[str, float] = {}
    flush_interval: float | None = None
    tick_interval: float = 5.0
    max_future: float = 300.0
    partitions: int = 12
    replication: int = 1
    bad_input: BadInput = BadInput()
    targets: list[Any] | dict[str, Any] = []
    spend: list[Any] | dict[str, Any] = []
    rates: dict[str, Any] = {}

    @property
    def flush_every(self) -> float:
        """Return how many seconds lie at least between two flushes of new events when little arrives.

        Without a word it is two publish_intervals, but no longer than the shortest pace: in a steady flow nobody is told more often.
        """
        return min(2 * self.publish_interval, self.shortest_pace) if self.flush_interval is None else self.flush_interval

    def told_every(self, window: str) -> float:
        """Return how many seconds lie at least between two records of a key of this window while events keep coming."""
        return self.publish_interval * self.pace.get(window, PACE[window])

    @property
    def shortest_pace(self) -> float:
        """Return how many seconds lie at least between two times that an entity is told; "now" stands for the levels."""
        return min(self.told_every(window) for window in ("now", *self.windows))

    def maturity_of(self, pipeline: str) -> int:
        """Return after how many days the outcome of a pipeline's cohorts counts as known, also of one that is not configured."""
        found = self.pipelines.get(pipeline)
        return found.maturity_days if found else UNCONFIGURED.maturity_days

    @property
    def longest_maturity(self) -> int:
        """Return after how many days the outcome of the cohorts of every configured pipeline counts as known."""
        return max((one.maturity_days for one in self.pipelines.values()), default=UNCONFIGURED.maturity_days)

    @property
    def zone(self) -> ZoneInfo:
        """Return the business zone."""
        return ZoneInfo(self.business.zone)


_DURATIONS = {
    "grace",
    "publish_interval",
    "flush_interval",
    "tick_interval",
    "max_future",
    "sla.first_response",
    "slack.catch_up_limit",
}
_ENDLESS = 1e15  # seconds; nothing that is meant, and more than a float need hold
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def seconds(text: str | float, setting: str) -> float:
    """Read a duration such as 100ms, 5m, 1h or 14d; a bare number is seconds."""
    if isinstance(text, (int, float)) and not isinstance(text, bool) and abs(text) < _ENDLESS:
        return float(text)
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|min|h|d|w)\s*", str(text))
    if not found:
        raise ConfigError(f"{setting}: {text!r} is no duration; write for example 30s, 5m, 1h or 14d")
    return float(found[1]) * _UNITS[found[2]]


_MOST_VALUES = 1_000_000  # with what aliases stand for
_SHAPE = msgspec.inspect.type_info(Definitions)


def definitions_from(raw: object) -> Definitions:
    """Turn the parsed YAML into checked settings.  Raises ConfigError."""
    if not isinstance(raw, dict):
        raise ConfigError("dealpulse.yaml: expected a mapping of settings at the top level")
    try:
        said = _plain(_durations(raw), [_MOST_VALUES])
    except RecursionError:
        raise ConfigError("dealpulse.yaml: an alias (*) stands within what it names, or it is nested too deeply") from None
    for sentence in misfits(said, _SHAPE):
        raise ConfigError(sentence)
    found = msgspec.convert(said, Definitions)
    if "rules" not in said:  # nobody asked for these: those that have nothing to judge here are not in force
        found = msgspec.structs.replace(found, rules=tuple(rule for rule in found.rules if limits.can_fire(rule, found)))
    return check(found)


def _plain(node: Any, left: list[int]) -> Any:
    """Turn keys, and what is of a type of its own, into text; `left` counts down the values that there may be."""
    left[0] -= 1
    if left[0] < 0:
        raise ConfigError(f"dealpulse.yaml: more than {_MOST_VALUES:,} values; do aliases (*) multiply?")
    if isinstance(node, dict):
        return {str(key): _plain(value, left) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [_plain(value, left) for value in node]
    return node if node is None or isinstance(node, (str, int, float, bool)) else str(node)


def _durations(raw: dict[str, Any]) -> dict[str, Any]:
    out = dict(raw)
    for setting in _DURATIONS:
        head, _, tail = setting.partition(".")
        if tail and isinstance(out.get(head), dict) and tail in out[head]:
            out[head] = {**out[head], tail: seconds(out[head][tail], setting)}
        elif not tail and head in out:
            out[head] = seconds(out[head], setting)
    return out


def check(found: Definitions) -> Definitions:
    """Refuse settings that parse but cannot work.  Raises ConfigError."""
    if not re.fullmatch(r"[A-Z]{3}", found.currency):
        raise ConfigError(f"currency: {found.currency!r} is no ISO 4217 code; write for example EUR")
    if found.currency not in MINOR_DIGITS:
        raise ConfigError(f"currency: {found.currency!r} is no ISO 4217 code in use since 2000; write for example EUR")
    if found.business.zone not in _zones():
        raise ConfigError(f"business.zone: {found.business.zone!r} is no IANA time zone; write for example Europe/Kyiv")
    _check_calendar(found.business)
    for name in found.kpis:
        if name not in KPI_IDS:
            near = difflib.get_close_matches(name, KPI_IDS, n=1)
            raise ConfigError(f"kpis: unknown {name!r}; " + (f"did you mean {near[0]!r}?" if near else "see dealpulse kpis"))
    for setting, values, known in (
        ("windows", found.windows, WINDOWS),
        ("pace", found.pace, (*PACE,)),
        ("cuts", found.cuts, CUTS),
    ):
        for value in values:
            if value not in known:
                raise ConfigError(f"{setting}: unknown {value!r}; known: {', '.join(known)}")
    for rule in found.rules:
        if rule.cut not in CUTS:
            raise ConfigError(f"rules.{rule.name}.cut: unknown {rule.cut!r}; known: {', '.join(CUTS)}")
    for sentence in limits.impossible(found):
        raise ConfigError(sentence)
    return found


@functools.cache
def _zones() -> set[str]:
    """Return the names of the IANA list, for which its folders are walked."""
    return available_timezones()


def parse_hours(text: str) -> dict[int, Spans]:
    """Read "Mon-Fri 09:00-13:00, Mon-Thu 14:00-18:00" as minutes of each opening by weekday (Monday 0).  Raises ValueError."""
    weekly: dict[int, Spans] = {}
    for part in text.split(","):
        found = re.fullmatch(r"\s*([A-Za-z]{3})(?:-([A-Za-z]{3}))?\s+(\d\d):(\d\d)-(\d\d):(\d\d)\s*", part)
        if not found:
            raise ValueError(f"{part.strip()!r} is no office time; write for example Mon-Fri 09:00-18:00")
        days = [found[1].lower(), (found[2] or found[1]).lower()]
        if not set(days) <= set(_WEEKDAYS):
            raise ValueError(f"{part.strip()!r}: days are Mon, Tue, Wed, Thu, Fri, Sat, Sun")
        first, last = map(_WEEKDAYS.index, days)
        opens, closes = int(found[3]) * 60 + int(found[4]), int(found[5]) * 60 + int(found[6])
        if not 0 <= opens < closes <= 24 * 60 or max(int(found[4]), int(found[6])) > 59:
            raise ValueError(f"{part.strip()!r}: closing must come after opening, within one day")
        for step in range((last - first) % 7 + 1):
            day = (first + step) % 7
            spans = weekly[day] = (*weekly.get(day, ()), (opens, closes))
            if any(before[1] > after[0] for before, after in pairwise(sorted(spans))):
                raise ValueError(f"{part.strip()!r}: {_WEEKDAYS[day].title()} is open at that time already")
    return weekly


def _check_calendar(business: Business) -> None:
    if business.hours is not None:
        try:
            parse_hours(business.hours)
        except ValueError as error:
            raise ConfigError(f"business.hours: {error}") from None
    for holiday in business.holidays:
        try:
            is_written_so = date.fromisoformat(holiday).isoformat() == holiday  # 20260101 and 2026-W01-4 are dates as well
        except ValueError:
            is_written_so = False
        if not is_written_so:
            raise ConfigError(f"business.holidays: {holiday!r} is no date; write for example 2026-01-01")
