"""What should every KPI record say?  The batch recomputation: all events in, all records out, nothing incremental.

It shares with the stream only the rows of the catalogue, the settings and the form of the events.  It knows no
bounds per deal and no retention: a deal that was settled or refused as too late there shows as a difference here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from zoneinfo import ZoneInfo

import msgspec

from streams.audit.beside import OF_SOME_ENTRIES, mature_from
from streams.audit.deal import read_deal
from streams.audit.facts import Fact, facts_of, human, one_activity
from streams.audit.owner import of_rep
from streams.audit.tally import SHAPES, Figures, Number, Stats, oldest
from streams.audit.windows import (
    CALENDAR,
    NOW,
    SECOND,
    Window,
    calendar,
    calendar_after,
    calendar_before,
    day_of,
    iso,
    rolling,
)  # fmt: skip
from streams.config import Definitions
from streams.events.contract import Activity, StageChange
from streams.kpis.catalogue import BY_ID, CATALOGUE, ENTITY_FIELDS

# kpi, cut, entity values, window name, start, currency: the key of a record.
Key = tuple[str, str, tuple[str, ...], str, str | None, str | None]
# kpi, cut, entity values, currency.
SeriesKey = tuple[str, str, tuple[str, ...], str | None]

MADE_OF_DAYS = ("day", "week")
# Their entries are their facts, so that it is known which of them are mature.
COHORTS = frozenset(kpi.id for kpi in CATALOGUE if kpi.base == "cohort" and kpi.id not in OF_SOME_ENTRIES)
CORRECTED = 400 * 86_400 * SECOND


class Expected(msgspec.Struct, frozen=True, gc=False):
    """What a record must say, as of a watermark (µs).

    required: it must be there.  since: for an age, the instant (µs) it counts from.  mature: of a cohort, the instants
    (µs, in order) from which on its entries are mature.
    """

    value: Number | None
    unit: str
    n: int
    numerator: Number | None
    denominator: Number | None
    stats: Stats | None
    previous: Number | None
    end: str | None
    as_of: int
    required: bool
    since: int | None = None
    mature: tuple[int, ...] | None = None


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One fact within its series; `mature`: from when on it is, where that is asked."""

    at: int
    day: date
    number: int
    mature: int = 0


def recompute(events: Iterable[StageChange | Activity], definitions: Definitions, watermark: int) -> dict[Key, Expected]:
    """Return every record that the accepted events, in any order and with repeats, make at the watermark."""
    expected: dict[Key, Expected] = {}
    for (kpi, cut, entity, currency), facts in series(all_facts(events, definitions), definitions).items():
        for window, record in records(kpi, currency, facts, definitions, watermark):
            expected[kpi, cut, entity, window.name, iso(window.start), currency] = record
    return expected


# ------------------------------------------------------------------ events to facts


def all_facts(events: Iterable[StageChange | Activity], definitions: Definitions) -> Iterator[Fact]:
    """Drop repeats, group by deal, and yield the facts of every deal and of the activities without one."""
    changes: dict[str, dict[str, StageChange]] = defaultdict(dict)
    activities: dict[str, dict[tuple[str, bool], Activity]] = defaultdict(dict)
    alone: dict[tuple[str | None, str, bool], Activity] = {}
    for event in events:
        if isinstance(event, StageChange):
            changes[event.deal_id].setdefault(event.event_id, event)
        elif event.deal_id is not None:
            activities[event.deal_id].setdefault((event.event_id, event.planned), event)
        else:
            alone.setdefault((event.rep_id, event.event_id, event.planned), event)
    for deal_id in {**changes, **activities}:
        deal = read_deal(changes.get(deal_id, {}).values(), activities.get(deal_id, {}).values(), definitions)
        yield from facts_of(deal, definitions)
    for act in alone.values():
        if human(act):
            yield from one_activity(act, of_rep(act.rep_id, definitions))


# ------------------------------------------------------------------ facts to series


def series(facts: Iterable[Fact], definitions: Definitions) -> dict[SeriesKey, list[Entry]]:
    """Give every fact to each entity that it belongs to: one for each cut whose fields are all known."""
    zone = definitions.zone
    cuts = {
        kpi.id: [cut for cut in kpi.cuts if cut in definitions.cuts]
        for kpi in CATALOGUE
        if definitions.kpis.get(kpi.id, True)
    }
    found: dict[SeriesKey, list[Entry]] = defaultdict(list)
    for kpi, at, who, number, currency in facts:
        day = day_of(at, zone)
        if kpi in COHORTS:
            days = definitions.maturity_of(who["pipeline"] or "")
            entry = Entry(at, day, number, mature_from(day.toordinal(), days, zone))
        else:
            entry = Entry(at, day, number)
        for cut in cuts.get(kpi, ()):
            entity = tuple(who.get(field) for field in ENTITY_FIELDS[cut])
            known = tuple(value for value in entity if value is not None)
            if known == entity:
                found[kpi, cut, known, currency].append(entry)
    return found


# ------------------------------------------------------------------ series to records


def records(
    kpi: str, currency: str | None, facts: Sequence[Entry], definitions: Definitions, watermark: int
) -> Iterator[tuple[Window, Expected]]:
    """Yield every record of one series."""
    if BY_ID[kpi].base == "level":
        numbers = [fact.number for fact in facts]
        is_age = kpi == "oldest_waiting"
        now = oldest(numbers, watermark) if is_age else SHAPES[kpi](numbers, currency)
        record = expected_record(kpi, NOW, now, None, watermark)
        yield NOW, msgspec.structs.replace(record, since=min(numbers)) if is_age else record
        return
    nothing = SHAPES[kpi]([], currency)
    zone = definitions.zone
    for name in definitions.windows:
        cells = calendar_cells(name, facts, zone) if name in CALENDAR else rolling_cells(name, facts, zone, watermark)
        figures = {window: SHAPES[kpi]([fact.number for fact in found], currency) for window, found in cells.items()}
        for window, before in sorted(wanted(name, facts, zone, watermark)):
            previous = figures.get(before, nothing) if before else nothing
            now = figures.get(window, nothing)
            if now.n or previous.n:
                value_before = previous.value if previous.n else None
                record = expected_record(kpi, window, now, value_before, watermark)
                if kpi in COHORTS:
                    mature = tuple(sorted(fact.mature for fact in cells.get(window, ())))
                    record = msgspec.structs.replace(record, mature=mature)
                yield window, record


def wanted(name: str, facts: Sequence[Entry], zone: ZoneInfo, watermark: int) -> set[tuple[Window, Window | None]]:
    """Return the windows that have facts or whose previous one may have, each with its previous one; none that is gone."""
    if name not in CALENDAR:
        return {rolling(name, watermark, zone)}
    days = {fact.day for fact in facts}
    days |= {following for day in days if (following := calendar_after(name, day))}
    windows = {(calendar(name, day, zone), calendar_before(name, day, zone)) for day in days}
    # A day that a zone skipped (Pacific/Apia, 2011-12-30) is none: the next one begins at the same instant.
    return {
        (window, before)
        for window, before in windows
        if window.start != window.end and not is_gone(name, window.start, watermark)
    }


def calendar_cells(name: str, facts: Sequence[Entry], zone: ZoneInfo) -> dict[Window, list[Entry]]:
    """Return the facts of each calendar window that has some."""
    cells: dict[Window, list[Entry]] = defaultdict(list)
    for fact in facts:
        cells[calendar(name, fact.day, zone)].append(fact)
    return cells


def rolling_cells(name: str, facts: Sequence[Entry], zone: ZoneInfo, watermark: int) -> dict[Window, list[Entry]]:
    """Return the facts of the rolling window at the watermark and of the one before it."""
    windows = rolling(name, watermark, zone)
    return {window: [fact for fact in facts if window.start <= fact.at < window.end] for window in windows}


def expected_record(kpi: str, window: Window, figures: Figures, previous: Number | None, watermark: int) -> Expected:
    """Complete a record.  `previous` is the value of the window before, null where that has no facts."""
    return Expected(
        value=figures.value,
        unit=BY_ID[kpi].unit,
        n=figures.n,
        numerator=figures.numerator,
        denominator=figures.denominator,
        stats=figures.stats,
        previous=previous,
        end=iso(window.end),
        as_of=watermark,
        required=figures.n > 0 and window.start <= watermark,
    )


def is_gone(name: str, start: int, watermark: int) -> bool:
    """Days and weeks that began more than 400 days before the watermark are never corrected, nor published again."""
    return name in MADE_OF_DAYS and start < watermark - CORRECTED
