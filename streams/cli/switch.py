"""How do readers get from one generation to the next?  In one transaction, with all that differs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
from confluent_kafka import Message

from streams import topics
from streams.cli.read import Place, every_record, last_of_every_key
from streams.events.times import instant
from streams.kafka.generations import NEXT, PRESENT, Control, Send, StateGeneration, present
from streams.panes.text import iso
from streams.rebuild.changes import alert_changes, essence, is_snapshot
from streams.topics import shadow

_UTC = ZoneInfo("UTC")
_MOST_ROUNDS = 1 << 53  # no worker comes so far; a greater revision is of others, and no row could count from it


@dataclass
class Ledger:
    """What a topic says at present, in short: the essence of the last record of every key, and where it stands."""

    keys: dict[bytes, tuple[bytes, Place]] = field(default_factory=dict)
    revision: int = 0  # the greatest one in the topic
    watermark: int | None = None  # the latest that a record names, µs


class Switched(NamedTuple):
    """How many records the switch wrote."""

    latest: int
    gone: int  # tombstones in latest
    history: int
    gone_from_history: int
    alert_events: int


class _Stamp(msgspec.Struct):
    revision: Annotated[int, msgspec.Meta(ge=0, le=_MOST_ROUNDS)] = 0
    watermark: str | None = None


_stamps = msgspec.json.Decoder(_Stamp)


def ledger(client: dict[str, Any], topic: str) -> Ledger:
    """Read a topic of records with revisions.  Raises CheckError."""
    found, newest = Ledger(), ""
    for message in every_record(client, topic):
        key, value = message.key(), message.value()
        if key is None:  # written by others: nobody can take it back
            continue
        if value is None:
            found.keys.pop(key, None)
            continue
        stamp = _stamp(value)
        found.revision = max(found.revision, stamp.revision)
        newest = max(newest, stamp.watermark or "")  # all in UTC and of one form
        found.keys[key] = (essence(value), (message.partition(), message.offset()))
    found.watermark = instant(newest, _UTC) if newest else None
    return found


def _stamp(value: bytes) -> _Stamp:
    """Return what a record says of its time; nothing for one that others wrote."""
    try:
        stamp = _stamps.decode(value)
    except (ValueError, RecursionError):  # of JSON, of its form, of UTF-8; of what is nested too deeply
        return _Stamp()
    return _Stamp() if stamp.watermark and instant(stamp.watermark, _UTC) is None else stamp


def switch(client: dict[str, Any], control: Control, following: StateGeneration, history: Ledger) -> Switched:
    """Let the next generation take over.  `history` is what the topic held when it began; nobody has written since."""
    told = ledger(client, topics.KPI_LATEST)
    latest = _last_messages(client, shadow(following.name, topics.KPI_LATEST).name)
    past = ledger(client, shadow(following.name, topics.KPI_HISTORY).name)
    wanted = {place for key, (mark, place) in past.keys.items() if _is_news(key, mark, history)}
    still_open = [key for key in history.keys.keys() & latest.keys() if key not in past.keys and not is_snapshot(key)]
    forgotten = [key for key in history.keys if key not in past.keys and key not in latest and not is_snapshot(key)]
    as_of = iso(max(past.watermark or 0, told.watermark or 0))
    alerts = list(alert_changes(*_alerts(client, following), following.first_revision, as_of))
    corrected = [key for key in still_open if essence(latest[key].value()) != history.keys[key][0]]
    with control.transaction() as send:
        for message in latest.values():
            _tell(send, topics.KPI_LATEST, message)
        vanished = sorted(told.keys.keys() - latest.keys())
        for key in vanished:
            send(topics.KPI_LATEST, -1, key, None)
        for message in _standing_at(client, shadow(following.name, topics.KPI_HISTORY).name, wanted):
            _tell(send, topics.KPI_HISTORY, message)
        for key in corrected:
            _tell(send, topics.KPI_HISTORY, latest[key])
        for key in sorted(forgotten):
            send(topics.KPI_HISTORY, -1, key, None)
        _tell_alerts(send, alerts)
        send(topics.GENERATIONS, 0, PRESENT, present(following))
        send(topics.GENERATIONS, 0, NEXT, None)
    events = sum(event is not None for _, _, event in alerts)
    return Switched(len(latest), len(vanished), len(wanted) + len(corrected), len(forgotten), events)


def _is_news(key: bytes, mark: bytes, history: Ledger) -> bool:
    """Does history not hold this record yet?  Snapshots of closed days are never restated."""
    known = history.keys.get(key)
    return known is None or (known[0] != mark and not is_snapshot(key))


def _standing_at(client: dict[str, Any], topic: str, places: set[Place]) -> Iterator[Message]:
    if places:
        for message in every_record(client, topic):
            if (message.partition(), message.offset()) in places:
                yield message


def _last_messages(client: dict[str, Any], topic: str) -> dict[bytes, Message]:
    found: dict[bytes, Message] = {}
    for message in every_record(client, topic):
        if message.value() is None:
            found.pop(message.key(), None)
        else:
            found[message.key()] = message
    return found


def _tell(send: Send, topic: str, message: Message) -> None:
    send(topic, -1, message.key(), message.value(), message.headers())


def _alerts(client: dict[str, Any], following: StateGeneration) -> tuple[dict[bytes, bytes], dict[bytes, bytes]]:
    return last_of_every_key(client, topics.ALERTS), last_of_every_key(client, shadow(following.name, topics.ALERTS).name)


def _tell_alerts(send: Send, alerts: Iterable[tuple[bytes, bytes | None, bytes | None]]) -> None:
    for mark, alert, event in alerts:
        send(topics.ALERTS, -1, mark, alert)
        if event is not None:
            send(topics.ALERT_EVENTS, -1, mark, event)
