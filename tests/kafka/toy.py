"""A flow of two rooms whose right answer anybody can count: per-key counts, then sums of their changes.

`main` is a worker; it belongs in a process of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import Message

from streams.app import App, run_worker
from streams.config import Definitions
from streams.environment import Environment
from streams.kafka import packing
from streams.kafka.edge import Edge
from streams.kafka.faults import Faults
from streams.kafka.resting import Packer, Resting
from streams.kafka.room import Moment, Output, Room, StateTable
from streams.kafka.signs import broker_ends
from streams.topics import Topic, changelog


def topics(app_id: str) -> list[Topic]:
    source, changes, totals = names(app_id)
    logs = [Topic(changelog(app_id, room), "compact") for room in ("counts", "sums", "posts")]
    return [Topic(source, "delete"), Topic(changes, "delete"), Topic(totals, "compact"), *logs]


def names(app_id: str) -> tuple[str, str, str]:
    return f"{app_id}.events", f"{app_id}.changes", f"{app_id}.totals"


@dataclass
class Counting:
    """Adds each record's number to its key's integer, and says by how much it changed, or the new value."""

    name: str
    sources: tuple[str, ...]
    target: str
    tell_change: bool
    slow: float = 0.0  # seconds per record
    tables: dict[int, StateTable] = field(default_factory=dict)
    pending: dict[int, Counter[bytes]] = field(default_factory=dict)
    packer: Packer = field(default_factory=Packer)

    def open(self, partition: int, state: StateTable) -> None:
        """Keep the table; its rows may rest."""
        self.tables[partition] = state
        state.resting = Resting(self.packer)
        self.pending[partition] = Counter()

    def close(self, partition: int) -> None:
        """Forget it."""
        self.tables.pop(partition, None)
        self.pending.pop(partition, None)

    def handle(self, partition: int, _topic: str, run: Sequence[Message]) -> int:
        """Add up."""
        pending = self.pending[partition]
        for message in run:
            pending[message.key()] += int(message.value())
        if self.slow:
            time.sleep(self.slow * len(run))
        return 100 * len(pending)

    def drain(self, _moment: Moment) -> list[Output]:
        """Write and tell what changed."""
        outputs: list[Output] = []
        for partition, pending in self.pending.items():
            table = self.tables[partition]
            for key, change in pending.items():
                value = int(table.get(key) or 0) + change
                table.put(key, b"%d" % value)
                outputs.append((self.target, -1, key, b"%d" % (change if self.tell_change else value), None))
            pending.clear()
        return outputs

    def due(self, _moment: Moment) -> bool:
        """Nothing happens without records."""
        return False

    def owes(self, _moment: Moment) -> bool:
        """What it holds goes with the flush of its records."""
        return False


@dataclass
class Posting(Counting):
    """Waits for the outside world, for ever if `stuck`."""

    stuck: bool = False

    async def deliver(self, partition: int, topic: str, record: Message) -> int:
        """Wait, then count."""
        await asyncio.sleep(3600 if self.stuck else 0.001)
        return self.handle(partition, topic, [record])


def rooms(app_id: str, slow: float = 0.0, posts: str | None = None) -> list[Room]:
    source, changes, totals = names(app_id)
    found: list[Room] = [
        Counting("counts", (source,), changes, tell_change=True, slow=slow),
        Counting("sums", (changes,), totals, tell_change=False),
    ]
    if posts:  # reads what sums reads, at its own pace
        found.append(Posting("posts", (changes,), f"{app_id}.posted", tell_change=True, stuck=posts == "stuck"))
        found[-1].drain = lambda _moment: []  # type: ignore[method-assign]
    return found


def _watch(app: App, path: Path, hang: str | None = None) -> None:
    """Write the status down, so that the test sees it; `hang` is what hangs once nothing more is on its way."""

    @app.task
    async def tell() -> None:
        hangs = False
        while not app.should_stop:
            status = app.edge.status()
            told = {name: getattr(status, name) for name in status.__slots__}
            lag: Counter[str] = Counter()
            for one in app.edge.lags():
                lag[one.room] += one.records
            states = app.edge.generation.states.values() if app.edge.generation else ()
            told["resting"] = sum(state.table.resting.count() for state in states if state.table.resting is not None)
            told["keys"] = sum(app.edge.keys().values())
            told |= {"caught_up": app.edge.caught_up(), "lag": lag, "cpu": time.process_time()}
            told["rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            begins = bool(hang and not hangs and told["caught_up"] and _at_rest(app.edge))
            hangs = told["hangs"] = hangs or begins
            path.with_suffix(".new").write_text(json.dumps(told))
            path.with_suffix(".new").replace(path)
            if begins:
                _hang(app, hang)
            await app.sleep(0.2)


def _at_rest(edge: Edge) -> bool:
    """Tell whether what the first room told has reached the last, and the broker has nothing more to fetch.

    Caught up is less: what a commit has just made visible may not be fetched yet.
    """
    keys, reached = edge.keys(), edge.reached()
    drained = not any(pending for room in edge.plan.rooms for pending in room.pending.values())
    return drained and keys["counts"] == keys["sums"] and broker_ends(edge.connection, reached) == reached


def _fail_at_the_end(app: App) -> None:
    """Let the first room fail in the last moment."""

    def close(_partition: int) -> None:
        raise RuntimeError("no last words")

    app.edge.plan.rooms[0].close = close  # type: ignore[method-assign]


def _hang(app: App, what: str) -> None:
    edge = app.edge
    if what == "loop":
        time.sleep(3600)
    elif what == "python":  # never gives the interpreter back
        re.match(r"(a|aa)+$", "a" * 70 + "b")
    elif what == "poll":
        edge._poll._obey = lambda: time.sleep(3600)
    elif what == "fetch":  # nothing that is fetched reaches the rooms
        edge._poll._hand_over = lambda _inbox, _messages: None
    elif what == "commit":
        edge._committer.commit = edge._flusher._committer.commit = lambda _batch: time.sleep(3600)


def _prepare(app: App, told: dict[str, Any]) -> None:
    _watch(app, Path(told["status"]), told.get("hang"))
    if told.get("fails_at_the_end"):
        _fail_at_the_end(app)


def main(told: dict[str, Any]) -> int:
    """Be a worker that packs all the time."""
    packing.ENOUGH, packing.REST, packing.LOOK, packing.PAUSE = 1, 0.0, 0.01, 0.001
    said = {"broker": told["broker"], "app_id": told["app"], "slot": told.get("slot")}
    environment = Environment(**said, log_level=told.get("log_level", "WARNING"))
    definitions = Definitions(partitions=told["partitions"], flush_interval=told.get("flush_interval", 0.1))
    return run_worker(
        environment,
        definitions,
        rooms(told["app"], told.get("slow", 0.0), told.get("posts")),
        topics=topics(told["app"]),
        prepare=lambda app: _prepare(app, told),
        session_timeout=6.0,
        transactions=told.get("transactions", True),
        faults=Faults.read(os.environ),
        watchdog=told.get("watchdog"),
    )
