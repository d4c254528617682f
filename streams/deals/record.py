"""What is kept of a deal?  Its events in compact form, and a summary that follows from them.

One record per deal: the stage events whole, the activities as packed rows.  Everything that is counted is
derived from these (contributions.py); the summary only lets a newer event be taken in without reading
the rest.  Order everywhere: time in µs, stage events before activities, event id.

In the table a record is bytes: HEAD, the texts of the summary, the words that stage events are made of, the stage events
(MessagePack, one after the other, naming words by their places), what few deals have, and the rows.  So the usual next
event changes the head and is appended (quick.py).  Of a deal with many activities the older ones are bytes of their own,
to which RECENT are added at a time: what an event writes does not grow with what is held.
"""

from __future__ import annotations

from array import array
from bisect import insort
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate, chain, pairwise
from struct import Struct as Layout
from typing import Any, NamedTuple

import msgspec
from xxhash import xxh3_64_digest

from streams.events.contract import SAYABLE, Activity, StageChange

MAX_STAGE_EVENTS = 64
MAX_ACTIVITIES = 512
SETTLED_AT_ONCE = 64  # more than MAX_ACTIVITIES by so many, a record lets go of as many: seldom, since it takes the long way
RECENT = 32  # newest activities that a record keeps for itself at least; a multiple of it are older ones
MAX_RECORD_BYTES = 32 * 1024
MAX_SETTLED_STAGES = 64

CALL, EMAIL, MEETING, MESSAGE, PROPOSAL = range(5)
UNSAID, INBOUND, OUTBOUND, INTERNAL = range(4)
CONNECTED = 1
_AUTOMATED, _PLANNED = 0x40, 0x80
_TOUCHES = frozenset((CALL, EMAIL, MEETING, MESSAGE, PROPOSAL))
_OUTBOUND_WHEN_UNSAID = frozenset((CALL, EMAIL, PROPOSAL))

# What a fact can belong to, as bits of `spoken`; said for the first time, it reaches back to earlier instants.
OWNERS = {"rep_id": 1, "product": 2, "region": 4, "lead_source": 8, "customer_id": 16}

# newest, touch, told, created, entered; flags, number of stage events; where stage, rep, the first named rep, the words,
# the stage events, the rest and the rows begin (the pipeline begins behind the head).
HEAD = Layout("<qqqqqHHHHHHIII")
LOOK = Layout(
    "<qq8xq8xH2xHHHH8xI"
)  # what the next activity asks of it: newest, touch, created, flags; stage, rep, ..., rows
TIMES = Layout("<qq")  # what the next activity changes in it: newest, touch
TIMES_BYTES = TIMES.size
HEAD_BYTES = HEAD.size
OPEN, DELETED, MOVED, SETTLED, OLDER = 1, 2, 4, 8, 16
FLAGS_AT = 40  # in the head
SPOKEN_AT = 8  # the bits of OWNERS begin here

# time µs, type | direction << 4 | flags, outcome, index of the rep + 1 (0: none named), duration ms + 1 (0: not said),
# fingerprint of the id
ROW = Layout("<qBBHI8s")
ROW_BYTES = ROW.size
_pack_row = ROW.pack
_FLAGS_IN_ROW = 8
ID_BYTES = 8
ID_AT = ROW_BYTES - ID_BYTES
_LONGEST = 0xFFFFFFFE


Kept = tuple[bytes, bytes]  # as the table has it: the record, and the older activities, which usually are none


class StageEvent(msgspec.Struct, gc=False):
    """One stage event as it is kept."""

    at: int
    event_id: str
    to_stage: str | None
    pipeline: str | None
    said: dict[str, Any]
    clear: list[str]
    deleted: bool | None

    @property
    def order(self) -> tuple[int, str]:
        """Return the place in order; code points sort as their UTF-8 bytes do."""
        return self.at, self.event_id


_encode = msgspec.msgpack.Encoder().encode
# at, id; the places of stage and pipeline among the words; what is said: code of its name → place among the words;
# codes of what is cleared; deleted
_Packed = tuple[int, str, int | None, int | None, dict[int, int], list[int], bool | None]
_events = msgspec.msgpack.Decoder(list[_Packed])
_words = msgspec.msgpack.Decoder(list[str])
_NO_CODES: list[int] = []
_CODES = {name: code for code, name in enumerate(SAYABLE)}
_COUNT = b"\xdc"  # MessagePack: an array, its length in two bytes
_COUNT_BYTES = 3
_SHORT = 16  # arrays below this have a header of one byte


def is_touch_going_out(kind: int, direction: int) -> bool:
    """Is an activity of this type and direction a touch that goes out?"""
    if kind not in _TOUCHES:
        return False
    return direction == OUTBOUND or (direction == UNSAID and kind in _OUTBOUND_WHEN_UNSAID)


class Row(NamedTuple):
    """One activity as it is kept."""

    at: int
    type: int
    direction: int
    automated: bool
    planned: bool
    outcome: int
    rep: str | None
    duration_ms: int

    @property
    def human(self) -> bool:
        """Was it done by a person, and done?"""
        return not self.automated and not self.planned

    @property
    def outbound_touch(self) -> bool:
        """Is it a human touch that goes out?"""
        return self.human and is_touch_going_out(self.type, self.direction)


class PackedEvents(NamedTuple):
    """Stage events as they stand in a record: their number, the words (MessagePack list), and the events."""

    number: int
    words: bytes
    events: bytes


_NO_EVENTS = PackedEvents(0, _encode([]), b"")


class Deal(msgspec.Struct, gc=False):
    """The record of one deal, unpacked.  Instants in µs; -1 = none.

    The stage events and the older activities stay packed until somebody asks for them.
    """

    newest: int = -1
    told: int = -1  # the newest stage event
    created: int = -1
    touch: int = -1  # the first outbound touch at or after creation
    pipeline: str | None = None
    stage: str | None = None
    rep: str | None = None
    entered: int = -1  # when the deal came into its present stage
    open: bool = False  # is the present stage of kind lead or open
    spoken: int = 0  # what facts belong to and stage events have named: bits of OWNERS
    deleted: bool = False
    moved: bool = False  # do some events count elsewhere than where they are held
    settled: int = 0  # stage events that can no longer be corrected
    settled_stages: list[bytes] = []  # marks of the stages whose conversion is settled
    settled_until: int = -1  # of stage events: up to this instant nobody can say any more what was known
    reworded_until: int = -1  # nor up to this one the last word before it: all that counts of amounts and the like
    settled_touch: int = -1  # the first outbound touch among the activities let go
    settled_activities: int = 0
    settled_moves: list[bytes] = []  # fingerprints of the events held whose entry, and the exit it made, are settled
    blurred_until: int = -1  # before this one nobody can say any more who had the deal, and in which stage
    held: PackedEvents | list[StageEvent] = _NO_EVENTS  # the stage events: as read, or the list once somebody asked
    reps: list[str] = []  # named by activities, and who had the deal at first
    older: bytes = b""  # the older activities as they are kept, until somebody asks for the rows
    newer: bytes = b""  # the rows of the others, or of all

    @property
    def stages(self) -> list[StageEvent]:
        """Return the stage events held, in order; what is done to the list is kept."""
        if isinstance(self.held, PackedEvents):
            self.held = _unpack_events(self.held)
        return self.held

    @property
    def activities(self) -> int:
        """Return how many activities are held."""
        return (len(self.older) + len(self.newer)) // ROW_BYTES

    @property
    def rows(self) -> bytes:
        """Return the activities, ROW_BYTES each, ascending by time."""
        if self.older:
            self.rows = _in_rows(self.older) + self.newer
        return self.newer

    @rows.setter
    def rows(self, rows: bytes) -> None:
        self.older, self.newer = b"", rows


class _Rest(msgspec.Struct, array_like=True, gc=False):
    """What few deals have, see Deal.  What came to the form later comes last; records of before do not have it."""

    reps: list[str] = []
    settled: int = 0
    settled_stages: list[bytes] = []
    settled_until: int = -1
    settled_touch: int = -1
    settled_activities: int = 0
    settled_moves: list[bytes] = []
    blurred_until: int = -1
    reworded_until: int | None = None  # settled_until was the one mark of all events


_rest = msgspec.msgpack.Decoder(_Rest)


def encode(deal: Deal) -> Kept:
    """Return the record as bytes; there are older activities when there are twice RECENT in all."""
    count, words, events = deal.held if isinstance(deal.held, PackedEvents) else pack_events(deal.held)
    reps = deal.reps
    rest = b""
    if len(reps) > 1 or deal.settled or deal.settled_activities:
        rest = _encode(
            _Rest(
                reps[1:], deal.settled, deal.settled_stages, deal.settled_until, deal.settled_touch, deal.settled_activities,
                deal.settled_moves, deal.blurred_until, deal.reworded_until,
            )
        )  # fmt: skip
    flags = (OPEN if deal.open else 0) | (DELETED if deal.deleted else 0) | (MOVED if deal.moved else 0)
    flags |= (SETTLED if deal.settled or deal.settled_activities else 0) | deal.spoken << SPOKEN_AT
    older, newer = deal.older, deal.newer
    if not older and len(newer) >= 2 * RECENT * ROW_BYTES:
        recent_at = (deal.activities // RECENT - 1) * RECENT * ROW_BYTES
        older, newer = _in_columns(newer[:recent_at]), newer[recent_at:]
    flags |= OLDER if older else 0
    texts = [text.encode() if text else b"" for text in (deal.pipeline, deal.stage, deal.rep, reps[0] if reps else None)]
    places = accumulate(map(len, (*texts, words, events, rest)), initial=HEAD_BYTES)
    next(places)  # of the pipeline
    head = HEAD.pack(deal.newest, deal.touch, deal.told, deal.created, deal.entered, flags, count, *places)
    return b"".join((head, *texts, words, events, rest, newer)), older


def decode(kept: Kept) -> Deal:
    """Return the record of bytes."""
    data, older = kept
    newest, touch, told, created, entered, flags, count, *places = HEAD.unpack_from(data)
    parts = [data[start:end] for start, end in pairwise((HEAD_BYTES, *places))]
    pipeline, stage, rep, named, words, events, rest = parts
    more = _rest.decode(rest) if rest else _Rest()
    reworded_until = more.settled_until if more.reworded_until is None else more.reworded_until
    return Deal(
        newest, told, created, touch, pipeline.decode() or None, stage.decode() or None, rep.decode() or None, entered,
        bool(flags & OPEN), flags >> SPOKEN_AT, bool(flags & DELETED), bool(flags & MOVED),
        more.settled, more.settled_stages, more.settled_until, reworded_until, more.settled_touch,
        more.settled_activities, more.settled_moves, more.blurred_until,
        PackedEvents(count, words, events), [named.decode(), *more.reps] if named else more.reps, older, data[places[-1] :],
    )  # fmt: skip


def stage_bytes(record: bytes) -> int:
    """Return how many bytes of a record the stage events take, with their words."""
    *_, words_at, _, rest_at, _ = HEAD.unpack_from(record)
    size: int = rest_at - words_at
    return size


# ------------------------------------------------------------------ stage events


def stage_event(event: StageChange) -> StageEvent:
    """Return what is kept of a stage change."""
    said = event.said
    if "attributes" in said:  # nothing is counted of them; 64 times 1 KiB would not fit a record
        said = {name: value for name, value in said.items() if name != "attributes"}
    return StageEvent(event.at, event.event_id, event.to_stage, event.pipeline, said, list(event.clear), event.deleted)


def _without_attributes(event: StageEvent | StageChange) -> StageEvent | StageChange:
    return stage_event(event) if "attributes" in event.said and isinstance(event, StageChange) else event


class _Places(dict[str, int]):
    """The places of words; one that is asked for and not known is added."""

    __slots__ = ()

    def __missing__(self, word: str) -> int:
        place = self[word] = len(self)
        return place


def _pack_event(event: StageEvent | StageChange, place: Callable[[str], int]) -> _Packed:
    """Return an event by the places of its words."""
    return (
        event.at,
        event.event_id,
        None if event.to_stage is None else place(event.to_stage),
        None if event.pipeline is None else place(event.pipeline),
        {_CODES[name]: place(value) for name, value in event.said.items()},
        [_CODES[name] for name in event.clear] if event.clear else _NO_CODES,
        event.deleted,
    )


def pack_events(held: Sequence[StageEvent | StageChange]) -> PackedEvents:
    """Return stage events as they stand in a record."""
    places = _Places()
    events = _encode([_pack_event(event, places.__getitem__) for event in map(_without_attributes, held)])
    return PackedEvents(len(held), _encode(list(places)), events[1 if len(held) < _SHORT else _COUNT_BYTES :])


def _unpack_events(packed: PackedEvents) -> list[StageEvent]:
    words = _words.decode(packed.words)
    return [
        StageEvent(
            at, event_id, None if stage is None else words[stage], None if pipeline is None else words[pipeline],
            {SAYABLE[code]: words[word] for code, word in said.items()}, [SAYABLE[code] for code in clear], deleted,
        )
        for at, event_id, stage, pipeline, said, clear, deleted in _events.decode(
            b"".join((_COUNT, packed.number.to_bytes(2, "big"), packed.events))
        )
    ]  # fmt: skip


def append_event(words: bytes, event: StageChange) -> tuple[bytes, bytes]:
    """Return the words with those of one more event, and the event."""
    known, kept = _words.decode(words), _without_attributes(event)
    count = len(known)
    if event.to_stage is not None and event.to_stage not in known:
        known.append(event.to_stage)
    try:  # the words of a deal are few, and usually nothing but the stage is new: a dict of them takes longer
        packed = _pack_event(kept, known.index)
    except ValueError:
        places = _Places({word: place for place, word in enumerate(known)})
        packed, known = _pack_event(kept, places.__getitem__), list(places)
    return words if len(known) == count else _encode(known), _encode(packed)


def spoken(said: Mapping[str, Any]) -> int:
    """Return the bits of what an event says that facts can belong to."""
    return _spoken(tuple(said))


@lru_cache(maxsize=4096)
def _spoken(names: tuple[str, ...]) -> int:
    return sum(bit for name, bit in OWNERS.items() if name in names)


def stage_mark(pipeline: str, stage: str) -> bytes:
    """Return 8 bytes for a stage of a pipeline."""
    return xxh3_64_digest(f"{pipeline}\x1f{stage}".encode())


def has_stage_event(deal: Deal, event_id: str) -> bool:
    """Is this event id already held?"""
    return any(event.event_id == event_id for event in deal.stages)


def says_only_last_words(event: StageEvent) -> bool:
    """Does an event say nothing but what only the last word counts of: no stage, and nothing that a fact can belong to?"""
    return event.to_stage is None and OWNERS.keys().isdisjoint((*event.said, *event.clear))


def insert_stage_event(deal: Deal, event: StageEvent) -> None:
    """Put a stage event in its place; call only for an id that is not held."""
    if not deal.stages or event.order > deal.stages[-1].order:
        deal.stages.append(event)
    else:
        insort(deal.stages, event, key=lambda held: held.order)


# ------------------------------------------------------------------ activities


def fingerprint(event_id: str, planned: bool) -> bytes:  # by its name it takes longer
    """Return 8 bytes for an activity's id; a planned activity and its completion may share the id."""
    # By another seed short ids would collide: of three digits, 107 with the planned 100.  No id holds this byte.
    return xxh3_64_digest(event_id.encode() + b"\xff" if planned else event_id.encode())


def holds(ids: bytes, mark: bytes) -> bool:
    """Is the fingerprint among the packed ones?  A match across two neighbours does not count."""
    at = ids.find(mark)
    while at >= 0:
        if at % ID_BYTES == 0:
            return True
        at = ids.find(mark, at + 1)
    return False


def pack_row(event: Activity, rep: int, mark: bytes) -> bytes:
    """Return an activity as a row; `rep` is the place of the rep that it names in the deal's list + 1, 0 without one."""
    flags = event.type | event.direction << 4 | (_AUTOMATED if event.automated else 0) | (_PLANNED if event.planned else 0)
    duration = event.duration_ms
    return _pack_row(event.at, flags, event.outcome, rep, duration + 1 if duration < _LONGEST else _LONGEST + 1, mark)


def insert_activity(deal: Deal, event: Activity, mark: bytes) -> None:
    """Put an activity behind all that are not later; its rep is added to the deal's list when new."""
    rep = 0
    if event.rep_id is not None:
        if event.rep_id not in deal.reps:
            deal.reps.append(event.rep_id)
        rep = deal.reps.index(event.rep_id) + 1
    rows, row = deal.rows, pack_row(event, rep, mark)
    if not rows or ROW.unpack_from(rows, len(rows) - ROW_BYTES)[0] <= event.at:
        deal.rows = rows + row
        return
    place = sum(1 for held in ROW.iter_unpack(rows) if held[0] <= event.at) * ROW_BYTES
    deal.rows = rows[:place] + row + rows[place:]


def has_activity(rows: bytes, mark: bytes, start: int = 0) -> bool:
    """Is the fingerprint in one of the rows, which begin at `start`?"""
    at = rows.find(mark, start)
    while at >= 0:
        if (at - start) % ROW_BYTES == ID_AT:
            return True
        at = rows.find(mark, at + 1)
    return False


def _in_columns(rows: bytes) -> bytes:
    """Return rows as older activities are kept: all fingerprints first, since they are searched, then the rest of each."""
    words = array("Q", rows)
    return (words[2::3] + words[0::3] + words[1::3]).tobytes()


def _columns(older: bytes) -> tuple[bytes, bytes, bytes]:
    third = len(older) // 3
    return older[:third], older[third : 2 * third], older[2 * third :]


def _in_rows(older: bytes) -> bytes:
    """Return older activities as rows again."""
    words = array("Q", older)
    words[2::3], words[0::3], words[1::3] = (array("Q", column) for column in _columns(older))
    return words.tobytes()


def divide(record: bytes, rows_at: int, older: bytes) -> Kept:
    """Let the first RECENT of the record's rows, which begin at `rows_at`, be older activities."""
    recent_at = rows_at + RECENT * ROW_BYTES
    flags = bytes((record[FLAGS_AT] | OLDER,))
    kept = b"".join((record[:FLAGS_AT], flags, record[FLAGS_AT + 1 : rows_at], record[recent_at:]))
    more = _in_columns(record[rows_at:recent_at])
    return kept, b"".join(chain.from_iterable(zip(_columns(older), _columns(more), strict=True)))


def has_older(older: bytes, mark: bytes) -> bool:
    """Is the fingerprint among those of the older activities?"""
    return holds(older[: len(older) // 3], mark)


def row_of(event: Activity) -> Row:
    """Return an activity as if it were held."""
    return Row(
        event.at, event.type, event.direction, event.automated, event.planned, event.outcome, event.rep_id,
        event.duration_ms,
    )  # fmt: skip


def unpack_rows(deal: Deal, since: int = -1) -> list[Row]:
    """Return the activities held from an instant on, ascending by time."""
    reps, rows = deal.reps, deal.rows
    start = len(rows)
    while start and ROW.unpack_from(rows, start - ROW_BYTES)[0] >= since:
        start -= ROW_BYTES
    return [
        Row(
            at, flags & 15, flags >> 4 & 3, bool(flags & _AUTOMATED), bool(flags & _PLANNED), outcome,
            reps[rep - 1] if rep else None, duration - 1,
        )
        for at, flags, outcome, rep, duration, _ in ROW.iter_unpack(rows[start:])
    ]  # fmt: skip


def uncounted(rows: bytes, place: int) -> bytes:
    """Return the rows with one that is held so that it is not counted twice, and makes no fact any more."""
    at = place * ROW_BYTES + _FLAGS_IN_ROW
    return b"".join((rows[:at], bytes((rows[at] | _AUTOMATED,)), rows[at + 1 :]))
