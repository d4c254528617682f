"""A flow of two rooms whose right answer anybody can count: per-key counts, then sums of their changes.

Run as a program it is a worker; what it should do comes as JSON in the first argument.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from confluent_kafka import Message

from streams.app import App, run_worker
from streams.config import Definitions, Environment
from streams.kafka.faults import Faults
from streams.kafka.room import Moment, Output, StateTable
from streams.topics import Topic, changelog

SOURCE, CHANGES, TOTALS = "toy.events", "toy.changes", "toy.totals"
PARTITIONS = 4


def topics(app_id: str) -> list[Topic]:
    return [
        Topic(SOURCE, "delete"),
        Topic(CHANGES, "delete"),
        Topic(TOTALS, "compact"),
        Topic(changelog(app_id, "counts"), "compact"),
        Topic(changelog(app_id, "sums"), "compact"),
    ]


@dataclass
class Counting:
    """Adds each record's number to its key's integer, and says by how much it changed."""

    name: str
    sources: tuple[str, ...]
    target: str
    tell_change: bool
    slow: float = 0.0
    tables: dict[int, StateTable] = field(default_factory=dict)
    pending: dict[int, Counter] = field(default_factory=dict)

    def open(self, partition: int, state: StateTable) -> None:
        self.tables[partition] = state
        self.pending[partition] = Counter()

    def close(self, partition: int) -> None:
        self.tables.pop(partition, None)
        self.pending.pop(partition, None)

    def handle(self, partition: int, topic: str, run: Sequence[Message]) -> int:
        pending = self.pending[partition]
        for message in run:
            pending[message.key()] += int(message.value())
        if self.slow:
            time.sleep(self.slow * len(run))
        return 100 * len(pending)

    def drain(self, moment: Moment) -> list[Output]:
        outputs: list[Output] = []
        for partition, pending in self.pending.items():
            table = self.tables[partition]
            for key, change in pending.items():
                value = int(table.get(key) or 0) + change
                table.put(key, b"%d" % value)
                outputs.append((self.target, -1, key, b"%d" % (change if self.tell_change else value), None))
            pending.clear()
        return outputs

    def due(self, moment: Moment) -> bool:
        return False


def rooms(slow: float = 0.0) -> list[Counting]:
    return [
        Counting("counts", (SOURCE,), CHANGES, tell_change=True, slow=slow),
        Counting("sums", (CHANGES,), TOTALS, tell_change=False),
    ]


def _watch(app: App, path: Path) -> None:
    """Write the status down, so that the test sees it."""

    @app.task
    async def tell() -> None:
        while not app.should_stop:
            status = app.edge.status()
            told = {name: getattr(status, name) for name in status.__slots__}
            told |= {"caught_up": app.edge.caught_up(), "lag": sum(lag.records for lag in app.edge.lags())}
            told |= {"cpu": time.process_time()}
            path.with_suffix(".new").write_text(json.dumps(told))
            path.with_suffix(".new").replace(path)
            await app.sleep(0.1)


def main() -> int:
    told = json.loads(sys.argv[1])
    environment = Environment(broker=told["broker"], app_id=told["app"], slot=told.get("slot"), log_level="WARNING")
    definitions = Definitions(partitions=told.get("partitions", PARTITIONS), flush_interval=told.get("flush_interval", 0.1))
    return run_worker(
        environment,
        definitions,
        rooms(told.get("slow", 0.0)),
        topics=topics(told["app"]),
        prepare=lambda app: _watch(app, Path(told["status"])) if "status" in told else None,
        session_timeout=told.get("session_timeout", 6.0),
        transactions=told.get("transactions", True),
        faults=Faults.read(os.environ),
    )


if __name__ == "__main__":
    sys.exit(main())
