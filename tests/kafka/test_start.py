"""Does a worker that cannot work say why, in one sentence, within 30 seconds, and exit 1?"""

from __future__ import annotations

import time

import msgspec
import pytest
import toy
from confluent_kafka import KafkaError
from flow import Flow

from streams.config import Definitions
from streams.environment import Environment
from streams.kafka.admin import AdminError, check_broker, check_topics, create_topics, grown_topics, is_embedded
from streams.kafka.transaction import why_not_begun
from streams.topics import Topic, all_topics
from tests.brokers.apache import apache_kafka
from tests.brokers.ports import reserved_port

# Also listens to `anna` with the password `right` alone.
GUARDED = """
listeners=PLAINTEXT://127.0.0.1:{{port}},SASL_PLAINTEXT://127.0.0.1:{guarded},CONTROLLER://127.0.0.1:{{controller}}
advertised.listeners=PLAINTEXT://127.0.0.1:{{port}},SASL_PLAINTEXT://127.0.0.1:{guarded}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_plaintext.plain.sasl.jaas.config=\
    org.apache.kafka.common.security.plain.PlainLoginModule required user_anna="right";
"""


def environment_of(url: str, app: str = "start") -> Environment:
    return Environment(broker=url, app_id=app)


@pytest.mark.slow
def test_no_broker(tmp_path):
    """Nobody listens at the address."""
    started = time.monotonic()
    flow = Flow(f"kafka://127.0.0.1:{reserved_port()}", tmp_path)
    worker = flow.worker()
    assert worker.wait(30) == 1
    assert time.monotonic() - started < 30
    assert "no broker answers at 127.0.0.1" in worker.log().splitlines()[-1]


def test_a_certificate_that_is_being_replaced(tmp_path):
    """No client can be made to ask with whether topics have grown: a worker that is well goes on, and asks again."""
    authorities = tmp_path / "authorities"
    environment = Environment(broker="kafka://127.0.0.1:1", security_protocol="SSL", ssl_ca_location=str(authorities))
    assert grown_topics(environment, Definitions()) == []


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.timeout(120)
def test_the_wrong_password(tmp_path):
    """The broker is there and says no: that is what is said, and what to look at, not that no broker answers."""
    port = reserved_port()
    with apache_kafka(tmp_path, more=GUARDED.format(guarded=port)):
        right = Environment(
            broker=f"kafka://127.0.0.1:{port}", security_protocol="SASL_PLAINTEXT",
            sasl_mechanism="PLAIN", sasl_username="anna", sasl_password="right",
        )  # fmt: skip
        assert check_topics(right, Definitions(partitions=1), []) == []
        for wrong in ({"sasl_password": "wrong"}, {"sasl_mechanism": "SCRAM-SHA-256"}):
            with pytest.raises(AdminError) as said:
                check_topics(msgspec.structs.replace(right, **wrong), Definitions(partitions=1), [])
            assert str(said.value).startswith(f"the broker at 127.0.0.1:{port} does not let us in (_AUTHENTICATION: ")
            assert str(said.value).endswith("; are DEALPULSE_SASL_MECHANISM, _USERNAME and _PASSWORD right?")


@pytest.mark.slow
def test_no_topics(broker, tmp_path):
    """The worker names what is missing and the command that makes it."""
    worker = Flow(broker, tmp_path).worker()
    assert worker.wait(30) == 1
    said = worker.log().splitlines()
    assert len(said) == 1
    assert ".events" in said[0]
    assert "dealpulse topics create" in said[0]


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_a_second_worker_on_the_embedded_broker(embedded_broker, new_flow):
    """It is refused; the first goes on."""
    flow = new_flow(embedded_broker)
    first = flow.worker()
    first.ready()
    second = flow.worker()
    assert second.wait(30) == 1
    assert "the embedded broker serves one worker" in second.log()
    flow.send(100)
    flow.assert_exact()


def test_all_topics_are_made_and_found_right(embedded_broker):
    """What create makes, check accepts, and a second create makes nothing."""
    environment, definitions = environment_of(embedded_broker, "made"), Definitions(partitions=3)
    assert set(create_topics(environment, definitions)) == {topic.name for topic in all_topics("made")}
    assert check_topics(environment, definitions) == []
    assert create_topics(environment, definitions) == []


def test_wrong_topics_are_named_with_the_remedy(broker):
    """Partition count, copies and cleanup policy are compared one by one."""
    environment, name = environment_of(broker), f"wrong.{time.time_ns()}"
    create_topics(environment, Definitions(partitions=3), [Topic(name, "delete")])
    wanted = [Topic(name, "compact"), Topic(f"{name}.missing", "delete")]
    problems = check_topics(environment, Definitions(partitions=4, replication=2), wanted)
    starts = [f"missing topics: {name}.missing", f"topic {name} has 3 partitions, not 4"]
    starts += [f"topic {name} has 1 copies, not 2", f"topic {name} has cleanup.policy=delete, not compact"]
    assert [problem.startswith(start) for problem, start in zip(problems, starts, strict=True)] == [True] * 4


@pytest.mark.slow
@pytest.mark.kafka
def test_more_copies_than_brokers(apache_kafka):
    """The broker's refusal becomes a sentence."""
    with pytest.raises(AdminError, match="fewer brokers than the replication factor"):
        create_topics(environment_of(apache_kafka), Definitions(replication=3), [Topic("copies", "delete")])


def test_a_good_broker_has_no_problems(broker):
    """Transactions are tried, too."""
    environment = environment_of(broker, "good")
    topics = toy.topics("good")
    create_topics(environment, Definitions(partitions=2), topics)
    assert check_broker(environment, Definitions(partitions=2), topics) == []


def test_the_embedded_broker_is_recognised(embedded_broker):
    """By the name of its cluster."""
    assert is_embedded(environment_of(embedded_broker))


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (KafkaError._UNSUPPORTED_FEATURE, "the broker has no transactions"),
        (KafkaError._FENCED, "another process has begun in the same name"),
        (KafkaError._TIMED_OUT, "transaction.state.log.min.isr=1"),
        (KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "the broker refuses transactions"),
    ],
)
def test_why_there_is_no_transaction(code, sentence):
    """Each cause has its remedy."""
    assert sentence in str(why_not_begun(KafkaError(code)))
