"""Where does a measurement take place?  On a fresh broker with our topics, filled with the events of J2."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from confluent_kafka import Consumer, Producer, TopicPartition

from bench import j2
from streams import config
from streams.cli.stack import signals_end_it
from streams.environment import Environment, client_settings
from streams.kafka.admin import create_topics
from streams.kafka.embedded import embedded_broker, free_port
from streams.kafka.reading import until_end
from streams.topics import ACTIVITY, STAGE_CHANGE
from tests.brokers.apache import apache_kafka

SOURCES = (STAGE_CHANGE, ACTIVITY)
APP = "bench"


def say(text: str) -> None:
    """Tell how far we are."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


class EventFile:
    """The events of J2, written to disk once, so that every run sends the same bytes at once."""

    def __init__(self, folder: Path, count: int) -> None:
        self.count = count
        self._path = folder / f"events-{count}"
        say(f"generating {count:,} events")
        with self._path.open("wb") as file:
            for topic, key, value in j2.events(count):
                file.write(b"%d\t%b\t%b\n" % (SOURCES.index(topic), key, value))

    def __iter__(self) -> Iterator[tuple[str, bytes, bytes]]:
        """Yield (topic, key, value)."""
        with self._path.open("rb") as file:
            for line in file:
                number, key, value = line.rstrip(b"\n").split(b"\t", 2)
                yield SOURCES[int(number)], key, value


@dataclass(frozen=True)
class Ground:
    """A broker with our topics, and the settings that a worker on it has."""

    environment: Environment
    definitions: config.Definitions
    folder: Path

    @property
    def client(self) -> dict[str, Any]:
        """Return what every Kafka client needs."""
        return client_settings(self.environment)


@contextlib.contextmanager
def fresh(kind: str, raw: dict[str, Any]) -> Iterator[Ground]:
    """Run a broker of this kind with all topics for the length of the block; `raw` is dealpulse.yaml, parsed."""
    definitions = config.definitions_from(raw)
    with signals_end_it(), tempfile.TemporaryDirectory(prefix="dealpulse-bench-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        file = folder / "dealpulse.yaml"
        file.write_text(yaml.safe_dump(raw, allow_unicode=True, sort_keys=False), encoding="utf-8")
        if kind == "apache":
            url = stack.enter_context(apache_kafka(folder, steady=True))
        else:
            url = stack.enter_context(embedded_broker()).url
        environment = Environment(broker=url, app_id=APP, config=str(file), web_port=free_port())
        create_topics(environment, definitions)
        yield Ground(environment, definitions, folder)


def producer(client: dict[str, Any], failed: list[str], compression: str = "lz4", **more: Any) -> Producer:
    """Return a producer that places keys as the worker's own does; what is not delivered is told in `failed`."""
    return Producer(
        {
            **client,
            "on_delivery": lambda error, _: failed.append(str(error)),
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "compression.type": compression,
            "linger.ms": 20,
            "batch.size": 1 << 20,
            "queue.buffering.max.messages": 200_000,
            "delivery.report.only.error": True,
            "log_level": 0,
            **more,
        }
    )


def load(client: dict[str, Any], records: Iterable[tuple[str, bytes, bytes]], compression: str = "lz4") -> int:
    """Send the records, each confirmed; return how many."""
    failed: list[str] = []
    sender = producer(client, failed, compression)
    sent = produce(sender, records)
    if sender.flush(60) or failed:
        raise SystemExit(f"the broker did not take all events: {failed[:1] or 'time-out'}")
    return sent


def produce(sender: Producer, records: Iterable[tuple[str, bytes, bytes]]) -> int:
    """Hand the records to a producer, as fast as it takes them; return how many."""
    sent = 0
    for topic, key, value in records:
        while True:
            try:
                sender.produce(topic, value, key)
                break
            except BufferError:
                sender.poll(0.05)
        sent += 1
    return sent


def ends(client: dict[str, Any], topics: Iterable[str], partitions: int) -> dict[tuple[str, int], int]:
    """Return the end offset of every partition: where a reader comes to it, since the embedded broker names as end where the last batch begins."""
    consumer = Consumer({**client, "group.id": "bench-ends", "enable.partition.eof": True, "log_level": 0})
    try:
        places = [TopicPartition(topic, one) for topic in topics for one in range(partitions)]
        for place in places:
            place.offset = consumer.get_watermark_offsets(place, timeout=10)[1]
        consumer.assign(places)
        found: dict[tuple[str, int], int] = {}
        for _ in until_end(consumer, len(places), decided=False, ends=found):
            pass
        return found
    finally:
        consumer.close()
