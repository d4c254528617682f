"""Which cells does a fact touch?  Facts of one flush, expanded once into cells per cut and entity.

An entity is (cut, its values in the cut's order); its cells are by pane.  Facts add up before cuts are
looked at, so what many events have in common is expanded once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from streams.deals.contributions import Fact
from streams.deals.record import CALL, OUTBOUND, UNSAID
from streams.deals.terms import FIRST_LEVEL, Kind, Terms
from streams.events.contract import ACTIVITY_TYPES
from streams.panes.calendar import FINE_US
from streams.panes.cell import Cell, Measure
from streams.panes.histogram import bucket
from streams.panes.pane import DAY, FINE, LEVEL, WAIT, pane

Entity = tuple[str, ...]  # the cut, then the values
Cells = dict[Entity, dict[int, Cell]]
Amounts = list[tuple[int, int]]

_ACTIVITY, _WAIT = Kind.ACTIVITY, Kind.WAIT
_KEYS = {measure: measure << 16 for measure in Measure}


class Sums:
    """The changed facts of one flush, added up by whom and when they belong to before cuts are looked at."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._cells: dict[tuple[Any, ...], Cell] = {}
        self._waiting: dict[tuple[tuple[Any, ...], int], int] = {}  # with the µs of creation

    def add(self, changes: Iterable[tuple[Fact, int]]) -> None:
        """Add facts times their counts."""
        cells, terms = self._cells, self._terms
        for fact, count in changes:
            belongs = fact[:9]
            cell = cells.get(belongs)
            if cell is None:
                cell = cells[belongs] = {}
            kind = fact[0]
            amounts = _ACTIVITIES[fact[9], fact[10]] if kind is _ACTIVITY else _MEASURES[kind](fact[9], fact[10], terms)
            for key, amount in amounts:
                cell[key] = cell.get(key, 0) + amount * count
            if kind is _WAIT:
                since = (belongs, fact[9])
                self._waiting[since] = self._waiting.get(since, 0) + count

    def take(self, finest: int) -> Cells:
        """Return the cells of every entity, and begin anew.

        A fact of a fine pane from `finest` on goes to that pane, an older one to its day.
        """
        found: Cells = {}
        for belongs, sums in self._cells.items():
            amounts = [(key, amount) for key, amount in sums.items() if amount]
            if amounts:
                place = self._place(belongs, finest)
                for entity in entities(belongs, self._terms):
                    _add(found, entity, place, amounts)
        for (belongs, since), count in self._waiting.items():
            if count:
                for entity in entities(belongs, self._terms):
                    _add(found, entity, pane(WAIT, since // FINE_US), [(since, count)])
        self._cells, self._waiting = {}, {}
        return found

    def _place(self, belongs: tuple[Any, ...], finest: int) -> int:
        kind, when = belongs[0], belongs[1]
        if kind >= FIRST_LEVEL:
            return pane(LEVEL, when)
        return pane(FINE, when) if when >= finest else pane(DAY, self._terms.calendar.day_of_fine(when))


def _add(cells: Cells, entity: Entity, place: int, amounts: Amounts) -> None:
    panes = cells.get(entity)
    if panes is None:
        panes = cells[entity] = {}
    cell = panes.get(place)
    if cell is None:
        panes[place] = dict(amounts)
        return
    for key, amount in amounts:
        cell[key] = cell.get(key, 0) + amount


def expand(changes: Iterable[tuple[Fact, int]], terms: Terms, finest: int) -> Cells:
    """Return the cells of changed facts."""
    sums = Sums(terms)
    sums.add(changes)
    return sums.take(finest)


def entities(fact: tuple[Any, ...], terms: Terms) -> list[Entity]:
    """Return the entity of each enabled cut that a fact belongs to; what is not known is in no cut."""
    kind, _, pipeline, stage, rep, product, region, source, customer = fact[:9]
    found: list[Entity] = []
    for cut in terms.cuts[kind]:
        if cut == "all":
            found.append(("all",))
        elif cut == "rep":
            if rep is not None:
                found.append(("rep", rep))
        elif cut == "team":
            team = terms.rep(rep).team
            if team is not None:
                found.append(("team", team))
        elif cut == "rep_stage":
            if rep is not None and stage is not None:
                found.append(("rep_stage", rep, pipeline or "", stage))
        elif cut == "stage":
            if stage is not None:
                found.append(("stage", pipeline or "", stage))
        else:
            value = {
                "pipeline": pipeline, "product": product, "region": region, "lead_source": source, "customer": customer,
            }[cut]  # fmt: skip
            if value is not None:
                found.append((cut, value))
    return found


def measures(fact: Fact, terms: Terms) -> Amounts:
    """Return the integers of a fact."""
    return _MEASURES[fact[0]](fact[9], fact[10], terms)


def _one(measure: Measure) -> Amounts:
    return [(_KEYS[measure], 1)]


def _duration(total: Measure, histogram: Measure, milliseconds: int) -> Amounts:
    return [(_KEYS[total], milliseconds), (_KEYS[histogram] | bucket(milliseconds), 1)]


def _conversion(advanced: bool, in_time: bool, _: Terms) -> Amounts:
    found = _one(Measure.COHORT_ENTERED) + (_one(Measure.COHORT_ADVANCED) if advanced else [])
    return found + (_one(Measure.ADVANCED_IN_TIME) if in_time else [])


def _cohort(won: bool, in_time: bool, _: Terms) -> Amounts:
    found = _one(Measure.CREATED) + (_one(Measure.CREATED_WON) if won else [])
    return found + (_one(Measure.WON_IN_TIME) if in_time else [])


def _response(response: int | None, business: int | None, terms: Terms) -> Amounts:
    found = _one(Measure.ASKED)
    if response is not None and business is not None:
        found += _one(Measure.ANSWERED) + (_one(Measure.WITHIN_SLA) if business <= terms.sla_ms else [])
        found += _duration(Measure.RESPONSE_MS, Measure.RESPONSE, response)
        found += _duration(Measure.BUSINESS_MS, Measure.BUSINESS, business)
    return found


def _cycle(won: bool, cycle: int, _: Terms) -> Amounts:
    found = _one(Measure.CLOSED_CYCLES) + _duration(Measure.CLOSED_CYCLE_MS, Measure.CLOSED_CYCLE, cycle)
    if won:
        found += _one(Measure.WON_CYCLES) + _duration(Measure.WON_CYCLE_MS, Measure.WON_CYCLE, cycle)
    return found


def _money(total: Measure, deals: Measure, currency: int, minor: int) -> Amounts:
    return [(_KEYS[total] | currency, minor), (_KEYS[deals] | currency, 1)]


def _activity(sub: int, *, connected: bool) -> Amounts:
    found = [(_KEYS[Measure.ACTIVITIES] | sub, 1)]
    if sub >> 2 == CALL and sub & 3 in (UNSAID, OUTBOUND):
        found += _one(Measure.OUTBOUND_CALLS) + (_one(Measure.CONNECTED_CALLS) if connected else [])
    return found


# By type << 2 | direction, and connected: asked for each activity.
_ACTIVITIES = {
    (sub, connected): _activity(sub, connected=connected)
    for sub in range(len(ACTIVITY_TYPES) << 2)
    for connected in (False, True)
}


def _level(lead: bool, _: None, __: Terms) -> Amounts:
    return _one(Measure.ACTIVE) + (_one(Measure.LEADS) if lead else [])


_MEASURES: dict[Kind, Callable[..., Amounts]] = {
    Kind.LEAD: lambda *_: _one(Measure.NEW_LEADS),
    Kind.ENTER: lambda *_: _one(Measure.ENTERED),
    Kind.LEAVE: lambda stay, *_: _one(Measure.LEFT) + _duration(Measure.STAY_MS, Measure.STAY, stay),
    Kind.CONVERSION: _conversion,
    Kind.COHORT: _cohort,
    Kind.RESPONSE: _response,
    Kind.OUTCOME: lambda won, *_: _one(Measure.WON if won else Measure.LOST),
    Kind.CYCLE: _cycle,
    Kind.MONEY: lambda currency, minor, _: _money(Measure.REVENUE, Measure.REVENUE_DEALS, currency, minor),
    Kind.ACTIVITY: lambda sub, connected, _: _ACTIVITIES[sub, connected],
    Kind.TALK: lambda talk, *_: [(_KEYS[Measure.TALK_MS], talk), *_one(Measure.TALKS)],
    Kind.LEVEL: _level,
    Kind.VALUE: lambda currency, minor, _: _money(Measure.VALUE, Measure.VALUE_DEALS, currency, minor),
    Kind.WAIT: lambda *_: _one(Measure.WAITING),
}
