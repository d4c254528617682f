"""What is visible together, or not at all?  One transaction of a producer that has registered for them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from confluent_kafka import KafkaError, KafkaException, Producer

ABORT_DEADLINE = 2.0
# Newer brokers say the second or third, librdkafka the first.
_FENCED = frozenset((KafkaError._FENCED, KafkaError.INVALID_PRODUCER_EPOCH, KafkaError.PRODUCER_FENCED))  # noqa: SLF001


class StartError(Exception):
    """The worker, or a command, cannot start; the text says why and what to do."""


class KeptOutError(StartError):
    """Another producer has registered under the same transactional id meanwhile; who tries again may be luckier."""


@contextlib.contextmanager
def transaction(producer: Producer, deadline: float) -> Iterator[None]:
    """Make all that is sent within the block visible together, or nothing of it; `deadline` (s) is the commit's.

    Raises KafkaException; when the commit raises one, whether it happened is unknown.
    """
    producer.begin_transaction()
    try:
        yield
        producer.commit_transaction(deadline)
    except BaseException:
        with contextlib.suppress(KafkaException):
            producer.abort_transaction(ABORT_DEADLINE)
        raise


def register(producer: Producer, deadline: float) -> None:
    """Let a producer begin transactions.  Raises StartError, after `deadline` (s) at the latest."""
    try:
        producer.init_transactions(deadline)
    except KafkaException as error:
        raise why_not_begun(error.args[0]) from None


def why_not_begun(error: KafkaError) -> StartError:
    """Return why a producer could not register for transactions, and what to do."""
    said = f"{error.name()}: {error.str()}"
    if error.code() in _FENCED:
        return KeptOutError(f"another process has begun in the same name at the same moment, try again ({said})")
    if error.code() == KafkaError._UNSUPPORTED_FEATURE:  # noqa: SLF001
        return StartError(f"the broker has no transactions, which dealpulse needs; use Apache Kafka 2.5 or newer ({said})")
    if error.code() in {KafkaError._TIMED_OUT, KafkaError._TRANSPORT}:  # noqa: SLF001
        return StartError(
            f"the broker begins no transaction ({said}); on a single broker set "
            "transaction.state.log.replication.factor=1 and transaction.state.log.min.isr=1"
        )
    return StartError(f"the broker refuses transactions: {said}")
