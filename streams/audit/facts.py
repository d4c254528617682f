"""Which facts does one deal contribute to which KPI?  One small function for each family of docs/kpis.md.

A fact is one number at one instant that belongs to somebody.  What the number means is the KPI's: 1 for a count,
1 or 0 for the numerator of a ratio, ms for a duration, minor units for money (tally.py makes records of them).
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import NamedTuple

from streams.audit.business import business_ms
from streams.audit.deal import ACTIVE, CLOSING, Deal, Entry, rank_of, stage_of
from streams.audit.owner import Who, at_exit, at_instant, at_present, at_start, of_rep, word
from streams.config import LEAD, WON, Definitions
from streams.events.contract import ACTIVITY_TYPES, DIRECTIONS, OUTCOMES, Activity
from streams.events.currencies import MINOR_DIGITS

TOUCHES = ("call", "email", "meeting", "message", "proposal")
OUTBOUND_UNSAID = ("call", "email", "proposal")
BY_TYPE = {
    "call": "calls", "email": "emails", "meeting": "meetings", "message": "messages", "proposal": "proposals",
    "task": "tasks",
}  # fmt: skip

_WIDE = Context(prec=1000, rounding=ROUND_HALF_EVEN)


class Fact(NamedTuple):
    """One number of one KPI; levels have no instant."""

    kpi: str
    at: int
    who: Who
    number: int
    currency: str | None = None


def facts_of(deal: Deal, definitions: Definitions) -> Iterator[Fact]:
    """Yield every fact of one deal.  Deleted: it and its activities leave every number."""
    if deal.deleted:
        return
    yield from activity_facts(deal, definitions)
    if not deal.entries:
        return
    for family in (creation, stays, stage_conversion, lead_conversion, outcome, cycles, money_won, first_response, levels):
        yield from family(deal, definitions)


# ------------------------------------------------------------------ funnel


def creation(deal: Deal, definitions: Definitions) -> Iterator[Fact]:
    """new_leads (period): deals created."""
    created = deal.created
    yield Fact("new_leads", created.at, at_instant(deal, created.at, created, definitions), 1)


def stays(deal: Deal, definitions: Definitions) -> Iterator[Fact]:
    """stage_entered, stage_left (period): entries into, exits from a stage; each entry counts.

    time_in_stage (period, left): exit - entry.
    """
    for entry in deal.entries:
        yield Fact("stage_entered", entry.at, at_instant(deal, entry.at, entry, definitions), 1)
        leaving = deal.entry_after(entry)
        if leaving:
            who = at_exit(deal, entry, leaving, definitions)
            yield Fact("stage_left", leaving.at, who, 1)
            yield Fact("time_in_stage", leaving.at, who, (leaving.at - entry.at) // 1000)


def stage_conversion(deal: Deal, definitions: Definitions) -> Iterator[Fact]:
    """stage_conversion (cohort, first entry into the stage): deals that advanced after it / deals that entered it.

    Stages of kind lead and open only, and only configured ones.
    """
    seen = set()
    for entry in deal.entries:
        place = (entry.pipeline, entry.stage)
        if place not in seen and entry.kind in ACTIVE and stage_of(*place, definitions):
            yield Fact("stage_conversion", entry.at, at_start(deal, entry, definitions), advanced(deal, entry, definitions))
        seen.add(place)


def advanced(deal: Deal, entry: Entry, definitions: Definitions) -> bool:
    """Say whether a later entry (in order) is into a stage of higher rank of the same pipeline."""
    rank = rank_of(entry.pipeline, entry.stage, definitions)
    later = [one for one in deal.entries if one.place > entry.place and one.pipeline == entry.pipeline]
    ranks = [rank_of(one.pipeline, one.stage, definitions) for one in later]
    return any(one is not None and rank is not None and one > rank for one in ranks)


def lead_conversion(deal: Deal, definitions: Definitions) -> Iterator[Fact]:
    """lead_conversion (cohort, created): won / created."""
    won = deal.entries[-1].kind == WON
    yield Fact("lead_conversion", deal.created.at, at_start(deal, deal.created, definitions), won)


def outcome(deal: Deal, definitions: Definitions) -> Iterator[Fact]:
    """win_rate (period, closed): won / (won + lost); won_lost_ratio: won / lost."""
    close = deal.close
    if close:
        who = at_instant(deal, close.at, close, definitions)
        yield Fact("win_rate", close.at, who, close.kind == WON)
        yield Fact("won_lost_ratio", close.at, who, close.kind == WON)


def cycles(deal: Deal, definitions: Definitions) -> Iterator[Fact]:
    """sales_cycle (period, close time): close - created of won deals; closed_cycle the same of won and lost."""
    close = deal.close
    if close:
        who = at_instant(deal, close.at, close, definitions)
        lasted = (close.at - deal.created.at) // 1000
        yield Fact("closed_cycle", close.at, who, lasted)
        if close.kind == WON:
            yield Fact("sales_cycle", close.at, who, lasted)


# ------------------------------------------------------------------ money


def money(deal: Deal, definitions: Definitions) -> tuple[int, str] | None:
    """Return the deal's present amount in minor units of its present currency; None without an amount.

    An amount of 0 is an amount.  Rounded half-even from what was said.
    """
    amount = word("amount", deal.events, ())
    currency = word("currency", deal.events, ()) or definitions.currency
    if amount is None:
        return None
    minor = Decimal(amount).scaleb(MINOR_DIGITS[currency], _WIDE)
    return int(minor.to_integral_value(ROUND_HALF_EVEN)), currency


def money_won(deal: Deal, definitions: Definitions) -> Iterator[Fact]:
    """Revenue (period, won): sum of amount of won; avg_deal_size: revenue / won with an amount."""
    close, paid = deal.close, money(deal, definitions)
    if close and close.kind == WON and paid:
        who = at_instant(deal, close.at, close, definitions)
        yield Fact("revenue", close.at, who, *paid)
        yield Fact("avg_deal_size", close.at, who, *paid)


# ------------------------------------------------------------------ activities and response


def human(act: Activity) -> bool:
    """Human: neither automated nor planned."""
    return not act.automated and not act.planned


def outbound(act: Activity) -> bool:
    """Outbound as said; not said, a call, email or proposal counts as outbound."""
    direction = DIRECTIONS[act.direction]
    return direction == "outbound" or (direction is None and ACTIVITY_TYPES[act.type] in OUTBOUND_UNSAID)


def outbound_touch(act: Activity) -> bool:
    """Outbound touch: a human call, email, meeting, message or proposal that is outbound."""
    return human(act) and ACTIVITY_TYPES[act.type] in TOUCHES and outbound(act)


def activity_facts(deal: Deal, definitions: Definitions) -> Iterator[Fact]:
    """Count human activities, whether or not their deal is known, before its creation and after its close too.

    An activity belongs to the rep it names, else to the deal's at its instant by the first rule; its stage is the one
    at its instant, none before the first entry.
    """
    for act in deal.activities:
        if human(act):
            known = [placed for placed in deal.events if placed.at <= act.at]
            rep_id = act.rep_id or word("rep_id", known, deal.events[len(known) :])
            stay = deal.stage_at(act.at)
            place: Who = {"pipeline": stay.pipeline, "stage": stay.stage} if stay else {}
            yield from one_activity(act, of_rep(rep_id, definitions) | place)


def one_activity(act: Activity, who: Who) -> Iterator[Fact]:
    """Yield activities and its counts by type (stats by direction as said), connect_rate and talk_time.

    connect_rate: connected outbound calls / outbound calls; talk_time: sum of duration of calls.
    """
    kind = ACTIVITY_TYPES[act.type]
    yield Fact("activities", act.at, who, act.direction)
    if kind in BY_TYPE:
        yield Fact(BY_TYPE[kind], act.at, who, act.direction)
    if kind == "call" and outbound(act):
        yield Fact("connect_rate", act.at, who, OUTCOMES[act.outcome] == "connected")
    if kind == "call" and act.duration_ms >= 0:
        yield Fact("talk_time", act.at, who, act.duration_ms)


def answer(deal: Deal) -> Activity | None:
    """Return the first outbound touch at or after creation."""
    return next((act for act in deal.activities if act.at >= deal.created.at and outbound_touch(act)), None)


def first_response(deal: Deal, definitions: Definitions) -> Iterator[Fact]:
    """first_response_time (cohort, created): first outbound touch at or after creation - creation.

    first_response_business the same in business seconds; first_response_answered = answered / created;
    first_response_within_sla = answered within the SLA (at most, in business seconds where hours are configured) / created.
    """
    created, touch = deal.created, answer(deal)
    who = at_start(deal, created, definitions)
    in_time = False
    if touch:
        waited = business_ms(created.at, touch.at, definitions.business)
        in_time = waited <= definitions.sla.first_response * 1000
        yield Fact("first_response_time", created.at, who, (touch.at - created.at) // 1000)
        yield Fact("first_response_business", created.at, who, waited)
    yield Fact("first_response_answered", created.at, who, touch is not None)
    yield Fact("first_response_within_sla", created.at, who, in_time)


# ------------------------------------------------------------------ levels


def levels(deal: Deal, definitions: Definitions) -> Iterator[Fact]:
    """leads_in_funnel: the present stage is of kind lead; active_deals: lead or open; pipeline_value: their amounts.

    waiting_leads: active deals without an outbound touch since creation; oldest_waiting: the age of the oldest
    (the number is the instant of creation; the age is taken at the watermark).
    """
    present = deal.entries[-1]
    if present.kind in CLOSING:
        return
    who = at_present(deal, definitions)
    if present.kind == LEAD:
        yield Fact("leads_in_funnel", 0, who, 1)
    yield Fact("active_deals", 0, who, 1)
    worth = money(deal, definitions)
    if worth:
        yield Fact("pipeline_value", 0, who, *worth)
    if answer(deal) is None:
        yield Fact("waiting_leads", 0, who, 1)
        yield Fact("oldest_waiting", 0, who, deal.created.at)
