"""In which order did it happen?  Several streams, each in an order of its own, together in the order of their times.

Files are read line by line, and partitions so that none runs far ahead of the others: memory does not grow with the history.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from heapq import merge
from operator import itemgetter
from typing import Any, TypeVar

from confluent_kafka import Consumer, Message, TopicPartition

from streams.cli.read import assign, reader
from streams.kafka.inbox import TopicPart
from streams.kafka.reading import batches

T = TypeVar("T")
Timed = tuple[int, int | None, T]
_WAITING = 50_000  # records of all partitions together, nearly
_LEAST = 100  # of one, before it is paused
_LOOK = 2_000


def in_step(streams: Iterable[Iterator[T]], when: Callable[[T], int | None]) -> Iterator[tuple[int | None, T]]:
    """Yield (time, item) of all streams.  What has no time, or is late, keeps its place in its stream."""
    for _, at, item in merge(*(_timed(stream, when) for stream in streams), key=itemgetter(0)):
        yield at, item


def _timed(stream: Iterator[T], when: Callable[[T], int | None]) -> Iterator[Timed[T]]:
    newest = -1
    for item in stream:
        at = when(item)
        if at is not None and at > newest:
            newest = at
        yield newest, at, item


def topics_in_step(
    client: dict[str, Any], topics: Iterable[str], when: Callable[[Message], int | None]
) -> Iterator[tuple[int | None, Message]]:
    """Yield what stands in topics now, up to their present ends.  Raises CheckError, AdminError."""
    with reader(client) as consumer:
        places = assign(consumer, client, *topics)
        queues = _Queues(consumer, places)
        yield from in_step([queues.of(place) for place in places], when)


class _Queues:
    """What was read of each partition and not taken yet; who has enough is paused until others have caught up."""

    def __init__(self, consumer: Consumer, places: list[TopicPart]) -> None:
        self._consumer = consumer
        self._batches = batches(consumer, len(places), decided=True, most=_LOOK)
        self._most = max(_LEAST, _WAITING // len(places))
        self._queues: dict[TopicPart, deque[Message]] = {place: deque() for place in places}
        self._next: dict[TopicPart, int] = {}
        self._paused: set[TopicPart] = set()
        self._ended: set[TopicPart] = set()

    def of(self, place: TopicPart) -> Iterator[Message]:
        """Yield the records of a partition to its end."""
        queue = self._queues[place]
        while True:
            while queue:
                yield queue.popleft()
            if place in self._ended:
                return
            self._look()

    def _look(self) -> None:
        self._resume([place for place in self._paused if len(self._queues[place]) < self._most // 2])
        messages, ended = next(self._batches)
        for message in messages:
            place = (message.topic(), message.partition())
            self._queues[place].append(message)
            self._next[place] = message.offset() + 1
        self._ended.update(ended)
        over = {place for place, queue in self._queues.items() if len(queue) > self._most} - self._paused - self._ended
        if over:
            self._consumer.pause([TopicPartition(*place) for place in over])
            self._paused |= over

    def _resume(self, places: list[TopicPart]) -> None:
        # Without the seek librdkafka would skip a record where it had come to the end (streams/kafka/poll.py).
        for place in places:
            self._consumer.seek(TopicPartition(*place, self._next[place]))
        if places:
            self._consumer.resume([TopicPartition(*place) for place in places])
            self._paused.difference_update(places)
