"""What does stock Faust need for J2, and is it right?  The same events, until its tables stop growing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from bench import counts
from bench.ground import Ground, load, say
from bench.process import Sampler, others, peak_memory
from bench.stock_faust import ACTIVITIES, APP, CHANGES, ENTRIES, PARTITIONS, TABLES
from streams.cli.read import last_of_every_key
from streams.kafka.embedded import end_process
from streams.topics import STAGE_CHANGE

EVERY = 0.25
QUIET = 8.0  # Faust buffers and commits for up to 2.8 s
START_DEADLINE = 120.0
PATIENCE = 900.0


def measure(ground: Ground, events: Iterable[tuple[str, bytes, bytes]], count: int, right: counts.Counts) -> dict[str, Any]:
    """Run one Faust worker over the events; return what it took and how much of it is right."""
    admin = AdminClient({**ground.client, "log_level": 0})
    topics = [NewTopic(topic, PARTITIONS, 1) for topic in (ACTIVITIES, CHANGES, ENTRIES)]
    for future in admin.create_topics(topics).values():
        future.result(10)
    records = ((CHANGES if topic == STAGE_CHANGE else ACTIVITIES, key, value) for topic, key, value in events)
    load(ground.client, records, compression="none")  # its client reads lz4 with another library only
    log = ground.folder / "faust.log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            _command(), stdout=said, stderr=subprocess.STDOUT, env=_variables(ground), start_new_session=True
        )
    sampler = Sampler([process.pid], EVERY, Grown(ground.client).look)
    try:
        sampler.start()
        _wait(process, sampler, log)
        memory = peak_memory(process.pid)
    finally:
        samples = sampler.stop()
        end_process(process, 5.0)
    first = [one for one in samples if not one.seen][-1]
    last = next(one for one in samples if one.seen == samples[-1].seen)
    spent = last.cpu - first.cpu
    differences = right.differences(_told(ground.client))
    for line in differences[:3]:
        say(f"  stock Faust: {line}")
    return {
        "events": count,
        "seconds": last.at - first.at,
        "rate": count / (last.at - first.at),
        "cpu": spent,
        "cpu_per_million": spent / count * 1e6,
        "memory": memory,
        "others": others(first, last),
        "load": max(sampler.load),
        "numbers": right.numbers,
        "differences": len(differences),
    }


def _command() -> list[str]:
    return [
        sys.executable,
        "-c",
        f"from streams.cli.worker import end_with; end_with({os.getpid()}); from bench.stock_faust import app; app.main()",
        "worker",
        "--without-web",
        "-l",
        "warn",
    ]


def _variables(ground: Ground) -> dict[str, str]:
    return {**os.environ, "BENCH_FAUST_BROKER": ground.environment.broker, "BENCH_FAUST_DATA": str(ground.folder / "faust")}


class Grown:
    """How many records Faust has written to the changelogs of its tables."""

    def __init__(self, client: dict[str, Any]) -> None:
        self._consumer = Consumer({**client, "group.id": "bench-grown", "log_level": 0})
        self._parts: list[TopicPartition] = []

    def look(self) -> int:
        """Return the number; 0 before Faust has made the topics."""
        if not self._parts:
            there = self._consumer.list_topics(timeout=10).topics
            wanted = [f"{APP}-{table}-changelog" for table in TABLES.values()]
            if not all(topic in there for topic in wanted):
                return 0
            self._parts = [TopicPartition(topic, one) for topic in wanted for one in range(PARTITIONS)]
        return sum(self._consumer.get_watermark_offsets(part, timeout=10)[1] for part in self._parts)


def _wait(process: subprocess.Popen[bytes], sampler: Sampler, log: Path) -> None:
    begun = moved = time.monotonic()
    seen = 0
    while time.monotonic() - begun < PATIENCE:
        time.sleep(EVERY)
        now = sampler.samples[-1].seen if sampler.samples else 0
        if process.poll() is not None:
            raise SystemExit(f"stock Faust ended:\n{log.read_text(errors='replace')[-3000:]}")
        if now != seen:
            moved, seen = time.monotonic(), now
        elif time.monotonic() - moved > (QUIET if seen else START_DEADLINE):
            if not seen:
                raise SystemExit(f"stock Faust does nothing:\n{log.read_text(errors='replace')[-3000:]}")
            return
    raise SystemExit(f"stock Faust is not done after {PATIENCE:.0f} s, with {seen} changelog records")


def _told(client: dict[str, Any]) -> counts.Counts:
    found = counts.Counts()
    for name, table in TABLES.items():
        total = getattr(found, name)
        for key, value in last_of_every_key(client, f"{APP}-{table}-changelog").items():
            total[json.loads(key)[0]] += json.loads(value)
    return found
