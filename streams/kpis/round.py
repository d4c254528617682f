"""What is one entity's news?  Its windows moved to the clock, and a record for every KPI that changed.

`latest` holds the current window of each name; a window that ended becomes a tombstone there.  `history`
holds calendar windows when they have ended, again when they are final, and again after each correction;
rolling windows and levels as snapshots when a day closed, which are never restated.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from datetime import date
from functools import lru_cache
from typing import NamedTuple

from streams import topics
from streams.config import Definitions
from streams.kafka.room import Output
from streams.kpis.catalogue import BY_ID, CATALOGUE
from streams.kpis.cohorts import Cohorts
from streams.kpis.entity import ALL, ROLLING, Entity
from streams.kpis.formulas import (
    OLDEST_WAITING,
    Compiled,
    Value,
    compile_cut,
    oldest,
)
from streams.kpis.publish import Fragment, Page, key, record, window_fragment
from streams.panes.calendar import Calendar
from streams.panes.cell import Cell, Measure, currency_code, currency_name
from streams.panes.pane import DAY, FINE
from streams.panes.text import iso
from streams.panes.windows import WINDOWS, Now, Window, bounds, now_at, number_at

_NOW_PLACE = len(WINDOWS)
_DAY_PLACE = next(at for at, window in enumerate(WINDOWS) if window.name == "day")
_NO_LAST_DAY = date.max.toordinal()


class Round(NamedTuple):
    """What holds for everybody in one round, and what was told so far and not yet sent."""

    partition: int
    output: list[Output]
    revision: int  # of all its records
    wall: int  # µs of the wall clock when it began: only what the pace is kept by
    at_once: bool  # no window waits for its pace
    now: Now
    numbers: tuple[int, ...]  # of the current window of each name
    watermark: str
    new_day: bool  # did a day close since the round before
    judges: bool  # did its grace end, so that cohorts may be complete
    corrected_from: int  # µs: days and weeks that began before it are gone
    caught_up: bool
    fine: bool  # are the 5-minute panes complete around the watermark
    copy_open: bool  # also copy the current calendar windows into history: no more is coming


_NONE: AbstractSet[int] = frozenset()
_NOTHING: dict[str, Value] = {}
_NO_CURRENCY = ("",)


class _Span(NamedTuple):
    """One window: its place among the names, its number, its bounds, and how records name it."""

    place: int
    number: int
    start: int  # µs
    end: int | None  # µs; None for all of time
    first_day: int
    last_day: int
    text: Fragment


_NOW = _Span(_NOW_PLACE, 0, 0, None, 0, 0, window_fragment("now", None, None))


class _Page(NamedTuple):
    """One window of one entity about to be told."""

    span: _Span
    latest: bool
    sheet: Page


class Teller:
    """Turns an entity's changes into records of the two KPI topics and into matured cohorts for the alerts."""

    age_every = 60_000_000  # µs between two records of an age that only time changed

    def __init__(self, definitions: Definitions, calendar: Calendar, cohorts: Cohorts) -> None:
        self._calendar = calendar
        self._grace = round(definitions.grace * 1_000_000)
        self._on = [one.name in definitions.windows for one in WINDOWS]
        # µs between two records of a key; the interval itself is kept by the rounds
        self._every = [round(definitions.told_every(one.name) * 1_000_000) for one in WINDOWS]
        self._interval = round(definitions.publish_interval * 1_000_000)
        self._least = round(definitions.shortest_pace * 1_000_000)  # µs between two visits that tell something
        self._period: dict[str, list[Compiled]] = {}
        self._levels: dict[str, list[Compiled]] = {}
        for cut in definitions.cuts:
            self._period[cut] = compile_cut(cut, definitions, levels=False)
            self._levels[cut] = compile_cut(cut, definitions, levels=True)
        oldest_on = definitions.kpis.get(OLDEST_WAITING, True)
        self._masks = {one.row: one.formula.mask for found in self._period.values() for one in found}
        self._oldest_cuts = {cut for cut in definitions.cuts if oldest_on and cut in BY_ID[OLDEST_WAITING].cuts}
        self._cohorts = cohorts
        self._span = lru_cache(maxsize=65_536)(self._work_out_span)
        self._concerned = lru_cache(maxsize=4_096)(self._work_out_concerned)

    # -------------------------------------------------------------- one visit

    def visit(self, entity: Entity, round_: Round) -> int | None:
        """Add all that has to be told about an entity to the round's output.

        Return when it has to be visited again because a window is held back by its pace; None when none is.
        """
        told = len(round_.output)
        if round_.new_day:
            entity.add_up_days(round_.now.day, self._calendar.month_of_day)
            self._close_days(entity, round_)
        if round_.judges:
            for cohort in self._cohorts.take_complete(entity, round_.now.at):
                round_.output.append((topics.MATURED, round_.partition, None, cohort, None))
        for at, window in ROLLING:
            if not self._on[at]:
                entity.rolled.pop(at, None)
            elif window.grain == DAY or round_.fine:
                self._roll(entity, at, window, round_)
            elif at in entity.head.published and entity.told(at)[0] != round_.numbers[at]:
                # It ended all the same, and its panes may be gone before those of the present are all there.
                self._tombstones(entity, at, round_)
                entity.rolled[at] = (ALL, ALL)
        self._calendar_windows(entity, round_)
        self._tell_levels(entity, round_)
        if len(round_.output) > told:
            entity.not_before = round_.wall + self._least
        if entity.head_is_old:
            entity.write_head()
        return self._held_until(entity, round_)

    # -------------------------------------------------------------- the pace of wide windows

    def _must_wait(self, entity: Entity, at: int, round_: Round) -> bool:
        """Was this window told so recently that it is held back?  What changed meanwhile stays noted."""
        return not round_.at_once and entity.paced.get(at, 0) > round_.wall and at in entity.head.published

    def _held_until(self, entity: Entity, round_: Round) -> int | None:
        if not entity.paced:
            return None
        places = [*entity.rolled, *(at for at, number in entity.untold if number == round_.numbers[at])]
        instants = (entity.paced.get(at, 0) for at in places)
        return min((instant for instant in instants if instant > round_.wall), default=None)

    def next_final(self, entity: Entity, now: Now) -> int | None:
        """Return when the next ended window of this entity becomes final; None when none waits."""
        instants = [
            self._final_at(self._span(at, number)) for at, number in entity.untold if number < number_at(WINDOWS[at], now)
        ]
        return min(instants) if instants else None

    def _final_at(self, span: _Span) -> int:
        return (span.end or 0) + self._grace

    def _is_final(self, span: _Span, round_: Round) -> bool:
        return span.end is not None and round_.now.at >= self._final_at(span)

    def _work_out_span(self, at: int, number: int) -> _Span:
        window = WINDOWS[at]
        span = bounds(window, number, self._calendar)
        if span is None:
            return _Span(at, number, 0, None, 0, _NO_LAST_DAY, window_fragment(window.name, None, None))
        first, last = self._calendar.day_of(span[0]), self._calendar.day_of(span[1] - 1)
        return _Span(at, number, *span, first, last, window_fragment(window.name, iso(span[0]), iso(span[1])))

    # -------------------------------------------------------------- rolling windows

    def _roll(self, entity: Entity, at: int, window: Window, round_: Round) -> None:
        number = round_.numbers[at]
        own, before = entity.rolled.get(at, (0, 0))
        changed = own | before
        if entity.told(at)[0] != number:
            self._tombstones(entity, at, round_)
            changed = ALL
        elif changed and self._must_wait(entity, at, round_):
            return
        if changed:
            entity.rolled.pop(at, None)
            totals = entity.roll_to(at, window, number)
            page = self._page(entity, self._span(at, number), round_, latest=True)
            self._tell(entity, page, (totals.now, totals.before), (own, changed), round_)

    # -------------------------------------------------------------- calendar windows

    def _calendar_windows(self, entity: Entity, round_: Round) -> None:
        published = entity.head.published
        for at in [at for at in published if at < _NOW_PLACE and not WINDOWS[at].rolling]:
            number = published[at][0]
            if number != round_.numbers[at]:
                own, before = entity.untold.get((at, number), (0, 0))
                entity.untold[at, number] = (own | self._told_kinds(entity, at), before)
                entity.ended.add((at, number))
                self._tombstones(entity, at, round_)
            elif round_.copy_open and (at, number) not in entity.untold:
                self._copy_open(entity, at, number, round_)
        for (at, number), masks in sorted(entity.untold.items()):
            self._tell_untold(entity, at, number, masks, round_)

    def _copy_open(self, entity: Entity, at: int, number: int, round_: Round) -> None:
        self._tell_calendar(entity, at, number, (self._told_kinds(entity, at), ALL), round_, latest=False)

    def _told_kinds(self, entity: Entity, at: int) -> int:
        """Return the kinds of all that latest was told of a window: history may hold a copy of what was taken back since."""
        mask = 0
        for mark in entity.told(at)[1]:
            mask |= self._masks.get(mark >> 16, 0)  # the KPI may have been turned off since
        return mask

    def _tell_untold(self, entity: Entity, at: int, number: int, masks: tuple[int, int], round_: Round) -> None:
        current = round_.numbers[at]
        if (
            not self._on[at]
            or (number > current and not masks[0])
            or (number < current and self._is_gone(at, number, round_))
        ):
            del entity.untold[at, number]
        elif number == current:
            if self._must_wait(entity, at, round_):
                return
            del entity.untold[at, number]
            self._tell_calendar(entity, at, number, (masks[0], masks[0] | masks[1]), round_, latest=True)
            if round_.copy_open:
                self._copy_open(entity, at, number, round_)
        elif number < current:
            self._tell_ended(entity, at, number, masks, round_)

    def _is_gone(self, at: int, number: int, round_: Round) -> bool:
        """Did it begin so long ago that the days it is made of, or those of the window before it, may have been let go?

        Or is it a day that its zone left out, as Apia did 30 December 2011: its bounds, and so its key, are those of the next.
        """
        span = self._span(at, number)
        return WINDOWS[at].grain == DAY and (span.start < round_.corrected_from or span.start == span.end)

    def _tell_ended(self, entity: Entity, at: int, number: int, masks: tuple[int, int], round_: Round) -> None:
        """Tell an ended window: at once when caught up, everything again when it is final, then what changes."""
        own, before = masks
        if (at, number) in entity.head.emptied:
            own |= before
        if self._is_final(self._span(at, number), round_):
            changed = ALL if (at, number) in entity.ended else own | before
            self._tell_calendar(entity, at, number, (own, changed), round_, latest=False)
            del entity.untold[at, number]
            entity.ended.discard((at, number))
            entity.told_early.discard((at, number))
        elif round_.caught_up and (own or before or (at, number) not in entity.told_early):
            changed = own | before if (at, number) in entity.told_early else ALL
            self._tell_calendar(entity, at, number, (own, changed), round_, latest=False)
            entity.untold[at, number] = (0, 0)
            entity.ended.add((at, number))
            entity.told_early.add((at, number))

    def _tell_calendar(  # noqa: PLR0913  # one window of one entity
        self, entity: Entity, at: int, number: int, news: tuple[int, int], round_: Round, *, latest: bool
    ) -> None:
        span = self._span(at, number)
        before = self._total(entity, self._span(at, number - 1)) if span.end is not None else {}
        page = self._page(entity, span, round_, latest=latest)
        self._tell(entity, page, (self._total(entity, span), before), news, round_)

    @staticmethod
    def _total(entity: Entity, span: _Span) -> Cell:
        return entity.total(WINDOWS[span.place], span.number, span.first_day, span.last_day)

    # -------------------------------------------------------------- the records of one window

    def _page(self, entity: Entity, span: _Span, round_: Round, *, latest: bool) -> _Page:
        final = self._is_final(span, round_)
        topic = topics.KPI_LATEST if latest else topics.KPI_HISTORY
        page = Page(topic, entity.name[0], entity.text, span.text, final, round_.revision, round_.watermark)
        return _Page(span, latest, page)

    def _tell(  # one window of one entity
        self, entity: Entity, page: _Page, totals: tuple[Cell, Cell], news: tuple[int, int], round_: Round
    ) -> None:
        """Tell what changed: `news` says which kinds did in the window itself, and which there or in the one before it."""
        own, changed = news
        span, latest, sheet = page
        now, before = totals
        days = span.first_day, span.last_day
        told = entity.told(span.place)[1] if latest else _NONE
        marks: set[int] = set()
        for kpi in self._concerned(entity.name[0], changed):
            formula = kpi.formula
            # In history, what was taken back to nothing must be said: a reader may hold the old value.
            retold = not latest and bool(formula.mask & own)
            values, previous = formula.work_out(now), formula.work_out(before) if before else _NOTHING
            money = kpi.kpi.unit == "money"
            for currency in self._currencies(entity, kpi, values, told, retold=retold) if money else _NO_CURRENCY:
                value = values.get(currency, formula.nothing)
                mark = _mark(kpi.row, currency)
                if value.n or mark in told or retold:
                    past = previous.get(currency)
                    share = self._cohorts.mature_share(entity, kpi.cohort, now, days, round_.now.day) if kpi.cohort else None
                    last = past.value if past and past.n else None
                    round_.output.append(record(sheet, kpi.kpi, value, last, share, currency or None))
                    marks.add(mark)
                    if not (latest or value.n):
                        entity.empty(span.place, span.number)
        if latest and marks:
            entity.tell(span.place, span.number, marks | told)
            if self._every[span.place] > self._interval:
                entity.paced[span.place] = round_.wall + self._every[span.place]

    def _work_out_concerned(self, cut: str, changed: int) -> list[Compiled]:
        """Return the KPIs of a cut that a change of these kinds concerns."""
        return [kpi for kpi in self._period.get(cut, ()) if kpi.formula.mask & changed]

    @staticmethod
    def _currencies(
        entity: Entity, kpi: Compiled, values: dict[str, Value], told: AbstractSet[int], *, retold: bool
    ) -> Iterable[str]:
        """Return the currencies to tell: those with facts, and those that a reader may still hold a value in."""
        found = set(values)
        entity.name_currencies(set(map(currency_code, values)))
        if retold:
            found.update(map(currency_name, entity.head.currencies))
        found.update(_currency_of(mark) or "" for mark in told if mark >> 16 == kpi.row)
        return sorted(found)

    def _tombstones(self, entity: Entity, at: int, round_: Round) -> None:
        """Take the keys of a window that is no longer current out of latest."""
        number, marks = entity.take_back(at)
        if not marks:
            return
        window = self._span(at, number).text
        for mark in sorted(marks):
            name = key(CATALOGUE[mark >> 16], entity.text, window, _currency_of(mark))
            round_.output.append((topics.KPI_LATEST, -1, name, None, None))

    # -------------------------------------------------------------- levels

    def _tell_levels(self, entity: Entity, round_: Round) -> None:
        self._tell_age(entity, round_)
        if not entity.level_mask:
            return
        now = entity.level()
        sheet = self._page(entity, _NOW, round_, latest=True).sheet
        told = entity.told(_NOW_PLACE)[1]
        for kpi in self._levels.get(entity.name[0], ()):
            if kpi.formula.mask & entity.level_mask:
                values = kpi.formula.work_out(now)
                money = kpi.kpi.unit == "money"
                for currency in self._currencies(entity, kpi, values, told, retold=False) if money else _NO_CURRENCY:
                    value = values.get(currency, kpi.formula.nothing)
                    mark = _mark(kpi.row, currency)
                    if value.n or mark in told:
                        round_.output.append(record(sheet, kpi.kpi, value, None, None, currency or None))
                        _remember(entity, _NOW, mark)
        entity.level_mask = 0

    def _tell_age(self, entity: Entity, round_: Round) -> None:
        if entity.name[0] not in self._oldest_cuts:
            return
        changed = entity.level_mask & (1 << Measure.WAITING)
        if not changed and (not entity.may_wait or entity.age_told == round_.now.at):
            return
        kpi = BY_ID[OLDEST_WAITING]
        mark = _mark(CATALOGUE.index(kpi), "")
        since = entity.oldest()
        told = entity.told(_NOW_PLACE)[1]
        if since is None and mark not in told:
            return
        waiting = entity.level().get(Measure.WAITING << 16, 0)
        sheet = self._page(entity, _NOW, round_, latest=True).sheet
        round_.output.append(record(sheet, kpi, oldest(since, waiting, round_.now.at), None, None, None))
        _remember(entity, _NOW, mark)
        entity.age_told = round_.now.at

    # -------------------------------------------------------------- closed days

    def _close_days(self, entity: Entity, round_: Round) -> None:
        """Write the snapshots of the days that closed: levels of each day they changed, rolling windows of the last."""
        told = set(entity.told(_NOW_PLACE)[1])
        for day, level in entity.close_levels(round_.now.day):
            told |= self._snapshot_levels(entity, day, level, told, round_)
        if not round_.caught_up:
            return
        closed = now_at(self._calendar, self._calendar.start_of_day(round_.now.day) - 1)
        for at, window in ROLLING:
            if not self._on[at] or (window.grain == FINE and not round_.fine):
                continue
            number = number_at(window, closed)
            # Neither told nor to be told: there is nothing in it, unless the clock jumped over it.
            if not (at in entity.head.published or at in entity.rolled or entity.may_hold(at, window, number)):
                continue
            if entity.told(at)[0] <= number:
                totals = entity.roll_to(at, window, number)
                page = self._page(entity, self._span(at, number), round_, latest=False)
                self._tell(entity, page, (totals.now, totals.before), (0, ALL), round_)

    def _snapshot_levels(self, entity: Entity, day: int, level: Cell, told: AbstractSet[int], round_: Round) -> set[int]:
        """Write the levels at the end of a day, also those that are nothing now and were told before; return their marks."""
        sheet = self._page(entity, self._span(_DAY_PLACE, day), round_, latest=False).sheet
        marks = set()
        for kpi in self._levels.get(entity.name[0], ()):
            values = kpi.formula.work_out(level)
            for currency in self._currencies(entity, kpi, values, told, retold=False) if kpi.kpi.unit == "money" else values:
                value = values.get(currency, kpi.formula.nothing)
                round_.output.append(record(sheet, kpi.kpi, value, None, None, currency or None))
                marks.add(_mark(kpi.row, currency))
        return marks


def _mark(row: int, currency: str) -> int:
    return row << 16 | (currency_code(currency) + 1 if currency else 0)


def _currency_of(mark: int) -> str | None:
    return currency_name((mark & 0xFFFF) - 1) if mark & 0xFFFF else None


def _remember(entity: Entity, span: _Span, mark: int) -> None:
    marks = entity.told(span.place)[1]
    if mark not in marks:
        entity.tell(span.place, span.number, {*marks, mark})
