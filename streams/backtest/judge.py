"""What would the rules in force have said of a history?  Events in, in the order in which they came; alerts out.

The rooms are those of a worker, with everything left out that no rule judges.  They judge as time passes: whenever an event
is the first behind the instant at which another day's cohorts are complete.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import msgspec
from confluent_kafka import Message

from streams import topics
from streams.alerts.judge import Pane, Watch, can_get_worse
from streams.alerts.room import AlertsRoom, fingerprint, rule_of, watches
from streams.backtest.wired import PARTITION, Record, Wired
from streams.config import Definitions, Rule
from streams.deals.room import DealsRoom
from streams.events.times import instant
from streams.kafka.room import Moment, Output, StateTable
from streams.kpis.catalogue import BY_ID, JUDGED_BY
from streams.kpis.room import KpisRoom
from streams.panes.calendar import DAY_US, Calendar
from streams.rebuild.shadow import undisturbed

_PER_FLUSH = 10_000  # records: memory is that of the state and of so many
_STEP = 10_000_000_000  # µs of the rooms' clock between two flushes: no pace holds anything back
_YEAR_US = 365.25 * DAY_US


def only_judged(definitions: Definitions) -> Definitions:
    """Return the definitions without the cuts, KPIs and windows that no rule asks for: the same alerts for less work."""
    cuts = {rule.cut for rule in definitions.rules}
    kpis = {kpi for rule in definitions.rules for kpi in JUDGED_BY[rule.kind]}
    return msgspec.structs.replace(
        undisturbed(definitions),
        cuts=tuple(cut for cut in definitions.cuts if cut in cuts),
        kpis={kpi: kpi in kpis and definitions.kpis.get(kpi, True) for kpi in BY_ID},
        windows=(),
        partitions=1,
    )


@dataclass
class Alert:
    """One alert: the records (schemas/alert.v1.json) of its begin and of its end, if it has one."""

    fired: dict[str, Any]
    fired_at: int  # µs
    resolved: dict[str, Any] | None = None
    resolved_at: int | None = None

    @property
    def duration(self) -> float | None:
        """Return for how many seconds it was firing; None while it is."""
        return None if self.resolved_at is None else (self.resolved_at - self.fired_at) / 1e6


@dataclass(frozen=True)
class Span:
    """The alerts to report: those that fired from `first` to before `end` (µs; None: no bound)."""

    first: int | None = None
    end: int | None = None

    def holds(self, at: int) -> bool:
        """Is an instant in it?"""
        return (self.first is None or at >= self.first) and (self.end is None or at < self.end)

    def after(self, since: int, until: int) -> int:
        """Return how many µs of it lie between two instants."""
        first = since if self.first is None else max(since, self.first)
        end = until if self.end is None else min(until, self.end)
        return max(0, end - first)


@dataclass(frozen=True)
class Verdict:
    """What became of one rule."""

    rule: Rule
    judged: int  # entities, with a baseline
    learning: int  # entities with too few entries for a baseline
    hopeless: int  # entities that cannot get worse
    fired: int
    firing: int
    median_seconds: float | None  # of those that ended
    years: float  # of the entities judged, together

    @property
    def per_year(self) -> float | None:
        """Return how many alerts there were per entity and year."""
        return self.fired / self.years if self.years else None

    @property
    def promised(self) -> float:
        """Return how many false ones per entity and year the rule promises not to exceed."""
        return _YEAR_US / DAY_US / self.rule.budget_days


class _Court(AlertsRoom):
    """The alerts room, which notes since when (µs) each alert has a baseline.

    By the instants of the panes: the clock passes over a time without events at once, and years of judging may lie in it.
    """

    def __init__(self, definitions: Definitions) -> None:
        super().__init__(definitions)
        self.since: dict[str, int] = {}  # by fingerprint

    def open(self, partition: int, state: StateTable) -> None:
        """Start with a partition: there is one."""
        super().open(partition, state)
        self._state = state

    def handle(self, partition: int, topic: str, run: Sequence[Message]) -> int:
        """Judge a run of panes, one by one."""
        for message in run:
            super().handle(partition, topic, (message,))
            self._note(msgspec.json.decode(message.value() or b"", type=Pane))
        return 0

    def _note(self, pane: Pane) -> None:
        mark = fingerprint(pane.rule, pane.entity)
        row = mark.encode()
        if mark in self.since or self._state.get(row) is None:
            return
        [(_, watch)] = watches(self._state, [row])
        if watch.baseline is not None:
            self.since[mark] = pane.at


class Backtest:
    """The rooms over a history."""

    def __init__(self, definitions: Definitions) -> None:
        narrowed = only_judged(definitions)
        self._rules = definitions.rules
        self._calendar = Calendar(definitions.zone)
        self._grace = round(definitions.grace * 1e6)
        self._deals = DealsRoom(narrowed, ticks=False)
        self._court = _Court(narrowed)
        self._wired = Wired((self._deals, KpisRoom(narrowed), self._court))
        self._ended = frozenset((topic, PARTITION) for topic in self._deals.sources)
        self._clock = 0
        self._waiting: dict[str, list[Any]] = {}
        self._count = 0  # of those that wait
        self._next = 0  # when cohorts may be complete that are not yet
        self.watermark = -1
        self.taken = 0
        self.late = 0  # came when the clock was more than a day ahead of them
        self.rejected: Counter[str] = Counter()
        self.alerts: list[Alert] = []
        self._firing: dict[str, Alert] = {}

    def take(self, record: Any, at: int | None) -> None:
        """Take in one event (Record or Message) that says that it happened at `at`, as far as that can be read."""
        self._waiting.setdefault(record.topic(), []).append(record)
        self._count += 1
        self.taken += 1
        if at is not None:
            self.late += at < self.watermark - DAY_US
        if self._count >= _PER_FLUSH or (at is not None and at >= self._next):
            self.flush()

    def end(self, as_of: int | None = None, now_ms: int = 0) -> None:
        """Judge what is left; the clock ends at `as_of`, if that is later than the last event."""
        self.flush()
        if as_of is not None and as_of > self.watermark:
            tick = msgspec.json.encode({"time": as_of})
            self._waiting[topics.TICKS] = [Record(topics.TICKS, tick, received_ms=now_ms)]
            self.flush()

    def flush(self) -> None:
        """Let the rooms work on what waits, and judge up to its time."""
        for topic, run in self._waiting.items():
            self._wired.take(topic, run)
        self._waiting.clear()
        self._count = 0
        self._clock += _STEP
        self._hear(self._wired.flush(Moment(self._clock, frozenset((PARTITION,)), self._ended)))
        self.watermark = self._deals.watermark(PARTITION)
        if self.watermark >= 0:
            judged = self._calendar.day_of(self.watermark - self._grace)
            self._next = self._calendar.start_of_day(judged + 1) + self._grace
        for table in self._wired.tables.values():
            table.changed.clear()

    def _hear(self, outputs: list[Output]) -> None:
        for topic, _, _, value, _ in outputs:
            if topic == topics.DEAD_LETTER:
                self.rejected[msgspec.json.decode(value or b"")["reason"]] += 1
            elif topic == topics.ALERT_EVENTS:
                self._turn(msgspec.json.decode(value or b""))

    def _turn(self, event: dict[str, Any]) -> None:
        transition = event.pop("transition")
        at = instant(event["at"], self._calendar.zone) or 0
        if transition == "fired":
            alert = self._firing[event["fingerprint"]] = Alert({**event, "simulated": True}, at)
            self.alerts.append(alert)
        else:
            alert = self._firing.pop(event["fingerprint"])
            alert.resolved, alert.resolved_at = event, at

    # -------------------------------------------------------------- the report

    def told(self, span: Span) -> list[Alert]:
        """Return the alerts of a span, first come first."""
        return sorted(
            (one for one in self.alerts if span.holds(one.fired_at)),
            key=lambda one: (one.fired_at, one.fired["fingerprint"]),
        )

    def verdicts(self, span: Span) -> Iterator[Verdict]:
        """Yield what became of each rule in a span."""
        by_rule: dict[str, dict[str, Watch]] = {rule.name: {} for rule in self._rules}
        for mark, watch in watches(self._wired.tables[AlertsRoom.name]):
            by_rule[rule_of(mark)][mark] = watch
        for rule in self._rules:
            yield self._verdict(rule, by_rule[rule.name], span)

    def _verdict(self, rule: Rule, found: dict[str, Watch], span: Span) -> Verdict:
        told = [one for one in self.told(span) if one.fired["rule"] == rule.name]
        judged = [
            mark for mark, watch in found.items() if watch.baseline is not None and can_get_worse(watch.baseline, rule)
        ]
        ended = [one.duration for one in told if one.duration is not None]
        learning = sum(watch.baseline is None for watch in found.values())
        return Verdict(
            rule=rule,
            judged=len(judged),
            learning=learning,
            hopeless=len(found) - len(judged) - learning,
            fired=len(told),
            firing=len(told) - len(ended),
            median_seconds=median(ended) if ended else None,
            years=sum(span.after(self._court.since[mark], self.watermark) for mark in judged) / _YEAR_US,
        )
