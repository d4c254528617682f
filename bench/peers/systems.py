"""Which systems are compared, how is each started, and what does it promise?"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.peers import cache
from streams.topics import ACTIVITY, STAGE_CHANGE

HERE = Path(__file__).parent
ALO, EOS = "at least once", "exactly once"


@dataclass(frozen=True)
class Task:
    """What a system is asked to do; its options on the command line, field by field."""

    broker: str
    job: str  # j1 or j2
    out: str  # topic of upserts
    app: str  # group; stands in the name of every topic of its own
    state: str  # a folder that does not exist yet
    live: bool  # answer quickly, instead of catching up quickly
    partitions: int = 4
    activity: str = ACTIVITY
    stage: str = STAGE_CHANGE

    @property
    def json(self) -> str:
        """Return all of it."""
        return json.dumps(asdict(self))


@dataclass(frozen=True)
class Start:
    """A command and the variables it needs."""

    command: list[str]
    variables: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class System:
    """One row of the table."""

    name: str
    promise: str
    events: int  # how many of them it gets; slow ones get fewer
    quiet: float  # seconds without a record of its own after which it must be done
    start: Callable[[Task], Start] | None  # None: the product itself, which bench/worker.py measures
    compression: str = "lz4"  # of the events
    made: Callable[[Task], list[str]] = lambda _task: []  # topics that must be there before it starts


def _python(script: str, environment: str | None = None) -> Callable[[Task], Start]:
    def start(task: Task) -> Start:
        python = sys.executable if environment is None else str(cache.environment(environment))
        return Start([python, "-P", str(HERE / script), task.json])  # -P: bench/peers holds none of their modules

    return start


def _faust(task: Task) -> Start:
    command = [sys.executable, "-P", str(HERE / "job_faust.py"), "worker", "--without-web", "-l", "warn"]
    return Start(command, {"BENCH_PEERS_OPTIONS": task.json})


def _streams(store: str, threads: int, guarantee: str = "at_least_once") -> Callable[[Task], Start]:
    def start(task: Task) -> Start:
        said = {
            **asdict(task),
            "store": store,
            "threads": threads,
            "guarantee": guarantee,
            # Its cache keeps results until a commit; the default of 30 s would be the latency of them all.
            "commit.interval.ms": 100 if task.live else 1000,
        }
        if task.live:
            said |= {"statestore.cache.max.bytes": 0, "producer.linger.ms": 0}
        java = ["java", "-Xmx1g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", cache.kafka_streams()]
        return Start([*java, "dealpulse.peers.Main", *(f"{name}={value}" for name, value in said.items())])

    return start


def _faust_topics(task: Task) -> list[str]:
    return [f"{task.app}-entries"]


def _loop_topics(task: Task) -> list[str]:
    return [f"{task.app}-deltas", f"{task.app}-deals"]


MILLION = 1_000_000
DEALPULSE = System("dealpulse", EOS, MILLION, 0.0, None)
# Those that get the same events stand together: they share a broker and the loading of it.
SYSTEMS: dict[str, System] = {
    "dealpulse": DEALPULSE,
    "loop": System("bare Python loop", "nothing", MILLION, 3.0, _python("job_loop.py"), made=_loop_topics),
    "streams-rocksdb-1": System("Kafka Streams 4.1.1, RocksDB, 1 thread", ALO, MILLION, 4.0, _streams("rocksdb", 1)),
    "streams-rocksdb-2": System("Kafka Streams 4.1.1, RocksDB, 2 threads", ALO, MILLION, 4.0, _streams("rocksdb", 2)),
    "streams-memory-1": System("Kafka Streams 4.1.1, in memory, 1 thread", ALO, MILLION, 4.0, _streams("memory", 1)),
    "streams-memory-2": System("Kafka Streams 4.1.1, in memory, 2 threads", ALO, MILLION, 4.0, _streams("memory", 2)),
    "streams-exactly-once": System(
        "Kafka Streams 4.1.1, in memory, 1 thread", EOS, MILLION, 4.0, _streams("memory", 1, "exactly_once_v2")
    ),
    "quix": System("Quix Streams 3.28.1, RocksDB", ALO, 100_000, 7.0, _python("job_quix.py", "quix")),
    "bytewax": System("Bytewax 0.21.1, SQLite recovery", ALO, 100_000, 4.0, _python("job_bytewax.py", "bytewax")),
    # Its client reads lz4 with another library only.
    "faust": System("stock Faust 0.15.3, memory", ALO, 20_000, 8.0, _faust, compression="none", made=_faust_topics),
}
