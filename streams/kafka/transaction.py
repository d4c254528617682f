"""What is visible together, or not at all?  One transaction of a producer that has registered for them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from confluent_kafka import KafkaException, Producer

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
