"""How is each librdkafka client set up?  Every setting and where its value comes from, in one place."""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass, field
from typing import Any

# A transaction open longer than this is aborted by the broker; a dead worker's transaction holds back the
# readers of what it wrote for as long, so it is short.  Every call in a flush shares this as its deadline.
TRANSACTION_TIMEOUT = 10.0
# The broker looks for timed-out transactions this often where nobody configured it (Kafka's default).
BROKER_SCAN = 10.0
SESSION_TIMEOUT = 10.0
STATIC_SESSION_TIMEOUT = 30.0
# The whole group waits this long for one member that does not poll.
MAX_POLL_INTERVAL = 45.0
# A connection on which no answer comes for so long is given up: somebody on the way may have forgotten it without a word, and
# nobody else would notice, as heartbeats have another one. By default 60.
SILENT_CONNECTION = 15.0

# How long a broker gathers records before it answers, at least and at most; this often an idle worker asks.
SHORTEST_FETCH, LONGEST_FETCH = 0.005, 0.1

MAX_STATE_VALUE = 64 << 10
MAX_RECORD = 512 << 10  # half of Kafka's default max.message.bytes

librdkafka_log = logging.getLogger("dealpulse.librdkafka")


@dataclass(frozen=True)
class Connection:
    """Whose clients these are: addresses and credentials, the app id, and the slot where the platform names one."""

    client: dict[str, Any]
    app_id: str
    slot: str | None = None
    session_timeout: float = SESSION_TIMEOUT
    form: bytes | None = None  # what the state must be of; nothing is asked of it where none is given
    suffix: str = field(default_factory=lambda: uuid.uuid4().hex[:12])

    @property
    def member(self) -> str:
        """Return the name of this worker's producer and, with a slot, of its static group membership."""
        return f"{self.app_id}-{self.slot or self.suffix}"


def _client(connection: Connection, role: str) -> dict[str, Any]:
    return {
        **connection.client,
        "client.id": f"{connection.member}-{role}",
        "logger": librdkafka_log,
        # The embedded broker closes idle connections without a word about it being wrong.
        "log.connection.close": False,
        # A partition that somebody adds must not go unnoticed for long: the worker ends.
        "topic.metadata.refresh.interval.ms": 15_000,
        "allow.auto.create.topics": False,
    }


def group_consumer(connection: Connection, linger: float = 0.0) -> dict[str, Any]:
    """Return the settings of the one consumer that joins the group.

    Who lets a flush linger some seconds has the broker gather records for a part of it, too: at low rates it would answer for
    each of them, and each answer costs both sides.  Records are read twice on their way to a number.
    """
    settings = {
        **_client(connection, "reader"),
        "group.id": connection.app_id,
        # Equal partition numbers of equally partitioned topics go to one member.
        "partition.assignment.strategy": "range",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "isolation.level": "read_committed",
        # An offset out of range is lost input, not a reason to start elsewhere.
        "auto.offset.reset": "error",
        # Says exactly when a partition has been read to its end, control records included.
        "enable.partition.eof": True,
        "session.timeout.ms": int(connection.session_timeout * 1000),
        "socket.timeout.ms": int(SILENT_CONNECTION * 1000),
        # Others learn of a rebalance with their next heartbeat.
        "heartbeat.interval.ms": 1000,
        "max.poll.interval.ms": int(MAX_POLL_INTERVAL * 1000),
        "fetch.wait.max.ms": round(min(max(linger / 10, SHORTEST_FETCH), LONGEST_FETCH) * 1000) if linger else 100,
        "fetch.min.bytes": 65_536 if linger else 1,
        # By default a full local queue stops fetching for a second: 140 instead of 489 k records/s.
        "fetch.queue.backoff.ms": 5,
        "queued.max.messages.kbytes": 16_384,
        "queued.min.messages": 50_000,
    }
    if connection.slot:
        settings["group.instance.id"] = connection.member
        # A static member is expected back: its partitions wait for it that long.
        settings["session.timeout.ms"] = int(max(connection.session_timeout, STATIC_SESSION_TIMEOUT) * 1000)
    return settings


def restore_consumer(connection: Connection) -> dict[str, Any]:
    """Return the settings of the consumer that reads changelogs; it never joins the group nor commits."""
    return {
        **_client(connection, "restorer"),
        "group.id": connection.app_id,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        # committed() of a read_committed consumer does not answer while offsets are pending.
        "isolation.level": "read_committed",
        "auto.offset.reset": "error",
        "enable.partition.eof": True,
        "fetch.wait.max.ms": 50,
        "fetch.queue.backoff.ms": 5,
        # What waits to be read is beside the rows of two generations: a fetch of 50 MB, the default, is unpacked all at once.
        "fetch.max.bytes": 8 << 20,
        "queued.max.messages.kbytes": 16_384,
        "queued.min.messages": 200_000,
        "fetch.message.max.bytes": 4 << 20,
        "check.crcs": False,
    }


def producer(connection: Connection, *, transactions: bool = True) -> dict[str, Any]:
    """Return the settings of the one producer of this worker."""
    settings = {
        **_client(connection, "writer"),
        # As Java clients place keys, so that everybody's records of one key meet.
        "partitioner": "murmur2_random",
        "compression.type": "lz4",
        "linger.ms": 1,
        "batch.size": 900_000,
        # Right after a commit the broker refuses for a moment; the default waits 100 ms, then 500. With 2 the second of two
        # transactions in a row takes 9 ms instead of 34, but the whole catalogue 57 CPU-s per million events instead of 48.
        "retry.backoff.ms": 10,
        # One flush is bounded far below; the default of 100,000 messages is not.
        "queue.buffering.max.messages": 2_000_000,
        "queue.buffering.max.kbytes": 1_000_000,
    }
    if transactions:
        settings["transactional.id"] = connection.member
        settings["transaction.timeout.ms"] = int(TRANSACTION_TIMEOUT * 1000)
    return settings
