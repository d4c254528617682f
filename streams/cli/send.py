"""How do records get to the broker, each delivery confirmed?  An idempotent producer that never gives up silently."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from streams.cli.lines import TOPICS, Outgoing
from streams.cli.settings import CheckError
from streams.kafka.admin import metadata
from streams.kafka.clients import TRANSACTION_TIMEOUT
from streams.kafka.poll import describe
from streams.kafka.transaction import StartError, register, transaction

DELIVERY_DEADLINE = 30.0
_QUEUE_WAIT = 0.05
_AGAIN = "send all again: what arrived is counted once"


class Sender:
    """Send records in order; `close` returns when the broker has confirmed every one of them."""

    def __init__(self, client: dict[str, Any], transactional_id: str | None = None) -> None:
        """Connect.  Raises AdminError when there is no broker, CheckError when there is no topic to send to.

        With a transactional id everything is sent within `together`, and an earlier sender with this id is shut out.
        """
        self.sent = 0
        transactions = {"transactional.id": transactional_id, "transaction.timeout.ms": int(TRANSACTION_TIMEOUT * 1000)}
        deadline = TRANSACTION_TIMEOUT if transactional_id else DELIVERY_DEADLINE
        self._failed: str | None = None
        self._producer = Producer(
            {
                **client,
                "enable.idempotence": True,
                # Seen on a busy machine, right after the topics were made: a record in ten thousand confirmed without an offset, and
                # not there.  Presumably a request was refused, the one behind it not, and the repetition taken for a duplicate.
                "max.in.flight.requests.per.connection": 1,
                "partitioner": "murmur2_random",  # as Java clients do, and as the worker checks
                "compression.type": "lz4",
                "linger.ms": 20,
                "batch.size": 1 << 20,
                "queue.buffering.max.messages": 200_000,
                "message.timeout.ms": int(deadline * 1000),
                "delivery.report.only.error": True,
                "log_level": 0,
                # A topic that the broker makes by itself has the wrong number of partitions.
                "allow.auto.create.topics": False,
                "on_delivery": self._delivered,
                **(transactions if transactional_id else {}),
            }
        )
        self._look(client["bootstrap.servers"])
        if transactional_id:
            try:
                register(self._producer, TRANSACTION_TIMEOUT)
            except StartError as error:
                raise CheckError(str(error)) from None

    def _look(self, address: str) -> None:
        # Otherwise the first record would wait for the whole delivery deadline before anybody is told.
        there = metadata(self._producer, address).topics
        missing = [topic for topic in TOPICS if topic not in there]
        if missing:
            raise CheckError(f"there is no topic {missing[0]}; create it with: dealpulse topics create")

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Make all that is sent within the block visible together, or nothing of it.  Raises CheckError when it may be nothing."""
        try:
            with transaction(self._producer, TRANSACTION_TIMEOUT):
                yield
        except KafkaException as error:
            raise CheckError(f"the transaction did not end well: {describe(error)}") from None

    def send(self, record: Outgoing) -> None:
        """Queue one record; wait while the queue is full.  Raises CheckError when a delivery failed."""
        while True:
            try:
                self._producer.produce(record.topic, record.value, record.key, record.partition, headers=record.headers)
                break
            except BufferError:
                self.poll(_QUEUE_WAIT)
            except KafkaException as error:
                raise CheckError(f"cannot send to {record.topic}: {error.args[0].str()}") from None
        self.sent += 1
        if self.sent % 1000 == 0:
            self.poll(0)

    def tick(self, topic: str, partition: int, value: bytes) -> None:
        """Queue one record for a partition that the caller names."""
        self._producer.produce(topic, value, partition=partition)

    def poll(self, seconds: float) -> None:
        """Serve callbacks.  Raises CheckError when a delivery failed."""
        self._producer.poll(seconds)
        if self._failed:
            raise CheckError(self._failed)

    def confirm(self) -> None:
        """Wait until every record sent so far is confirmed.  Raises CheckError when one is not."""
        end = time.monotonic() + DELIVERY_DEADLINE + 5
        while self._producer.flush(0.2):
            self.poll(0)
            if time.monotonic() > end:
                raise CheckError(f"{len(self._producer)} records are not confirmed by the broker; {_AGAIN}")
        self.poll(0)

    def abandon(self) -> None:
        """Drop what is queued; after an error or Ctrl-C nobody waits for it."""
        self._producer.purge()
        self._producer.poll(0)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None and self._failed is None:
            self._failed = f"a record for {message.topic()} was not delivered: {error.str()}; {_AGAIN}"
