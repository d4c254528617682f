"""Which cells does a fact touch?  Facts of one flush, expanded once into cells per cut and entity.

An entity is (cut, its values in the cut's order); its cells are by pane.  Facts add up before cuts are
looked at, so what many events have in common is expanded once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import partial

from streams.deals.contributions import WHOSE, Fact, Whose
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

_PLACES = {name: place for place, name in enumerate(WHOSE)}

_ByWhose = defaultdict[Whose, defaultdict[int, Cell]]
_cells: Callable[[], defaultdict[int, Cell]] = partial(defaultdict, dict)
_ACTIVITY, _WAIT = Kind.ACTIVITY, Kind.WAIT
_KEYS = {measure: measure << 16 for measure in Measure}


class Sums:
    """The changed facts of one flush, added up by whom and when they belong to before cuts are looked at."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        # Kinds of the same cuts share their sums: (cuts, grain) → whose → when → cell.
        self._sums: dict[tuple[tuple[str, ...], int], _ByWhose] = {}
        self._of = {kind: self._shared(kind, LEVEL if kind >= FIRST_LEVEL else FINE) for kind in Kind}
        self._waiting = self._shared(Kind.WAIT, WAIT)

    def _shared(self, kind: Kind, grain: int) -> _ByWhose:
        return self._sums.setdefault((self._terms.cuts[kind], grain), defaultdict(_cells))

    def add(self, changes: Iterable[tuple[Fact, int]]) -> None:
        """Add facts times their counts."""
        of, terms = self._of, self._terms
        for (kind, when, whose, a, b), count in changes:
            cell = of[kind][whose][when]
            if kind is _ACTIVITY:
                for key in _CONNECTED[a] if b else _ACTIVITIES[a]:
                    cell[key] = cell.get(key, 0) + count
                continue
            for key, amount in _MEASURES[kind](a, b, terms):
                cell[key] = cell.get(key, 0) + amount * count
            if kind is _WAIT:
                waiting = self._waiting[whose][a // FINE_US]
                waiting[a] = waiting.get(a, 0) + count

    def take(self, finest: int) -> Cells:
        """Return the cells of every entity, and begin anew.

        A fact of a fine pane from `finest` on goes to that pane, an older one to its day.
        """
        found: Cells = {}
        for (cuts, grain), by_whose in self._sums.items():
            for whose, by_when in by_whose.items():
                panes = self._panes(grain, by_when, finest)
                for entity in entities(cuts, whose, self._terms) if panes else ():
                    total = found.get(entity)
                    if total is None:
                        found[entity] = {place: cell.copy() for place, cell in panes.items()}
                    else:
                        _add(total, panes)
            by_whose.clear()
        return found

    def _panes(self, grain: int, by_when: dict[int, Cell], finest: int) -> dict[int, Cell]:
        """Return sums by pane, without zeros."""
        panes: dict[int, Cell] = {}
        for when, sums in by_when.items():
            cell = sums if all(sums.values()) else {key: amount for key, amount in sums.items() if amount}
            if cell and grain == FINE and when < finest:
                _add(panes, {pane(DAY, self._terms.calendar.day_of_fine(when)): cell})
            elif cell:
                panes[pane(grain, when)] = cell
        return panes


def _add(total: dict[int, Cell], panes: dict[int, Cell]) -> None:
    for place, cell in panes.items():
        have = total.get(place)
        if have is None:
            total[place] = cell.copy()
        else:
            for key, amount in cell.items():
                have[key] = have.get(key, 0) + amount


def expand(changes: Iterable[tuple[Fact, int]], terms: Terms, finest: int) -> Cells:
    """Return the cells of changed facts."""
    sums = Sums(terms)
    sums.add(changes)
    return sums.take(finest)


def entities(cuts: tuple[str, ...], whose: Whose, terms: Terms) -> list[Entity]:
    """Return the entity of each cut that a fact of somebody belongs to; what is not known is in no cut."""
    pipeline, stage, rep = whose[:3]
    found: list[Entity] = []
    for cut in cuts:
        if cut == "all":
            found.append(("all",))
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
            value = whose[_PLACES[cut]]
            if value is not None:
                found.append((cut, value))
    return found


def measures(fact: Fact, terms: Terms) -> Amounts:
    """Return the integers of a fact."""
    kind, _, _, a, b = fact
    return _MEASURES[kind](a, b, terms)


def _one(measure: Measure) -> Amounts:
    return [(_KEYS[measure], 1)]


def _duration(total: Measure, histogram: Measure) -> Callable[[int], Amounts]:
    sum_, buckets = _KEYS[total], _KEYS[histogram]
    return lambda milliseconds: [(sum_, milliseconds), (buckets | bucket(milliseconds), 1)]


# What stage changes make most of the time is put together once.
_ENTERED, _LEFT = _one(Measure.ENTERED), _one(Measure.LEFT)
_stay = _duration(Measure.STAY_MS, Measure.STAY)
_response_time = _duration(Measure.RESPONSE_MS, Measure.RESPONSE)
_business_time = _duration(Measure.BUSINESS_MS, Measure.BUSINESS)
_closed_cycle = _duration(Measure.CLOSED_CYCLE_MS, Measure.CLOSED_CYCLE)
_won_cycle = _duration(Measure.WON_CYCLE_MS, Measure.WON_CYCLE)


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
        found += _response_time(response) + _business_time(business)
    return found


def _cycle(won: bool, cycle: int, _: Terms) -> Amounts:
    found = _one(Measure.CLOSED_CYCLES) + _closed_cycle(cycle)
    if won:
        found += _one(Measure.WON_CYCLES) + _won_cycle(cycle)
    return found


def _money(total: Measure, deals: Measure, currency: int, minor: int) -> Amounts:
    return [(_KEYS[total] | currency, minor), (_KEYS[deals] | currency, 1)]


def _activity(sub: int, *, connected: bool) -> list[int]:
    found = [_KEYS[Measure.ACTIVITIES] | sub]
    if sub >> 2 == CALL and sub & 3 in (UNSAID, OUTBOUND):
        found += [_KEYS[Measure.OUTBOUND_CALLS]] + ([_KEYS[Measure.CONNECTED_CALLS]] if connected else [])
    return found


# What an activity is counted in, by type << 2 | direction: asked for each.
_ACTIVITIES, _CONNECTED = (
    [_activity(sub, connected=connected) for sub in range(len(ACTIVITY_TYPES) << 2)] for connected in (False, True)
)


def _level(lead: bool, _: None, __: Terms) -> Amounts:
    return _one(Measure.ACTIVE) + (_one(Measure.LEADS) if lead else [])


_MEASURES: dict[Kind, Callable[..., Amounts]] = {
    Kind.LEAD: lambda *_: _one(Measure.NEW_LEADS),
    Kind.ENTER: lambda *_: _ENTERED,
    Kind.LEAVE: lambda stay, *_: _LEFT + _stay(stay),
    Kind.CONVERSION: _conversion,
    Kind.COHORT: _cohort,
    Kind.RESPONSE: _response,
    Kind.OUTCOME: lambda won, *_: _one(Measure.WON if won else Measure.LOST),
    Kind.CYCLE: _cycle,
    Kind.MONEY: lambda currency, minor, _: _money(Measure.REVENUE, Measure.REVENUE_DEALS, currency, minor),
    Kind.ACTIVITY: lambda sub, connected, _: [(key, 1) for key in (_CONNECTED if connected else _ACTIVITIES)[sub]],
    Kind.TALK: lambda talk, *_: [(_KEYS[Measure.TALK_MS], talk), *_one(Measure.TALKS)],
    Kind.LEVEL: _level,
    Kind.VALUE: lambda currency, minor, _: _money(Measure.VALUE, Measure.VALUE_DEALS, currency, minor),
    Kind.WAIT: lambda *_: _one(Measure.WAITING),
}
