"""What does a deal add to the numbers?  Its facts, a pure function of its record.

A fact is a tuple of fixed shape (see FIELDS): its kind, when, whose, and up to two numbers.  Applying an
event to a deal adds facts(after) - facts(before) to the panes, so late events, corrections, new owners,
new amounts, re-openings and deletions are one mechanism (law 1).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Any

from streams.config import LEAD, WON
from streams.deals.history import History
from streams.deals.record import CALL, CONNECTED, Deal, Row, unpack_rows
from streams.deals.terms import Kind, Terms
from streams.events.amounts import to_minor
from streams.panes.calendar import FINE_US
from streams.panes.cell import currency_code

# `when` is the fine pane of the fact's instant; for levels it is 0 until the change is given its day.
# a and b are the numbers of the kind: see expand.py, which turns facts into cells.
FIELDS = ("kind", "when", "pipeline", "stage", "rep", "product", "region", "lead_source", "customer", "a", "b")
Fact = tuple[Kind, int, str | None, str | None, str | None, str | None, str | None, str | None, str | None, Any, Any]

_LEAD, _ENTER, _LEAVE, _CONVERSION, _COHORT, _RESPONSE, _OUTCOME, _CYCLE, _MONEY = (Kind(n) for n in range(9))
_ACTIVITY, _TALK, _LEVEL, _VALUE, _WAIT = (Kind(n) for n in range(9, 14))


def facts(deal: Deal, terms: Terms) -> list[Fact]:
    """Return every fact of a deal."""
    history = History(deal.stages, terms)
    if history.deleted:
        return []
    rows = unpack_rows(deal)
    found = stage_facts(history, first_touch(history, rows, deal.settled_touch), deal, terms)
    found.extend(activity_facts(rows, history, terms))
    return found


def created_at(history: History) -> int:
    """Return the instant of creation, -1 without an entry."""
    return history.entries[history.created].at if history.created >= 0 else -1


def first_touch(history: History, rows: Iterable[Row], settled: int) -> int:
    """Return the instant of the first outbound touch at or after creation, -1 without one."""
    created = created_at(history)
    if created < 0:
        return -1
    if settled >= created:
        return settled
    return next((row.at for row in rows if row.at >= created and row.outbound_touch), -1)


# ------------------------------------------------------------------ from stage events


def stage_facts(history: History, touch: int, deal: Deal, terms: Terms) -> list[Fact]:
    """Return the facts that follow from the stage events and the first touch."""
    if not history.entries or history.deleted:
        return []
    found: list[Fact] = []
    enabled = terms.enabled
    if _ENTER in enabled or _LEAVE in enabled or _CONVERSION in enabled:
        _stages(history, deal, enabled, found)
    _creation(history, touch, terms, found)
    if history.entries[-1].meaning.begins:
        _levels(history, touch, terms, found)
    else:
        _close(history, terms, found)
    return found


def _stages(history: History, deal: Deal, enabled: frozenset[Kind], found: list[Fact]) -> None:
    seen = {(pipeline, stage) for pipeline, stage in deal.settled_stages}
    entries = history.entries
    for index, entry in enumerate(entries):
        when = entry.at // FINE_US
        if _ENTER in enabled:
            rep = history.at_instant("rep_id", entry.at)
            found.append((_ENTER, when, entry.pipeline, entry.stage, rep, None, None, None, None, None, None))
        if index + 1 < len(entries) and _LEAVE in enabled:
            after = entries[index + 1]
            rep = history.known("rep_id", after.place, len(history.events))
            stay = (after.at - entry.at) // 1000
            when = after.at // FINE_US
            found.append((_LEAVE, when, entry.pipeline, entry.stage, rep, None, None, None, None, stay, None))
        first = (entry.pipeline, entry.stage) not in seen
        seen.add((entry.pipeline, entry.stage))
        if first and entry.meaning.begins and entry.meaning.rank is not None and _CONVERSION in enabled:
            _conversion(history, index, found)


def _conversion(history: History, index: int, found: list[Fact]) -> None:
    entry = history.entries[index]
    rank = entry.meaning.rank or 0
    advanced = any(
        later.pipeline == entry.pipeline and later.meaning.rank is not None and later.meaning.rank > rank
        for later in history.entries[index + 1 :]
    )
    rep = _of_cohort(history, index, "rep_id")
    when = entry.at // FINE_US
    found.append((_CONVERSION, when, entry.pipeline, entry.stage, rep, None, None, None, None, advanced, None))


def _of_cohort(history: History, index: int, name: str) -> Any:
    """Return what was known when the cohort began, never what the event that left its stage revealed."""
    leaving = history.leaving(index)
    return history.known(name, min(bisect_right(history.times, history.entries[index].at), leaving), leaving)


def _creation(history: History, touch: int, terms: Terms, found: list[Fact]) -> None:
    entry = history.entries[history.created]
    enabled, when = terms.enabled, entry.at // FINE_US
    if _LEAD in enabled:
        rep = history.at_instant("rep_id", entry.at)
        product = history.at_instant("product", entry.at)
        region = history.at_instant("region", entry.at) or terms.rep(rep).region
        source = history.at_instant("lead_source", entry.at)
        found.append((_LEAD, when, entry.pipeline, None, rep, product, region, source, None, None, None))
    if _COHORT not in enabled and _RESPONSE not in enabled:
        return
    rep = _of_cohort(history, history.created, "rep_id")
    source = _of_cohort(history, history.created, "lead_source")
    if _COHORT in enabled:
        product = _of_cohort(history, history.created, "product")
        region = _of_cohort(history, history.created, "region") or terms.rep(rep).region
        won = history.entries[-1].meaning.kind == WON
        found.append((_COHORT, when, entry.pipeline, None, rep, product, region, source, None, won, None))
    if _RESPONSE in enabled:
        response = business = None
        if touch >= 0:
            response = (touch - entry.at) // 1000
            business = response if terms.hours.always else terms.hours.between(entry.at, touch)
        found.append((_RESPONSE, when, entry.pipeline, None, rep, None, None, source, None, response, business))


def _close(history: History, terms: Terms, found: list[Fact]) -> None:
    close = history.close()
    if close is None:
        return
    at, when, pipeline = close.at, close.at // FINE_US, close.pipeline
    won = close.meaning.kind == WON
    rep = history.at_instant("rep_id", at)
    product = history.at_instant("product", at)
    region = history.at_instant("region", at) or terms.rep(rep).region
    source = history.at_instant("lead_source", at)
    if _OUTCOME in terms.enabled:
        found.append((_OUTCOME, when, pipeline, None, rep, product, region, source, None, won, None))
    if _CYCLE in terms.enabled:
        cycle = (at - created_at(history)) // 1000
        found.append((_CYCLE, when, pipeline, None, rep, product, region, None, None, won, cycle))
    if won and _MONEY in terms.enabled:
        money = _money(history, terms)
        if money is not None:
            customer = history.at_instant("customer_id", at)
            found.append((_MONEY, when, pipeline, None, rep, product, region, source, customer, *money))


def _money(history: History, terms: Terms) -> tuple[int, int] | None:
    """Return the deal's present currency as a code and its amount in minor units; None without an amount."""
    amount = history.present("amount")
    if amount is None:
        return None
    currency = history.present("currency") or terms.currency
    return currency_code(currency), to_minor(amount, currency)


def _levels(history: History, touch: int, terms: Terms, found: list[Fact]) -> None:
    last = history.entries[-1]
    pipeline, stage = last.pipeline, last.stage
    rep = history.present("rep_id")
    source = history.present("lead_source")
    region = history.present("region") or terms.rep(rep).region
    product = history.present("product")
    if _LEVEL in terms.enabled:
        lead = last.meaning.kind == LEAD
        found.append((_LEVEL, 0, pipeline, stage, rep, product, region, source, None, lead, None))
    if _VALUE in terms.enabled:
        money = _money(history, terms)
        if money is not None:
            found.append((_VALUE, 0, pipeline, stage, rep, product, region, None, None, *money))
    if touch < 0 and _WAIT in terms.enabled:
        since = created_at(history)
        found.append((_WAIT, 0, pipeline, None, rep, None, None, source, None, since, None))


# ------------------------------------------------------------------ from activities


def activity_facts(rows: Iterable[Row], history: History, terms: Terms) -> list[Fact]:
    """Return the facts of the activities held."""
    found: list[Fact] = []
    instants = [entry.at for entry in history.entries]
    for row in rows:
        if row.human:
            index = bisect_right(instants, row.at) - 1
            entry = history.entries[index] if index >= 0 else None
            rep = row.rep if row.rep is not None else history.at_instant("rep_id", row.at)
            found.extend(facts_of_row(row, rep, entry and entry.pipeline, entry and entry.stage, terms))
    return found


def facts_of_row(row: Row, rep: str | None, pipeline: str | None, stage: str | None, terms: Terms) -> list[Fact]:
    """Return the facts of one human activity whose rep and stage are known."""
    found: list[Fact] = []
    when = row.at // FINE_US
    if _ACTIVITY in terms.enabled:
        sub = row.type << 2 | row.direction
        found.append((_ACTIVITY, when, pipeline, stage, rep, None, None, None, None, sub, row.outcome == CONNECTED))
    if row.type == CALL and row.duration_ms >= 0 and _TALK in terms.enabled:
        found.append((_TALK, when, pipeline, stage, rep, None, None, None, None, row.duration_ms, None))
    return found
