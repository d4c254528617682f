"""How fast could anything in Python be?  Reads the source topics and decodes every record, nothing else.

The same client, settings, batches and decoder as the worker's.  All other figures are told relative to it.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from typing import Any
from zoneinfo import ZoneInfo

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from bench.ground import SOURCES, Ground, ends
from streams.events.contract import Limits, Rejection
from streams.events.decode import decode_activity, decode_stage_change
from streams.kafka.clients import Connection, group_consumer
from streams.kafka.poll import BATCH, GATHER
from streams.topics import ACTIVITY, STAGE_CHANGE

_DECODE = {STAGE_CHANGE: decode_stage_change, ACTIVITY: decode_activity}


def measure(ground: Ground, module: str = "bench.raw") -> dict[str, Any]:
    """Return what the main() of a module took, in a process of its own; it must have read and accepted all that the sources hold."""
    address = ground.client["bootstrap.servers"]
    command = [sys.executable, "-c", f"from {module} import main; main()", address, str(ground.definitions.partitions)]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=600).stdout)
    held = sum(ends(ground.client, SOURCES, ground.definitions.partitions).values())
    if found["events"] != held or found["refused"]:
        raise SystemExit(f"{module} read {found['events']:,} of {held:,} events and refused {found['refused']:,} of them")
    found["rate"] = found["events"] / found["seconds"]
    found["cpu_per_million"] = found["cpu"] / found["events"] * 1e6
    return found


def main() -> None:
    """Read and decode all that is there; print what it took, from the first record on."""
    address, partitions = sys.argv[1], int(sys.argv[2])
    consumer = Consumer(group_consumer(Connection({"bootstrap.servers": address}, "bench-raw")))
    places = [(topic, one) for topic in _DECODE for one in range(partitions)]
    consumer.assign([TopicPartition(*place, OFFSET_BEGINNING) for place in places])
    first = consumer.poll(30)
    started, used = time.perf_counter(), cpu()
    events, refused = read(consumer, [first], len(places))
    seconds, spent = time.perf_counter() - started, cpu() - used
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"events": events, "refused": refused, "seconds": seconds, "cpu": spent, "memory": memory}))


def read(consumer: Consumer, messages: list[Any], partitions: int) -> tuple[int, int]:
    """Decode until every partition is at its end; return events and refusals."""
    limits = Limits(300_000_000, ZoneInfo("UTC"))
    events = refused = ended = 0
    while ended < partitions:
        for message in messages:
            error = message.error()
            if error is not None:
                if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001  # its only name
                    raise SystemExit(str(error))
                ended += 1
                continue
            decode = _DECODE[message.topic()]
            found = decode(message.key(), message.value(), message.timestamp()[1] * 1000, limits)
            events += 1
            refused += isinstance(found, Rejection)
        messages = consumer.consume(BATCH, GATHER)
    return events, refused


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
