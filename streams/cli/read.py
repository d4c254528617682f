"""What stands in a topic now?  Reads committed records from the beginning to the end, with a deadline."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from confluent_kafka import OFFSET_BEGINNING as BEGINNING
from confluent_kafka import Consumer, Message, TopicPartition

from streams.cli.settings import CheckError
from streams.kafka.admin import metadata
from streams.kafka.inbox import TopicPart
from streams.kafka.reading import until_end

CALL_DEADLINE = 8.0

Place = tuple[int, int]  # partition, offset
Rows = dict[bytes, bytes]


@dataclass
class Strangers:
    """Records that are not what a topic is for: others may write to it, too.  How many, and where the first one is."""

    count: int = 0
    first: str = ""

    def note(self, where: str) -> None:
        """Count one."""
        self.first = self.first or where
        self.count += 1

    def said(self, topic: str, what: str) -> str:
        """Say how many there are, and which is the first."""
        one = f"1 record in {topic} is no {what} and is left out" if self.count == 1 else ""
        return f"{one or f'{self.count:,} records in {topic} are no {what}s and are left out'}; the first: {self.first}"


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


def assign(consumer: Consumer, client: dict[str, Any], *topics: str) -> list[TopicPart]:
    """Let the consumer read topics from their beginning; return their partitions.  Raises CheckError, AdminError."""
    places: list[TopicPart] = []
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
