"""What do the KPI topics say at this moment?  Follows them, as any subscriber could, and keeps the current values."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from streams.cli.read import partitions, reader
from streams.cli.settings import CheckError
from streams.kafka.reading import until_end
from streams.topics import ALERT_EVENTS, KPI_LATEST

Record = dict[str, Any]
_BATCH = 5_000
_Slot = tuple[str, str, str]  # KPI, cut, window name
_Row = tuple[tuple[str, ...], str | None]  # entity values, currency


class Watch:
    """The current KPI values by KPI, cut and window name, and every alert event so far."""

    def __init__(self, consumer: Consumer, client: dict[str, Any]) -> None:
        """Begin to follow the topics from their beginning."""
        self.alerts: list[Record] = []
        # A window of a name moves on: its old start becomes a tombstone, before or after the new record.
        self._rows: dict[_Slot, dict[_Row, dict[str, bytes]]] = defaultdict(lambda: defaultdict(dict))
        self._consumer = consumer
        self._places = [(topic, one) for topic in (KPI_LATEST, ALERT_EVENTS) for one in partitions(consumer, client, topic)]
        consumer.assign([TopicPartition(topic, one, OFFSET_BEGINNING) for topic, one in self._places])

    def refresh(self, seconds: float) -> None:
        """Take in what has come, for at most so many seconds."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            for message in self._consumer.consume(_BATCH, min(left, 0.1)):
                error = message.error()
                if error is None:
                    self._take(message.topic(), message.key(), message.value())
                elif error.code() != KafkaError._PARTITION_EOF and not error.retriable():  # noqa: SLF001  # its only name
                    raise CheckError(f"cannot read {message.topic()}: {error.str()}")

    def read_all(self) -> None:
        """Take in everything that is there."""
        for message in until_end(self._consumer, len(self._places), decided=False):
            self._take(message.topic(), message.key(), message.value())

    def _take(self, topic: str, key: bytes | None, value: bytes | None) -> None:
        if topic == ALERT_EVENTS:
            if value is not None:
                self.alerts.append(orjson.loads(value))
            return
        if key is not None:
            self.put(key, value)

    def put(self, key: bytes, value: bytes | None) -> None:
        """Take in one KPI record."""
        kpi, cut, entity, window, start, currency = orjson.loads(key)
        starts = self._rows[kpi, cut, window][tuple(entity), currency]
        if value is None:
            starts.pop(start or "", None)
        else:
            starts[start or ""] = value

    def records(self, kpi: str, cut: str, window: str) -> list[Record]:
        """Return the current record of every entity and currency."""
        return [orjson.loads(starts[max(starts)]) for starts in self._rows[kpi, cut, window].values() if starts]

    def record(self, kpi: str, cut: str, entity: tuple[str, ...], window: str) -> Record | None:
        """Return the current record of one entity, in the currency with most in it."""
        found = [one for one in self.records(kpi, cut, window) if tuple(one["entity"].values()) == entity]
        return max(found, key=lambda one: one["n"], default=None)


@contextmanager
def watching(client: dict[str, Any]) -> Iterator[Watch]:
    """Follow the KPI topics for the length of the block."""
    with reader(client) as consumer:
        yield Watch(consumer, client)
