"""What do the deals say happened?  Source events in, deltas and dead letters out.

One room over all partitions that this worker owns.  Records are decoded once per flush, facts of all
partitions add up before they are expanded, and the state is written once per flush.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec
from confluent_kafka import Message

from streams import metrics, topics
from streams.config import BadInput, Definitions
from streams.deals.contributions import Fact
from streams.deals.expand import Cells, Sums
from streams.deals.fold import Changes, Noticed, Refusal, apply_activity, apply_stage_change, facts_without_deal
from streams.deals.quick import add_activity, append_stage_change, begin
from streams.deals.record import FLAGS_AT, ID_BYTES, OLDER, Deal, Kept, fingerprint, holds
from streams.deals.record import decode as unpack
from streams.deals.settle import fit
from streams.deals.terms import Terms
from streams.events.contract import REPLAY_OF, Activity, Limits, Reason, Rejection, received_at
from streams.events.decode import decode_activities, decode_stage_changes
from streams.kafka.resting import Packer, Resting
from streams.kafka.room import Moment, Output, StateTable, StopError
from streams.panes import delta
from streams.panes.calendar import FINE_US
from streams.panes.pane import FINE_SENT

REP_MEMORY = 4096  # fingerprints kept per rep of activities without a deal
_PROGRESS_KEY = b"\x00progress"
_OLDER = b"o"  # before the key of a deal: its older activities
_PROGRESS_EVERY = 1_000_000  # µs between deltas that only say how far time is
_MOST_OF_A_VALUE = 320 * 1024  # a third more in base64, and still below the limit of a record
_MOST_OF_A_KEY = 16 * 1024
_ORIGIN = re.compile(rb"crm\.[a-z-]{1,64}/\d{1,9}@\d{1,19}")


class TooMuchBadInputError(StopError):
    """The share of rejected records says that the deployment is wrong, not the data."""


class Tick(msgspec.Struct):
    """A record on the ticks topic: what the clock said (µs), and whether no more events are coming."""

    time: int | None = None
    settle: bool = False


_ticks = msgspec.json.Decoder(Tick)
_Refused = dict[int, Refusal | Rejection]


class Ways(NamedTuple):
    """How an event gets into a deal's record: as its first, appended to its bytes (quick.py), or the long way (fold.py)."""

    begin: Callable[..., bytes | None]
    append: Callable[..., bytes | Kept | Refusal | None]
    apply: Callable[..., Changes | Refusal]


_READ: dict[str, tuple[Callable[..., list[Any]], Ways]] = {
    topics.STAGE_CHANGE: (decode_stage_changes, Ways(begin, append_stage_change, apply_stage_change)),
    topics.ACTIVITY: (decode_activities, Ways(lambda *_: None, add_activity, apply_activity)),
}
_at = attrgetter("at")
_TOO_LATE = Rejection(Reason.TOO_LATE, "older than all that the full record of this deal still holds")


class _Partition:
    """What is known of one owned partition between two flushes."""

    __slots__ = ("changed", "deals", "newest", "refused", "reps", "seen", "settled", "state", "ticked", "watermark")

    def __init__(self, state: StateTable) -> None:
        self.state = state
        self.deals: dict[bytes, Deal] = {}  # unpacked since the last flush, by state key
        self.reps: dict[str, bytes] = {}
        self.newest = dict.fromkeys(topics.SOURCES, -1)  # topic → the latest accepted occurred_at, µs
        self.watermark = -1
        self.settled = False
        self.changed = True  # progress not yet told
        self.ticked = 0
        self.seen = 0  # records, to tell how far apart refusals are
        self.refused: deque[int] = deque()


class DealsRoom:
    """Events to deltas."""

    name = "deals"
    sources: tuple[str, ...] = (topics.STAGE_CHANGE, topics.ACTIVITY, topics.TICKS)

    def __init__(self, definitions: Definitions, *, ticks: bool) -> None:
        self.terms = Terms(definitions)
        self.limits = Limits(round(definitions.max_future * 1_000_000), definitions.zone)
        self._bad_input: BadInput = definitions.bad_input
        self._partitions_out = definitions.partitions
        self._tick_every = round(definitions.tick_interval * 1_000_000) if ticks else 0
        self._owned: dict[int, _Partition] = {}
        self._packer = Packer()  # of deals that nothing is heard of
        self._sums = Sums(self.terms)
        self._dead: list[Output] = []
        self._born = 0
        # (topic, partition) → when the last record that was read of it came, µs; a partition given up has been read, too
        self._read: dict[tuple[str, int], int] = {}
        self._told = 0
        self._told_ended: frozenset[int] = frozenset()  # partitions last told as read to their end

    # -------------------------------------------------------------- ownership

    def open(self, partition: int, state: StateTable) -> None:
        """Start to own a partition."""
        owned = self._owned[partition] = _Partition(state)
        state.resting = Resting(self._packer)
        kept = state.get(_PROGRESS_KEY)
        if kept is not None:
            owned.watermark, owned.settled, newest = msgspec.json.decode(kept)
            owned.newest.update(newest)

    def close(self, partition: int) -> None:
        """Stop to own a partition.  What was not flushed is read again by its next owner."""
        self._owned.pop(partition, None)
        self._sums = Sums(self.terms)
        self._dead.clear()
        self._born = 0

    # -------------------------------------------------------------- events in

    def handle(self, partition: int, topic: str, run: Sequence[Message]) -> int:
        """Fold a run of records into their deals."""
        owned = self._owned[partition]
        if topic == topics.TICKS:
            for message in run:
                self._tick(owned, message)
            return len(run)
        keys, received = [message.key() for message in run], [received_at(message.timestamp()[1]) for message in run]
        decode, ways = _READ[topic]
        events = decode(zip(keys, [message.value() for message in run], received, strict=True), self.limits)
        refused = self._fold(owned, zip(range(len(run)), keys, events, strict=True), ways)
        for place, why in refused.items():
            if why is Refusal.TOO_LATE:  # no bad input: perhaps what was counted and let go of, sent again
                self._refuse(_TOO_LATE, run[place])
            elif why is not Refusal.DUPLICATE:
                self._refuse(why, run[place])
                self._watch_share(owned, run[place], owned.seen + place, why)
        accepted = [event for place, event in enumerate(events) if place not in refused] if refused else events
        owned.seen += len(run)
        if accepted:
            owned.newest[topic] = max(owned.newest[topic], *map(_at, accepted))
            owned.changed, owned.settled = True, False
        if received[0] > 0:
            self._born = min(self._born or received[0], received[0])
        metrics.EVENTS_CONSUMED.labels(topic).inc(len(run))
        metrics.EVENTS_ACCEPTED.inc(len(accepted))
        metrics.EVENTS_DUPLICATE.inc(sum(why is Refusal.DUPLICATE for why in refused.values()))
        self._read[topic, partition] = received[-1]
        return sum(map(len, run))

    def _fold(self, owned: _Partition, arrived: Iterable[tuple[int, bytes | None, Any]], ways: Ways) -> _Refused:
        """Fold events into their deals' records, add up what changes; return the places of those refused, and why."""
        terms, deals, state = self.terms, owned.deals, owned.state
        rows, changed = state.rows, state.changed
        begin, append, apply = ways
        found: list[Fact] = []
        changes: Changes = []
        refused: _Refused = {}
        noticed = Noticed()
        for place, owner, event in arrived:
            if type(event) is Rejection:  # isinstance() asks a struct's metaclass, which takes longer
                refused[place] = event
                continue
            if event.deal_id is None:
                result = self._without_deal(owned, event)
            else:
                key = b"d" + (owner or b"")
                deal = deals.get(key)
                if deal is None:
                    data = rows.get(key)
                    if data is None:
                        data = state.get(key)  # it may rest
                    kept = (data, _older(state, key) if data[FLAGS_AT] & OLDER else b"") if data else None
                    quick = append(kept, event, terms, found, noticed) if kept else begin(event, terms, found, noticed)
                    if isinstance(quick, bytes):
                        rows[key] = quick
                        changed.add(key)
                        continue
                    if isinstance(quick, tuple):
                        rows[key], rows[_OLDER + key] = quick
                        changed.update((key, _OLDER + key))
                        continue
                    if quick is not None:
                        refused[place] = quick
                        continue
                    deal = deals[key] = unpack(kept) if kept else Deal()
                result = apply(deal, event, terms, noticed)
            if isinstance(result, Refusal):
                refused[place] = result
            else:
                changes += result
        self._sums.add(zip(found, repeat(1)))
        self._sums.add(changes)
        _count(noticed)
        return refused

    def _without_deal(self, owned: _Partition, event: Activity) -> Changes | Refusal:
        rep = event.rep_id or ""
        ids = owned.reps.get(rep)
        if ids is None:
            ids = owned.state.get(b"r" + rep.encode()) or b""
        mark = fingerprint(event.event_id, event.planned)
        if holds(ids, mark):
            return Refusal.DUPLICATE
        owned.reps[rep] = (ids + mark)[-REP_MEMORY * ID_BYTES :]
        return facts_without_deal(event, self.terms)

    # -------------------------------------------------------------- bad input

    def _refuse(self, rejection: Rejection, message: Message) -> None:
        metrics.EVENTS_REJECTED.labels(rejection.reason).inc()
        metrics.DEAD_LETTERS.labels(rejection.reason).inc()
        key = message.key()
        key = key if key is None else key[:_MOST_OF_A_KEY]
        self._dead.append((topics.DEAD_LETTER, -1, key, dead_letter(rejection, message), None))

    def _watch_share(self, owned: _Partition, message: Message, place: int, why: Rejection) -> None:
        """Note a refusal at a place in the partition's records; raise when there are too many of late."""
        refused, limit = owned.refused, self._bad_input
        refused.append(place)
        while refused[0] <= place - limit.of_last:
            refused.popleft()
        if not limit.stop:
            return
        looked_at = min(place + 1, limit.of_last)
        if len(refused) >= limit.at_least and len(refused) > limit.share * looked_at:
            raise TooMuchBadInputError(
                f"{len(refused)} of the last {looked_at} records of partition {message.partition()} are refused, the last at "
                f"{message.topic()}/{message.partition()}@{message.offset()}: {why.reason}: {why.detail}; this looks like a wrong "
                "deployment, not like bad data. Nothing of it was committed, and no dead letter",
                "mend the producer, or set bad_input.stop: false in dealpulse.yaml to go on",
            )

    # -------------------------------------------------------------- time

    def _tick(self, owned: _Partition, message: Message) -> None:
        try:
            tick = _ticks.decode(message.value() or b"")
        except (msgspec.DecodeError, RecursionError):
            return  # not ours: a tick is no event, and a wrong one must not move the clock
        if tick.time is not None and 0 < tick.time <= received_at(message.timestamp()[1]) + self.limits.max_future:
            owned.watermark = max(owned.watermark, tick.time)
        owned.settled = tick.settle
        owned.changed = True

    def due(self, moment: Moment) -> bool:
        """Is it time to tick, or to tell how far time is?"""
        return bool(self._to_tick(moment)) or (moment.now - self._told >= _PROGRESS_EVERY and self.owes(moment))

    def owes(self, moment: Moment) -> bool:
        """Has nobody been told yet how far time is?"""
        return any(owned.changed or self._reached_end(partition, moment) for partition, owned in self._owned.items())

    def _reached_end(self, partition: int, moment: Moment) -> bool:
        """Has a partition been read to its end, and nobody was told?"""
        return partition in moment.caught_up and partition not in self._told_ended

    def _to_tick(self, moment: Moment) -> list[int]:
        if not self._tick_every:
            return []
        return [
            partition
            for partition, owned in self._owned.items()
            if partition in moment.caught_up and moment.now - owned.ticked >= self._tick_every
        ]

    def watermark(self, partition: int) -> int:
        """Return how far the time of a partition was in the last flush, µs; -1 while it is not known."""
        return self._owned[partition].watermark

    # -------------------------------------------------------------- output

    def drain(self, moment: Moment) -> list[Output]:
        """Write the touched deals into the state; return deltas, dead letters and ticks."""
        for partition, owned in self._owned.items():
            owned.watermark = max(owned.watermark, _watermark(owned, partition, moment))
            self._write(owned)
        output = self._dead
        self._dead = []
        output.extend(self._deltas(moment))
        metrics.LAST_EVENT.set(max([0, *self._read.values()]) / 1_000_000)
        for partition in self._to_tick(moment):
            self._owned[partition].ticked = moment.now
            tick = msgspec.json.encode({"time": moment.now - moment.put_back})
            output.append((topics.TICKS, partition, None, tick, None))
        return output

    def _write(self, owned: _Partition) -> None:
        state = owned.state
        noticed = Noticed()
        for key, deal in owned.deals.items():
            (record, older), settled, counted = fit(deal, self.terms)
            if counted:
                self._sums.add(counted)
            noticed.settled += settled
            state.put(key, record)
            _keep(state, _OLDER + key, older)
        _count(noticed)
        for rep, ids in owned.reps.items():
            state.put(b"r" + rep.encode(), ids)
        owned.deals.clear()
        owned.reps.clear()
        if owned.changed:
            state.put(_PROGRESS_KEY, msgspec.json.encode([owned.watermark, owned.settled, owned.newest]))

    def _deltas(self, moment: Moment) -> list[Output]:
        highest = max((owned.watermark for owned in self._owned.values()), default=-1)
        cells = self._sums.take(self._finest())
        tell_all = moment.now - self._told >= _PROGRESS_EVERY
        if tell_all:
            self._told, self._told_ended = moment.now, moment.caught_up
            for owned in self._owned.values():
                # Where no time is known there is nothing to tell, unless something was accepted: then it will be known soon.
                owned.changed = owned.watermark < 0 <= max(owned.newest.values())
        if not cells and not (tell_all and highest >= 0):
            return []
        progress = {
            partition: delta.Progress(owned.watermark, partition in moment.caught_up, owned.settled)
            for partition, owned in self._owned.items()
        }
        born, self._born = self._born, 0
        return self._address(cells, progress, born, tell_all=tell_all)

    def _finest(self) -> int:
        """Return the first fine pane that a reader whose clock is at the watermark could need."""
        lowest = min((owned.watermark for owned in self._owned.values() if owned.watermark >= 0), default=0)
        return lowest // FINE_US - FINE_SENT

    def _address(self, cells: Cells, progress: dict[int, delta.Progress], born: int, *, tell_all: bool) -> list[Output]:
        by_partition: list[list[tuple[tuple[str, ...], dict[int, dict[int, int]]]]] = [
            [] for _ in range(self._partitions_out)
        ]
        for entity, panes in cells.items():
            by_partition[delta.partition_of(entity, self._partitions_out)].append((entity, panes))
        return [
            (topics.DELTAS, partition, None, value, None)
            for partition, entities in enumerate(by_partition)
            if entities or tell_all
            for value in delta.encode(progress, born, entities)
        ]


def _older(state: StateTable, key: bytes) -> bytes:
    """Return the older activities of a deal whose record says that there are some."""
    older = state.get(_OLDER + key)
    if older is None:
        raise KeyError(_OLDER + key)
    return older


def _keep(state: StateTable, key: bytes, value: bytes) -> None:
    """Write a value that few flushes change, if this one did; an empty one is none."""
    if value == (state.get(key) or b""):
        return
    if value:
        state.put(key, value)
    else:
        state.delete(key)


def _watermark(owned: _Partition, partition: int, moment: Moment) -> int:
    """Return how far a partition's time is: as far as its slower topic, unless that has been read to its end."""
    running = [at for topic, at in owned.newest.items() if (topic, partition) not in moment.ended]
    return min(running) if running else max(owned.newest.values())


def dead_letter(rejection: Rejection, message: Message) -> bytes:
    """Return the dead-letter record: reason, origin, and the raw bytes.

    A value too large for any record of ours is cut: the origin says where the rest is.
    """
    letter: dict[str, Any] = {
        "reason": rejection.reason.value,
        "detail": rejection.detail,
        "topic": message.topic(),
        "partition": message.partition(),
        "offset": message.offset(),
        "timestamp": message.timestamp()[1],
        "key_base64": _base64(message.key(), _MOST_OF_A_KEY),
        "value_base64": _base64(message.value(), _MOST_OF_A_VALUE),
    }
    if len(message.value() or b"") > _MOST_OF_A_VALUE or len(message.key() or b"") > _MOST_OF_A_KEY:
        letter["truncated"] = True
    for name, value in _headers(message):
        if name == REPLAY_OF and isinstance(value, bytes) and _ORIGIN.fullmatch(value):  # anybody can write headers
            letter["replay_of"] = value.decode()
    return msgspec.json.encode(letter)


def _headers(message: Message) -> Iterable[tuple[str, bytes | str | None]]:
    """Return the headers; none where the name of one is no UTF-8, of which confluent-kafka makes this error and no headers.

    Ask once: from then on it answers with names that crash whoever looks at them.
    """
    try:
        return message.headers() or ()
    except SystemError:
        return ()


def _base64(data: bytes | None, most: int) -> str | None:
    return None if data is None else b64encode(data[:most]).decode("ascii")


def _count(noticed: Noticed) -> None:
    for counter, count in (
        (metrics.EVENTS_LATE, noticed.late),
        (metrics.EVENTS_SETTLED, noticed.settled),
        (metrics.STAGE_MISMATCH, noticed.stage_mismatches),
        (metrics.ANOMALY.labels("closed_before_created"), noticed.anomalies),
        (metrics.UNCONFIGURED_STAGE, len(noticed.unconfigured)),
    ):
        if count:
            counter.inc(count)
