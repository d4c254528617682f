"""What is one entity's news?  Its windows moved to the clock, and a record for every KPI that changed.

`latest` holds the current window of each name; a window that ended becomes a tombstone there.  `history`
holds calendar windows when they have ended, again when they are final, and again after each correction;
rolling windows and levels as snapshots when a day closed, which are never restated.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

import msgspec

from streams import topics
from streams.config import Definitions
from streams.kafka.room import Output
from streams.kpis.catalogue import BY_ID, CATALOGUE, Kpi
from streams.kpis.entity import ROLLING, Entity
from streams.kpis.formulas import COHORTS, OLDEST_WAITING, Compiled, Split, Value, compile_cut, oldest, one, split
from streams.kpis.publish import headers, key, record
from streams.panes.calendar import Calendar
from streams.panes.cell import Cell, Measure, currency_code, currency_name
from streams.panes.pane import DAY, FINE
from streams.panes.text import iso
from streams.panes.windows import WINDOWS, Now, Window, bounds, now_at, number_at

_NOW_PLACE = len(WINDOWS)
_NOW: dict[str, Any] = {"name": "now", "start": None, "end": None}
_DAY_US = 86_400_000_000
_WINDOWS_BY_NAME = {window.name: window for window in WINDOWS}


class Round(NamedTuple):
    """What holds for everybody in one round, and what was told so far and not yet sent."""

    partition: int
    output: list[Output]
    now: Now
    new_day: bool  # did a day close since the round before
    caught_up: bool
    fine: bool  # are the 5-minute panes complete around the watermark
    copy_open: bool  # also copy the current calendar windows into history: no more is coming


class _News(NamedTuple):
    """Which kinds changed in a window and in the one before it, and whether all must be told anyway."""

    own: int = 0
    before: int = 0
    everything: bool = False


_NONE: AbstractSet[int] = frozenset()
_NO_CURRENCY = ("",)
_EVERYTHING = _News(everything=True)


class _Target(NamedTuple):
    """One window of one entity about to be told."""

    place: int
    number: int
    window: dict[str, Any]
    start: str | None
    first_day: int
    last_day: int
    final: bool


class Teller:
    """Turns an entity's changes into records of the two KPI topics and into matured cohorts for the alerts."""

    age_every = 60_000_000  # µs between two records of an age that only time changed

    def __init__(self, definitions: Definitions, calendar: Calendar) -> None:
        self._calendar = calendar
        self._grace = round(definitions.grace * 1_000_000)
        self._on = [one.name in definitions.windows for one in WINDOWS]
        self._period: dict[str, list[Compiled]] = {}
        self._levels: dict[str, list[Compiled]] = {}
        for cut in definitions.cuts:
            self._period[cut] = compile_cut(cut, definitions, levels=False)
            self._levels[cut] = compile_cut(cut, definitions, levels=True)
        oldest_on = definitions.kpis.get(OLDEST_WAITING, True)
        self._masks = {one.row: one.formula.mask for found in self._period.values() for one in found}
        self._oldest_cuts = {cut for cut in definitions.cuts if oldest_on and cut in BY_ID[OLDEST_WAITING].cuts}
        self._maturity = {name: pipeline.maturity_days for name, pipeline in definitions.pipelines.items()}
        self._longest = max(self._maturity.values(), default=28)
        self._rules = definitions.rules
        self._response_days = 1 + round(definitions.sla.first_response // 86_400) + (3 if definitions.business.hours else 0)

    # -------------------------------------------------------------- one visit

    def visit(self, entity: Entity, round_: Round) -> None:
        """Add all that has to be told about an entity to the round's output."""
        entity.head.revision += 1
        told = len(round_.output)
        if round_.new_day:
            self._close_days(entity, round_)
            self._matured(entity, round_)
        for at, window in ROLLING:
            if self._on[at] and (window.grain == DAY or round_.fine):
                self._roll(entity, at, window, round_)
        entity.rolled.clear()
        self._calendar_windows(entity, round_)
        self._tell_levels(entity, round_)
        if len(round_.output) > told or entity.head_is_old:
            entity.write_head()
        else:
            entity.head.revision -= 1

    def next_final(self, entity: Entity, now: Now) -> int | None:
        """Return when the next ended window of this entity becomes final; None when none waits."""
        instants = [
            self._end(at, number) + self._grace for at, number in entity.untold if number < number_at(WINDOWS[at], now)
        ]
        return min(instants) if instants else None

    def _end(self, at: int, number: int) -> int:
        span = bounds(WINDOWS[at], number, self._calendar)
        return span[1] if span else 0

    # -------------------------------------------------------------- rolling windows

    def _roll(self, entity: Entity, at: int, window: Window, round_: Round) -> None:
        number = number_at(window, round_.now)
        told = entity.head.published.get(at)
        own, before = entity.rolled.get(at, (0, 0))
        if told is None or told[0] != number:
            self._tombstones(entity, at, round_)
            told = None
        if told is None or own or before:
            totals = entity.roll_to(at, window, number)
            target = self._target(at, window, number, round_, final=False)
            news = _News(own, before, everything=told is None)
            self._tell(entity, target, (totals.now, totals.before), news, round_, latest=True)

    # -------------------------------------------------------------- calendar windows

    def _calendar_windows(self, entity: Entity, round_: Round) -> None:
        published = entity.head.published
        for at in [at for at in published if at < _NOW_PLACE and not WINDOWS[at].rolling]:
            number = published[at][0]
            if number != number_at(WINDOWS[at], round_.now):
                own, before = entity.untold.get((at, number), (0, 0))
                entity.untold[at, number] = (own | self._told_kinds(entity, at), before)
                entity.ended.add((at, number))
                self._tombstones(entity, at, round_)
            elif round_.copy_open and (at, number) not in entity.untold:
                self._copy_open(entity, at, number, round_)
        for (at, number), masks in sorted(entity.untold.items()):
            self._tell_untold(entity, at, number, masks, round_)

    def _copy_open(self, entity: Entity, at: int, number: int, round_: Round) -> None:
        news = _News(self._told_kinds(entity, at), 0, everything=True)
        self._tell_calendar(entity, at, number, news, round_, latest=False)

    def _told_kinds(self, entity: Entity, at: int) -> int:
        """Return the kinds of all that latest was told of a window: history may hold a copy of what was taken back since."""
        mask = 0
        for mark in entity.head.published.get(at, (0, _NONE))[1]:
            mask |= self._masks.get(mark >> 16, 0)  # the KPI may have been turned off since
        return mask

    def _tell_untold(self, entity: Entity, at: int, number: int, masks: tuple[int, int], round_: Round) -> None:
        current = number_at(WINDOWS[at], round_.now)
        if not self._on[at] or (number > current and not masks[0]):
            del entity.untold[at, number]
        elif number == current:
            del entity.untold[at, number]
            self._tell_calendar(entity, at, number, _News(*masks), round_, latest=True)
            if round_.copy_open:
                self._copy_open(entity, at, number, round_)
        elif number < current:
            self._tell_ended(entity, at, number, masks, round_)

    def _tell_ended(self, entity: Entity, at: int, number: int, masks: tuple[int, int], round_: Round) -> None:
        """Tell an ended window: at once when caught up, everything again when it is final, then what changes."""
        final = round_.now.at >= self._end(at, number) + self._grace
        if (at, number) in entity.head.emptied:
            masks = (masks[0] | masks[1], masks[1])
        first = (at, number) in entity.ended
        if final:
            self._tell_calendar(entity, at, number, _News(*masks, everything=first), round_, latest=False)
            del entity.untold[at, number]
            entity.ended.discard((at, number))
        elif round_.caught_up and (masks != (0, 0) or (at, number) not in entity.told_early):
            everything = (at, number) not in entity.told_early
            self._tell_calendar(entity, at, number, _News(*masks, everything=everything), round_, latest=False)
            entity.untold[at, number] = (0, 0)
            entity.ended.add((at, number))
            entity.told_early.add((at, number))
        if final:
            entity.told_early.discard((at, number))

    def _tell_calendar(  # noqa: PLR0913  # one window of one entity
        self, entity: Entity, at: int, number: int, news: _News, round_: Round, *, latest: bool
    ) -> None:
        window = WINDOWS[at]
        span = bounds(window, number, self._calendar)
        final = span is not None and round_.now.at >= span[1] + self._grace
        before = entity.total(window, number - 1) if span else {}
        target = self._target(at, window, number, round_, final=final)
        self._tell(entity, target, (entity.total(window, number), before), news, round_, latest=latest)

    # -------------------------------------------------------------- the records of one window

    def _target(self, at: int, window: Window, number: int, round_: Round, *, final: bool) -> _Target:
        span = bounds(window, number, self._calendar)
        if span is None:
            return _Target(at, number, {"name": window.name, "start": None, "end": None}, None, 0, round_.now.day, final)
        start = iso(span[0])
        first = self._calendar.day_of(span[0])
        last = min(self._calendar.day_of(span[1] - 1), round_.now.day)
        return _Target(at, number, {"name": window.name, "start": start, "end": iso(span[1])}, start, first, last, final)

    def _tell(  # noqa: PLR0913  # one window of one entity
        self, entity: Entity, target: _Target, totals: tuple[Cell, Cell], news: _News, round_: Round, *, latest: bool,
    ) -> None:  # fmt: skip
        now, before = split(totals[0]), split(totals[1])
        holds, held_before = _kinds(now), _kinds(before)
        told = entity.head.published.get(target.place, (0, _NONE))[1] if latest else _NONE
        for kpi in self._period.get(entity.name[0], ()):
            mask = kpi.formula.mask
            # In history, what was taken back to nothing must be said: a reader may hold the old value.
            retold = not latest and bool(mask & news.own)
            if not (news.everything or mask & (news.own | news.before)) or not (mask & holds or told or retold):
                continue
            values = kpi.formula.work_out(now) if mask & holds else {}
            previous = kpi.formula.work_out(before) if mask & held_before else {}
            for currency in self._currencies(entity, kpi, values, told, retold=retold):
                value = values.get(currency, kpi.formula.nothing)
                mark = _mark(kpi.row, currency)
                if value.n or mark in told or retold:
                    past = previous.get(currency)
                    self._emit(
                        entity, kpi.kpi, target, value, past.value if past and past.n else None, currency, round_,
                        latest=latest, cohort=now,
                    )  # fmt: skip
                    if latest:
                        self._remember(entity, target, mark)
                    elif not value.n:
                        entity.head.emptied.add((target.place, target.number))

    @staticmethod
    def _currencies(
        entity: Entity, kpi: Compiled, values: dict[str, Value], told: AbstractSet[int], *, retold: bool
    ) -> Iterable[str]:
        """Return the currencies to tell: those with facts, and those that a reader may still hold a value in."""
        if kpi.kpi.unit != "money":
            return _NO_CURRENCY
        found = set(values)
        entity.head.currencies.update(map(currency_code, values))
        if retold:
            found.update(map(currency_name, entity.head.currencies))
        found.update(_currency_of(mark) or "" for mark in told if mark >> 16 == kpi.row)
        return sorted(found)

    @staticmethod
    def _remember(entity: Entity, target: _Target, mark: int) -> None:
        told = entity.head.published.get(target.place)
        if told is None:
            told = entity.head.published[target.place] = (target.number, set())
        told[1].add(mark)

    def _emit(  # noqa: PLR0913  # one record
        self, entity: Entity, kpi: Kpi, target: _Target, value: Value, previous: Any, currency: str, round_: Round, *, latest: bool, cohort: Split | None = None,
    ) -> None:  # fmt: skip
        watermark = iso(round_.now.at)
        share = None
        if cohort is not None and kpi.id in COHORTS:
            share = self._mature_share(entity, kpi, target, cohort, round_)
        data = record(
            kpi, entity.name[0], entity.fields, target.window, value, previous, share, currency or None,
            final=target.final, revision=entity.head.revision, watermark=watermark,
        )  # fmt: skip
        name = key(kpi, entity.name, target.window["name"], target.start, currency or None)
        topic = topics.KPI_LATEST if latest else topics.KPI_HISTORY
        round_.output.append((topic, -1, name, data, headers(name, entity.head.revision, watermark)))

    def _mature_share(self, entity: Entity, kpi: Kpi, target: _Target, cohort: Split, round_: Round) -> float | None:
        """Return the share of the window's entries that are older than the pipeline's maturity."""
        entries = one(cohort, COHORTS[kpi.id])
        if entries <= 0:
            return None
        first_immature = round_.now.day - self._maturity_of(entity)
        young = entity.immature(COHORTS[kpi.id], max(target.first_day, first_immature), target.last_day)
        return max(0.0, 1 - young / entries)

    def _maturity_of(self, entity: Entity) -> int:
        cut = entity.name[0]
        if cut in ("pipeline", "stage"):
            return self._maturity.get(entity.name[1], self._longest)
        return self._maturity.get(entity.name[2], self._longest) if cut == "rep_stage" else self._longest

    def _tombstones(self, entity: Entity, at: int, round_: Round) -> None:
        """Take the keys of a window that is no longer current out of latest."""
        told = entity.head.published.pop(at, None)
        if told is None:
            return
        window = WINDOWS[at]
        span = bounds(window, told[0], self._calendar)
        start = iso(span[0]) if span else None
        for mark in sorted(told[1]):
            kpi, currency = CATALOGUE[mark >> 16], _currency_of(mark)
            round_.output.append((topics.KPI_LATEST, -1, key(kpi, entity.name, window.name, start, currency), None, None))

    # -------------------------------------------------------------- levels

    def _tell_levels(self, entity: Entity, round_: Round) -> None:
        self._tell_age(entity, round_)
        if not entity.level_mask:
            return
        now = split(entity.level())
        target = _Target(_NOW_PLACE, 0, _NOW, None, 0, 0, final=False)
        told = entity.head.published.get(_NOW_PLACE, (0, _NONE))[1]
        for kpi in self._levels.get(entity.name[0], ()):
            if kpi.formula.mask & entity.level_mask:
                values = kpi.formula.work_out(now)
                for currency in self._currencies(entity, kpi, values, told, retold=False):
                    value = values.get(currency, kpi.formula.nothing)
                    mark = _mark(kpi.row, currency)
                    if value.n or mark in told:
                        self._emit(entity, kpi.kpi, target, value, None, currency, round_, latest=True)
                        self._remember(entity, target, mark)
        entity.level_mask = 0

    def _tell_age(self, entity: Entity, round_: Round) -> None:
        if entity.name[0] not in self._oldest_cuts:
            return
        changed = entity.level_mask & (1 << Measure.WAITING)
        if not changed and (not entity.waiting or entity.age_told == round_.now.at):
            return
        kpi = BY_ID[OLDEST_WAITING]
        mark = _mark(CATALOGUE.index(kpi), "")
        since = entity.oldest()
        told = entity.head.published.get(_NOW_PLACE, (0, _NONE))[1]
        if since is None and mark not in told:
            return
        waiting = entity.level().get(Measure.WAITING << 16, 0)
        target = _Target(_NOW_PLACE, 0, _NOW, None, 0, 0, final=False)
        self._emit(entity, kpi, target, oldest(since, waiting, round_.now.at), None, "", round_, latest=True)
        self._remember(entity, target, mark)
        entity.age_told = round_.now.at

    # -------------------------------------------------------------- closed days

    def _close_days(self, entity: Entity, round_: Round) -> None:
        """Write the snapshots of the days that closed: levels of each day they changed, rolling windows of the last."""
        for day, level in entity.close_levels(round_.now.day):
            self._snapshot_levels(entity, day, split(level), round_)
        if not round_.caught_up:
            return
        closed = now_at(self._calendar, self._calendar.start_of_day(round_.now.day) - 1)
        for at, window in ROLLING:
            told = entity.head.published.get(at)
            if told is None or not self._on[at] or (window.grain == FINE and not round_.fine):
                continue
            number = number_at(window, closed)
            if told[0] <= number:
                totals = entity.roll_to(at, window, number)
                target = self._target(at, window, number, round_, final=True)
                self._tell(entity, target, (totals.now, totals.before), _EVERYTHING, round_, latest=False)

    def _snapshot_levels(self, entity: Entity, day: int, level: Split, round_: Round) -> None:
        window = _WINDOWS_BY_NAME["day"]
        target = self._target(WINDOWS.index(window), window, day, round_, final=True)
        for kpi in self._levels.get(entity.name[0], ()):
            values = kpi.formula.work_out(level)
            for currency, value in values.items():
                self._emit(entity, kpi.kpi, target, value, None, currency, round_, latest=False)

    # -------------------------------------------------------------- for the alerts

    def _matured(self, entity: Entity, round_: Round) -> None:
        """Add the cohorts of this entity that became mature, one record per rule and day."""
        for rule in self._rules:
            if rule.cut != entity.name[0]:
                continue
            total, good = _JUDGED[rule.kind] if rule.cut not in ("stage", "rep_stage") else _JUDGED_STAGES[rule.kind]
            if total is None or good is None:
                continue
            days = self._response_days if rule.kind == "response_rise" else self._maturity_of(entity)
            last = self._calendar.day_of(round_.now.at - self._grace) - days - 1
            for day, cell in entity.days_between(entity.head.judged.get(rule.name, 0) + 1, last):
                entries, successes = cell.get(total << 16, 0), cell.get(good << 16, 0)
                if entries > 0:
                    at = self._calendar.start_of_day(day + days + 1) + self._grace
                    fields = {
                        "rule": rule.name, "entity": entity.name, "day": day, "n": entries, "k": successes, "at": at,
                    }  # fmt: skip
                    round_.output.append((topics.MATURED, round_.partition, None, msgspec.json.encode(fields), None))
            entity.head.judged[rule.name] = max(last, entity.head.judged.get(rule.name, 0))


_JUDGED: dict[str, tuple[Measure | None, Measure | None]] = {
    "conversion_drop": (Measure.CREATED, Measure.WON_IN_TIME),
    "response_rise": (Measure.ASKED, Measure.WITHIN_SLA),
}
_JUDGED_STAGES: dict[str, tuple[Measure | None, Measure | None]] = {
    "conversion_drop": (Measure.COHORT_ENTERED, Measure.ADVANCED_IN_TIME),
    "response_rise": (None, None),
}


def _mark(row: int, currency: str) -> int:
    return row << 16 | (currency_code(currency) + 1 if currency else 0)


def _currency_of(mark: int) -> str | None:
    return currency_name((mark & 0xFFFF) - 1) if mark & 0xFFFF else None


def _kinds(cell: Split) -> int:
    mask = 0
    for kind in cell:
        mask |= 1 << kind
    return mask
