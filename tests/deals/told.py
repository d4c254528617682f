"""How does a test write down a deal and what was made of it?  Events in, records and facts in words out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from streams.deals import fold, quick, record
from streams.deals.contributions import WHOSE, Fact, facts
from streams.deals.fold import Changes, Noticed, Refusal, apply_activity, apply_stage_change
from streams.deals.history import History
from streams.deals.record import Deal, decode, encode, insert_stage_event, stage_event
from streams.deals.terms import FIRST_LEVEL, Kind, Terms
from streams.events.contract import Event, StageChange
from tests.audit.tables import settings

TERMS = Terms(settings())
FIVE_MINUTES = 300_000_000
NEVER = 1_000_000


@contextmanager
def bounded(**bounds: int) -> Iterator[pytest.MonkeyPatch]:
    """Let a record be full sooner, or later, by the names of its bounds."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (record, fold, quick):
            for name in bounds.keys() & vars(module):
                patch.setattr(module, name, bounds[name])
        yield patch


@contextmanager
def small_deals(recent: int = 4) -> Iterator[None]:
    """Let a deal be a large one soon: 4 recent activities instead of 32, 24 instead of 512 held, 6 stage events instead of 64."""
    with bounded(RECENT=recent, MAX_ACTIVITIES=24, SETTLED_AT_ONCE=8, MAX_STAGE_EVENTS=6) as patch:
        patch.setattr(quick, "_ROWS", (2 * recent - 1) * record.ROW_BYTES)
        patch.setattr(quick, "_FULL", (24 + 8 - 2) * record.ROW_BYTES)
        yield


def history_of(*changes: StageChange, terms: Terms = TERMS) -> History:
    """Return the history of some stage events, whatever order they are given in."""
    deal = Deal()
    for one in changes:
        insert_stage_event(deal, stage_event(one))
    return History(deal.stages, terms)


def take(deal: Deal, event: Event, terms: Terms = TERMS) -> Changes | Refusal:
    """Fold one event into a deal."""
    apply: Any = apply_stage_change if isinstance(event, StageChange) else apply_activity
    return apply(deal, event, terms, Noticed())


def deal_of(*events: Event, terms: Terms = TERMS) -> Deal:
    """Return the record after some arrivals."""
    deal = Deal()
    for event in events:
        take(deal, event, terms)
    return deal


def words(found: Iterable[Fact], kind: Kind) -> list[dict[str, Any]]:
    """Return the facts of a kind with what they say by name; `when` as µs where the fact has an instant."""
    told: list[dict[str, Any]] = []
    for one, when, whose, a, b in found:
        if one is kind:
            said = dict(zip((*WHOSE, "a", "b"), (*whose, a, b), strict=True))
            instant = {"when": when * FIVE_MINUTES} if kind < FIRST_LEVEL else {}
            told.append({name: value for name, value in said.items() if value is not None} | instant)
    return told


def facts_of(kind: Kind, *events: Event, terms: Terms = TERMS) -> list[dict[str, Any]]:
    """Return the facts of a kind that a deal's events make."""
    return words(facts(deal_of(*events, terms=terms), terms), kind)


def timeless(changes: Iterable[tuple[Fact, int]]) -> Counter[Fact]:
    """Add up changes; levels over all days, so that they compare with what holds now."""
    total: Counter[Fact] = Counter()
    for fact, count in changes:
        total[(fact[0], 0, *fact[2:]) if fact[0] >= FIRST_LEVEL else fact] += count
    return Counter({fact: count for fact, count in total.items() if count})


def from_scratch(deal: Deal, terms: Terms) -> Counter[Fact]:
    """Count a record's facts, read back from its bytes."""
    return Counter(facts(decode(encode(deal)), terms))
