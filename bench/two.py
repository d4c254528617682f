"""What do two workers cost beside one?  CPU seconds for the same events, of all workers together.

On a machine whose cores are all busy anyway, a second worker cannot make anything faster; but what the events cost together
says how much of it would be lost to sharing the work, had each worker cores of its own.  The events lie in an open
transaction until every worker has its partitions, so that none begins earlier.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import msgspec
from confluent_kafka import Producer

from bench import counts
from bench.ground import SOURCES, EventFile, Ground, ends, produce, producer
from bench.process import Sampler, cpu, others, peak_memory, sample
from bench.worker import EVERY, Committed, Places, differing, figures, last_deltas, wait_until_read
from streams.cli.settings import Settings
from streams.cli.settle import settle
from streams.cli.stack import WorkerProcess, observer, worker_process
from streams.kafka.embedded import free_port

AT_MOST = 1.11  # times what one worker costs: then two do 1.8 times as much as one, on cores of their own
OPEN = 900  # seconds that the broker lets the transaction be open
JOINING = 60.0


class Crew:
    """Workers of one group."""

    def __init__(self, workers: list[WorkerProcess]) -> None:
        self.workers = workers
        self.pids = [one.process.pid for one in workers]

    def check(self) -> None:
        """Raise CheckError when one of them has ended."""
        for one in self.workers:
            one.check()

    def wait_until_shared(self) -> None:
        """Wait until each of them has restored as many partitions as the others; one that came first gives some up before."""
        end = time.monotonic() + JOINING
        while True:
            self.check()
            said = [one.readiness() for one in self.workers]
            if all(one.get("restored") for one in said) and len({one["partitions"]["assigned"] for one in said}) == 1:
                return
            if time.monotonic() > end:
                raise SystemExit(f"the workers do not share the partitions evenly: {said}")
            time.sleep(0.1)


@contextlib.contextmanager
def crew(ground: Ground, count: int) -> Iterator[Crew]:
    """Run so many workers for the length of the block."""
    with contextlib.ExitStack() as stack:
        workers = []
        for number in range(count):
            folder = ground.folder / f"worker-{number}"
            folder.mkdir()
            environment = msgspec.structs.replace(ground.environment, web_port=free_port())
            workers.append(stack.enter_context(worker_process(environment, folder, ticks=False)))
        found = Crew(workers)
        found.wait_until_shared()
        yield found


def hold_back(ground: Ground, file: EventFile) -> tuple[Producer, Places]:
    """Send the events in a transaction that stays open; return who can commit it, and the ends of the sources."""
    failed: list[str] = []
    more = {"transactional.id": "bench-events", "transaction.timeout.ms": OPEN * 1000}
    sender = producer(ground.client, failed, **more)
    sender.init_transactions(30)
    sender.begin_transaction()
    produce(sender, file)
    if sender.flush(60) or failed:
        raise SystemExit(f"the broker did not take all events: {failed[:1] or 'time-out'}")
    return sender, ends({**ground.client, "isolation.level": "read_uncommitted"}, SOURCES, ground.definitions.partitions)


def measure(ground: Ground, file: EventFile, right: counts.Counts, count: int) -> dict[str, Any]:
    """Run so many workers over the events; return what it took all of them, and whether their numbers are right."""
    sender, wanted = hold_back(ground, file)
    committed = Committed(ground)
    with crew(ground, count) as workers:
        begun = [cpu(pid) for pid in workers.pids]
        first = sample(*workers.pids)
        sender.commit_transaction(30)
        sampler = Sampler(workers.pids, EVERY, committed.look)
        sampler.start()
        wait_until_read(workers.check, sampler, wanted)
        settle(Settings(ground.environment, ground.definitions), observer(workers.workers))
        differences, waited = differing(ground, right)
        samples = [first, *sampler.stop()]
        shares = [cpu(pid) - before for pid, before in zip(workers.pids, begun, strict=True)]
        memory = max(map(peak_memory, workers.pids))
    committed.close()
    found = figures(samples, wanted, last_deltas(ground), file.count)
    found |= {"workers": count, "memory": memory, "others": others(first, samples[-1]), "load": max(sampler.load)}
    return found | {"busiest": max(shares) / sum(shares), "differences": len(differences), "waited": waited}
