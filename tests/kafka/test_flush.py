"""What does a worker do about a transaction that cannot be?"""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError, KafkaException

from streams.kafka import flush
from streams.kafka.clients import MAX_RECORD, MAX_STATE_VALUE, Connection, group_consumer, producer
from streams.kafka.faults import Faults
from streams.kafka.flush import Batch, PlainProducing, Transactions, refuse_oversized
from streams.kafka.transaction import StartError

CONNECTION = Connection({"bootstrap.servers": "127.0.0.1:1"}, "app")


class EndedError(Exception):
    """Stands for the end of the process."""


def batch(outputs=(), rows=()) -> Batch:
    return Batch(list(outputs), list(rows), [], None, {}, 0.0)


class Refusing:
    """A producer that fails in one call."""

    def __init__(self, call: str, error: BaseException) -> None:
        self.calls: list[str] = []
        self._call, self._error = call, error

    def __getattr__(self, name: str):
        def call(*_arguments: object) -> int:
            self.calls.append(name)
            if name == self._call:
                raise self._error
            return 0

        return call


@pytest.fixture
def ended(monkeypatch):
    """Collect the sentences the process ends with."""
    said = []

    def lose_place(sentence, error=None, remedy=""):
        said.append(f"{sentence}; {remedy}")
        raise EndedError

    monkeypatch.setattr(flush, "lose_place", lose_place)
    return said


def transactions(refusing: Refusing) -> Transactions:
    made = Transactions.__new__(Transactions)
    made._producer, made._faults = refusing, Faults()
    return made


@pytest.mark.parametrize(
    ("call", "error", "aborts"),
    [
        ("produce", BufferError("queue full"), True),
        ("produce", KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)), True),
        ("begin_transaction", KafkaException(KafkaError(KafkaError._STATE)), True),
        ("send_offsets_to_transaction", KafkaException(KafkaError(KafkaError.ILLEGAL_GENERATION)), True),
        ("commit_transaction", KafkaException(KafkaError(KafkaError._TIMED_OUT)), True),
        ("commit_transaction", KafkaException(KafkaError(KafkaError._FENCED, "fenced", True)), False),
    ],
)
def test_any_refusal_ends_the_process_and_is_never_committed(ended, call, error, aborts):
    """An abort where it is possible, so that readers of what was written do not wait; a commit never."""
    refusing = Refusing(call, error)
    with pytest.raises(EndedError):
        transactions(refusing).commit(batch([("t", -1, b"k", b"v", None)]))
    assert f"failed in {call}" in ended[0]
    assert ("abort_transaction" in refusing.calls) == aborts
    assert refusing.calls.count("commit_transaction") == (call == "commit_transaction")


def test_a_right_that_is_missing_is_what_is_told(ended):
    """Not that a transaction that has failed of it takes no more records; and not to do the same again."""
    denied = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED, "no")
    asked = Refusing("send_offsets_to_transaction", KafkaException(denied))

    def produce(*_record: object) -> None:
        raise KafkaException(KafkaError(KafkaError._STATE))

    asked.produce = produce
    with pytest.raises(EndedError):
        transactions(asked).commit(batch([("t", -1, b"k", b"v", None)]))
    assert "TOPIC_AUTHORIZATION_FAILED: no; restart it once the credentials have that right: dealpulse doctor" in ended[0]
    assert "commit_transaction" not in asked.calls


@pytest.mark.parametrize(("over", "what"), [(0, None), (1, "over the limit")])
def test_too_large_is_seen_before_the_transaction(over, what):
    """The broker would refuse it now and after every restart."""
    rows = [("log", 0, b"k", b"x" * (MAX_STATE_VALUE + over), None)]
    outputs = [("out", -1, b"k", b"x" * (MAX_RECORD + over), None), ("out", -1, b"k", None, None)]
    for found in (refuse_oversized(batch(rows=rows)), refuse_oversized(batch(outputs=outputs))):
        assert (found is None) if what is None else (what in found)


def test_what_is_not_delivered_is_not_committed(ended):
    """Its offsets are not even offered."""
    asked = Refusing("", EndedError())
    asked.flush = lambda _left: 1
    with pytest.raises(EndedError):
        transactions(asked).commit(batch([("t", -1, b"k", b"v", None)]))
    assert "records are not delivered" in ended[0]
    assert asked.calls == ["begin_transaction", "produce", "abort_transaction"]


def test_an_abort_that_fails_too_does_not_hide_why(ended):
    """A broker that is away refuses both; what an operator wants to know is the first."""
    asked = Refusing("abort_transaction", KafkaException(KafkaError(KafkaError._TIMED_OUT)))
    asked.flush = lambda _left: 1
    with pytest.raises(EndedError):
        transactions(asked)._abort("the transaction failed in flush: records are not delivered")
    assert ended[0].startswith("the transaction failed in flush: records are not delivered; its abort failed, too: ")
    with pytest.raises(EndedError):
        transactions(Refusing("begin_transaction", KafkaException(KafkaError(KafkaError._STATE)))).commit(batch())
    assert ended[1].startswith("the transaction failed in begin_transaction: ")


def test_an_oversized_record_ends_the_process_before_anything_is_sent(ended):
    """Topic and key are named."""
    refusing = Refusing("", EndedError())
    with pytest.raises(EndedError):
        transactions(refusing).commit(batch([("t", -1, b"big", b"x" * (MAX_RECORD + 1), None)]))
    assert "for t, key b'big'" in ended[0]
    assert refusing.calls == []


def test_plain_producing_needs_the_explicit_variable():
    """An option alone does not turn transactions off."""
    with pytest.raises(StartError, match="only fault tests"):
        PlainProducing(CONNECTION, Faults(), lambda _offsets: None)


@pytest.mark.parametrize(
    ("environ", "point", "count"),
    [({}, None, 1), ({"DEALPULSE_FAILPOINT": "C2"}, "C2", 1), ({"DEALPULSE_FAILPOINT": "C6:3"}, "C6", 3)],
)
def test_failpoints_are_read_from_the_environment(environ, point, count):
    """A name and at which arrival."""
    faults = Faults.read(environ)
    assert (faults.point, faults.count, faults.plain_producing) == (point, count, False)


def test_a_failpoint_strikes_once():
    """At the arrival that was asked for."""
    faults = Faults("C1", 2)
    assert [faults.strikes(point) for point in ("C1", "C2", "C1", "C1")] == [False, False, True, False]
    with pytest.raises(ValueError, match="unknown 'C9'"):
        Faults.read({"DEALPULSE_FAILPOINT": "C9"})


@pytest.mark.parametrize(("linger", "milliseconds"), [(2.0, 100), (0.5, 50), (0.05, 5), (0.001, 5)])
def test_the_broker_gathers_records_for_a_tenth_of_what_a_flush_lingers(linger, milliseconds):
    """Never long, and never so briefly that an idle worker asks without a pause."""
    settings = group_consumer(CONNECTION, linger)
    assert (settings["fetch.wait.max.ms"], settings["fetch.min.bytes"]) == (milliseconds, 65_536)


def test_a_slot_names_producer_and_member():
    """A worker that comes back as the same slot ends its own open transaction at once."""
    connection = Connection({}, "app", "3")
    assert producer(connection)["transactional.id"] == "app-3"
    assert group_consumer(connection)["group.instance.id"] == "app-3"
    assert "group.instance.id" not in group_consumer(CONNECTION)
    assert producer(CONNECTION)["transactional.id"] != producer(Connection({}, "app"))["transactional.id"]
