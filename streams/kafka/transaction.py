"""What is visible together, or not at all?  One transaction of a producer that has registered for them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from confluent_kafka import KafkaError, KafkaException, Producer

ABORT_DEADLINE = 2.0


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


def register(producer: Producer, deadline: float) -> str | None:
    """Let a producer begin transactions; return None, or why it cannot and what to do, after `deadline` (s) at the latest."""
    try:
        producer.init_transactions(deadline)
    except KafkaException as error:
        return why_not_begun(error.args[0])
    return None


def why_not_begun(error: KafkaError) -> str:
    """Return why a producer could not register for transactions, and what to do."""
    said = f"{error.name()}: {error.str()}"
    if error.code() == KafkaError._UNSUPPORTED_FEATURE:  # noqa: SLF001
        return f"the broker has no transactions, which dealpulse needs; use Apache Kafka 2.5 or newer ({said})"
    if error.code() in {KafkaError._TIMED_OUT, KafkaError._TRANSPORT}:  # noqa: SLF001
        return (
            f"the broker begins no transaction ({said}); on a single broker set "
            "transaction.state.log.replication.factor=1 and transaction.state.log.min.isr=1"
        )
    return f"the broker refuses transactions: {said}"
