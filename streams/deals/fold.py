"""What changes when an event arrives?  The event goes into the record; facts are taken back and added.

Every path gives facts(after) - facts(before).  A newer event of a known deal touches only what it can
change: that it comes to the same is proved by a property test, not assumed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from streams.deals.contributions import (
    Fact,
    activity_facts,
    appended_facts,
    created_at,
    facts_of_row,
    first_touch,
    response_facts,
    stage_facts,
)
from streams.deals.history import DEFAULT_PIPELINE, History
from streams.deals.record import (
    MAX_ACTIVITIES,
    MAX_STAGE_EVENTS,
    OWNERS,
    SETTLED_AT_ONCE,
    Deal,
    PackedEvents,
    Row,
    StageEvent,
    append_event,
    fingerprint,
    has_activity,
    has_stage_event,
    insert_activity,
    insert_stage_event,
    is_touch_going_out,
    says_only_last_words,
    spoken,
    stage_event,
    unpack_rows,
)
from streams.deals.settle import oldest_activity, settle_activities, settle_stage_event
from streams.deals.terms import FIRST_LEVEL, Terms
from streams.events.contract import Activity, StageChange
from streams.panes.calendar import DAY_US

Changes = list[tuple[Fact, int]]


class Refusal(Enum):
    """Why an event changes nothing."""

    DUPLICATE = "duplicate"
    TOO_LATE = "too_late"


@dataclass(slots=True)
class Noticed:
    """What is counted but changes no number."""

    settled: int = 0
    late: int = 0
    stage_mismatches: int = 0
    anomalies: int = 0
    unconfigured: set[tuple[str, str]] = field(default_factory=set)


def difference(before: Iterable[Fact], after: Iterable[Fact], day: int) -> Changes:
    """Return after - before; what changed about the present changed on `day`: that of the deal's newest event."""
    counts: dict[Fact, int] = {}
    for fact in after:
        counts[fact] = counts.get(fact, 0) + 1
    for fact in before:
        counts[fact] = counts.get(fact, 0) - 1
    return [(_on_day(fact, day), count) for fact, count in counts.items() if count]


def _on_day(fact: Fact, day: int) -> Fact:
    return (fact[0], day, *fact[2:]) if fact[0] >= FIRST_LEVEL else fact


# ------------------------------------------------------------------ stage events


def apply_stage_change(deal: Deal, event: StageChange, terms: Terms, noticed: Noticed) -> Changes | Refusal:
    """Fold a stage event into the record, in place; return the changed facts."""
    held = deal.held
    if has_stage_event(deal, event.event_id):
        return Refusal.DUPLICATE
    noticed.late += event.at < deal.newest
    kept = stage_event(event)
    if _appends(deal, event):
        changes = _append(deal, event, kept, terms, noticed)
        if isinstance(held, PackedEvents):  # appended as packed: only what is new is packed
            words, last = append_event(held.words, event)
            deal.held = PackedEvents(held.number + 1, words, held.events + last)
        return changes
    if not deal.stages and not deal.activities:
        return _begin(deal, event, kept, terms, noticed)
    before = History(deal.stages[:], terms)
    if _is_too_late(deal, kept, before):
        return Refusal.TOO_LATE
    noticed.stage_mismatches += _mismatch(event, before)
    insert_stage_event(deal, kept)
    after = History(deal.stages[:], terms)
    noticed.anomalies += max(0, after.anomalies - before.anomalies)
    _notice_unconfigured(after, noticed)
    touch = deal.touch
    if _touches_activities(deal, kept, before, after):
        rows = unpack_rows(deal)
        touch = first_touch(after, rows, deal.settled_touch)
        old, new = _all_facts(before, deal.touch, rows, deal, terms), _all_facts(after, touch, rows, deal, terms)
    else:
        if created_at(after) != deal.created:
            touch = first_touch(after, unpack_rows(deal), deal.settled_touch)
        old, new = stage_facts(before, deal.touch, deal, terms), stage_facts(after, touch, deal, terms)
    _summarise(deal, after, touch)
    changes = difference(old, new, terms.calendar.day_of(deal.newest))
    while len(deal.stages) > MAX_STAGE_EVENTS:
        changes += settle_stage_event(deal, terms)
        noticed.settled += 1
    return changes


def _is_too_late(deal: Deal, kept: StageEvent, before: History) -> bool:
    """Was something let go of that the event would come before, or does it come before the creation?"""
    if deal.settled_until < 0:  # nothing was, or nothing that anything hangs on; the other mark is not above this one
        return False
    if says_only_last_words(kept):
        return kept.at <= deal.reworded_until
    since = kept.at
    if kept.to_stage is not None and before.was_only_closed and kept.at <= deal.told:
        since -= DAY_US  # the closings of a day before it would count behind it
    return since <= deal.settled_until or kept.at < deal.created


def _appends(deal: Deal, event: StageChange) -> bool:
    """Does the event only add to the end of an open deal, so that all that was known of earlier instants stands?

    It must be newer than the stage events that are held, move the deal, delete nothing, and say for the first time nothing
    that a fact could belong to.
    """
    if event.at <= deal.told or not deal.open or event.deleted is not None or deal.deleted:
        return False
    if event.to_stage is None or (event.to_stage == deal.stage and event.pipeline in (None, deal.pipeline)):
        return False
    if len(deal.stages) >= MAX_STAGE_EVENTS:
        return False
    return not spoken(event.said) & ~deal.spoken


def _begin(deal: Deal, event: StageChange, kept: StageEvent, terms: Terms, noticed: Noticed) -> Changes:
    """Take in the first event of a deal: there is nothing to take back."""
    noticed.stage_mismatches += event.from_stage is not None
    deal.stages.append(kept)
    history = History(deal.stages, terms)
    _notice_unconfigured(history, noticed)
    _summarise(deal, history, -1)
    if deal.rep is not None:
        deal.reps.append(deal.rep)  # who is likely to act next: see quick.py
    day = terms.calendar.day_of(event.at)
    return [(_on_day(fact, day), 1) for fact in stage_facts(history, -1, deal, terms)]


def _append(deal: Deal, event: StageChange, kept: StageEvent, terms: Terms, noticed: Noticed) -> Changes:
    """Take in the next move of an open deal."""
    noticed.stage_mismatches += event.from_stage is not None and event.from_stage != deal.stage
    deal.stages.append(kept)
    gone, come = appended_facts(History(deal.stages, terms), deal, terms)
    pipeline, stage = event.pipeline or deal.pipeline or "", event.to_stage or ""
    meaning = terms.stage(pipeline, stage)
    if not meaning.configured:
        noticed.unconfigured.add((pipeline, stage))
    deal.told = deal.entered = event.at
    before = deal.rep, deal.pipeline, deal.stage
    deal.pipeline, deal.stage, deal.open = pipeline, stage, meaning.begins
    deal.rep = event.said.get("rep_id", None if "rep_id" in event.clear else deal.rep)
    if event.at <= deal.newest:
        for row in unpack_rows(deal, event.at):
            if row.human:
                facts_of_row(row, row.rep or before[0], before[1], before[2], terms, gone)
                facts_of_row(row, row.rep or deal.rep, pipeline, stage, terms, come)
    deal.newest = max(deal.newest, event.at)
    day = terms.calendar.day_of(deal.newest)
    found = [(_on_day(fact, day), -1) for fact in gone]
    found.extend([(_on_day(fact, day), 1) for fact in come])
    return found


def _notice_unconfigured(history: History, noticed: Noticed) -> None:
    for entry in history.entries[-1:]:
        if not entry.meaning.configured:
            noticed.unconfigured.add((entry.pipeline, entry.stage))


def _touches_activities(deal: Deal, kept: StageEvent, before: History, after: History) -> bool:
    """Could this event change the facts of activities that are held, or whether they count at all?"""
    if not deal.activities:
        return False
    if kept.at <= deal.newest or deal.deleted or kept.deleted is not None:
        return True
    if "rep_id" in kept.said and not deal.spoken & OWNERS["rep_id"]:
        return True
    return after.entries[: len(before.entries)] != before.entries


def _all_facts(history: History, touch: int, rows: list[Row], deal: Deal, terms: Terms) -> list[Fact]:
    if history.deleted:
        return []
    return stage_facts(history, touch, deal, terms) + activity_facts(rows, history, terms)


def _summarise(deal: Deal, history: History, touch: int) -> None:
    last = history.entries[-1] if history.entries else None
    deal.told = deal.stages[-1].at
    deal.newest = max(deal.newest, deal.told)
    deal.created, deal.touch = created_at(history), touch
    deal.pipeline, deal.stage = (last.pipeline, last.stage) if last else (None, None)
    deal.rep = history.present("rep_id")
    deal.entered = last.at if last else -1
    deal.open = last is not None and last.meaning.begins
    for held in deal.stages:
        deal.spoken |= spoken(held.said)
    deal.deleted = history.deleted
    deal.moved = history.moved


def _mismatch(event: StageChange, before: History) -> bool:
    """Does the event name another stage to come from than the one before it in order?"""
    if event.from_stage is None:
        return False
    earlier = [
        entry for entry in before.entries if (entry.at, before.events[entry.place].event_id) < (event.at, event.event_id)
    ]
    return event.from_stage != (earlier[-1].stage if earlier else None)


# ------------------------------------------------------------------ activities


def apply_activity(deal: Deal, event: Activity, terms: Terms, noticed: Noticed) -> Changes | Refusal:
    """Fold an activity of a deal into its record, in place; return the changed facts."""
    mark = fingerprint(event.event_id, event.planned)
    if has_activity(deal.rows, mark):
        return Refusal.DUPLICATE
    if deal.activities >= MAX_ACTIVITIES or deal.settled_activities:
        oldest = oldest_activity(deal)
        if event.at < oldest or (event.at == oldest and deal.settled_activities):
            return Refusal.TOO_LATE
    if event.at < deal.blurred_until and _asks_the_deal(event, terms):
        return Refusal.TOO_LATE
    insert_activity(deal, event, mark)
    changes: Changes = []
    if event.at < deal.newest:
        noticed.late += 1
        if not deal.deleted:
            changes = _late_activity(deal, event, terms)
    else:
        deal.newest = event.at
        if not (deal.deleted or event.automated or event.planned):
            rep = deal.rep if event.rep_id is None else event.rep_id
            changes = _added(event, rep, deal.pipeline, deal.stage, terms)
            if deal.touch < 0 <= deal.created and is_touch_going_out(event.type, event.direction):
                changes += _touched(deal, event.at, terms)
    if deal.activities >= MAX_ACTIVITIES + SETTLED_AT_ONCE:
        changes += settle_activities(deal, SETTLED_AT_ONCE, terms)
        noticed.settled += SETTLED_AT_ONCE
    return changes


def _asks_the_deal(event: Activity, terms: Terms) -> bool:
    """Does it hang on the deal whose an activity is, or in which stage?"""
    return not (event.automated or event.planned) and (event.rep_id is None or terms.stages_of_activities)


def _late_activity(deal: Deal, event: Activity, terms: Terms) -> Changes:
    """Return what an activity changes that is older than something held."""
    if event.automated or event.planned:
        return []
    rep, pipeline, stage = event.rep_id, None, None
    if rep is None or deal.moved:
        history = _history(deal, terms)
        rep = history.at_instant("rep_id", event.at) if rep is None else rep
        entry = next((entry for entry in reversed(history.entries) if entry.at <= event.at), None)
        pipeline, stage = (entry.pipeline, entry.stage) if entry else (None, None)
    elif terms.stages_of_activities:
        pipeline, stage = _stage_at(deal, event.at)
    changes = _added(event, rep, pipeline, stage, terms)
    touch, created = deal.touch, deal.created
    if 0 <= created <= event.at and (touch < 0 or event.at < touch) and is_touch_going_out(event.type, event.direction):
        changes += _touched(deal, event.at, terms)
    return changes


def _history(deal: Deal, terms: Terms) -> History:
    """Return the history of a deal whose stage events stay what they are: packed, if they are."""
    held = deal.held
    history = History(deal.stages, terms)
    deal.held = held
    return history


def _stage_at(deal: Deal, at: int) -> tuple[str | None, str | None]:
    """Return pipeline and stage at an instant, of a deal whose events count in the order in which they are held."""
    pipeline = stage = None
    for event in deal.stages:
        if event.at > at:
            break
        if event.to_stage is not None:
            pipeline, stage = event.pipeline or pipeline or DEFAULT_PIPELINE, event.to_stage
    return pipeline, stage


def _touched(deal: Deal, at: int, terms: Terms) -> Changes:
    """Set the deal's first touch, and return what that changes."""
    if not terms.responses:
        deal.touch = at
        return []
    history = _history(deal, terms)
    old = response_facts(history, deal.touch, terms)
    deal.touch = at
    return difference(old, response_facts(history, at, terms), terms.calendar.day_of(deal.newest))


def facts_without_deal(event: Activity, terms: Terms) -> Changes:
    """Return the facts of an activity without a deal: it counts for its rep, the team and all."""
    if event.automated or event.planned:
        return []
    return _added(event, event.rep_id, None, None, terms)


def _added(event: Activity, rep: str | None, pipeline: str | None, stage: str | None, terms: Terms) -> Changes:
    found: list[Fact] = []
    facts_of_row(event, rep, pipeline, stage, terms, found)
    return [(fact, 1) for fact in found]
