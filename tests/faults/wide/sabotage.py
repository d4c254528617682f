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

from streams.kafka import clients, edge, flush, ownership, poll, restore
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


def start_at_the_group() -> None:
    """Begin where the group stands, whatever the state says of itself."""
    opened = edge.Edge._open

    async def open_there(self: Any, generation: Any, found: Any) -> bool:
        committed = self.committed_by_key
        for key, restored in found.items():
            restored.offsets.update(committed.get(key, {}))
        return await opened(self, generation, found)

    places = restore.Restorer._committed

    def remember(self: Any, consumer: Any, deadline: float) -> Any:
        found = places(self, consumer, deadline)
        edge.Edge.committed_by_key = found
        return found

    restore.Restorer._committed = remember
    edge.Edge._open = open_there


def read_uncommitted() -> None:
    """Let rooms read what other rooms have not committed."""
    settings = clients.group_consumer
    poll.group_consumer = lambda *told: settings(*told) | {"isolation.level": "read_uncommitted"}


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


def go_on_after_errors() -> None:
    """Go on as if a failed transaction had been committed."""

    def go_on(self: Any, *_: Any, **__: Any) -> None:
        with contextlib.suppress(confluent_kafka.KafkaException):
            self._producer.abort_transaction(2)

    flush.Transactions._give_up = go_on


def ignore_where_the_state_stands() -> None:
    """Believe an older state."""
    restore.Restorer._still_older = lambda *_: None


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


def commits_of_one_room_less() -> None:
    """Write the kpis' state without their offsets: nobody asks the broker whether we still own them."""
    commits = ownership.Generation.commits
    ownership.Generation.commits = lambda self, keys: commits(self, [key for key in keys if key[0] != "kpis"])


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
        start_at_the_group,
        read_uncommitted,
        short_queue,
        swallow_errors_of_produce,
        go_on_after_errors,
        ignore_where_the_state_stands,
        stuck_poll_thread,
        commits_of_one_room_less,
        strike_only_what_a_room_reads,
    )
}
