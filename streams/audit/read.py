"""What stands in the topics, and does it agree?  Reads events and KPI records to their present end and audits them.

Run it while nothing arrives: an event that is not yet folded into the records is a difference.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import orjson
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from streams.audit.compare import Comparison, compare, latest_watermark
from streams.audit.recompute import recompute
from streams.audit.windows import SECOND
from streams.config import Definitions
from streams.events.contract import Activity, Limits, Rejection, StageChange, received_at
from streams.events.decode import decode_activity, decode_stage_change
from streams.topics import ACTIVITY, KPI_HISTORY, KPI_LATEST, STAGE_CHANGE, TICKS

CALL_DEADLINE = 10.0
SILENCE_DEADLINE = 60.0
BATCH = 10_000
_SHOWN = 200  # bytes of what is no record

# Topic, records read, records to read (offsets, so it includes the transactions' own marks).
Progress = Callable[[str, int, int], None]

_DECODERS = {STAGE_CHANGE: decode_stage_change, ACTIVITY: decode_activity}


class AuditError(Exception):
    """The topics cannot be read; the text says why."""


def run_audit(client_settings: dict[str, Any], definitions: Definitions, progress: Progress | None = None) -> Comparison:
    """Recompute every number from the source topics and compare it with the KPI topics.  Raises AuditError.

    The watermark is the highest that a record names, of history too: the clock may move, and open windows be copied into history,
    while nothing in latest changes.  Where latest holds nothing, since no window does, it is the last time that an event or a
    tick says.
    """
    said = progress or _silent
    events = [*read_events(client_settings, STAGE_CHANGE, definitions, said)]
    events += read_events(client_settings, ACTIVITY, definitions, said)
    latest = read_records(client_settings, KPI_LATEST, said)
    history = read_records(client_settings, KPI_HISTORY, said)
    watermark = latest_watermark(latest)
    if watermark is not None:
        watermark = max(watermark, latest_watermark(history) or watermark)
    else:
        watermark = max([*(event.at for event in events), *read_ticks(client_settings, definitions, said)], default=0)
    said("recompute", 0, len(events))
    return compare(recompute(events, definitions, watermark), definitions, history, latest, watermark)


def read_events(
    client_settings: dict[str, Any], topic: str, definitions: Definitions, progress: Progress
) -> Iterator[StageChange | Activity]:
    """Yield the accepted events of a source topic; those the decoder refuses are left out."""
    limits = Limits(max_future=round(definitions.max_future * SECOND), zone=definitions.zone)
    decode = _DECODERS[topic]
    for message in read_topic(client_settings, topic, progress):
        event = decode(message.key(), message.value(), received_at(message.timestamp()[1]), limits)
        if not isinstance(event, Rejection):
            yield event


def read_ticks(client_settings: dict[str, Any], definitions: Definitions, progress: Progress) -> Iterator[int]:
    """Yield what the clock said (µs), as far as a worker believes it."""
    for message in read_topic(client_settings, TICKS, progress):
        latest = received_at(message.timestamp()[1]) + round(definitions.max_future * SECOND)
        try:
            said = orjson.loads(message.value() or b"")
        except orjson.JSONDecodeError:
            continue
        at = said.get("time") if isinstance(said, dict) else None
        if isinstance(at, int) and 0 < at <= latest:
            yield at


def read_records(client_settings: dict[str, Any], topic: str, progress: Progress) -> list[dict[str, Any]]:
    """Return the last record of every key of a KPI topic, without the keys whose last record is a tombstone.

    What others wrote there, and what names no KPI, comes as its key and its text: it is no record, and counts as one too many.
    """
    last: dict[bytes | None, bytes] = {}
    for message in read_topic(client_settings, topic, progress):
        if message.value() is None:
            last.pop(message.key(), None)
        else:
            last[message.key()] = message.value()
    return [_record(key, value) for key, value in last.items()]


def _record(key: bytes | None, value: bytes) -> dict[str, Any]:
    try:
        record = orjson.loads(value)
    except orjson.JSONDecodeError:
        record = None
    if isinstance(record, dict) and "kpi" in record:
        return record
    return {"key": _text(key or b""), "value": _text(value)}


def _text(data: bytes) -> str:
    return data[:_SHOWN].decode(errors="replace")


def read_topic(client_settings: dict[str, Any], topic: str, progress: Progress) -> Iterator[Message]:
    """Yield the committed records of every partition from the first to its present end."""
    consumer = Consumer(
        {
            **client_settings,
            "group.id": "dealpulse-audit",  # the client demands one; it never joins nor commits
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,  # the end may be a control record, which no message shows
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 20,  # the end must be told at once
            "log_level": 0,  # what goes wrong comes back as an error
        }
    )
    try:
        yield from _until_end(consumer, topic, progress)
    except KafkaException as error:
        raise AuditError(f"cannot read {topic}: {error.args[0].str()}") from error
    finally:
        consumer.close()


def _until_end(consumer: Consumer, topic: str, progress: Progress) -> Iterator[Message]:
    ends = _ends(consumer, topic)
    consumer.assign([TopicPartition(topic, partition, first) for partition, (first, _) in ends.items()])
    unread, high = set(ends), dict[int, int]()
    read, heard = 0, time.monotonic()
    expected = sum(end - first for first, end in ends.values())
    while unread:
        messages = consumer.consume(BATCH, 0.2)
        if messages:
            heard = time.monotonic()
        elif time.monotonic() - heard > SILENCE_DEADLINE:
            raise AuditError(f"{topic}: the broker sent nothing for {SILENCE_DEADLINE:.0f} s")
        for message in messages:
            error = message.error()
            if error is None:
                read += 1
                yield message
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # the only name it has
                # Short of the partition's end a transaction is open; what stands behind it will be visible.
                place = TopicPartition(topic, message.partition())
                end = high.setdefault(place.partition, consumer.get_watermark_offsets(place, cached=True)[1])
                if message.offset() >= end:
                    unread.discard(place.partition)
            elif not error.retriable():
                raise KafkaException(error)
        progress(topic, read, expected)


def _ends(consumer: Consumer, topic: str) -> dict[int, tuple[int, int]]:
    """Return the first and the end offset of every partition.

    Where to stop is another question: the embedded broker names as end the beginning of the last batch.
    """
    found = consumer.list_topics(topic, timeout=CALL_DEADLINE).topics[topic]
    if found.error is not None:
        raise AuditError(f"there is no topic {topic}; create it with: dealpulse topics create")
    return {
        partition: consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=CALL_DEADLINE)
        for partition in found.partitions
    }


def _silent(_topic: str, _read: int, _total: int) -> None:
    """Say nothing."""
