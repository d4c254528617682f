"""Which histories can a CRM send?  Hypothesis strategies for property tests against the batch recomputation.

The alphabets are small on purpose: laws break where instants are equal, where an event is late, where a deal is
closed before it is created, moved between pipelines, cleared or deleted; rich text finds nothing more.
"""

from __future__ import annotations

import os
from typing import Any

import msgspec
from hypothesis import strategies as st

from streams.config import Definitions, definitions_from
from streams.events.contract import ACTIVITY_TYPES, DIRECTIONS, OUTCOMES, SAYABLE, Activity, Event, StageChange

QUICK = os.environ.get("DEALPULSE_QUICK") == "1"  # make check-fast

SECOND = 1_000_000
HOUR = 3_600 * SECOND
DAY = 24 * HOUR

# 2024-03-29 22:00 UTC, midnight in Kyiv; the clocks go forward there on 31 March.
EPOCH = 1_711_749_600 * SECOND
# After every instant below, completions included.
WATERMARK = EPOCH + 95 * DAY

DEALS = ("d1", "d2", "d3")
REPS = ("anna", "borys", "nobody")
STAGES = ("New", "Qualified", "Proposal", "Won", "Lost", "Limbo")
PIPELINES = ("default", "renewals", "ghost")


def tries(count: int) -> int:
    """Return how many examples a long property gets: in the quick tests a fourth of those it has in the suite."""
    return count // 4 if QUICK else count


def definitions() -> Definitions:
    """Return settings that fit the alphabets: 2 pipelines (a third is not configured), 2 of 3 reps with a team."""
    return definitions_from(
        {
            "currency": "EUR",
            "business": {"zone": "Europe/Kyiv", "hours": "Mon-Fri 09:00-18:00", "holidays": ["2024-04-03"]},
            "pipelines": {
                "default": {
                    "stages": [
                        {"name": "New", "kind": "lead"},
                        {"name": "Qualified", "kind": "open", "qualified": True, "opportunity": True},
                        {"name": "Proposal", "kind": "open", "proposal": True},
                        {"name": "Won", "kind": "won"},
                        {"name": "Lost", "kind": "lost"},
                    ]
                },
                "renewals": {
                    "stages": [
                        {"name": "New", "kind": "open"},
                        {"name": "Won", "kind": "won"},
                        {"name": "Proposal", "kind": "won"},
                        {"name": "Lost", "kind": "lost"},
                    ]
                },
            },
            "reps": {"anna": {"team": "Central", "region": "EU"}, "borys": {"team": "West"}},
        }
    )


def instants() -> st.SearchStrategy[int]:
    """Few enough to collide, close enough for the 24-hour rule, far enough for months and quarters."""
    return st.one_of(
        st.integers(0, 8).map(lambda n: EPOCH + n * 11 * HOUR),
        st.integers(0, 8).map(lambda n: EPOCH + n * 11 * HOUR),
        st.integers(0, 94 * 24 * 60).map(lambda n: EPOCH + n * 60 * SECOND),
        st.integers(0, 3 * DAY).map(lambda n: EPOCH + n),
    )


def said() -> st.SearchStrategy[dict[str, Any]]:
    """Draw what a stage event says about its deal."""
    return st.fixed_dictionaries(
        {},
        optional={
            "rep_id": st.sampled_from(REPS),
            "customer_id": st.sampled_from(("c1", "c2")),
            "product": st.sampled_from(("p1", "p2")),
            "region": st.sampled_from(("EU", "US")),
            "lead_source": st.sampled_from(("web", "fair")),
            "amount": st.sampled_from(("0", "100", "250.5", "-7.25", "0.125", "10.005", "1234567.891")),
            "currency": st.sampled_from(("EUR", "USD", "JPY", "KWD")),
            "quantity": st.sampled_from(("1", "3")),
            "cost": st.sampled_from(("10", "99.995")),
            "close_date": st.just("2024-05-01"),
            "lost_reason": st.just("price"),
            "attributes": st.just({"size": 3}),
        },
    )


def stage_changes(deal_id: str) -> st.SearchStrategy[StageChange]:
    """Draw one stage event; the caller gives it an id."""
    return st.builds(
        StageChange,
        event_id=st.just(""),
        at=instants(),
        deal_id=st.just(deal_id),
        to_stage=st.sampled_from((*STAGES, *STAGES[:5], None, None)),
        from_stage=st.sampled_from((None, None, "New")),
        pipeline=st.sampled_from((None, None, None, *PIPELINES)),
        said=said(),
        clear=st.one_of(st.just(()), st.just(()), st.lists(st.sampled_from(SAYABLE), max_size=3, unique=True).map(tuple)),
        deleted=st.sampled_from((None,) * 10 + (True, False, False)),
    )


def activities(deal_id: str | None) -> st.SearchStrategy[Activity]:
    """Draw one activity, of a deal or (None) of a rep alone; the caller gives it an id."""
    return st.builds(
        Activity,
        event_id=st.just(""),
        at=instants(),
        deal_id=st.just(deal_id),
        rep_id=st.sampled_from((*REPS, None, None, None) if deal_id else REPS),
        customer_id=st.sampled_from((None, "c1")),
        type=st.one_of(st.integers(0, 4), st.integers(0, len(ACTIVITY_TYPES) - 1)),
        direction=st.integers(0, len(DIRECTIONS) - 1),
        outcome=st.sampled_from((0, OUTCOMES.index("connected"), OUTCOMES.index("no_answer"))),
        duration_ms=st.sampled_from((-1, -1, 0, 1, 61_500)),
        automated=st.sampled_from((False, False, False, True)),
        planned=st.sampled_from((False, False, False, True)),
    )


@st.composite
def deal_history(draw: st.DrawFn, deal_id: str, most: int = 8) -> list[Event]:
    """Draw the events of one deal, ids unique per topic; a planned activity may share its id with its completion."""
    stages = draw(st.lists(stage_changes(deal_id), max_size=most))
    acts = draw(st.lists(activities(deal_id), max_size=most))
    for number, event in enumerate(stages):
        event.event_id = f"e{number}"
    for number, act in enumerate(acts):
        act.event_id = f"a{number}"
    completed = [
        msgspec.structs.replace(act, planned=False, at=act.at + HOUR) for act in acts if act.planned and draw(st.booleans())
    ]
    return [*stages, *acts, *completed]


@st.composite
def busy_deal(draw: st.DrawFn, deal_id: str) -> list[Event]:
    """Draw the arrivals of a deal with many activities: most in order, some late, some again, and then not always as before."""
    stages = draw(st.lists(stage_changes(deal_id), min_size=1, max_size=10))
    acts = draw(st.lists(activities(deal_id), min_size=16, max_size=44))
    for number, event in enumerate((*stages, *acts)):
        event.event_id = f"{number}"
    arrivals = sorted((*stages, *acts), key=lambda one: one.at)
    rng = draw(st.randoms(use_true_random=False))
    for _ in range(draw(st.integers(0, 5))):
        arrivals.append(arrivals.pop(rng.randrange(len(arrivals))))
    for _ in range(draw(st.integers(0, 5))):
        first = rng.randrange(len(arrivals))
        again = msgspec.structs.replace(arrivals[first], at=rng.choice((arrivals[first].at, WATERMARK)))
        arrivals.insert(rng.randrange(first, len(arrivals)) + 1, again)
    return arrivals


@st.composite
def rep_history(draw: st.DrawFn) -> list[Event]:
    """Draw activities without a deal."""
    acts = draw(st.lists(activities(None), max_size=4))
    for number, act in enumerate(acts):
        act.event_id = f"r{number}"
    return list(acts)


@st.composite
def histories(draw: st.DrawFn, deals: int = 2, most: int = 8) -> list[Event]:
    """Draw the arrivals of a few deals: in any order (so most are late), some of them more than once."""
    events = [event for deal in DEALS[:deals] for event in draw(deal_history(deal, most))]
    events += draw(rep_history())
    if not events:
        return []
    repeats = draw(st.lists(st.sampled_from(events), max_size=4))
    return list(draw(st.permutations([*events, *repeats])))
