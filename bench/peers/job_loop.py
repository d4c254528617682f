"""What does a bare loop need?  Batches, dicts, no group, no transaction, no restore: nobody would run it, nothing is faster.

Run: python job_loop.py OPTIONS, a JSON object (systems.py says which).  One process reads all partitions, so J1 needs no
repartition; J2 has one, and a changelog of the deals, because they belong to the job.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

BATCH = 10_000


class Event(msgspec.Struct):
    """What the jobs read of an event."""

    deal_id: str
    rep_id: str
    occurred_at: str
    to_stage: str = ""


class Totals(msgspec.Struct):
    """What a stage saw in a minute."""

    entered: int = 0
    left: int = 0
    stay_ms: int = 0


decode = msgspec.json.Decoder(Event).decode
decode_totals = msgspec.json.Decoder(Totals).decode
encode = msgspec.json.Encoder().encode


@lru_cache(4096)
def minute(text: str) -> int:
    """Return the minutes since 1970 of 2024-03-04T00:00."""
    return int(datetime.fromisoformat(text + "+00:00").timestamp()) // 60


class Loop:
    """The clients of one loop."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._broker = options["broker"]
        self.out: str = options["out"]
        self.deltas, self.deals = f"{options['app']}-deltas", f"{options['app']}-deals"
        self.activity = options["activity"]
        self._gather = 0.002 if options["live"] else 0.05
        self.events = self.consumer(options["activity"], options["stage"])
        self.producer = Producer(
            {
                "bootstrap.servers": self._broker,
                "linger.ms": 1 if options["live"] else 20,
                "compression.type": "lz4",
                "batch.size": 900_000,
                "queue.buffering.max.messages": 2_000_000,
            }
        )

    def consumer(self, *topics: str) -> Consumer:
        """Return a reader of all partitions from their beginning."""
        consumer = Consumer(
            {
                "bootstrap.servers": self._broker,
                "group.id": "peers-loop",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 50,
                "fetch.queue.backoff.ms": 5,
                "queued.min.messages": 50_000,
                "queued.max.messages.kbytes": 16_384,
            }
        )
        known = consumer.list_topics(timeout=10).topics
        consumer.assign(
            [TopicPartition(topic, one, OFFSET_BEGINNING) for topic in topics for one in known[topic].partitions]
        )
        return consumer

    def batch(self, consumer: Consumer) -> Iterator[tuple[str, bytes, bytes]]:
        """Yield (topic, key, value) of what is there."""
        self.producer.poll(0)
        for message in consumer.consume(BATCH, self._gather):
            if message.error() is not None:
                raise SystemExit(str(message.error()))
            yield message.topic(), message.key(), message.value()


def count_events(loop: Loop) -> None:
    """J1, for ever."""
    panes: dict[str, int] = defaultdict(int)
    while True:
        touched = set()
        for _, _, value in loop.batch(loop.events):
            event = decode(value)
            pane = f"{event.rep_id}|{minute(event.occurred_at[:16])}"
            panes[pane] += 1
            touched.add(pane)
        for pane in touched:
            loop.producer.produce(loop.out, b'{"events":%d}' % panes[pane], pane)


def follow_deals(loop: Loop) -> None:
    """J2, for ever: a batch of events, then what has come of them."""
    deltas = loop.consumer(loop.deltas)
    deals: dict[str, tuple[str, int]] = {}
    reps: dict[bytes, int] = defaultdict(int)
    stages: dict[bytes, Totals] = {}
    while True:
        _events(loop, deals)
        touched: dict[bytes, bytes] = {}
        for _, key, value in loop.batch(deltas):
            if value.isdigit():
                reps[key] += int(value)
                touched[key] = b'{"activities":%d}' % reps[key]
            else:
                totals, more = stages.setdefault(key, Totals()), decode_totals(value)
                totals.entered += more.entered
                totals.left += more.left
                totals.stay_ms += more.stay_ms
                touched[key] = encode(totals)
        for key, value in touched.items():
            loop.producer.produce(loop.out, value, key)


def _events(loop: Loop, deals: dict[str, tuple[str, int]]) -> None:
    reps: dict[str, int] = defaultdict(int)
    stages: dict[str, Totals] = defaultdict(Totals)
    changed = set()
    for topic, _, value in loop.batch(loop.events):
        event = decode(value)
        text = event.occurred_at  # 2024-03-04T00:00:00.000Z, as all events of the jobs
        at = minute(text[:16])
        if topic == loop.activity:
            reps[f"{event.rep_id}|{at}"] += 1
            continue
        stage, deal = event.to_stage, event.deal_id
        before = deals.get(deal)
        if before is not None and before[0] == stage:
            continue
        at_ms = at * 60_000 + int(text[17:19]) * 1000 + int(text[20:23])
        deals[deal] = (stage, at_ms)
        changed.add(deal)
        stages[f"{stage}|{at}"].entered += 1
        if before is not None:
            totals = stages[f"{before[0]}|{at}"]
            totals.left += 1
            totals.stay_ms += at_ms - before[1]
    produce = loop.producer.produce
    for deal in changed:
        produce(loop.deals, encode(deals[deal]), deal)
    for pane, count in reps.items():
        produce(loop.deltas, b"%d" % count, pane)
    for pane, totals in stages.items():
        produce(loop.deltas, encode(totals), pane)


if __name__ == "__main__":
    options = json.loads(sys.argv[1])
    {"j1": count_events, "j2": follow_deals}[options["job"]](Loop(options))
