"""Who has to be told that something is worse?  Matured panes in, alerts and their history out."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
from confluent_kafka import Message
from xxhash import xxh3_64_hexdigest

from streams import metrics, topics
from streams.alerts import detector
from streams.alerts.judge import Pane, Watch, evidence, take, threshold
from streams.config import Definitions, Rule
from streams.kafka.room import Moment, Output, StateTable
from streams.kpis.catalogue import ENTITY_FIELDS
from streams.panes.text import iso, percent

_panes = msgspec.json.Decoder(Pane)
_watches = msgspec.msgpack.Decoder(Watch)
_encoder = msgspec.msgpack.Encoder()
log = logging.getLogger("dealpulse.alerts")


def fingerprint(rule: str, entity: Sequence[str]) -> str:
    """Return what identifies an alert: the same rule and entity, the same text."""
    return f"{rule}-{xxh3_64_hexdigest(msgspec.json.encode([rule, *entity]))}"[:128]


def rule_of(mark: str) -> str:
    """Return the rule that a fingerprint is of."""
    return mark.rsplit("-", 1)[0]


def watches(state: StateTable, marks: Iterable[bytes] | None = None) -> Iterator[tuple[str, Watch]]:
    """Yield the fingerprint and the state of each alert that a partition knows, or of those named."""
    rows = state.items() if marks is None else ((mark, state.get(mark) or b"") for mark in marks)
    for mark, kept in rows:
        if mark[:1] != b"\x00":  # the edge's own
            yield mark.decode(), _watches.decode(kept)


class AlertsRoom:
    """Matured panes to alerts."""

    name = "alerts"
    sources: tuple[str, ...] = (topics.MATURED,)

    def __init__(self, definitions: Definitions, first_revision: int = 0) -> None:
        self._first_revision = first_revision  # every revision told is greater
        self._rules = {rule.name: rule for rule in definitions.rules}
        self._tables: dict[int, StateTable] = {}
        self._output: list[Output] = []
        self._partitions_out = definitions.partitions
        self._judged: dict[int, int] = {}  # partition → up to when all is judged, µs; nobody has heard so
        self._states: dict[int, dict[str, tuple[str, str]]] = {}  # partition → fingerprint → rule, state
        metrics.declare_rules(self._rules)

    def open(self, partition: int, state: StateTable) -> None:
        """Start to own a partition."""
        self._tables[partition] = state
        states = self._states[partition] = {}
        for mark, watch in watches(state):
            if watch.revision:
                states[mark] = (rule_of(mark), "firing" if watch.firing else "resolved")
        self._show()

    def close(self, partition: int) -> None:
        """Stop to own a partition."""
        self._tables.pop(partition, None)
        self._states.pop(partition, None)
        self._output.clear()
        self._judged.clear()
        self._show()

    def handle(self, partition: int, topic: str, run: Sequence[Message]) -> int:
        """Judge a run of panes."""
        del topic  # there is one
        for message in run:
            pane = _panes.decode(message.value())
            if not pane.rule:
                self._judged[partition] = pane.at
            rule = self._rules.get(pane.rule)
            if rule is None:  # the pane of none, or of one that was taken out since
                continue
            if 0 <= pane.k <= pane.n:
                self._judge(partition, pane, rule)
            else:
                log.error("not judged, it cannot be: %s; look at the numbers with: dealpulse audit", pane)
        return len(run) * 200

    def _judge(self, partition: int, pane: Pane, rule: Rule) -> None:
        state = self._tables[partition]
        mark = fingerprint(rule.name, pane.entity)
        kept = state.get(mark.encode())
        watch = Watch() if kept is None else _watches.decode(kept)
        if take(watch, pane, rule):
            self._tell(watch, pane, rule, mark)
            self._states[partition][mark] = (rule.name, "firing" if watch.firing else "resolved")
            self._show()
            watch.n = watch.k = 0
            watch.evidence = []
        state.put(mark.encode(), _encoder.encode(watch))

    def _tell(self, watch: Watch, pane: Pane, rule: Rule, mark: str) -> None:
        alert = alert_record(watch, pane, rule, mark)
        alert["revision"] += self._first_revision
        event = {"transition": "fired" if watch.firing else "resolved", **alert}
        self._output.append((topics.ALERTS, -1, mark.encode(), msgspec.json.encode(alert), None))
        self._output.append((topics.ALERT_EVENTS, -1, mark.encode(), msgspec.json.encode(event), None))
        metrics.ALERT_TRANSITIONS.labels(rule.name, alert["state"]).inc()

    def _show(self) -> None:
        """Set the gauge to the alerts of the partitions owned; of a rule that was taken out nothing more will be told."""
        counts = {(rule, state): 0 for rule in self._rules for state in metrics.ALERT_STATES}
        for states in self._states.values():
            for rule_and_state in states.values():
                if rule_and_state in counts:
                    counts[rule_and_state] += 1
        for (rule, state), count in counts.items():
            metrics.ALERTS.labels(rule, state).set(count)

    def due(self, moment: Moment) -> bool:
        """Is there something to send although nothing came in?  Alerts come from panes; that these were all is told behind them."""
        del moment
        return bool(self._judged)

    def owes(self, moment: Moment) -> bool:
        """Will there be something to send although nothing comes in?"""
        return self.due(moment)

    def drain(self, moment: Moment) -> list[Output]:
        """Return the alerts that changed; else, up to when all are told.

        Not both in one transaction, whose topics become visible one after the other: who reads the second can read the first.
        """
        del moment
        output, self._output = self._output, []
        if not output:
            judged, self._judged = self._judged, {}
            for partition, at in judged.items():
                key, value = b"%d" % partition, msgspec.json.encode({"partition": partition, "at": at})
                output += [(topics.JUDGED, reader, key, value, None) for reader in range(self._partitions_out)]
        return output


def alert_record(watch: Watch, pane: Pane, rule: Rule, mark: str) -> dict[str, Any]:
    """Return an alert as it is published; schemas/alert.v1.json."""
    cut, *values = pane.entity
    entity = dict(zip(ENTITY_FIELDS[cut], values, strict=True))
    return {
        "fingerprint": mark,
        "rule": rule.name,
        "kind": rule.kind,
        "cut": cut,
        "entity": entity,
        "state": "firing" if watch.firing else "resolved",
        "since": iso(watch.since),
        "at": iso(pane.at),
        "n": watch.n,
        "k": watch.k,
        "ratio": watch.k / watch.n if watch.n else None,
        "baseline": watch.baseline,
        "evidence": evidence(watch),
        "threshold": threshold(rule),
        "text": sentence(watch, rule, entity),
        "revision": watch.revision,
    }


def sentence(watch: Watch, rule: Rule, entity: dict[str, str]) -> str:
    """Return what people read: k of n, the share, its bound, and the baseline."""
    who = ", ".join(f"{field} {value}" for field, value in entity.items()) or "everybody"
    low, high = detector.wilson(watch.k, watch.n, 2.58)
    share = percent(watch.k / watch.n if watch.n else 0.0)
    base = percent(watch.baseline or 0.0)
    what, bound = ("converted", high) if rule.kind == "conversion_drop" else ("not answered in time", low)
    counted = f"{who}: {watch.k} of {watch.n} {what}"
    if not watch.firing:
        return f"Resolved: {counted} ({share}) since the recovery most likely began; baseline {base}."
    word = "dropped" if rule.kind == "conversion_drop" else "rose"
    side = "at most" if rule.kind == "conversion_drop" else "at least"
    topic = "Conversion" if rule.kind == "conversion_drop" else "Response time"
    return f"{topic} {word}: {counted} ({share}, {side} {percent(bound)} at 99 %); baseline {base}."
