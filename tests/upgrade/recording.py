"""What does an installation of one version leave on the broker?  Recorded by that version, laid out again for another.

    python -m tests.upgrade.recording tests/upgrade/state-VERSION.json.gz

records the version that is checked out: some events, and everything that a worker made of them.
"""

from __future__ import annotations

import gzip
import sys
import tempfile
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
from confluent_kafka import Consumer, Producer, TopicPartition

from streams import topics
from streams.kafka.embedded import embedded_broker
from streams.topics import all_topics
from tests.faults import load
from tests.faults.load import Sent
from tests.flow.installation import Installation

PARTITIONS, EVENTS, SEED = 2, 400, 5
CALLS = 80  # of one deal, more than its record keeps
RAW = load.definitions(
    partitions=PARTITIONS, windows=["28d", "month", "all"], cuts=["all", "stage", "team", "rep", "region"], rules=[]
)
INPUTS = (
    topics.STAGE_CHANGE,
    topics.ACTIVITY,
    topics.TICKS,
    topics.DELTAS,
    topics.MATURED,
    topics.ALERT_EVENTS,
    topics.JUDGED,
)

Recording = dict[str, Any]


def record() -> Recording:
    """Run the present version on a broker of its own; return what is on the broker afterwards."""
    with tempfile.TemporaryDirectory() as folder, embedded_broker() as broker:
        installation = Installation(broker.url, Path(folder), RAW)
        installation.send_all((*load.records(EVENTS, SEED), *calls(CALLS)))
        with installation.worker() as worker:
            installation.process_all(worker)
        assert installation.audit()["different"] == 0
        app_id = installation.settings.environment.app_id
        return {
            "app_id": app_id,
            "records": [
                [
                    one.topic().replace(app_id, "<app>"),
                    one.partition(),
                    one.offset(),
                    one.timestamp()[1],
                    _text(one.key()),
                    _text(one.value()),
                ]
                for topic in all_topics(app_id)
                for one in installation.messages(topic.name)
            ],
            "committed": [[*place, offset] for place, offset in installation.committed().items() if offset],
        }


def calls(count: int) -> Iterator[Sent]:
    """Yield the calls of one deal, a minute apart."""
    for number in range(count):
        at = (load.BEGIN + number * load.STEP).isoformat()
        said = {"event_id": f"call-{number}", "occurred_at": at, "deal_id": "busy", "type": "call", "rep_id": load.REPS[0]}
        yield load.as_sent((topics.ACTIVITY, said))


def lay_out(recording: Recording, installation: Installation) -> None:
    """Put the records where they were, under the installation's app id, and its group where the old one stood."""
    app_id = installation.settings.environment.app_id
    settings = {
        **installation.client,
        "message.max.bytes": 4_000_000,
        "transactional.id": f"{app_id}-lay-out",
        "log_level": 0,
    }
    producer = Producer(settings)
    producer.init_transactions(15)
    producer.begin_transaction()
    place: Counter[tuple[str, int]] = Counter()
    for topic, partition, offset, at, key, value in recording["records"]:
        name = topic.replace("<app>", app_id)
        while topic in INPUTS and place[topic, partition] < offset:  # where a transaction ended there is no record
            producer.produce(name, b"", b"nothing", partition, timestamp=at)
            place[topic, partition] += 1
        producer.produce(name, _renamed(topic, _bytes(value), app_id), _bytes(key), partition, timestamp=at)
        place[topic, partition] += 1
    asking = Consumer({**installation.client, "group.id": app_id, "enable.auto.commit": False})
    offsets = [TopicPartition(topic, partition, offset) for topic, partition, offset in recording["committed"]]
    producer.send_offsets_to_transaction(offsets, asking.consumer_group_metadata(), 15)
    producer.commit_transaction(15)
    asking.close()


def _renamed(topic: str, value: bytes | None, app_id: str) -> bytes | None:
    """Return a record as it is, and one about a generation as if it had always been this app's, on these topics."""
    if value is None or topic != getattr(topics, "GENERATIONS", None):
        return value
    said = orjson.loads(value)
    return orjson.dumps({**said, "topics": {}, "app_id": app_id, "name": said["name"].replace(said["app_id"], app_id)})


def write(recording: Recording, path: Path) -> None:
    """Write a recording to a file, the same bytes for the same recording."""
    path.write_bytes(gzip.compress(orjson.dumps(recording), 9, mtime=0))


def read(path: Path) -> Recording:
    """Read a recording."""
    return orjson.loads(gzip.decompress(path.read_bytes()))


def _text(data: bytes | None) -> str | None:
    return None if data is None else b64encode(data).decode()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else b64decode(text)


if __name__ == "__main__":
    write(record(), Path(sys.argv[1]))
