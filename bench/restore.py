"""How fast is state restored?  A changelog of a million records, read by the worker's own restorer; and a real restart."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from bench.ground import APP, Ground, load
from bench.worker import started
from streams import topics
from streams.kafka.clients import Connection
from streams.kafka.ownership import Plan
from streams.kafka.restore import Progress, Restorer
from streams.kafka.room import Room
from streams.topics import changelog

ROOM = "deals"
RECORDS = 1_000_000
KEYS = 500_000  # each written twice: compaction never has the last word
SIZE = 350
FACTS = ("records", "seconds", "rate", "cpu", "memory")


class _Nothing:
    """A room by name and sources only: a restorer asks for no more."""

    name = ROOM
    sources = (topics.ACTIVITY,)


def changelog_records(count: int) -> Iterator[tuple[str, bytes, bytes]]:
    """Yield state rows of a deal's usual size."""
    topic, value = changelog(APP, ROOM), bytes(range(256)) * 2
    for number in range(count):
        key = b"ddeal-%07d" % (number % KEYS)
        yield topic, key, value[number % 100 : number % 100 + SIZE - len(key)]


def measure(ground: Ground) -> dict[str, Any]:
    """Return what restoring a synthetic changelog took, in a process of its own."""
    load(ground.client, changelog_records(RECORDS))
    command = [sys.executable, "-c", "from bench.restore import main; main()", ground.client["bootstrap.servers"]]
    done = subprocess.run([*command, str(ground.definitions.partitions)], check=True, stdout=subprocess.PIPE, timeout=600)
    return json.loads(done.stdout)


def main() -> None:
    """Restore once; print what it took."""
    room: Any = _Nothing()
    rooms: tuple[Room, ...] = (room,)
    keys = [(ROOM, one) for one in range(int(sys.argv[2]))]
    progress = Progress()
    restorer = Restorer(Connection({"bootstrap.servers": sys.argv[1]}, APP), Plan(rooms), keys, progress, lambda: False)
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    found = restorer.run()
    seconds, used = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    if progress.records != RECORDS or sum(len(one.rows) for one in found.values()) != KEYS:
        raise SystemExit(f"restored {progress.records} records instead of {RECORDS}")
    spent = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    values = (progress.records, seconds, progress.records / seconds, spent, used.ru_maxrss / 1024)
    print(json.dumps(dict(zip(FACTS, values, strict=True))))


def restart(ground: Ground) -> dict[str, Any]:
    """Kill a worker that has state and start another; return how long that one restores, and from when it is ready.

    The group waits for the dead one for the session timeout (10 s), which is in `ready_seconds` and not in `seconds`.
    """
    with started(ground) as one:
        one.worker.process.kill()
        one.worker.process.wait()
    from streams.cli.stack import worker_process  # noqa: PLC0415

    begun = time.monotonic()
    with worker_process(ground.environment, ground.folder, ticks=False) as worker:
        restoring = None
        while not (said := worker.readiness()).get("restored"):
            worker.check()
            if restoring is None and said.get("partitions", {}).get("assigned"):
                restoring = time.monotonic()
            time.sleep(0.01)
        ready = time.monotonic()
        time.sleep(2.5)  # the counter is brought up to date once a second
        records = worker.metrics().get(("dealpulse_restored_records_total", ""), 0.0)
    seconds = ready - (restoring or ready)
    return {
        "records": int(records),
        "seconds": seconds,
        "rate": records / max(seconds, 1e-9),
        "ready_seconds": ready - begun,
    }
