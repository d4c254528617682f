"""What do the words mean here?  The definitions of one installation, ready for look-up."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from streams.config import LEAD, LOST, OPEN, Definitions, Rep
from streams.kpis.catalogue import CATALOGUE
from streams.panes.calendar import DAY_US, BusinessHours, Calendar


class Kind(IntEnum):
    """What a fact says.  From LEVEL on, it says something about the present and has no instant."""

    LEAD = 0
    ENTER = 1
    LEAVE = 2
    CONVERSION = 3
    COHORT = 4
    RESPONSE = 5
    OUTCOME = 6
    CYCLE = 7
    MONEY = 8
    ACTIVITY = 9
    TALK = 10
    LEVEL = 11
    VALUE = 12
    WAIT = 13


FIRST_LEVEL = Kind.LEVEL

# Which KPIs read which facts; a fact that no enabled KPI reads is not made.
READ_BY: dict[Kind, tuple[str, ...]] = {
    Kind.LEAD: ("new_leads",),
    Kind.ENTER: ("stage_entered",),
    Kind.LEAVE: ("stage_left", "time_in_stage"),
    Kind.CONVERSION: ("stage_conversion",),
    Kind.COHORT: ("lead_conversion",),
    Kind.RESPONSE: (
        "first_response_time", "first_response_business", "first_response_answered", "first_response_within_sla",
    ),
    Kind.OUTCOME: ("win_rate", "won_lost_ratio"),
    Kind.CYCLE: ("sales_cycle", "closed_cycle"),
    Kind.MONEY: ("revenue", "avg_deal_size"),
    Kind.ACTIVITY: (
        "activities", "calls", "emails", "meetings", "messages", "proposals", "tasks", "connect_rate",
    ),
    Kind.TALK: ("talk_time",),
    Kind.LEVEL: ("leads_in_funnel", "active_deals"),
    Kind.VALUE: ("pipeline_value",),
    Kind.WAIT: ("waiting_leads", "oldest_waiting"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class StageMeaning:
    """What a stage is: its kind, and its rank (None: lost, or not configured)."""

    kind: str
    rank: int | None
    configured: bool = True

    @property
    def begins(self) -> bool:
        """Does an entry here create a deal?"""
        return self.kind in (LEAD, OPEN)


_OF_MOVES = frozenset((Kind.ENTER, Kind.LEAVE, Kind.ACTIVITY, Kind.TALK))
_UNKNOWN = StageMeaning(OPEN, None, configured=False)


class Terms:
    """Stages, reps, calendar and enabled facts; built once at start."""

    def __init__(self, definitions: Definitions) -> None:
        self.currency = definitions.currency
        self.calendar = Calendar(definitions.zone)
        self.hours = BusinessHours(self.calendar, definitions.business.hours, definitions.business.holidays)
        self.sla_ms = round(definitions.sla.first_response * 1000)
        self._stages = {
            (name, stage.name): StageMeaning(stage.kind, None if stage.kind == LOST else rank)
            for name, pipeline in definitions.pipelines.items()
            for rank, stage in enumerate(pipeline.stages)
        }
        self._reps = definitions.reps
        self._maturity_of, self._longest_maturity = definitions.maturity_of, definitions.longest_maturity
        self.cuts = {kind: _cuts(definitions, kind) for kind in Kind}
        # Does a cut ask for the stage in which an activity falls, and for the rep of an entry or an exit?
        self.stages_of_activities = "rep_stage" in (*self.cuts[Kind.ACTIVITY], *self.cuts[Kind.TALK])
        self.reps_of_moves = "rep_stage" in (*self.cuts[Kind.ENTER], *self.cuts[Kind.LEAVE])
        self.enabled = frozenset(kind for kind in Kind if self.cuts[kind])
        self.entries, self.exits = Kind.ENTER in self.enabled, Kind.LEAVE in self.enabled
        self.activities, self.talk = Kind.ACTIVITY in self.enabled, Kind.TALK in self.enabled
        self.responses = Kind.RESPONSE in self.enabled or Kind.WAIT in self.enabled
        self.only_moves = self.enabled <= _OF_MOVES

    def stage(self, pipeline: str, stage: str) -> StageMeaning:
        """Return what a stage is; one that is not configured is open and has no rank."""
        return self._stages.get((pipeline, stage), _UNKNOWN)

    def maturity(self, pipeline: str) -> int:
        """Return within how many µs a cohort's success counts for the alerts.

        No later than they judge cohorts of several pipelines, which is when all that are configured are mature: what came
        later in one that is not configured would count or not, by when the judge looks.
        """
        return min(self._maturity_of(pipeline), self._longest_maturity) * DAY_US

    def matures_apart(self, pipeline: str) -> int | None:
        """Return after how many days its cohorts are mature if it is not after the longest time that is configured."""
        days = self._maturity_of(pipeline)
        return days if days != self._longest_maturity else None

    def rep(self, rep_id: str | None) -> Rep:
        """Return where a rep belongs at present."""
        return self._reps.get(rep_id, _NOWHERE) if rep_id is not None else _NOWHERE


_NOWHERE = Rep()


def enabled_kpis(definitions: Definitions) -> frozenset[str]:
    """Return the ids of the KPIs that are on; all are unless switched off."""
    return frozenset(kpi.id for kpi in CATALOGUE if definitions.kpis.get(kpi.id, True))


def _cuts(definitions: Definitions, kind: Kind) -> tuple[str, ...]:
    on = enabled_kpis(definitions)
    wanted = {cut for kpi in CATALOGUE if kpi.id in on and kpi.id in READ_BY[kind] for cut in kpi.cuts}
    return tuple(cut for cut in definitions.cuts if cut in wanted)
