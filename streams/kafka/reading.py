"""What stands in these partitions?  Every committed record up to the end.

While a transaction is open, what stands behind it is invisible, also what was committed long ago.  Whoever must know all of
it waits until it is decided; a worker that was killed leaves one open for TRANSACTION_TIMEOUT and BROKER_SCAN.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from streams.kafka.admin import AdminError
from streams.kafka.clients import BROKER_SCAN, TRANSACTION_TIMEOUT
from streams.kafka.inbox import TopicPart

VISIBLE_DEADLINE = 8.0  # seconds without a word of the broker
DECIDED_DEADLINE = TRANSACTION_TIMEOUT + BROKER_SCAN + 10.0
_BATCH = 10_000

Batch = tuple[list[Message], dict[TopicPart, int]]


def until_end(
    consumer: Consumer, assigned: int, *, decided: bool, ends: dict[TopicPart, int] | None = None
) -> Iterator[Message]:
    """Yield records until each of the assigned partitions has been read to its end; `ends` is told where that is.

    `decided`: also what was still undecided when its end was first come to.  Raises AdminError.
    """
    for messages, ended in batches(consumer, assigned, decided=decided):
        if ends is not None:
            ends |= ended
        yield from messages


def batches(consumer: Consumer, assigned: int, *, decided: bool, most: int = _BATCH) -> Iterator[Batch]:
    """Yield what each look brings, nothing included: records, and which partitions have been read to their end, and where it is."""
    highs: dict[TopicPart, int] = {}
    over: set[TopicPart] = set()
    heard, deadline = time.monotonic(), DECIDED_DEADLINE if decided else VISIBLE_DEADLINE
    while len(over) < assigned:
        messages = consumer.consume(most, 0.02)
        if messages:
            heard = time.monotonic()
        elif time.monotonic() - heard > deadline:
            raise AdminError(f"the broker gives nothing of {_topics(consumer)} within {deadline:.0f} s")
        records: list[Message] = []
        ended: dict[TopicPart, int] = {}
        for message in messages:
            place, error = (message.topic(), message.partition()), message.error()
            if error is None:
                records.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # its only name
                known = highs.setdefault(place, high(consumer, place) if decided else 0)
                if place not in over and message.offset() >= known:
                    ended[place] = message.offset()
            elif not error.retriable():
                # What is wrong with the group, whose name a client must have also to read without joining it, has no topic.
                raise AdminError(f"{message.topic() or _topics(consumer)} cannot be read: {error.str()}")
        over |= ended.keys()
        given = time.monotonic()
        yield records, ended
        heard += time.monotonic() - given  # however long the reader takes: it is the broker that must not be silent


def high(consumer: Consumer, place: TopicPart) -> int:
    """Return where the partition ended when it was last fetched, visible or not.

    The embedded broker names the beginning of the last batch, and holds nothing back.
    """
    return int(consumer.get_watermark_offsets(TopicPartition(*place), cached=True)[1])


def _topics(consumer: Consumer) -> str:
    return ", ".join(sorted({part.topic for part in consumer.assignment()}))
