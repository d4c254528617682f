"""How does a test run the whole product?  All topics anew, real workers as processes, and what subscribers see of it."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import orjson
import yaml
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient

from streams import config
from streams.audit.compare import Comparison
from streams.audit.read import run_audit
from streams.cli.batch import rejections
from streams.cli.read import every_record, last_of_every_key
from streams.cli.settings import Settings
from streams.cli.settle import Group, settle, wait_until_read
from streams.cli.stack import WorkerProcess, observer, worker_process
from streams.environment import Environment
from streams.kafka.admin import create_topics
from streams.topics import KPI_LATEST, TICKS, all_topics
from tests.brokers.ports import reserved_port
from tests.faults.load import Sent

_serial = itertools.count()
Record = dict[str, Any]
Key = tuple[Any, ...]


class Installation:
    """One installation on a broker: the definitions, topics that begin empty, and workers while they run."""

    def __init__(self, url: str, folder: Path, raw: dict[str, Any], **environment: Any) -> None:
        """Create the topics; what another test left in them is gone."""
        self.folder = folder / f"installation-{next(_serial)}"
        self.folder.mkdir()
        file = self.folder / "dealpulse.yaml"
        file.write_text(yaml.safe_dump(raw, allow_unicode=True, sort_keys=False), encoding="utf-8")
        self.settings = Settings(
            Environment(broker=url, app_id=f"flow-{os.getpid()}-{next(_serial)}", config=str(file), **environment),
            config.definitions_from(raw),
        )
        self.client = self.settings.client
        self._remove_topics()
        create_topics(self.settings.environment, self.settings.definitions)
        self.producer = Producer(
            {
                **self.client,
                "partitioner": "murmur2_random",
                "linger.ms": 20,
                "compression.type": "lz4",
                "queue.buffering.max.messages": 500_000,
                "enable.idempotence": True,
                "max.in.flight.requests.per.connection": 1,  # see streams/cli/send.py
                "message.max.bytes": 4_000_000,
                "log_level": 0,  # its broker may be gone before it is
            }
        )

    def _remove_topics(self) -> None:
        admin = AdminClient({**self.client, "log_level": 0})
        ours = {topic.name for topic in all_topics("")} & set(admin.list_topics(timeout=10).topics)
        for gone in admin.delete_topics(list(ours)).values() if ours else ():
            gone.result(20)
        end = time.monotonic() + 20
        while ours & set(admin.list_topics(timeout=10).topics):
            assert time.monotonic() < end, "the broker does not remove the topics"
            time.sleep(0.1)

    def rename(self, name: str) -> None:
        """Become another installation on the same input: no state, no group; create what is missing."""
        environment = msgspec.structs.replace(self.settings.environment, app_id=f"{self.settings.environment.app_id}-{name}")
        self.settings = Settings(environment, self.settings.definitions)
        create_topics(environment, self.settings.definitions)

    # ------------------------------------------------------------------ in

    def send(self, topic: str, value: bytes | None, key: bytes | None, partition: int = -1) -> None:
        """Queue one record; `sent` confirms."""
        while True:
            try:
                self.producer.produce(topic, value, key, partition, on_delivery=_raise)
                break
            except BufferError:
                self.producer.poll(0.1)

    def send_all(self, records: Iterable[Sent]) -> None:
        """Send records; return when all are confirmed."""
        for record in records:
            self.send(record.topic, record.value, record.key)
        self.sent()

    def send_events(self, events: Iterable[tuple[str, Record]]) -> int:
        """Send events as a CRM does, keyed by deal, else by rep; return how many when all are confirmed."""
        count = 0
        for topic, value in events:
            self.send(topic, orjson.dumps(value), str(value.get("deal_id") or value.get("rep_id")).encode())
            count += 1
        self.sent()
        return count

    def sent(self) -> None:
        """Wait until everything is confirmed."""
        assert self.producer.flush(30) == 0

    # ------------------------------------------------------------------ workers

    @contextlib.contextmanager
    def worker(self, *, ticks: bool = False) -> Iterator[WorkerProcess]:
        """Run a worker for the length of the block."""
        folder = self.folder / f"worker-{next(_serial)}"
        folder.mkdir()
        environment = msgspec.structs.replace(self.settings.environment, web_port=reserved_port())
        with worker_process(environment, folder, ticks=ticks) as worker:
            yield worker

    def process_all(self, *workers: WorkerProcess, as_of: int | None = None) -> None:
        """Wait until every event is processed, let the clock end, and wait until its effects are out too."""
        self.read_all(*workers)
        self.tick(as_of)
        settle(self.settings, observer(workers))

    def read_all(self, *workers: WorkerProcess) -> None:
        """Wait until every event is taken in; what follows from it may still be coming."""
        for worker in workers:
            worker.wait_until_ready()
        wait_until_read(self.settings, observer(workers))

    def tick(self, as_of: int | None = None) -> None:
        """Tell every partition that nothing more comes, and what time it is."""
        value = orjson.dumps({"settle": True} if as_of is None else {"time": as_of, "settle": True})
        for partition in range(self.settings.definitions.partitions):
            self.send(TICKS, value, None, partition)
        self.sent()

    def committed(self) -> dict[tuple[str, int], int]:
        """Return the offsets that the group has committed, 0 for none."""
        group = Group(self.settings)
        try:
            return group.look().committed
        finally:
            group.close()

    # ------------------------------------------------------------------ out

    def audit(self) -> Comparison:
        """Recompute everything; what is wrong is printed, where a test that fails shows it."""
        found = run_audit(self.client, self.settings.definitions)
        for example in found["examples"]:
            print(example)
        return found

    def messages(self, topic: str) -> list[Message]:
        """Return what a reader of committed records sees."""
        return list(every_record(self.client, topic))

    def records(self, topic: str = KPI_LATEST) -> dict[Key, Record]:
        """Return the last record of every key of a KPI topic, by (kpi, cut, *entity, window, start, currency)."""
        found = {}
        for key, value in last_of_every_key(self.client, topic).items():
            kpi, cut, entity, *rest = orjson.loads(key)
            found[kpi, cut, *entity, *rest] = orjson.loads(value)
        return found

    def numbers(self, topic: str) -> dict[Key, Any]:
        """Return what law 1 speaks of, of every record of a topic that has facts.

        One without is there only where facts were told and taken back, which a replay need not have seen.
        """
        told = ("value", "n", "numerator", "denominator", "stats", "previous")
        return {key: {field: record[field] for field in told} for key, record in self.records(topic).items() if record["n"]}


@contextlib.contextmanager
def open_transaction(client: dict[str, Any], topic: str, partitions: int, seconds: float) -> Iterator[threading.Event]:
    """Hold a transaction open on every partition, as a worker does that was killed; the event says that it is decided."""
    dead = Producer({**client, "transactional.id": "killed", "transaction.timeout.ms": 60_000, "log_level": 0})
    dead.init_transactions(20)
    dead.begin_transaction()
    for partition in range(partitions):
        dead.produce(topic, b"never visible", None, partition)
    dead.flush()
    decided = threading.Event()

    def decide() -> None:
        decided.set()
        dead.abort_transaction(10)

    clock = threading.Timer(seconds, decide)
    clock.start()
    try:
        yield decided
    finally:
        clock.join()


def stop(worker: WorkerProcess) -> tuple[int, float]:
    """Send SIGTERM; return the exit code and how long it took."""
    began = time.monotonic()
    worker.process.send_signal(signal.SIGTERM)
    return worker.process.wait(20), time.monotonic() - began


def counts(worker: WorkerProcess) -> dict[str, Any]:
    """Return what the worker has counted: accepted, duplicates, rejected by reason."""
    series = worker.metrics()
    return {
        "accepted": int(series["dealpulse_events_accepted_total", ""]),
        "duplicates": int(series["dealpulse_events_duplicate_total", ""]),
        "rejected": dict(+Counter(rejections(series))),
    }


def _raise(error: KafkaError | None, _message: Message) -> None:
    if error is not None:
        raise KafkaException(error)
