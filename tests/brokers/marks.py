"""How does a test let a restore last as long as it wants?  As a broker that marks a flush's rows later than its offsets (C8)."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

from streams.cli.read import every_record
from streams.kafka.ownership import FLUSHES, OFFSETS_KEY
from streams.topics import changelog


@contextlib.contextmanager
def rows_unmarked(client: dict[str, Any], app_id: str, room: str, source: str) -> Iterator[Callable[[], None]]:
    """Let the group know of one flush more of a room's partition 0, whose rows nobody can read until what is yielded is called.

    The flush changes no row and no offset.  The group must be without members, the room the only reader of the source, and the broker one that keeps metadata.
    """
    group = Consumer({**client, "group.id": app_id, "log_level": 0})
    writer = Producer({**client, "transactional.id": f"{app_id}-marks", "transaction.timeout.ms": 60_000, "log_level": 0})
    log, row = changelog(app_id, room), None
    for message in every_record(client, log):
        if message.partition() == 0 and message.key() == OFFSETS_KEY:
            row = json.loads(message.value())
    assert row is not None
    [committed] = group.committed([TopicPartition(source, 0)], 20)
    said = json.loads(committed.metadata)
    row[FLUSHES] = said[f"{room} {FLUSHES}"] = row[FLUSHES] + 1
    writer.init_transactions(20)
    writer.begin_transaction()
    writer.produce(log, json.dumps(row).encode(), OFFSETS_KEY, 0)
    assert writer.flush(20) == 0
    group.commit(offsets=[TopicPartition(source, 0, committed.offset, json.dumps(said))], asynchronous=False)
    group.close()
    with contextlib.ExitStack() as undecided:
        undecided.callback(writer.abort_transaction, 20)

        def mark() -> None:
            undecided.pop_all()
            writer.commit_transaction(20)

        yield mark
