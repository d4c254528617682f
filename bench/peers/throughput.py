"""What does a system need for a job, and is its result right?  All events are there before it starts.

Observed from outside, ten times a second: the kernel's account of its processes and the end offsets of its topics.
From the last look at which none of its topics held a record, to the look at which its last result was there.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from bench.ground import Ground, say
from bench.peers import panes, tree
from bench.peers.systems import System, Task
from bench.process import Sample, others
from streams.cli.read import last_of_every_key

EVERY = 0.1
TOPICS_EVERY = 1.0
START_DEADLINE = 60.0
PATIENCE = 600.0
SECOND_CHANCE = 3.0  # times `quiet`, before a result that is not right is called wrong


class Seen(NamedTuple):
    """How many records it has written: results, and all of its topics together."""

    results: int
    all: int


class Offsets:
    """The end offsets of a system's topics."""

    def __init__(self, client: dict[str, Any], task: Task) -> None:
        self._admin = AdminClient({**client, "log_level": 0})
        self._task = task
        self._asked: dict[TopicPartition, OffsetSpec] = {}
        self._listed = 0.0
        self._begun = False

    def topics(self) -> list[str]:
        """Return the names of those of its topics that are there."""
        found = self._admin.list_topics(timeout=10).topics
        return [name for name in found if name == self._task.out or self._task.app in name]

    def look(self) -> Seen:
        """Return what is there now."""
        if not self._begun or time.monotonic() - self._listed > TOPICS_EVERY:  # the first record may be in a topic just made
            self._listed = time.monotonic()
            parts = (TopicPartition(name, one) for name in self.topics() for one in range(self._task.partitions))
            self._asked = {part: OffsetSpec.latest() for part in parts}
        results = total = 0
        for part, answer in self._admin.list_offsets(self._asked, request_timeout=10).items():
            with contextlib.suppress(KafkaException):  # a topic that is just being made
                offset = answer.result().offset
                total += offset
                results += offset if part.topic == self._task.out else 0
        self._begun = total > 0
        return Seen(results, total)

    def create(self, others: list[str]) -> None:
        """Make the topic of results and what else it needs; Kafka would delete what happened in 2024 after a week, at once."""
        settings = {self._task.out: {"cleanup.policy": "compact"}, **{name: {"retention.ms": "-1"} for name in others}}
        names = set(settings)
        wanted = [NewTopic(name, self._task.partitions, 1, config=said) for name, said in settings.items()]
        for answer in self._admin.create_topics(wanted).values():
            answer.result(30)
        end = time.monotonic() + 30
        while not names <= set(self.topics()):  # made, but not yet told to everybody
            if time.monotonic() > end:
                raise tree.FailedError(f"the broker does not know {sorted(names)}")
            time.sleep(0.05)

    def delete(self) -> None:
        """Take all its topics away."""
        names = self.topics()
        for answer in self._admin.delete_topics(names).values() if names else ():
            with contextlib.suppress(KafkaException):
                answer.result(30)


@contextlib.contextmanager
def started(ground: Ground, system: System, task: Task) -> Iterator[tuple[subprocess.Popen[bytes], Path, Offsets]]:
    """Run a system for the length of the block, its topics before it; take all of it away afterwards."""
    if system.start is None:
        raise ValueError(system.name)
    begin = system.start(task)
    offsets, log = Offsets(ground.client, task), ground.folder / f"{task.app}.log"
    offsets.create(system.made(task))
    try:
        with tree.running(begin.command, begin.variables, log) as process:
            yield process, log, offsets
    finally:
        offsets.delete()
        shutil.rmtree(task.state, ignore_errors=True)


def measure(ground: Ground, system: System, task: Task, right: panes.Panes, events: int) -> dict[str, Any]:
    """Run it over all events; return what it took and how many panes are wrong."""
    with started(ground, system, task) as (process, log, offsets):
        samples = [tree.sample(process.pid, Seen(0, 0))]
        differences = _watch(ground, system, task, right, samples, (process, log, offsets))
        memory = tree.memory(process.pid)
    return {
        **figures(samples, events),
        "memory": memory,
        "numbers": len(right),
        "differences": len(differences),
    }


def figures(samples: list[Sample], events: int) -> dict[str, Any]:
    """Return what the samples say: rate until the last result, CPU until its last record of any kind."""
    first = next(one for one, two in itertools.pairwise(samples) if two.seen.all)
    result = next(one for one in samples if one.seen.results == samples[-1].seen.results)
    last = next(one for one in samples if one.seen == samples[-1].seen)
    return {
        "events": events,
        "seconds": result.at - first.at,
        "rate": events / (result.at - first.at),
        "cpu": last.cpu - first.cpu,
        "cpu_per_million": (last.cpu - first.cpu) / events * 1e6,
        "start_seconds": first.at - samples[0].at,
        "start_cpu": first.cpu,
        "results": samples[-1].seen.results,
        "others": others(first, last),
    }


def _watch(
    ground: Ground,
    system: System,
    task: Task,
    right: panes.Panes,
    samples: list[Sample],
    running: tuple[subprocess.Popen[bytes], Path, Offsets],
) -> list[str]:
    """Sample until its results are right, or have not moved for too long; return what is wrong."""
    process, log, offsets = running
    moved = time.monotonic()
    asked = False
    while time.monotonic() - samples[0].at < PATIENCE:
        tree.check(process, log)
        samples.append(tree.sample(process.pid, offsets.look()))
        now, seen = samples[-1].at, samples[-1].seen
        if seen != samples[-2].seen:
            moved, asked = now, False
        elif not seen.results:
            if now - moved > START_DEADLINE:
                raise tree.FailedError(f"it does nothing:\n{log.read_text(errors='replace')[-3000:]}")
        elif (now - moved > system.quiet and not asked) or now - moved > SECOND_CHANCE * system.quiet:
            asked = True
            found = panes.differences(right, panes.told(last_of_every_key(ground.client, task.out)))
            if not found or now - moved > SECOND_CHANCE * system.quiet:
                for line in found[:3]:
                    say(f"  wrong: {line}")
                return found
        time.sleep(EVERY)
    raise tree.FailedError(f"it is not done after {PATIENCE:.0f} s")
