"""What does the broker answer?  Its answer, or that there was none, always as librdkafka's own error."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TypeVar

from confluent_kafka import KafkaError, KafkaException

T = TypeVar("T")

_A_MOMENT = 1.0  # librdkafka says itself that it took too long


def answer_of(asked: Future[T], timeout: float) -> T:
    """Wait for what was asked with this time-out (s), and a moment more.  Raises KafkaException, also for no answer."""
    try:
        return asked.result(timeout + _A_MOMENT)
    except TimeoutError:  # the process was stopped for longer than that
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"no answer within {timeout:.0f} s")) from None  # noqa: SLF001  # its only name
