"""What does a deal add to the numbers?  Its facts, a pure function of its record.

A fact is a tuple of fixed shape (see Fact): its kind, when, whose, and up to two numbers.  Applying an
event to a deal adds facts(after) - facts(before) to the panes, so late events, corrections, new owners,
new amounts, re-openings and deletions are one mechanism (law 1).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from streams.config import LEAD, WON
from streams.deals.history import Entry, History, Owner
from streams.deals.record import CALL, CONNECTED, Deal, Row, StageEvent, fingerprint, stage_mark, unpack_rows
from streams.deals.terms import Kind, Terms
from streams.events.amounts import to_minor
from streams.events.contract import Activity
from streams.panes.calendar import FINE_US
from streams.panes.cell import currency_code

# Whom and what a fact belongs to, None where nothing is known.  Where no configured cut asks for them, an activity's stage
# and the rep of an entry or an exit are left out, so that more facts are one sum.
WHOSE = ("pipeline", "stage", "rep", "product", "region", "lead_source", "customer")
Whose = tuple[str | None, str | None, str | None, str | None, str | None, str | None, str | None]
# Kind, when, whose, and the numbers of the kind: see expand.py, which turns facts into cells.
# `when` is the fine pane of the fact's instant; for levels it is 0 until the change is given its day.
Fact = tuple[Kind, int, Whose, Any, Any]

_LEAD, _ENTER, _LEAVE, _CONVERSION, _COHORT, _RESPONSE, _OUTCOME, _CYCLE, _MONEY = (Kind(n) for n in range(9))
_ACTIVITY, _TALK, _LEVEL, _VALUE, _WAIT = (Kind(n) for n in range(9, 14))
_OF_STAGES = frozenset((_ENTER, _LEAVE, _CONVERSION))
_OF_CLOSE = frozenset((_OUTCOME, _CYCLE, _MONEY))
_OF_PRESENT = frozenset((_LEVEL, _VALUE))


_code_of = lru_cache(maxsize=1024)(currency_code)


def _known(history: History, until: int, limit: int, terms: Terms) -> Owner:
    """Return the last words of the events before place `until`, each else the first value said before `limit`."""
    owner = history.owners.get((until, limit))
    if owner is None:
        known = history.known
        rep = known("rep_id", until, limit)
        region = known("region", until, limit) or terms.rep(rep).region
        owner = rep, known("product", until, limit), region, known("lead_source", until, limit)
        history.owners[until, limit] = owner
    return owner


def _at_instant(history: History, at: int, terms: Terms) -> Owner:
    return _known(history, bisect_right(history.times, at), len(history.events), terms)


def _present(history: History, until: int, terms: Terms) -> Owner:
    """Return what the events before place `until` leave."""
    return _known(history, until, until, terms)


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
    held = next((row.at for row in rows if row.at >= created and row.outbound_touch), -1)
    if settled < created:
        return held
    return settled if held < 0 else min(settled, held)


# ------------------------------------------------------------------ from stage events


def stage_facts(history: History, touch: int, deal: Deal, terms: Terms) -> list[Fact]:
    """Return the facts that follow from the stage events and the first touch; none of a deleted deal."""
    return [] if history.deleted else facts_of_stages(history, touch, deal, terms)


def facts_of_stages(history: History, touch: int, deal: Deal, terms: Terms) -> list[Fact]:
    """Return the same as if the deal were not deleted."""
    if not history.entries:
        return []
    found: list[Fact] = []
    if not terms.enabled.isdisjoint(_OF_STAGES):
        for index, entry in enumerate(history.entries):
            if not _is_settled(history.events[entry.place], deal):
                found.extend(move_facts(history, index, terms))
        _conversions(history, deal.settled_stages, terms, found)
    creation_facts(history, terms, found)
    outcome_facts(history, terms, found)
    found.extend(response_facts(history, touch, terms))
    return found


def _is_settled(event: StageEvent, deal: Deal) -> bool:
    """Are the entry of an event that is held, and the exit that it made, settled?"""
    return bool(deal.settled_moves) and fingerprint(event.event_id, planned=False) in deal.settled_moves


def move_facts(history: History, index: int, terms: Terms) -> list[Fact]:
    """Return the facts of an entry, and of the exit that it made."""
    found: list[Fact] = []
    entry = history.entries[index]
    if terms.entries:
        rep = history.at_instant("rep_id", entry.at)
        found.append(entry_fact(entry.at, entry.pipeline, entry.stage, rep, terms))
    if terms.exits and index:
        left = history.entries[index - 1]
        rep = history.known("rep_id", entry.place, len(history.events))
        found.append(exit_fact(left.at, entry.at, left.pipeline, left.stage, rep, terms))
    return found


def outcome_facts(history: History, terms: Terms, found: list[Fact]) -> None:
    """Add what the deal's present stage says: a level while it is open, its close when it is closed."""
    if history.entries[-1].meaning.begins:
        count = len(history.events)
        if not terms.enabled.isdisjoint(_OF_PRESENT):
            _levels(history, count, _present(history, count, terms), history.entries[-1], terms, found)
    elif not terms.enabled.isdisjoint(_OF_CLOSE):
        close = history.close()
        if close is not None:
            _close(history, close, _at_instant(history, close.at, terms), terms, found)


def appended_facts(history: History, deal: Deal, terms: Terms) -> tuple[list[Fact], list[Fact]]:
    """Return the facts that go and those that come with the newest event, which moved an open deal to a new stage.

    For a history that the event only appended to: nothing known of earlier instants changed (fold.py asks first).
    """
    gone: list[Fact] = []
    come: list[Fact] = []
    count = len(history.events)
    before, newest = history.entries[-2:]
    was, now = _present(history, newest.place, terms), _present(history, count, terms)
    if terms.entries:
        come.append(entry_fact(newest.at, newest.pipeline, newest.stage, now[0], terms))
    if terms.exits:
        come.append(exit_fact(before.at, newest.at, before.pipeline, before.stage, was[0], terms))
    if _CONVERSION in terms.enabled:
        _advance(history, deal.settled_stages, terms, gone, come)
    _levels(history, newest.place, was, before, terms, gone)
    if deal.touch < 0:
        _wait(history, was, before, terms, gone)
    if newest.meaning.begins:
        _levels(history, count, now, newest, terms, come)
        if deal.touch < 0:
            _wait(history, now, newest, terms, come)
    else:
        _close(history, newest, now, terms, come)
    if newest.meaning.kind == WON and _COHORT in terms.enabled:
        _cohort(history, terms, come, won=True)
        _cohort(history, terms, gone, won=False)
    return gone, come


def entry_fact(at: int, pipeline: str, stage: str, rep: str | None, terms: Terms) -> Fact:
    """Return the fact of an entry into a stage; its rep is the one of that instant."""
    return _ENTER, at // FINE_US, (pipeline, stage, rep if terms.reps_of_moves else None, None, None, None, None), None, None


def exit_fact(  # noqa: PLR0913  # what a fact is made of
    entered: int, at: int, pipeline: str, stage: str, rep: str | None, terms: Terms
) -> Fact:
    """Return the fact of an exit out of a stage; its rep is the one before the event that left it."""
    whose = (pipeline, stage, rep if terms.reps_of_moves else None, None, None, None, None)
    return _LEAVE, at // FINE_US, whose, (at - entered) // 1000, None


def _cohorts(history: History, settled: list[bytes]) -> list[int]:
    """Return the indexes of the first entries into stages that cohorts are kept of."""
    return [index for index in range(len(history.entries)) if _has_cohort(history, index, settled)]


def _has_cohort(history: History, index: int, settled: list[bytes]) -> bool:
    """Is this the first entry into a stage that cohorts are kept of?"""
    return _is_kept(history.entries[index], settled) and _is_first(history, index)


def _is_kept(entry: Entry, settled: list[bytes]) -> bool:
    """Is a cohort kept of the deals that first entered this stage, and not settled that this deal did?"""
    if entry.meaning.rank is None or not entry.meaning.begins:
        return False
    return not (settled and stage_mark(entry.pipeline, entry.stage) in settled)


def advances(history: History, settled: list[bytes]) -> Iterator[tuple[int, Entry | None]]:
    """Yield the index of each first entry that a cohort is kept of, and the entry by which the deal advanced from there."""
    for index in _cohorts(history, settled):
        entry = history.entries[index]
        yield index, next((later for later in history.entries[index + 1 :] if _advances(entry, later)), None)


def _conversions(history: History, settled: list[bytes], terms: Terms, found: list[Fact]) -> None:
    if _CONVERSION in terms.enabled:
        for index, advance in advances(history, settled):
            fact = _conversion(history, index, terms)
            found.append(_advanced(fact, history.entries[index], advance, terms) if advance is not None else fact)


def _advance(history: History, settled: list[bytes], terms: Terms, gone: list[Fact], come: list[Fact]) -> None:
    """Add how the newest entry changes the cohorts of the stages before it, and its own."""
    *earlier, newest = history.entries
    index, reached, highest = len(earlier), newest.meaning.rank, -1
    if _has_cohort(history, index, settled):
        come.append(_conversion(history, index, terms))
    if reached is None:
        return
    for entry in reversed(earlier):
        index -= 1
        rank = entry.meaning.rank
        if rank is None or entry.pipeline != newest.pipeline:
            continue
        if rank >= reached:
            return  # what came before has advanced this far already
        if rank >= highest:
            highest = rank
            if _has_cohort(history, index, settled):
                fact = _conversion(history, index, terms)
                gone.append(fact)
                come.append(_advanced(fact, entry, newest, terms))


def _is_first(history: History, index: int) -> bool:
    """Is this the first entry into its stage?"""
    entry = history.entries[index]
    for one in history.entries[:index]:  # noqa: SIM110  # a generator takes longer than the entries there are
        if one.stage == entry.stage and one.pipeline == entry.pipeline:
            return False
    return True


def _advances(entry: Entry, later: Entry) -> bool:
    rank, reached = entry.meaning.rank, later.meaning.rank
    return later.pipeline == entry.pipeline and rank is not None and reached is not None and reached > rank


def _conversion(history: History, index: int, terms: Terms) -> Fact:
    """Return the fact of a first entry into a stage by a deal that has not advanced from it."""
    entry = history.entries[index]
    rep = _of_cohort(history, index, terms)[0]
    whose = (entry.pipeline, entry.stage, rep, None, None, None, None)
    return _CONVERSION, entry.at // FINE_US, whose, False, False


def _advanced(fact: Fact, entry: Entry, advance: Entry, terms: Terms) -> Fact:
    """Return the same fact of a deal that has advanced."""
    kind, when, whose, _, _ = fact
    return kind, when, whose, True, advance.at - entry.at <= terms.maturity(entry.pipeline)


def _of_cohort(history: History, index: int, terms: Terms) -> Owner:
    """Return what was known when the cohort began, never what the event that left its stage revealed."""
    leaving = history.leaving(index)
    return _known(history, min(bisect_right(history.times, history.entries[index].at), leaving), leaving, terms)


def creation_facts(history: History, terms: Terms, found: list[Fact]) -> None:
    """Add the facts of the deal's creation."""
    if _LEAD in terms.enabled:
        entry = history.entries[history.created]
        whose = (entry.pipeline, None, *_at_instant(history, entry.at, terms), None)
        found.append((_LEAD, entry.at // FINE_US, whose, None, None))
    if _COHORT in terms.enabled:
        _cohort(history, terms, found, won=history.entries[-1].meaning.kind == WON)


def _cohort(history: History, terms: Terms, found: list[Fact], *, won: bool) -> None:
    entry = history.entries[history.created]
    close = history.close() if won else None
    in_time = close is not None and close.at - entry.at <= terms.maturity(entry.pipeline)
    whose = (entry.pipeline, None, *_of_cohort(history, history.created, terms), None)
    found.append((_COHORT, entry.at // FINE_US, whose, won, in_time))


def response_facts(history: History, touch: int, terms: Terms) -> list[Fact]:
    """Return the facts that depend on the first touch: how fast it came, and who still waits for it."""
    found: list[Fact] = []
    created = history.entries[history.created]
    if _RESPONSE in terms.enabled:
        rep, _, _, source = _of_cohort(history, history.created, terms)
        response = business = None
        if touch >= 0:
            response = (touch - created.at) // 1000
            business = response if terms.hours.always else terms.hours.between(created.at, touch)
        whose = (created.pipeline, None, rep, None, None, source, None)
        found.append((_RESPONSE, created.at // FINE_US, whose, response, business))
    last = history.entries[-1]
    if touch < 0 and last.meaning.begins:
        _wait(history, _present(history, len(history.events), terms), last, terms, found)
    return found


def _wait(history: History, owner: Owner, entry: Entry, terms: Terms, found: list[Fact]) -> None:
    """Add that an open deal in an entry's stage waits for its first touch."""
    if _WAIT in terms.enabled:
        rep, _, _, source = owner
        whose = (entry.pipeline, None, rep, None, None, source, None)
        found.append((_WAIT, 0, whose, created_at(history), None))


def _close(history: History, close: Entry, owner: Owner, terms: Terms, found: list[Fact]) -> None:
    """Add what the close of a deal says."""
    at, when, pipeline = close.at, close.at // FINE_US, close.pipeline
    won = close.meaning.kind == WON
    rep, product, region, _ = owner
    if _OUTCOME in terms.enabled:
        found.append((_OUTCOME, when, (pipeline, None, *owner, None), won, None))
    if _CYCLE in terms.enabled:
        cycle = (at - created_at(history)) // 1000
        found.append((_CYCLE, when, (pipeline, None, rep, product, region, None, None), won, cycle))
    if won and _MONEY in terms.enabled:
        money = _money(history, len(history.events), terms)
        if money is not None:
            customer = history.at_instant("customer_id", at)
            found.append((_MONEY, when, (pipeline, None, *owner, customer), *money))


def _money(history: History, until: int, terms: Terms) -> tuple[int, int] | None:
    """Return the deal's currency as a code and its amount in minor units, as the events before `until` say; or None."""
    amount = history.last("amount", until)
    if amount is None:
        return None
    currency = history.last("currency", until) or terms.currency
    return _code_of(currency), to_minor(amount, currency)


def _levels(  # noqa: PLR0913  # what two facts are made of
    history: History, until: int, owner: Owner, entry: Entry, terms: Terms, found: list[Fact]
) -> None:
    """Add the levels of an open deal in an entry's stage, as the events before place `until` leave it."""
    pipeline, stage = entry.pipeline, entry.stage
    if _LEVEL in terms.enabled:
        lead = entry.meaning.kind == LEAD
        found.append((_LEVEL, 0, (pipeline, stage, *owner, None), lead, None))
    if _VALUE in terms.enabled:
        money = _money(history, until, terms)
        if money is not None:
            rep, product, region, _ = owner
            found.append((_VALUE, 0, (pipeline, stage, rep, product, region, None, None), *money))


# ------------------------------------------------------------------ from activities


def activity_facts(rows: Iterable[Row], history: History, terms: Terms) -> list[Fact]:
    """Return the facts of the activities held."""
    found: list[Fact] = []
    instants = [entry.at for entry in history.entries]
    for row in rows:
        if row.human:
            index = bisect_right(instants, row.at) - 1
            rep = row.rep if row.rep is not None else history.at_instant("rep_id", row.at)
            pipeline = stage = None
            if index >= 0:
                pipeline, stage = history.entries[index].pipeline, history.entries[index].stage
            facts_of_row(row, rep, pipeline, stage, terms, found)
    return found


def facts_of_row(  # noqa: PLR0913  # what two facts are made of
    row: Row | Activity, rep: str | None, pipeline: str | None, stage: str | None, terms: Terms, found: list[Fact]
) -> None:
    """Add the facts of one human activity whose rep and stage are known."""
    if not terms.stages_of_activities:
        pipeline = stage = None
    when, whose = row.at // FINE_US, (pipeline, stage, rep, None, None, None, None)
    if terms.activities:
        found.append((_ACTIVITY, when, whose, row.type << 2 | row.direction, row.outcome == CONNECTED))
    if terms.talk and row.type == CALL and row.duration_ms >= 0:
        found.append((_TALK, when, whose, row.duration_ms, None))
