"""What would a worker do whose rules are broken?  Each of these must be noticed by some fault test: else the test sees nothing.

They act in a worker's own process, which runs the product otherwise as it is.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

import confluent_kafka

from streams.kafka import clients, flush, poll, restore
from streams.kafka.faults import Faults
from streams.topics import DELTAS


def hasty_restore() -> None:
    """Take the group's offsets as they are, decided or not, and do not wait until the state has reached them."""
    ask = restore.Restorer._ask_committed

    def at_once(self: Any, _consumer: Any, asked: Any, deadline: float) -> Any:
        hasty = clients.restore_consumer(self.connection) | {"isolation.level": "read_uncommitted"}
        consumer = confluent_kafka.Consumer(hasty)
        try:
            return ask(self, consumer, asked, deadline)
        finally:
            consumer.close()

    restore.Restorer._ask_committed = at_once
    restore._older = lambda *_: False


def short_queue() -> None:
    """Give librdkafka's producer a queue that one flush overfills.  No broken rule: the worker must end."""
    settings = clients.producer
    flush.producer = lambda connection, **options: settings(connection, **options) | {"queue.buffering.max.messages": 50}


def swallow_errors_of_produce() -> None:
    """Commit although produce() has refused a record."""

    def produce(self: Any, batch: Any) -> None:
        for topic, partition, key, value, headers in batch.outputs + batch.rows:
            with contextlib.suppress(confluent_kafka.KafkaException, BufferError):
                self._producer.produce(topic, value, key, partition, None, None, 0, headers)

    flush.Transactions._produce = produce


def stuck_poll_thread() -> None:
    """Let nobody poll for longer than the group waits, once.  No broken rule: the worker must end."""
    clients.MAX_POLL_INTERVAL = 8.0
    obey, begun = poll.PollThread._obey, time.monotonic()
    stuck = threading.Event()

    def sometimes(self: Any) -> None:
        if self._fetching and time.monotonic() - begun > 10 and not stuck.is_set():
            stuck.set()
            print("the poll thread stands still", flush=True)
            time.sleep(14)
        obey(self)

    poll.PollThread._obey = sometimes


def strike_only_what_a_room_reads() -> None:
    """Without transactions, let failpoints count only flushes with deltas: a KPI told twice changes no number, a delta does."""
    commit = flush.PlainProducing.commit

    def choosy(self: Any, batch: Any) -> Any:
        asked = self._faults
        if all(output[0] != DELTAS for output in batch.outputs):
            self._faults = Faults(plain_producing=True)
        try:
            return commit(self, batch)
        finally:
            self._faults = asked

    flush.PlainProducing.commit = choosy


DEEDS: dict[str, Callable[[], None]] = {
    deed.__name__: deed
    for deed in (
        hasty_restore,
        short_queue,
        swallow_errors_of_produce,
        stuck_poll_thread,
        strike_only_what_a_room_reads,
    )
}
