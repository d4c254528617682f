"""What stands in a topic now?  Reads committed records from the beginning to the end, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from confluent_kafka import OFFSET_BEGINNING as BEGINNING
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from streams.cli.settings import CheckError
from streams.kafka.admin import metadata

CALL_DEADLINE = 8.0
READ_DEADLINE = 300.0
_BATCH = 10_000

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


def every_record(client: dict[str, Any], topic: str, deadline: float = READ_DEADLINE) -> Iterator[Message]:
    """Yield the records that the topic holds now, in the order of each partition."""
    with reader(client) as consumer:
        found = partitions(consumer, client, topic)
        if not found:
            raise CheckError(f"there is no topic {topic}; create it with: dealpulse topics create")
        consumer.assign([TopicPartition(topic, one, BEGINNING) for one in found])
        yield from until_end(consumer, len(found), deadline)


def until_end(consumer: Consumer, assigned: int, deadline: float) -> Iterator[Message]:
    """Yield records until each of the assigned partitions has been read to its end."""
    ended: set[tuple[str, int]] = set()
    end = time.monotonic() + deadline
    while len(ended) < assigned:
        if time.monotonic() > end:
            raise CheckError(f"the broker does not give all records within {deadline:.0f} s")
        for message in consumer.consume(_BATCH, 0.2):
            error = message.error()
            if error is None:
                yield message
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001  # the only name it has
                ended.add((message.topic(), message.partition()))
            elif not error.retriable():
                raise CheckError(f"cannot read {message.topic()}: {error.str()}")


def last_of_every_key(client: dict[str, Any], topic: str, keep: Callable[[bytes], bool] | None = None) -> Rows:
    """Return the last value of every key; keys whose last record is a tombstone are left out."""
    rows: Rows = {}
    for message in every_record(client, topic):
        key, value = message.key(), message.value()
        if key is None or (keep is not None and not keep(key)):
            continue
        if value is None:
            rows.pop(key, None)
        else:
            rows[key] = value
    return rows
