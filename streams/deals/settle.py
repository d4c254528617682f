"""What does a full record let go of?  Of what no number hangs on that can still change.

What is let go of is settled: it stays counted as it is, and can no longer be corrected.  Every fact of the record that is
left was counted before, and of those counted only what is final is missing: entries, exits, conversions that came about.
Only where something hangs on every event that is held does that not hold for one of them: then what hung on it is counted as
the record that is left shows it.

A deleted deal counts what it lets go of, too: a deletion takes back what the record shows, and when the deal is restored
the record shows it no more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import msgspec

from streams.deals.contributions import Fact, activity_facts, advances, created_at, facts_of_stages, move_facts
from streams.deals.history import History
from streams.deals.record import (
    MAX_RECORD_BYTES,
    MAX_SETTLED_STAGES,
    OWNERS,
    ROW,
    ROW_BYTES,
    Deal,
    Kept,
    Row,
    StageEvent,
    encode,
    fingerprint,
    says_only_last_words,
    stage_bytes,
    stage_mark,
    uncounted,
    unpack_rows,
)
from streams.deals.terms import FIRST_LEVEL, Kind, Terms
from streams.panes.calendar import DAY_US, FINE_US

_FEWEST = 2  # stage events: the creating one, and the one that inherits
_AT_ONCE = 8  # activities that a record lets go of that is too large
_MOVES = frozenset((Kind.ENTER, Kind.LEAVE))
_CORRECTED = frozenset(kind for kind in Kind if kind < FIRST_LEVEL) - _MOVES - {Kind.ACTIVITY, Kind.TALK}
_TO_BE_SAID = dict.fromkeys(OWNERS, "?") | {"amount": "1"}
Settled = list[tuple[Fact, int]]


def fit(deal: Deal, terms: Terms) -> tuple[Kept, int, Settled]:
    """Return the record as bytes, how many events were let go of since it was too large, and what is counted otherwise now."""
    kept, settled = encode(deal), 0
    counted: Settled = []
    while len(kept[0]) > MAX_RECORD_BYTES and (len(deal.stages) > _FEWEST or deal.activities):
        if len(deal.stages) > _FEWEST and (stage_bytes(kept[0]) > MAX_RECORD_BYTES // 2 or not deal.activities):
            counted += settle_stage_event(deal, terms)
            settled += 1
        else:
            count = min(deal.activities, _AT_ONCE)
            counted += settle_activities(deal, count, terms)
            settled += count
        kept = encode(deal)
    return kept, settled, counted


def settle_stage_event(deal: Deal, terms: Terms) -> Settled:
    """Let go of a stage event; return what is counted otherwise from now on."""
    if deal.deleted:
        return _counted(deal, terms, lambda: _let_go_of_stage_event(deal, terms))
    return _let_go_of_stage_event(deal, terms)


def settle_activities(deal: Deal, count: int, terms: Terms) -> Settled:
    """Let go of the oldest activities; return what is counted of a deleted deal from now on."""
    if deal.deleted:
        return _counted(deal, terms, lambda: _let_go_of_activities(deal, count))
    _let_go_of_activities(deal, count)
    return []


def _counted(deal: Deal, terms: Terms, let_go: Callable[[], object]) -> Settled:
    before = _shown(deal, terms)
    let_go()
    return [(fact, count) for fact, count in (before - _shown(deal, terms)).items() if fact[0] < FIRST_LEVEL]


def _shown(deal: Deal, terms: Terms) -> Counter[Fact]:
    """Return what the record shows; of a deleted deal what it would show."""
    history = History(deal.stages[:], terms)
    return Counter(facts_of_stages(history, deal.touch, deal, terms) + activity_facts(unpack_rows(deal), history, terms))


# ------------------------------------------------------------------ stage events


def _let_go_of_stage_event(deal: Deal, terms: Terms) -> Settled:
    """Let go of a stage event; what it said lives on in the one behind it.  Return what is counted otherwise without it."""
    before = _Before(deal, terms)
    turns = _in_turn(deal, before)
    for place in turns:
        if before.still_converts(*deal.stages[place : place + 2]):
            continue
        left = _without(deal, place, before)
        if _shows_what_can_change(left, deal.stages[place], before, terms):
            shown = Counter[Fact]()
            break
    else:  # something hangs on every event: then the first in turn, come what may
        place = turns[0]
        left = _without(deal, place, before)
        shown = _shown(deal, terms)
    gone = deal.stages[place]
    deal.held, deal.settled = left.stages, left.settled
    deal.settled_until, deal.reworded_until, deal.blurred_until = left.settled_until, left.reworded_until, left.blurred_until
    deal.settled_stages, deal.settled_moves = left.settled_stages, left.settled_moves
    if before.says_who_or_where(gone):
        _settle_activities(deal, before, terms)
    if not shown:
        return []
    # What is counted is what the record shows, right or not: else the next event would take back what was never added.
    shown.subtract(_shown(deal, terms))
    return [(fact, -count) for fact, count in shown.items() if count and fact[0] in _CORRECTED and not _came_about(fact)]


class _Before:
    """A record before it lets go of a stage event, asked with a next event that says what nobody has said.

    For what is not known yet may be answered by an event to come: where it would be answered otherwise, it is seen now.
    """

    def __init__(self, deal: Deal, terms: Terms) -> None:
        newest = deal.stages[-1].at
        history = History(deal.stages[:], terms)
        said = {name: value for name, value in _TO_BE_SAID.items() if history.present(name) is None}
        self.next = StageEvent(newest + 1, "", None, None, said, [], None)
        self.history = self.asked(deal, terms)
        self.movable_since = newest - DAY_US if history.was_only_closed else newest
        self.counted = Counter(facts_of_stages(self.history, deal.touch, deal, terms))
        self.moving = _moving(self.history)
        self.standing = _standing(self.history)
        converting = {fact[2][:2] for fact in self.counted if fact[0] is Kind.CONVERSION and not fact[3]}
        first = {(entry.pipeline, entry.stage): entry.place for entry in reversed(self.history.entries)}
        self.advances = list(self._advances(deal, terms))
        self.converting = {self.history.events[place].event_id for stage, place in first.items() if stage in converting}

    def asked(self, deal: Deal, terms: Terms) -> History:
        """Return the history with what is said next."""
        return History([*deal.stages, self.next], terms)

    def _advances(self, deal: Deal, terms: Terms) -> Iterator[tuple[str, bytes]]:
        """Yield the ids of the events by which the deal advanced, and the stages from which it did."""
        if Kind.CONVERSION in terms.enabled:
            for index, advance in advances(self.history, deal.settled_stages):
                entry = self.history.entries[index]
                if advance is not None:
                    yield self.history.events[advance.place].event_id, stage_mark(entry.pipeline, entry.stage)

    def still_converts(self, event: StageEvent, behind: StageEvent) -> bool:
        """Is it the first entry into a stage from which the deal may yet advance, and would be in another pane without it?"""
        return event.event_id in self.converting and event.at // FINE_US != behind.at // FINE_US

    def may_count_behind_a_creation(self, events: list[StageEvent]) -> bool:
        """Is one of them a closing that would count elsewhere, with all that it says, if the deal were created next?"""
        return any(event.to_stage is not None and event.at > self.movable_since for event in events)

    def says_who_or_where(self, event: StageEvent) -> bool:
        """Could an activity belong to somebody, or stand in a stage, because of the event?"""
        return event.event_id in self.moving or "rep_id" in event.said or "rep_id" in event.clear


def _in_turn(deal: Deal, before: _Before) -> list[int]:
    """Return the places of the events that may go: what moves nothing first, then what says nothing of whose the deal is.

    The newer half goes last, since late events cannot come before what went; so does what is of the newest instant, and what
    is before the creation where closings count behind it; and after them what would be if the deal were created next.  The event that created the deal is held as long as it lives,
    and the last one has nobody to inherit from it.
    """
    stages, history = deal.stages, before.history
    created = history.events[history.entries[history.created].place] if history.entries else None
    newest = stages[-1].at

    def turn(place: int) -> tuple[bool, bool, bool, bool, int]:
        event = stages[place]
        movable = before.may_count_behind_a_creation(stages[place : place + 2])
        last = 2 * place >= len(stages) or stages[place + 1].at == newest or (history.moved and event.at <= deal.created)
        owns = not OWNERS.keys().isdisjoint((*event.said, *event.clear))
        return movable, last, event.event_id in before.moving, owns, place

    return sorted((place for place, event in enumerate(stages[:-1]) if event is not created), key=turn)


def _moving(history: History) -> set[str]:
    """Return the ids of the events that move the deal."""
    return {history.events[entry.place].event_id for entry in history.entries}


def _without(deal: Deal, place: int, before: _Before) -> Deal:
    """Return the record without a stage event, as if the one behind it had said what both did."""
    gone, behind = deal.stages[place : place + 2]
    heir = _heir(gone, behind)
    left = msgspec.structs.replace(
        deal, held=[*deal.stages[:place], heir, *deal.stages[place + 2 :]], settled=deal.settled + 1
    )
    until = max(heir.at, deal.created)  # an early closing counts at the creation
    reworded = not _last_words(gone) <= _last_words(behind)
    if reworded:
        left.reworded_until = max(deal.reworded_until, until)
    if reworded or not says_only_last_words(gone):
        left.settled_until = max(deal.settled_until, until)
    if before.says_who_or_where(gone):
        left.blurred_until = max(deal.blurred_until, until)
    return left


def _last_words(event: StageEvent) -> set[str]:
    """Return the names of what an event says of which only the last word counts."""
    names = {*event.said, *event.clear} - OWNERS.keys()
    return names if event.deleted is None else names | {"deleted"}


def _heir(gone: StageEvent, heir: StageEvent) -> StageEvent:
    """Return an event that says what two in a row did."""
    known = {*heir.said, *heir.clear}
    said = {name: value for name, value in gone.said.items() if name not in known} | heir.said
    clear = heir.clear + [name for name in gone.clear if name not in known]
    deleted = gone.deleted if heir.deleted is None else heir.deleted
    if heir.to_stage is None:
        return StageEvent(heir.at, heir.event_id, gone.to_stage, gone.pipeline, said, clear, deleted)
    pipeline = gone.pipeline if heir.pipeline is None and gone.to_stage is not None else heir.pipeline
    return StageEvent(heir.at, heir.event_id, heir.to_stage, pipeline, said, clear, deleted)


def _shows_what_can_change(left: Deal, gone: StageEvent, before: _Before, terms: Terms) -> bool:
    """Say whether all that can still change is answered as before; note in `left` what is final and shown no more."""
    after = before.asked(left, terms)
    if _standing(after) != before.standing or not _moving(after) <= before.moving:
        return False
    shown = Counter(facts_of_stages(after, left.touch, left, terms))
    stages = {stage_mark(str(fact[2][0]), str(fact[2][1])) for fact in before.counted - shown if _came_about(fact)}
    # Also where a later move shows the same: what comes late may yet give that another pipeline.
    stages |= {stage for event, stage in before.advances if event == gone.event_id}
    if stages:
        left.settled_stages = (left.settled_stages + sorted(stages))[-MAX_SETTLED_STAGES:]
        shown = Counter(facts_of_stages(after, left.touch, left, terms))
    if any(fact[0] not in _MOVES and not _came_about(fact) for fact in before.counted - shown):
        return False
    made = shown - before.counted
    if any(fact[0] not in _MOVES for fact in made):
        return False
    return _settle_moves(left, after, made, terms)


def _standing(history: History) -> tuple[int, int, bool]:
    """Return since when the deal is what it is, since when it is where it is, and whether it is deleted."""
    if not history.entries:
        return -1, -1, history.deleted
    return created_at(history), history.entries[-1].at, history.deleted


def _came_about(fact: Fact) -> bool:
    """Is it a conversion that came about?  It stays one, whatever comes in order."""
    return fact[0] is Kind.CONVERSION and bool(fact[3])


def _settle_moves(left: Deal, after: History, made: Counter[Fact], terms: Terms) -> bool:
    """Note the moves that would be told otherwise than they were counted: they stay as they were, and nothing comes before.

    Not one of the newest instant: what comes next may be of the same.
    """
    marks = left.settled_moves[:]
    for index, entry in enumerate(after.entries if made else ()):
        if not made.keys().isdisjoint(move_facts(after, index, terms)):
            if entry.at == left.stages[-1].at:
                return False
            marks.append(fingerprint(after.events[entry.place].event_id, planned=False))
            left.settled_until = max(left.settled_until, entry.at)
    if marks:
        held = {fingerprint(event.event_id, planned=False) for event in left.stages}
        left.settled_moves = [mark for mark in marks if mark in held]
    return True


# ------------------------------------------------------------------ activities


def oldest_activity(deal: Deal) -> int:
    """Return the instant of the oldest activity held; where none is any more, they were not behind the newest event."""
    at: int = ROW.unpack_from(deal.rows)[0] if deal.rows else deal.newest
    return at


def _let_go_of_activities(deal: Deal, count: int) -> None:
    """Let go of the oldest activities; when the first touch is among them, its instant is kept."""
    gone = unpack_rows(Deal(reps=deal.reps, newer=deal.rows[: count * ROW_BYTES]))
    for row in gone:
        _settle_touch(deal, row)
    deal.rows = deal.rows[count * ROW_BYTES :]
    deal.settled_activities += count
    _let_go_of_reps(deal)


def _settle_activities(deal: Deal, before: _Before, terms: Terms) -> None:
    """Settle the activities that would count for somebody else now, or in another stage."""
    after, rows = before.asked(deal, terms), unpack_rows(deal)
    if activity_facts(rows, before.history, terms) == activity_facts(rows, after, terms):
        return
    for place, row in enumerate(rows):
        if activity_facts([row], before.history, terms) != activity_facts([row], after, terms):
            deal.rows = uncounted(deal.rows, place)
            _settle_touch(deal, row)


def _settle_touch(deal: Deal, row: Row) -> None:
    """Keep the instant of the first touch since the creation; of any until that is known: it may well turn out to be before."""
    is_first = deal.settled_touch < max(deal.created, 0) or row.at < deal.settled_touch
    if row.outbound_touch and row.at >= deal.created and is_first:
        deal.settled_touch = row.at


def _let_go_of_reps(deal: Deal) -> None:
    """Forget the reps that no held activity names, once there are many of them, or no activity is held."""
    if deal.rows and len(deal.reps) <= max(16, deal.activities // 8):
        return
    kept = sorted({row[3] for row in ROW.iter_unpack(deal.rows) if row[3]})
    if len(kept) == len(deal.reps):
        return
    places = {rep: place for place, rep in enumerate(kept, start=1)} | {0: 0}
    deal.reps = [deal.reps[rep - 1] for rep in kept]
    deal.rows = b"".join(
        ROW.pack(at, flags, outcome, places[rep], duration, mark)
        for at, flags, outcome, rep, duration, mark in ROW.iter_unpack(deal.rows)
    )
