"""May a worker with these credentials do all that it has to?  As far as the broker tells; one that tells nothing denies nothing."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient

from streams.kafka.answers import answer_of
from streams.kafka.exits import RESTART
from streams.topics import is_read_by_workers, is_written_by_workers

DEADLINE = 8.0
DENIED = frozenset(
    (
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    )
)


def remedy(error: KafkaError) -> str:
    """Return what to do about an error that ends a worker."""
    if error.code() in DENIED:
        return "restart it once the credentials have that right: dealpulse doctor names those that are missing"
    return RESTART


def unseen(admin: AdminClient, names: Iterable[str]) -> list[str]:
    """Return the topics of which the broker does not even say whether they are there."""
    return [name for name, operations in _of_topics(admin, names).items() if operations == frozenset()]


def missing(admin: AdminClient, names: Iterable[str]) -> list[str]:
    """Return the rights that a worker lacks on these topics, a sentence each."""
    found = []
    by_topic = _of_topics(admin, names)
    for operation, needs in ((AclOperation.READ, is_read_by_workers), (AclOperation.WRITE, is_written_by_workers)):
        denied = [name for name, may in by_topic.items() if may is not None and operation not in may and needs(name)]
        if denied:
            found.append(f"the credentials may not {operation.name} the topics {', '.join(denied)}")
    return found


def may_join(admin: AdminClient, group: str) -> bool:
    """Tell whether a worker may join the group.

    Not for workers to ask: where the connection to the group's coordinator is lost meanwhile, librdkafka ends the process
    (its issue 4605; 2.12.1 does so when that broker freezes).
    """
    answers = admin.describe_consumer_groups([group], include_authorized_operations=True, request_timeout=DEADLINE)
    may = _allowed(answers[group])
    return may is None or AclOperation.READ in may


def _of_topics(admin: AdminClient, names: Iterable[str]) -> dict[str, frozenset[AclOperation] | None]:
    """Return what may be done with each topic: nothing with one that must not be seen, None where nobody knows."""
    asked = TopicCollection(list(names))
    answers = admin.describe_topics(asked, include_authorized_operations=True, request_timeout=DEADLINE)
    return {name: _allowed(answer) for name, answer in answers.items()}


def _allowed(asked: Future[Any]) -> frozenset[AclOperation] | None:
    """Return the operations that are allowed; None where nobody knows, as of a group that is not there yet."""
    try:
        # Who sees something may at least describe it: no operation at all is a broker that does not say.
        return frozenset(answer_of(asked, DEADLINE).authorized_operations or ()) or None
    except KafkaException as error:
        return frozenset() if error.args[0].code() in DENIED else None
