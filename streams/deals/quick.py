"""Which events are taken in without unpacking their deal's record?  The usual next ones, and late activities.

Each function returns the record with the event (and the older activities where those change, too), and adds the facts that
come with it to `found`: none goes.  Or it returns None: then fold.py takes the event in the long way.  A property test holds
both to the same record and the same facts.
"""

from __future__ import annotations

from streams.deals.contributions import Fact, entry_fact, exit_fact, facts_of_row
from streams.deals.fold import Noticed, Refusal
from streams.deals.history import DEFAULT_PIPELINE
from streams.deals.record import (
    DELETED,
    HEAD,
    HEAD_BYTES,
    LOOK,
    MAX_ACTIVITIES,
    MAX_RECORD_BYTES,
    MAX_STAGE_EVENTS,
    OPEN,
    RECENT,
    ROW,
    ROW_BYTES,
    SETTLED,
    SETTLED_AT_ONCE,
    SPOKEN_AT,
    TIMES,
    TIMES_BYTES,
    Kept,
    append_event,
    divide,
    fingerprint,
    has_activity,
    has_older,
    is_touch_going_out,
    pack_events,
    pack_row,
    spoken,
)
from streams.deals.terms import Terms
from streams.events.contract import Activity, StageChange

_LARGEST = MAX_RECORD_BYTES - ROW_BYTES
_ROWS = (2 * RECENT - 1) * ROW_BYTES  # in a record at most
_FULL = (MAX_ACTIVITIES + SETTLED_AT_ONCE - 2) * ROW_BYTES


def add_activity(
    kept: Kept, event: Activity, terms: Terms, found: list[Fact], noticed: Noticed
) -> bytes | Kept | Refusal | None:
    """Take in an activity that is newer than what is held, by nobody or by the first of the reps that the record knows.

    An older one, too, that says whose it is and belongs among the rows of the record, where stages of activities do not count.
    """
    data, older = kept
    newest, touch, created, flags, stage_at, rep_at, named_at, words_at, rows_at = LOOK.unpack_from(data)
    size, at = len(data), event.at
    held = size - rows_at
    if flags & DELETED or (flags & SETTLED and at <= newest) or size > _LARGEST or held + len(older) > _FULL:
        return None
    rep = event.rep_id
    place = size  # of its row: behind all that are not later
    if at < newest:
        if rep is None or terms.stages_of_activities:
            return None
        place = _behind(data, rows_at, at)
        if place == rows_at and older:
            return None
    mark = fingerprint(event.event_id, event.planned)
    if data.find(mark, rows_at) >= 0 and has_activity(data, mark, rows_at):
        return Refusal.DUPLICATE
    if older and has_older(older, mark):
        return Refusal.DUPLICATE
    if rep is not None and data[named_at:words_at] != rep.encode():
        return None
    if not (event.automated or event.planned):
        if 0 <= created <= at and not 0 <= touch <= at and is_touch_going_out(event.type, event.direction):
            if terms.responses:
                return None
            touch = at
        whose = rep or data[rep_at:named_at].decode() or None
        pipeline = stage = None
        if terms.stages_of_activities:
            pipeline, stage = data[HEAD_BYTES:stage_at].decode() or None, data[stage_at:rep_at].decode() or None
        facts_of_row(event, whose, pipeline, stage, terms, found)
    if at < newest:
        noticed.late += 1
        at = newest
    row = pack_row(event, 0 if rep is None else 1, mark)
    record = b"".join((TIMES.pack(at, touch), data[TIMES_BYTES:place], row, data[place:]))
    return record if held < _ROWS else divide(record, rows_at, older)


def _behind(data: bytes, rows_at: int, at: int) -> int:
    """Return where the rows end that are not later than an instant."""
    place = len(data)
    while place > rows_at and ROW.unpack_from(data, place - ROW_BYTES)[0] > at:
        place -= ROW_BYTES
    return place


def begin(event: StageChange, terms: Terms, found: list[Fact], noticed: Noticed) -> bytes | None:
    """Make the record of a deal of which nothing is held, where entries and exits are all that is counted of stage events."""
    stage, said, at = event.to_stage, event.said, event.at
    if stage is None or event.deleted is not None or event.clear or not terms.only_moves:
        return None
    pipeline, rep = event.pipeline or DEFAULT_PIPELINE, said.get("rep_id")
    meaning = terms.stage(pipeline, stage)
    if not meaning.configured:
        return None
    noticed.stage_mismatches += event.from_stage is not None
    _, words, kept = pack_events([event])
    in_pipeline, in_stage, named = pipeline.encode(), stage.encode(), rep.encode() if rep else b""
    stage_at = HEAD_BYTES + len(in_pipeline)  # written out: accumulate() takes longer
    rep_at = stage_at + len(in_stage)
    named_at = rep_at + len(named)
    words_at = named_at + len(named)
    held_at = words_at + len(words)
    end = held_at + len(kept)
    flags = spoken(said) << SPOKEN_AT | (OPEN if meaning.begins else 0)
    head = HEAD.pack(at, -1, at, at, at, flags, 1, stage_at, rep_at, named_at, words_at, held_at, end, end)
    if terms.entries:
        found.append(entry_fact(at, pipeline, stage, rep, terms))
    return b"".join((head, in_pipeline, in_stage, named, named, words, kept))


def append_stage_change(kept: Kept, event: StageChange, terms: Terms, found: list[Fact], noticed: Noticed) -> bytes | None:
    """Take in the next move of a deal, or what else is said of it, where entries and exits are all that is counted.

    As in fold.py the event must be newer than the stage events held, and say for the first time nothing that facts
    belong to.  A closed deal may go on to another closing stage: it is neither created nor opened by that.
    """
    if event.deleted is not None or event.clear or not terms.only_moves:
        return None
    data, _ = kept
    (
        newest, touch, told, created, entered, flags, count, stage_at, rep_at, named_at, words_at, held_at, rest_at, rows_at,
    ) = HEAD.unpack_from(data)  # fmt: skip
    said, at = event.said, event.at
    if (
        at <= told
        or flags & DELETED
        or stage_at == rep_at
        or count >= MAX_STAGE_EVENTS
        or spoken(said) & ~(flags >> SPOKEN_AT)
        or data.find(event.event_id.encode(), held_at, rest_at) >= 0
    ):
        return None
    was_in, left, rep_before = (
        data[HEAD_BYTES:stage_at].decode(),
        data[stage_at:rep_at].decode(),
        data[rep_at:named_at].decode() or None,
    )
    pipeline, stage, rep = was_in, left, said.get("rep_id", rep_before)
    if event.to_stage is not None:
        pipeline, stage = event.pipeline or was_in, event.to_stage
    meaning = terms.stage(pipeline, stage)
    begins = meaning.begins
    if (
        not meaning.configured
        or (begins and not flags & OPEN)
        or (event.from_stage is not None and event.from_stage != left)
        or (at <= newest and (terms.stages_of_activities or rep != rep_before))  # activities behind it would change
    ):
        return None
    moves = stage != left or pipeline != was_in
    words, last = append_event(data[words_at:held_at], event)
    named, held, behind = data[named_at:words_at], data[held_at:rest_at], data[rest_at:]
    in_pipeline, in_stage, of_rep = pipeline.encode(), stage.encode(), rep.encode() if rep else b""
    more = rows_at - rest_at
    stage_at = HEAD_BYTES + len(in_pipeline)
    rep_at = stage_at + len(in_stage)
    named_at = rep_at + len(of_rep)
    words_at = named_at + len(named)
    held_at = words_at + len(words)
    rest_at = held_at + len(held) + len(last)
    if rest_at + len(behind) > MAX_RECORD_BYTES:
        return None
    if at < newest:
        noticed.late += 1
    else:
        newest = at
    if moves and terms.entries:
        found.append(entry_fact(at, pipeline, stage, rep, terms))
    if moves and terms.exits:
        found.append(exit_fact(entered, at, was_in, left, rep_before, terms))
    head = HEAD.pack(
        newest, touch, at, created, at if moves else entered, flags if begins else flags & ~OPEN, count + 1,
        stage_at, rep_at, named_at, words_at, held_at, rest_at, rest_at + more,
    )  # fmt: skip
    return b"".join((head, in_pipeline, in_stage, of_rep, named, words, held, last, behind))
