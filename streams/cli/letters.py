"""Which refused events can be sent again?  Those that a worker would accept now, each once."""

from __future__ import annotations

import heapq
from base64 import b64decode
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any

import msgspec
import orjson

from streams.cli.lines import Outgoing
from streams.cli.read import Place
from streams.events.contract import REPLAY_OF, Limits, Reason, Rejection
from streams.events.decode import decode_activity, decode_stage_change
from streams.topics import ACTIVITY, DLQ_REPLAYS, STAGE_CHANGE

_DECODE = {STAGE_CHANGE: decode_stage_change, ACTIVITY: decode_activity}
# What only the record of its deal can tell: it was full of newer events, and a full one gets no room again.
_FULL = Rejection(Reason.TOO_LATE, "the record of its deal is full of newer events")

Mark = tuple[bytes, bytes]
_Natural = Annotated[int, msgspec.Meta(ge=0)]


class Letter(msgspec.Struct, frozen=True, gc=False):
    """A dead letter, as far as it matters here (schemas/dead-letter.v1.json)."""

    reason: Reason
    detail: str
    topic: str
    partition: _Natural
    offset: _Natural
    timestamp: int
    key_base64: str | None
    value_base64: str | None
    truncated: bool = False
    replay_of: str | None = None

    @property
    def origin(self) -> str:
        """Return where the refused record stands."""
        return f"{self.topic}/{self.partition}@{self.offset}"

    @property
    def mark(self) -> Mark:
        """Return the key and the value of the record that says that this letter was sent again.

        The timestamp tells it from a letter of a topic of this name that was deleted and created anew.
        """
        return self.origin.encode(), b'{"timestamp":%d}' % self.timestamp

    @property
    def key(self) -> bytes:
        """Return the record's key."""
        return b64decode(self.key_base64 or "", validate=True)

    @property
    def value(self) -> bytes:
        """Return the record's value."""
        return b64decode(self.value_base64 or "", validate=True)


def fields_of(value: bytes | None) -> dict[str, Any] | None:
    """Return all that a letter says; None for a record that is no letter, since others may write to the topic, too."""
    found = _read(value)
    return None if found is None else found[0]


def read_letter(value: bytes | None) -> Letter | None:
    """Return the letter that a record is; None if it is none."""
    found = _read(value)
    return None if found is None else found[1]


def _read(value: bytes | None) -> tuple[dict[str, Any], Letter] | None:
    try:
        fields: dict[str, Any] = orjson.loads(value or b"")
        letter = msgspec.convert(fields, Letter)
        _ = letter.key, letter.value  # its bytes can be read
    except ValueError:  # of JSON, of its form, of base64
        return None
    return fields, letter


class Skip(StrEnum):
    """Why a letter is not sent again."""

    SENT_ALREADY = "sent_already"
    STILL_REFUSED = "still_refused"
    TRUNCATED = "truncated"
    OTHER_TOPIC = "other_topic"


@dataclass(frozen=True)
class Choice:
    """Which letters somebody wants; what is not said chooses all."""

    reason: str | None = None
    since: int | None = None  # the record's Kafka timestamp, µs; inclusive
    origin: str | None = None
    limit: int | None = None

    @property
    def is_everything(self) -> bool:
        """Is nothing said?"""
        return self == Choice()

    def has(self, letter: Letter) -> bool:
        """Is this letter among those wanted?  The limit aside."""
        return (
            self.reason in (None, letter.reason)
            and (self.since is None or letter.timestamp * 1000 >= self.since)
            and self.origin in (None, letter.origin)
        )


@dataclass
class Plan:
    """Which letters are to be sent, where they stand, and why others are not."""

    places: set[Place] = field(default_factory=set)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)  # of those to be sent, by reason and topic
    skipped: Counter[Skip] = field(default_factory=Counter)
    first_refusal: str | None = None

    @property
    def by_reason(self) -> Counter[str]:
        """Return how many are to be sent of each reason."""
        found: Counter[str] = Counter()
        for (reason, _), count in self.counts.items():
            found[reason] += count
        return found

    def skip(self, letter: Letter, why: Skip | Rejection) -> None:
        """Count a letter that is not to be sent."""
        if isinstance(why, Rejection):
            self.first_refusal = self.first_refusal or f"{letter.origin}: {why.reason}: {why.detail}"
            why = Skip.STILL_REFUSED
        self.skipped[why] += 1


def plan(letters: Iterable[tuple[Place, Letter]], choice: Choice, sent: set[Mark], limits: Limits, now: int) -> Plan:
    """Return what is to be sent; with a limit the newest.  `now` (µs) becomes the records' Kafka timestamp."""
    made = Plan()
    found: list[tuple[int, Place, tuple[str, str]]] = []  # with a limit only, the oldest first
    for place, letter in letters:
        if not choice.has(letter):
            continue
        why = why_not(letter, sent, limits, now)
        kind = (letter.reason.value, letter.topic)
        if why is not None:
            made.skip(letter, why)
        elif choice.limit is None:
            made.places.add(place)
            made.counts[kind] += 1
        else:
            (heapq.heappush if len(found) < choice.limit else heapq.heappushpop)(found, (letter.timestamp, place, kind))
    made.places.update(place for _, place, _ in found)
    made.counts.update(kind for *_, kind in found)
    return made


def why_not(letter: Letter, sent: set[Mark], limits: Limits, now: int) -> Skip | Rejection | None:
    """Return why a letter cannot be sent again, None if it can: a worker would accept it, unless its deal's record is full by now."""
    if letter.topic not in _DECODE:
        return Skip.OTHER_TOPIC
    if letter.mark in sent:
        return Skip.SENT_ALREADY
    if letter.truncated:
        return Skip.TRUNCATED
    if letter.reason == Reason.TOO_LATE:
        return _FULL
    event = _DECODE[letter.topic](letter.key, letter.value, now, limits)
    return event if isinstance(event, Rejection) else None


def again(letter: Letter) -> tuple[Outgoing, Outgoing]:
    """Return the record once more, into the partition where its deal's others are, and the record that says so."""
    headers = [(REPLAY_OF, (letter.replay_of or letter.origin).encode())]
    return (
        Outgoing(letter.topic, letter.key, letter.value, letter.partition, headers),
        Outgoing(DLQ_REPLAYS, *letter.mark),
    )
