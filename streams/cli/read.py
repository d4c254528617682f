"""What stands in a topic now?  Reads committed records from the beginning to the end, with a deadline.

While a transaction is open, what stands behind it is invisible, also what was committed long ago.  Whoever must know all of
it waits until it is decided; a worker that was killed leaves one open for TRANSACTION_TIMEOUT and BROKER_SCAN.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from confluent_kafka import OFFSET_BEGINNING as BEGINNING
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from streams.cli.settings import CheckError
from streams.kafka.admin import metadata
from streams.kafka.clients import BROKER_SCAN, TRANSACTION_TIMEOUT

CALL_DEADLINE = 8.0
SILENCE_DEADLINE = TRANSACTION_TIMEOUT + BROKER_SCAN + 10.0
_BATCH = 10_000

Place = tuple[str, int]
Rows = dict[bytes, bytes]


@contextmanager
def reader(client: dict[str, Any]) -> Iterator[Consumer]:
    """Open a consumer without a group of its own: it reads committed records and commits nothing."""
    consumer = Consumer(
        {
            **client,
            "group.id": "dealpulse-cli-reader",  # the client demands one; nothing is ever committed
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 20,  # the end must be told at once
            "log_level": 0,
        }
    )
    try:
        yield consumer
    finally:
        consumer.close()


def partitions(consumer: Consumer, client: dict[str, Any], topic: str) -> list[int]:
    """Return the partitions of a topic; none when it does not exist.  Raises AdminError without a broker."""
    found = metadata(consumer, client["bootstrap.servers"], topic).topics[topic]
    return [] if found.error is not None else sorted(found.partitions)


def assign(consumer: Consumer, client: dict[str, Any], *topics: str) -> list[Place]:
    """Let the consumer read topics from their beginning; return their partitions.  Raises CheckError, AdminError."""
    places: list[Place] = []
    for topic in topics:
        found = partitions(consumer, client, topic)
        if not found:
            raise CheckError(f"there is no topic {topic}; create it with: dealpulse topics create")
        places += [(topic, one) for one in found]
    consumer.assign([TopicPartition(*place, BEGINNING) for place in places])
    return places


def every_record(client: dict[str, Any], topic: str, *, decided: bool = True) -> Iterator[Message]:
    """Yield the records that the topic holds now, in the order of each partition; not `decided`: those that are visible now."""
    with reader(client) as consumer:
        yield from until_end(consumer, len(assign(consumer, client, topic)), decided=decided)


def until_end(consumer: Consumer, assigned: int, *, decided: bool) -> Iterator[Message]:
    """Yield records until each of the assigned partitions has been read to its end.

    `decided`: also what was still undecided when its end was first come to.
    """
    for messages, _ in batches(consumer, assigned, decided=decided):
        yield from messages


Batch = tuple[list[Message], list[Place]]


def batches(consumer: Consumer, assigned: int, *, decided: bool, most: int = _BATCH) -> Iterator[Batch]:
    """Yield what each look brings, nothing included: records, and the partitions that have been read to their end."""
    ends: dict[Place, int] = {}
    unread = assigned
    heard = time.monotonic()
    while unread:
        messages = consumer.consume(most, 0.2)
        if messages:
            heard = time.monotonic()
        elif time.monotonic() - heard > SILENCE_DEADLINE:
            raise CheckError(f"the broker has sent nothing for {SILENCE_DEADLINE:.0f} s; is a transaction open for so long?")
        found: Batch = ([], [])
        for message in messages:
            place, error = (message.topic(), message.partition()), message.error()
            if error is None:
                found[0].append(message)
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # the only name it has
                known = ends.setdefault(place, high(consumer, place) if decided else 0)
                if 0 <= known <= message.offset():
                    ends[place] = -1
                    found[1].append(place)
                    unread -= 1
            elif not error.retriable():
                raise CheckError(f"cannot read {message.topic()}: {error.str()}")
        yield found


def high(consumer: Consumer, place: Place) -> int:
    """Return where the partition ended when it was last fetched, visible or not.

    The embedded broker names the beginning of the last batch, and holds nothing back.
    """
    return int(consumer.get_watermark_offsets(TopicPartition(*place), cached=True)[1])


def last_of_every_key(
    client: dict[str, Any], topic: str, keep: Callable[[bytes], bool] | None = None, *, decided: bool = True
) -> Rows:
    """Return the last value of every key; keys whose last record is a tombstone are left out."""
    rows: Rows = {}
    for message in every_record(client, topic, decided=decided):
        key, value = message.key(), message.value()
        if key is None or (keep is not None and not keep(key)):
            continue
        if value is None:
            rows.pop(key, None)
        else:
            rows[key] = value
    return rows
