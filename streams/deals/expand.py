"""Which cells does a fact touch?  Facts of one flush, added up by when and whose they are, then by cut and entity.

An entity is (cut, its values in the cut's order); its cells are by pane.  Facts add up before cuts are looked at, and a
coarser cut is added up from a finer one: what many events have in common is expanded once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

from streams.deals.contributions import WHOSE, Fact, Whose
from streams.deals.record import CALL, OUTBOUND, UNSAID
from streams.deals.terms import FIRST_LEVEL, Kind, Terms
from streams.events.contract import ACTIVITY_TYPES
from streams.panes.calendar import FINE_US
from streams.panes.cell import Cell, Measure, of_maturity
from streams.panes.histogram import bucket
from streams.panes.pane import DAY, FINE, LEVEL, WAIT, pane

Entity = tuple[str, ...]  # the cut, then the values
Cells = dict[Entity, dict[int, Cell]]
Amounts = list[tuple[int, int]]
Values = tuple[str | None, ...]

# Where the values of a cut stand in Whose, in the cut's order; cuts with few entities first.
_PLACES: dict[str, tuple[int, ...]] = {
    "all": (), "pipeline": (0,), "team": (2,), "region": (4,), "lead_source": (5,), "stage": (0, 1), "product": (3,),
    "rep": (2,), "rep_stage": (2, 0, 1), "customer": (6,),
}  # fmt: skip
_WHOSE = "whose"
_PLACES[_WHOSE] = tuple(range(len(WHOSE)))

_ByWhose = defaultdict[Whose, Cell]
_ByWhen = defaultdict[int, _ByWhose]
_by_whose: Callable[[], _ByWhose] = partial(defaultdict, dict)
_ACTIVITY, _WAIT = Kind.ACTIVITY, Kind.WAIT
_COHORT, _RESPONSE = Kind.COHORT, Kind.RESPONSE  # in cuts that may mix pipelines
_KEYS = {measure: measure << 16 for measure in Measure}


class Sums:
    """The changed facts of one flush, added up by when and whom they belong to before cuts are looked at."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        # Kinds of the same cuts share their sums: (cuts, grain) → when → whose → cell.
        self._sums: dict[tuple[tuple[str, ...], int], _ByWhen] = {}
        self._of = {kind: self._shared(kind, LEVEL if kind >= FIRST_LEVEL else FINE) for kind in Kind}
        self._waiting = self._shared(Kind.WAIT, WAIT)
        self._steps = {cuts: _steps(cuts, terms) for cuts, _ in self._sums}

    def _shared(self, kind: Kind, grain: int) -> _ByWhen:
        return self._sums.setdefault((self._terms.cuts[kind], grain), defaultdict(_by_whose))

    def add(self, changes: Iterable[tuple[Fact, int]]) -> None:
        """Add facts times their counts."""
        of, terms = self._of, self._terms
        for (kind, when, whose, a, b), count in changes:
            cell = of[kind][when][whose]
            if kind is _ACTIVITY:
                for key in _CONNECTED[a] if b else _ACTIVITIES[a]:
                    cell[key] = cell.get(key, 0) + count
                continue
            for key, amount in _MEASURES[kind](a, b, terms):
                cell[key] = cell.get(key, 0) + amount * count
            if kind is _COHORT or kind is _RESPONSE:
                days = terms.matures_apart(whose[0] or "")
                if days is not None:
                    key = of_maturity(Measure.CREATED if kind is _COHORT else Measure.ASKED, days)
                    cell[key] = cell.get(key, 0) + count
            elif kind is _WAIT:
                waiting = self._waiting[a // FINE_US][whose]
                waiting[a] = waiting.get(a, 0) + count

    def take(self, finest: int) -> Cells:
        """Return the cells of every entity, and begin anew.

        A fact of a fine pane from `finest` on goes to that pane, an older one to its day.
        """
        found: Cells = {}
        for (cuts, grain), by_when in self._sums.items():
            for when, by_whose in by_when.items():
                if grain == FINE and when < finest:
                    place = pane(DAY, self._terms.calendar.day_of_fine(when))
                else:
                    place = pane(grain, when)
                sums: dict[str, Mapping[Any, Cell]] = {_WHOSE: by_whose}
                for cut, finer, values in self._steps[cuts]:
                    sums[cut] = _together(sums[finer], values)
                for cut, _, _ in self._steps[cuts]:  # now: what is put belongs to the cells
                    _put(found, cut, sums[cut], place)
            by_when.clear()
        return found


def _put(found: Cells, cut: str, sums: Mapping[Any, Cell], place: int) -> None:
    """Put sums into the cells of a pane, without zeros; what is not known is in no cut."""
    for values, sum_ in sums.items():
        if None in values:
            continue
        cell = sum_ if all(sum_.values()) else {key: amount for key, amount in sum_.items() if amount}
        if cell:
            have = found.setdefault((cut, *values), {}).setdefault(place, cell)
            if have is not cell:
                for key, amount in cell.items():
                    have[key] = have.get(key, 0) + amount


class _Step(NamedTuple):
    """How the sums of a cut are made: of those of a finer cut, or of whose facts are, and how its values follow from theirs."""

    cut: str
    finer: str
    values: Callable[[Values], Values]


def _steps(cuts: tuple[str, ...], terms: Terms) -> list[_Step]:
    """Return how cuts are added up, finer ones first."""
    ordered = [cut for cut in _PLACES if cut in cuts]
    found = []
    for at, cut in reversed(list(enumerate(ordered))):
        places = _PLACES[cut]
        finer = next((one for one in ordered[at + 1 :] if set(places) <= set(_PLACES[one])), _WHOSE)
        values = _values(tuple(map(_PLACES[finer].index, places)))
        found.append(_Step(cut, finer, _team(values, terms) if cut == "team" else values))
    return found


def _values(places: tuple[int, ...]) -> Callable[[Values], Values]:
    if len(places) > 1:
        return itemgetter(*places)
    first = places[0] if places else 0
    return itemgetter(slice(first, first + len(places)))


def _team(rep: Callable[[Values], Values], terms: Terms) -> Callable[[Values], Values]:
    return lambda values: (terms.rep(rep(values)[0]).team,)


def _together(finer: Mapping[Any, Cell], values: Callable[[Values], Values]) -> dict[Values, Cell]:
    """Add up what has the same values."""
    found: dict[Values, Cell] = {}
    for whose, cell in finer.items():
        value = values(whose)
        total = found.get(value)
        if total is None:
            found[value] = cell.copy()
        else:
            for key, amount in cell.items():
                total[key] = total.get(key, 0) + amount
    return found


def expand(changes: Iterable[tuple[Fact, int]], terms: Terms, finest: int) -> Cells:
    """Return the cells of changed facts."""
    sums = Sums(terms)
    sums.add(changes)
    return sums.take(finest)


def _ever_more(*measures: Measure) -> list[Amounts]:
    """Return once the first of the measures, the first two, and so on."""
    return [[(_KEYS[measure], 1) for measure in measures[: count + 1]] for count in range(len(measures))]


def _duration(total: Measure, histogram: Measure, *once: Measure) -> Callable[[int], Amounts]:
    sum_, buckets, counts = _KEYS[total], _KEYS[histogram], [(_KEYS[measure], 1) for measure in once]
    return lambda milliseconds: [(sum_, milliseconds), (buckets | bucket(milliseconds), 1), *counts]


def _money(total: Measure, deals: Measure) -> Callable[[int, int, Terms], Amounts]:
    sum_, count = _KEYS[total], _KEYS[deals]
    return lambda currency, minor, _: [(sum_ | currency, minor), (count | currency, 1)]


# What is the same for many facts is put together once.
[_NEW_LEAD], [_ENTERED], [_WAITING] = map(_ever_more, (Measure.NEW_LEADS, Measure.ENTERED, Measure.WAITING))
[_LOST], [_WON], [_TALK] = map(_ever_more, (Measure.LOST, Measure.WON, Measure.TALKS))
_TALK_MS = _KEYS[Measure.TALK_MS]
_LEVELS = _ever_more(Measure.ACTIVE, Measure.LEADS)
# By how many of the two hold: what is in time has come about.
_CONVERSIONS = _ever_more(Measure.COHORT_ENTERED, Measure.COHORT_ADVANCED, Measure.ADVANCED_IN_TIME)
_COHORTS = _ever_more(Measure.CREATED, Measure.CREATED_WON, Measure.WON_IN_TIME)
_RESPONSES = _ever_more(Measure.ASKED, Measure.ANSWERED, Measure.WITHIN_SLA)
_stay = _duration(Measure.STAY_MS, Measure.STAY, Measure.LEFT)
_response_time = _duration(Measure.RESPONSE_MS, Measure.RESPONSE)
_business_time = _duration(Measure.BUSINESS_MS, Measure.BUSINESS)
_closed_cycle = _duration(Measure.CLOSED_CYCLE_MS, Measure.CLOSED_CYCLE, Measure.CLOSED_CYCLES)
_won_cycle = _duration(Measure.WON_CYCLE_MS, Measure.WON_CYCLE, Measure.WON_CYCLES)


def _response(response: int | None, business: int | None, terms: Terms) -> Amounts:
    if response is None or business is None:
        return _RESPONSES[0]
    return _RESPONSES[1 + (business <= terms.sla_ms)] + _response_time(response) + _business_time(business)


def _activity(sub: int, *, connected: bool) -> list[int]:
    found = [_KEYS[Measure.ACTIVITIES] | sub]
    if sub >> 2 == CALL and sub & 3 in (UNSAID, OUTBOUND):
        found += [_KEYS[Measure.OUTBOUND_CALLS]] + ([_KEYS[Measure.CONNECTED_CALLS]] if connected else [])
    return found


# What an activity is counted in, by type << 2 | direction: asked for each.
_ACTIVITIES, _CONNECTED = (
    [_activity(sub, connected=connected) for sub in range(len(ACTIVITY_TYPES) << 2)] for connected in (False, True)
)


# Of activities see Sums.add.
_MEASURES: dict[Kind, Callable[..., Amounts]] = {
    Kind.LEAD: lambda *_: _NEW_LEAD,
    Kind.ENTER: lambda *_: _ENTERED,
    Kind.LEAVE: lambda stay, *_: _stay(stay),
    Kind.CONVERSION: lambda advanced, in_time, _: _CONVERSIONS[advanced + in_time],
    Kind.COHORT: lambda won, in_time, _: _COHORTS[won + in_time],
    Kind.RESPONSE: _response,
    Kind.OUTCOME: lambda won, *_: _WON if won else _LOST,
    Kind.CYCLE: lambda won, cycle, _: _closed_cycle(cycle) + (_won_cycle(cycle) if won else []),
    Kind.MONEY: _money(Measure.REVENUE, Measure.REVENUE_DEALS),
    Kind.TALK: lambda talk, *_: [(_TALK_MS, talk), *_TALK],
    Kind.LEVEL: lambda lead, *_: _LEVELS[lead],
    Kind.VALUE: _money(Measure.VALUE, Measure.VALUE_DEALS),
    Kind.WAIT: lambda *_: _WAITING,
}
