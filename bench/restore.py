"""How fast is state restored?  The records of a million deals, read by the worker's own restorer; and a real restart."""

from __future__ import annotations

import gc
import itertools
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from bench import j2
from bench.ground import APP, Ground, load
from bench.living import FLUSH
from bench.process import resident
from bench.resting import pack
from bench.rooms import J2_EVENTS_PER_DEAL, Rooms, pieces
from bench.worker import started
from streams import config
from streams.cli.stack import worker_process
from streams.deals.room import DealsRoom
from streams.kafka.allocator import few_arenas
from streams.kafka.clients import Connection
from streams.kafka.ownership import Plan
from streams.kafka.restore import Progress, Restorer
from streams.topics import changelog
from streams.worker import GC_THRESHOLDS

DEALS = 1_000_000
BUILT = 10_000  # deals of J2, in full; the records of the others are theirs again, too far apart to be compressed together
FACTS = ("records", "row_bytes", "seconds", "rate", "cpu", "memory", "resident", "packed", "packing_cpu", "packing", "held")


def changelog_records() -> Iterator[tuple[str, bytes, bytes]]:
    """Yield the state rows of DEALS deals with J2's 20 events each, in no order."""
    rooms = Rooms(config.definitions_from(j2.definitions(narrow=True)))
    events = j2.events(BUILT * J2_EVENTS_PER_DEAL, deals=BUILT)
    while taken := list(itertools.islice(events, FLUSH)):
        rooms.flush(pieces(taken, rooms.count, 0))
    rows = [row for table in rooms.tables[: rooms.count] for key, row in table.rows.items() if key[:1] == b"d"]
    places = list(range(DEALS))
    random.Random(j2.SEED).shuffle(places)
    topic = changelog(APP, DealsRoom.name)
    for number, place in enumerate(places):
        yield topic, b"ddeal-%07d" % place, rows[number % len(rows)]


def measure(ground: Ground) -> dict[str, Any]:
    """Return what it took until the deals of a changelog were ready, in a process of its own."""
    load(ground.client, changelog_records())
    command = [sys.executable, "-c", "from bench.restore import main; main()", ground.client["bootstrap.servers"]]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=600)
    return json.loads(done.stdout)


def main() -> None:
    """Restore once, as a worker does, and pack what was restored; print what both took."""
    gc.set_threshold(*GC_THRESHOLDS)
    few_arenas()
    definitions = config.definitions_from(j2.definitions(narrow=True))
    room = DealsRoom(definitions, ticks=False)
    keys = [(room.name, one) for one in range(definitions.partitions)]
    progress = Progress()
    connection = Connection({"bootstrap.servers": sys.argv[1]}, APP)
    restorer = Restorer(connection, Plan((room,)), keys, progress, lambda: False)
    empty = resident()
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    tables = {partition: restored.table() for (_, partition), restored in restorer.run().items()}
    for partition, table in tables.items():
        room.open(partition, table)
    seconds, used = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    grown = resident() - empty
    sizes = [len(row) for table in tables.values() for _, row in table.items()]
    if progress.records != DEALS or len(sizes) != DEALS:
        raise SystemExit(f"restored {progress.records} records, {len(sizes)} deals, instead of {DEALS}")
    spent = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    size = sum(sizes) / DEALS
    del sizes
    packed = pack(tables.values())
    rate, peak = progress.records / seconds, used.ru_maxrss / 1024
    values = (progress.records, size, seconds, rate, spent, peak, grown / DEALS)
    after = ((packed.resident - empty) / DEALS, packed.cpu, packed.lasts, 1000 * packed.longest)
    print(json.dumps(dict(zip(FACTS, values + after, strict=True))))


def restart(ground: Ground) -> dict[str, Any]:
    """Kill a worker that has state and start another; return how long that one restores, and from when it is ready.

    The group waits for the dead one for the session timeout (10 s), which is in `ready_seconds` and not in `seconds`.
    """
    with started(ground) as one:
        one.worker.process.kill()
        one.worker.process.wait()
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
