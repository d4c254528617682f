"""How do the rooms behave without a broker?  Lists in, lists out: deals and kpis, wired as topics wire them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from streams import topics
from streams.backtest.wired import Record, Wired
from streams.config import Definitions
from streams.deals.expand import expand
from streams.deals.fold import Changes, Noticed, Refusal, apply_activity, apply_stage_change, facts_without_deal
from streams.deals.record import Deal, decode, encode, fingerprint
from streams.deals.terms import Terms
from streams.events.contract import Activity, StageChange
from streams.kafka.room import Moment, Output, StateTable
from streams.kpis.room import KpisRoom
from streams.panes import delta
from streams.panes.calendar import FINE_US
from streams.panes.pane import FINE_SENT

Event = StageChange | Activity


def delivered(value: bytes, at: float = 0.0) -> Record:
    """Return a record as a room sees it that reads one topic; `at`: when it was written, in seconds since 1970."""
    return Record("", value, received_ms=round(at * 1000))


class InMemory:
    """One source partition of deals and one partition of kpis; records pass through their encoded forms."""

    def __init__(self, definitions: Definitions) -> None:
        self.definitions = definitions
        self.terms = Terms(definitions)
        self.state = StateTable()
        self._open()
        self._deals: dict[str, bytes] = {}
        self._alone: set[tuple[str | None, bytes]] = set()
        self.watermark = -1
        self.clock = 0
        self.step = 10_000_000_000  # µs of the wall clock between two rounds: nothing is held back by its pace
        self.latest: dict[bytes, dict[str, Any]] = {}
        self.history: dict[bytes, dict[str, Any]] = {}
        self.matured: list[dict[str, Any]] = []
        self.judged: list[int] = []  # up to when the alerts have heard that they have all
        self.noticed = Noticed()
        self.refused = 0

    def feed(self, events: Iterable[Event], *, caught_up: bool = True, settled: bool = False, tick: int = -1) -> None:
        """Take in one flush of events and make a round."""
        changes: dict[Any, int] = {}
        for event in events:
            result = self._apply(event)
            if isinstance(result, Refusal):
                self.refused += result is Refusal.TOO_LATE
                continue
            self.watermark = max(self.watermark, event.at)
            for fact, count in result:
                changes[fact] = changes.get(fact, 0) + count
        self.watermark = max(self.watermark, tick)
        cells = expand(changes.items(), self.terms, self.watermark // FINE_US - FINE_SENT)
        progress = {0: delta.Progress(self.watermark, caught_up, settled)}
        self._wired.take(topics.DELTAS, [delivered(one) for one in delta.encode(progress, 0, list(cells.items()))])
        self.round()

    def round(self) -> None:
        """Let the kpis room tell what is due."""
        self.clock += self.step
        for output in self._wired.flush(Moment(self.clock, frozenset((0,)))):
            self._receive(output)

    def restart(self) -> None:
        """Forget everything but the state, as a worker that takes over."""
        rows, self.state = self.state.rows, StateTable()
        self.state.rows = dict(rows)
        self._open()

    def _open(self) -> None:
        self.kpis = KpisRoom(self.definitions)
        self._wired = Wired((self.kpis,), {self.kpis.name: self.state})

    def _apply(self, event: Event) -> Changes | Refusal:
        if event.deal_id is None:
            mark = (event.rep_id, fingerprint(event.event_id, event.planned))
            if mark in self._alone:
                return Refusal.DUPLICATE
            self._alone.add(mark)
            return facts_without_deal(event, self.terms)
        kept = self._deals.get(event.deal_id)
        deal = decode(kept) if kept else Deal()
        if isinstance(event, StageChange):
            result = apply_stage_change(deal, event, self.terms, self.noticed)
        else:
            result = apply_activity(deal, event, self.terms, self.noticed)
        if not isinstance(result, Refusal):
            self._deals[event.deal_id] = encode(deal)
        return result

    def _receive(self, output: Output) -> None:
        topic, _, key, value, _ = output
        if topic == topics.MATURED:
            pane = orjson.loads(value or b"")
            if pane["rule"]:
                self.matured.append(pane)
            else:
                self.judged.append(pane["at"])
            return
        into = self.latest if topic == topics.KPI_LATEST else self.history
        if value is None:
            into.pop(key or b"", None)
        else:
            into[key or b""] = orjson.loads(value)
