"""Is there one kind of error for an answer that does not come?"""

from __future__ import annotations

from concurrent.futures import Future

import pytest
from confluent_kafka import KafkaError, KafkaException

from streams.kafka import answers


def test_no_answer_is_a_time_out_of_the_client(monkeypatch):
    """Whoever asks again at a passing error asks again."""
    monkeypatch.setattr(answers, "_A_MOMENT", 0.0)
    with pytest.raises(KafkaException) as found:
        answers.answer_of(Future(), 0.01)
    assert found.value.args[0].code() == KafkaError._TIMED_OUT


def test_an_answer_and_a_refusal_are_passed_on():
    """As they are."""
    said: Future[int] = Future()
    said.set_result(7)
    assert answers.answer_of(said, 0.01) == 7
    refused: Future[int] = Future()
    refused.set_exception(KafkaException(KafkaError(KafkaError.NOT_COORDINATOR)))
    with pytest.raises(KafkaException, match="NOT_COORDINATOR"):
        answers.answer_of(refused, 0.01)
