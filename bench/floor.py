"""What would J2 cost if computing were free?  Reads what a worker read, and writes what it wrote, in transactions.

Run behind a worker on the same broker: its own state rows, deltas and KPI records are sent once more, by the same clients with the
same settings, in flushes as large as a full one.  No worker in Python that keeps what ours keeps goes below it.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from bench import raw
from bench.ground import APP
from streams.cli.read import every_record
from streams.kafka.clients import TRANSACTION_TIMEOUT, Connection, group_consumer, producer
from streams.kafka.flusher import FULL_RECORDS
from streams.kafka.poll import BATCH, GATHER
from streams.kafka.room import Output
from streams.topics import ACTIVITY, DEAD_LETTER, DELTAS, KPI_HISTORY, KPI_LATEST, MATURED, ROOMS, STAGE_CHANGE, changelog

WRITTEN = (DELTAS, MATURED, KPI_LATEST, KPI_HISTORY, DEAD_LETTER, *(changelog(APP, room) for room in ROOMS))


def main() -> None:
    """Read and write all that there is; print what it took, from the first record on."""
    address, partitions = sys.argv[1], int(sys.argv[2])
    connection = Connection({"bootstrap.servers": address}, "bench-floor")
    written = _written(connection.client)
    deltas = sum(topic == DELTAS for topic, *_ in written)
    sender = Producer(producer(connection))
    sender.init_transactions(TRANSACTION_TIMEOUT)
    sources = _reader(connection, (STAGE_CHANGE, ACTIVITY), partitions)
    first = sources.poll(TRANSACTION_TIMEOUT)
    started, used = time.perf_counter(), raw.cpu()
    events, refused = raw.read(sources, [first], 2 * partitions)
    sources.close()
    _skim(_reader(connection, (DELTAS,), partitions), deltas)
    for at in range(0, len(written), FULL_RECORDS):
        _send(sender, written[at : at + FULL_RECORDS])
    seconds, spent = time.perf_counter() - started, raw.cpu() - used
    print(json.dumps({"events": events, "refused": refused, "written": len(written), "seconds": seconds, "cpu": spent}))


def _written(client: dict[str, Any]) -> list[Output]:
    return [
        (topic, message.partition(), message.key(), message.value(), message.headers())
        for topic in WRITTEN
        for message in every_record(client, topic)
    ]


def _reader(connection: Connection, topics: tuple[str, ...], partitions: int) -> Consumer:
    consumer = Consumer(group_consumer(connection))
    consumer.assign([TopicPartition(topic, one, OFFSET_BEGINNING) for topic in topics for one in range(partitions)])
    return consumer


def _skim(consumer: Consumer, records: int) -> None:
    """Read so many records without a look at them."""
    while records > 0:
        records -= sum(message.error() is None for message in consumer.consume(BATCH, GATHER))
    consumer.close()


def _send(sender: Producer, records: list[Output]) -> None:
    """Send them as one transaction, as flush.py does."""
    sender.begin_transaction()
    for topic, partition, key, value, headers in records:
        sender.produce(topic, value, key, partition, None, None, 0, headers)
    sender.commit_transaction(TRANSACTION_TIMEOUT)
