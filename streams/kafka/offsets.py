"""Where do partitions begin, or end?  The broker is asked."""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import IsolationLevel, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from streams.kafka.answers import answer_of
from streams.kafka.inbox import TopicPart


def ask_offsets(
    admin: AdminClient, parts: Iterable[TopicPart], spec: OffsetSpec, level: IsolationLevel, timeout: float
) -> dict[TopicPart, int]:
    """Return an offset of each partition, as readers of that level see it; `timeout` in seconds.

    Raises KafkaException, also without partitions when no broker answers.
    """
    # A client that has not heard of the topics answers one time in five only after 1 or 3 s.
    admin.list_topics(timeout=timeout)
    asked = {TopicPartition(*part): spec for part in parts}
    if not asked:
        return {}
    answers = admin.list_offsets(asked, isolation_level=level, request_timeout=timeout)
    return {(part.topic, part.partition): answer_of(answer, timeout).offset for part, answer in answers.items()}
