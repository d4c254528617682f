"""How do the rooms behave without a broker?  Lists in, lists out: deals and kpis, wired as topics wire them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from streams import topics
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


class Delivered:
    """A record as the rooms see it."""

    def __init__(self, value: bytes, at: float = 0.0) -> None:
        """`at`: when it was written, in seconds since 1970."""
        self._value, self._at = value, at

    def timestamp(self) -> tuple[int, int]:
        """Return what kind of time, and the time in ms."""
        return 1, round(self._at * 1000)

    def value(self) -> bytes:
        """Return the value."""
        return self._value


class InMemory:
    """One source partition of deals and one partition of kpis; records pass through their encoded forms."""

    def __init__(self, definitions: Definitions) -> None:
        self.definitions = definitions
        self.terms = Terms(definitions)
        self.state = StateTable()
        self.kpis = KpisRoom(definitions)
        self.kpis.open(0, self.state)
        self._deals: dict[str, bytes] = {}
        self._alone: set[tuple[str | None, bytes]] = set()
        self.watermark = -1
        self.clock = 0
        self.step = 10_000_000_000  # µs of the wall clock between two rounds: nothing is held back by its pace
        self.latest: dict[bytes, dict[str, Any]] = {}
        self.history: dict[bytes, dict[str, Any]] = {}
        self.matured: list[dict[str, Any]] = []
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
        self.kpis.handle(0, topics.DELTAS, [Delivered(one) for one in delta.encode(progress, 0, list(cells.items()))])
        self.round()

    def round(self) -> None:
        """Let the kpis room tell what is due."""
        self.clock += self.step
        moment = Moment(self.clock, frozenset((0,)))
        while True:  # what came in is flushed in any case
            for output in self.kpis.drain(moment):
                self._receive(output)
            if not self.kpis.due(moment):
                return

    def restart(self) -> None:
        """Forget everything but the state, as a worker that takes over."""
        self.kpis = KpisRoom(self.definitions)
        state = StateTable()
        state.rows = dict(self.state.rows)
        self.state = state
        self.kpis.open(0, state)

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
            self.matured.append(orjson.loads(value or b""))
            return
        into = self.latest if topic == topics.KPI_LATEST else self.history
        if value is None:
            into.pop(key or b"", None)
        else:
            into[key or b""] = orjson.loads(value)
