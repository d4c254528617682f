"""When is a cohort complete?  For the alerts, which judge it then, once, and for the share of a window that is mature.

The cohort of a day are those who came on it: deals that were created or entered a stage, customers who asked. It is complete
on the first day on which nothing that comes in time can come any more.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache

import msgspec

from streams.config import UNCONFIGURED, Definitions
from streams.kpis.entity import Entity
from streams.kpis.formulas import one
from streams.panes.calendar import DAY_US, BusinessHours, Calendar
from streams.panes.cell import Cell, Measure, of_maturity
from streams.panes.pane import DAYS_CORRECTED

_PIPELINE_AT = {"pipeline": 1, "stage": 1, "rep_stage": 2}  # in an entity's name
_SLA = -1  # instead of days of maturity: as long as an answer may take
_JUDGED: dict[str, tuple[Measure, Measure] | None] = {
    "conversion_drop": (Measure.CREATED, Measure.WON_IN_TIME),
    "response_rise": (Measure.ASKED, Measure.WITHIN_SLA),
}
_JUDGED_STAGES: dict[str, tuple[Measure, Measure] | None] = {
    "conversion_drop": (Measure.COHORT_ENTERED, Measure.ADVANCED_IN_TIME),
    "response_rise": None,
}


class Cohorts:
    """What the definitions and the calendar say of the cohorts of entities."""

    def __init__(self, definitions: Definitions, calendar: Calendar) -> None:
        self._calendar = calendar
        self._grace = round(definitions.grace * 1_000_000)  # µs
        self._maturity_of_pipeline = definitions.maturity_of
        self._longest = definitions.longest_maturity
        maturities = {UNCONFIGURED.maturity_days, *(one.maturity_days for one in definitions.pipelines.values())}
        self._apart = sorted(maturities - {self._longest})  # what else an entry's maturity may be
        self._rules = definitions.rules
        self.judged_cuts = {rule.cut for rule in definitions.rules}
        self._hours = BusinessHours(calendar, definitions.business.hours, definitions.business.holidays)
        self._sla_ms = round(definitions.sla.first_response * 1000)
        self._complete_on = lru_cache(maxsize=4_096)(self._work_out_complete_on)
        self._last_complete = lru_cache(maxsize=256)(self._work_out_last_complete)

    def judged_on(self, at: int) -> int:
        """Return the day on which cohorts have to be complete to be judged at an instant in µs: that of `grace` before."""
        return self._calendar.day_of(at - self._grace)

    def take_complete(self, entity: Entity, at: int) -> Iterator[bytes]:
        """Yield what the alerts are told of the cohorts of an entity that became complete up to an instant, one per rule and day.

        The entity remembers up to which day it was judged.
        """
        for rule in self._rules:
            if rule.cut != entity.name[0]:
                continue
            judged = (_JUDGED_STAGES if rule.cut in ("stage", "rep_stage") else _JUDGED)[rule.kind]
            if judged is None:
                continue
            total, good = judged
            maturity = _SLA if rule.kind == "response_rise" else self._maturity_of(entity)
            last = self._last_complete(self.judged_on(at), maturity)
            for day, cell in entity.days_between(entity.head.judged.get(rule.name, 0) + 1, last):
                entries, successes = cell.get(total << 16, 0), cell.get(good << 16, 0)
                judged_at = self._calendar.start_of_day(self._complete_on(day, maturity)) + self._grace
                # Days are let go after so long: one that is complete later would be judged in long rounds only.
                if entries > 0 and self._calendar.day_of(judged_at) <= day + DAYS_CORRECTED:
                    yield msgspec.json.encode({
                        "rule": rule.name, "entity": entity.name, "day": day, "n": entries, "k": successes, "at": judged_at,
                    })  # fmt: skip
            entity.judge(rule.name, last)

    def mature_share(self, entity: Entity, measure: Measure, total: Cell, days: tuple[int, int], today: int) -> float | None:
        """Return the share of a window's entries that came on complete days; None without entries.

        `total` is what is in the window, `days` its first and its last day.
        """
        entries = one(total, measure)
        if entries <= 0:
            return None
        first_day, last_day = days

        def mature(key: int, maturity: int) -> int:
            first_young = self._last_complete(today, maturity) + 1
            if first_young <= first_day:
                return 0
            return total.get(key, 0) - entity.of_days(key, first_young, last_day)  # some may be ahead of the clock

        most = self._maturity_of(entity)
        found = mature(measure << 16, most)
        if entity.name[0] not in _PIPELINE_AT:
            for apart in self._apart:  # whom the pipeline makes mature at another time than most
                key = of_maturity(measure, apart)
                if key in total:
                    found += mature(key, apart) - mature(key, most)
        return max(0, found) / entries

    def _maturity_of(self, entity: Entity) -> int:
        place = _PIPELINE_AT.get(entity.name[0])
        return self._maturity_of_pipeline(entity.name[place]) if place else self._longest

    def _work_out_last_complete(self, today: int, maturity: int) -> int:
        """Return the last day whose cohort is complete on a day."""
        first = today - DAYS_CORRECTED
        return first - 1 + bisect_right(range(first, today), today, key=lambda day: self._complete_on(day, maturity))

    def _work_out_complete_on(self, day: int, maturity: int) -> int:
        """Return the first day on which nothing that comes in time can come any more, also for who came with the end of `day`."""
        start_of = self._calendar.start_of_day
        if maturity != _SLA:
            return self._calendar.day_of(start_of(day + 1) - 1 + maturity * DAY_US) + 1
        left, later = self._sla_ms, day
        while left >= 0 and later <= day + DAYS_CORRECTED:
            later += 1
            left -= self._hours.between(start_of(later), start_of(later + 1))
        return later + 1
