"""What does Faust see of Kafka?  A transport whose every answer comes from the edge.

Faust reads runs, keeps its agents and its flow; fetching, the group, offsets and all output are ours.
What only Faust's own tables, commits and sends would use refuses, so that nobody uses it by mistake.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from importlib.metadata import version
from typing import Any, NoReturn

from faust.exceptions import ImproperlyConfigured
from faust.transport import base
from faust.transport.consumer import Consumer as FaustConsumer
from faust.transport.drivers import TRANSPORTS
from faust.transport.producer import Producer as FaustProducer
from faust.types import TP, ConsumerMessage, Message

from streams.kafka.edge import Edge
from streams.kafka.inbox import Bundle

SCHEME = "dealpulse"


def faust_url(bootstrap: str) -> str:
    """Return host:port[,host:port] as the broker URL that makes Faust use this transport."""
    return ";".join(f"{SCHEME}://{host.strip()}" for host in bootstrap.split(","))


def _not_ours(what: str) -> NoReturn:
    raise NotImplementedError(f"{what} is not part of this transport: output and offsets go through the flush")


class Consumer(FaustConsumer):
    """Hands runs to Faust, one message per topic and poll."""

    @property
    def edge(self) -> Edge:
        """Return the edge that the app was built with."""
        edge = getattr(self.app, "edge", None)
        if edge is None:
            raise ImproperlyConfigured("dealpulse:// works with apps made by streams.app.build_app only")
        return edge  # type: ignore[no-any-return]

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Join the group; the assignment comes later."""
        self.edge.subscribe(topics, self.app, self)

    def assignment(self) -> set[TP]:
        """Return what we own."""
        return self.edge.assignment()

    async def perform_seek(self) -> None:
        """Forget what was read before, and learn that the flow is about to resume."""
        self._read_offset.clear()
        self.edge.flow()

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:  # noqa: ASYNC109  # Faust's
        """Yield runs while the flow is on; a run handed out while it is off would be lost."""
        if not self.flow_active:
            await self.wait(self.can_resume_flow)  # type: ignore[arg-type]  # as Faust's own does
        bundle = await self.edge.next_bundle(timeout) if self.flow_active and not self.should_stop else None
        while bundle is not None:
            tp = TP(bundle.topic, bundle.runs[0].partition)
            yield tp, self._to_message(tp, bundle)
            bundle = self.edge.next_bundle_nowait() if self.flow_active and not self.should_stop else None

    def _to_message(self, tp: TP, record: Bundle) -> ConsumerMessage:
        return ConsumerMessage(
            topic=tp.topic,
            partition=tp.partition,
            offset=record.serial,
            timestamp=record.runs[0].records[0].timestamp()[1] / 1000,
            timestamp_type=0,
            headers=None,
            key=None,
            value=record,  # type: ignore[arg-type]  # our schema takes it as it is
            checksum=None,
            serialized_key_size=0,
            serialized_value_size=sum(run.bytes for run in record.runs),
            tp=tp,
            generation_id=record.generation,
        )

    async def wait_empty(self) -> None:
        """Finish or drop all that is under way."""
        await self.edge.settle()

    def ack(self, message: Message) -> bool:
        """Mark as handled; which offsets that makes committable is not Faust's to say."""
        message.acked = True
        self._unacked_messages.discard(message)
        return True

    def _new_offset(self, tp: TP) -> int | None:
        """Commit nothing: offsets travel in transactions."""

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Control records leave gaps everywhere; nobody asks for them."""

    def verify_event_path(self, now: float, tp: TP) -> None:
        """The watchdog looks at lag and commits instead."""

    def close(self) -> None:
        """Leaving the group is part of settling."""

    def _new_topicpartition(self, topic: str, partition: int) -> TP:
        return TP(topic, partition)

    async def create_topic(self, topic: str, *_arguments: Any, **_options: Any) -> None:
        """Topics are made by `dealpulse topics create`."""

    async def _commit(self, _offsets: Mapping[TP, int]) -> bool:
        _not_ours("commit")

    async def _getmany(self, _active: set[TP] | None, _timeout: float) -> Mapping[TP, list[Any]]:
        _not_ours("Faust's getmany")

    async def _seek(self, _partition: TP, _offset: int) -> None:
        _not_ours("seek")

    async def seek_wait(self, _partitions: Mapping[TP, int]) -> None:
        """Refuse."""
        _not_ours("seek")

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Refuse."""
        _not_ours("seek")

    async def position(self, _tp: TP) -> int | None:
        """Refuse."""
        _not_ours("position")

    def highwater(self, _tp: TP) -> int:
        """Refuse."""
        _not_ours("highwater")

    async def highwaters(self, *_partitions: TP) -> Mapping[TP, int]:
        """Refuse."""
        _not_ours("highwater")

    async def earliest_offsets(self, *_partitions: TP) -> Mapping[TP, int]:
        """Refuse."""
        _not_ours("earliest offset")

    def topic_partitions(self, _topic: str) -> int | None:
        """Refuse."""
        _not_ours("partition count")

    def key_partition(self, _topic: str, _key: bytes | None, _partition: int | None = None) -> int | None:
        """Refuse."""
        _not_ours("partitioning")


class Producer(FaustProducer):
    """Sends nothing: all output goes through the flush."""

    async def flush(self) -> None:
        """Nothing of Faust's is ever under way."""

    async def create_topic(self, topic: str, *_arguments: Any, **_options: Any) -> None:
        """Topics are made by `dealpulse topics create`."""

    async def send(self, *_arguments: Any, **_options: Any) -> NoReturn:
        """Refuse."""
        _not_ours("send")

    async def send_and_wait(self, *_arguments: Any, **_options: Any) -> NoReturn:
        """Refuse."""
        _not_ours("send")

    def key_partition(self, _topic: str, _key: bytes) -> TP:
        """Refuse."""
        _not_ours("partitioning")


class Transport(base.Transport):
    """The transport under dealpulse://."""

    Consumer = Consumer
    Producer = Producer

    default_port = 9092
    driver_version = f"confluent-kafka={version('confluent-kafka')}"


# Also without an installed distribution, whose entry point says the same.
TRANSPORTS.aliases[SCHEME] = f"{__name__}:Transport"
