"""Is a reader that takes its time told from a broker that is silent?"""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, TopicPartition

from streams.kafka import reading
from streams.kafka.admin import AdminError


class Nothing:
    """A consumer that is given nothing."""

    def consume(self, _most: int, wait: float) -> list:
        time.sleep(wait)
        return []

    def assignment(self) -> list:
        return []


class Refused(Nothing):
    """A consumer that may not look for its group: the error has no topic."""

    def consume(self, _most: int, _wait: float) -> list:
        error = KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED, "no")
        return [SimpleNamespace(topic=lambda: None, partition=lambda: 0, error=lambda: error)]

    def assignment(self) -> list:
        return [TopicPartition("a", 0)]


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(reading, "VISIBLE_DEADLINE", 0.2)


def test_who_works_on_what_was_read_is_no_silent_broker():
    """Between two looks a backtest may judge a thousand days."""
    looks = reading.batches(Nothing(), 1, decided=False)
    for _ in range(3):
        assert next(looks) == ([], {})
        time.sleep(0.3)


def test_a_silent_broker_is_one():
    """Whoever asks again at once."""
    with pytest.raises(AdminError, match="the broker gives nothing"):
        list(reading.batches(Nothing(), 1, decided=False))


def test_an_error_of_the_group_names_what_was_read():
    """Not None."""
    with pytest.raises(AdminError, match="a cannot be read: no"):
        list(reading.batches(Refused(), 1, decided=False))
