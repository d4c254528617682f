"""Does the audit read what a broker holds: all that is committed, to the end, and the last of every key?"""

from collections.abc import Iterator

import orjson
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from streams.audit.read import AuditError, read_topic, run_audit
from streams.kafka.embedded import embedded_broker as run_embedded_broker
from streams.topics import ACTIVITY, KPI_HISTORY, KPI_LATEST, STAGE_CHANGE, TICKS
from tests.audit.tables import settings, us
from tests.brokers.apache import apache_kafka as run_apache_kafka

pytestmark = pytest.mark.slow
TOPICS = (STAGE_CHANGE, ACTIVITY, KPI_LATEST, KPI_HISTORY)
WATERMARK = "2024-03-04T10:30:00+00:00"
DEFINITIONS = settings(windows=["all"], cuts=["all"], kpis={"connect_rate": False, "activities": False})

LEAD = {"event_id": "1", "occurred_at": "2024-03-04T10:00:00Z", "deal_id": "d", "to_stage": "New"}
CALL = {"event_id": "a", "occurred_at": "2024-03-04T10:30:00Z", "deal_id": "d", "type": "call"}


def record(kpi, value, window="all", **more):
    return {
        "kpi": kpi, "cut": "all", "entity": {}, "window": {"name": window, "start": None, "end": None}, "value": value,
        "unit": "count", "n": 1, "numerator": None, "denominator": None, "stats": None, "previous": None,
        "currency": None, "watermark": WATERMARK, "final": False, "revision": 1,
    } | more  # fmt: skip


def ratio(kpi, part):
    return record(
        kpi, part / 1, unit="ratio", numerator=part, denominator=1, mature_share=None if kpi == "win_rate" else 0.0
    )


def wait(kpi, seconds):
    return record(kpi, seconds, unit="seconds", stats={"mean": seconds, "p50": seconds, "p90": seconds}, mature_share=0.0)


# One lead, one call half an hour later: everything there is to say about it.
RIGHT = [
    record("new_leads", 1),
    record("calls", 1, stats={"inbound": 0, "outbound": 0, "internal": 0, "unknown": 1}),
    ratio("lead_conversion", 0),
    ratio("first_response_answered", 1),
    ratio("first_response_within_sla", 1),
    wait("first_response_time", 1800.0),
    wait("first_response_business", 1800.0),
    record("leads_in_funnel", 1, "now"),
    record("active_deals", 1, "now"),
]


class Topics:
    """Two partitions of each topic on a broker, written in transactions as a worker does."""

    def __init__(self, address: str) -> None:
        self.client = {"bootstrap.servers": address}
        admin = AdminClient(self.client)
        for done in admin.create_topics([NewTopic(one, 2, 1) for one in (*TOPICS, TICKS)]).values():
            done.result(10)
        self.producer = Producer(self.client | {"transactional.id": "audit-test", "log_level": 0})
        self.producer.init_transactions(10)

    def write(self, *rows, aborted: bool = False) -> None:
        """Write (topic, key, value); the transaction's mark is the last record of each partition."""
        self.producer.begin_transaction()
        for topic, key, value in rows:
            self.producer.produce(topic, value if isinstance(value, bytes | None) else orjson.dumps(value), key)
        self.producer.flush(10)
        (self.producer.abort_transaction if aborted else self.producer.commit_transaction)(10)

    def publish(self, *records, aborted: bool = False) -> None:
        rows = [(KPI_LATEST, orjson.dumps([one["kpi"], one["window"]["name"]]), one) for one in records]
        self.write(*rows, aborted=aborted)


# Brokers of their own: the audit reads the topics by their fixed names, where other tests write as well.
@pytest.fixture(params=["embedded", pytest.param("apache", marks=pytest.mark.kafka)])
def topics(request, tmp_path) -> Iterator[Topics]:
    if request.param == "embedded":
        with run_embedded_broker() as broker:
            yield Topics(broker.url.removeprefix("kafka://"))
    else:
        request.getfixturevalue("apache_kafka")  # skips or fails without Java
        with run_apache_kafka(tmp_path) as url:
            yield Topics(url.removeprefix("kafka://"))


def test_audit_of_topics(topics, request):
    """Rejected, repeated and aborted records count for nothing; a wrong value, a tombstone, a stranger are differences."""
    assert run_audit(topics.client, DEFINITIONS)["compared"] == 0

    topics.write((STAGE_CHANGE, "d", LEAD), (STAGE_CHANGE, "d", LEAD), (STAGE_CHANGE, "d", b"{no json"))
    topics.write((ACTIVITY, "d", CALL), (ACTIVITY, "x", CALL | {"event_id": "b"}))
    topics.publish(record("calls", 99), *RIGHT[2:])
    topics.publish(*RIGHT[:2])
    if "apache" in request.node.name:  # the embedded broker shows aborted records
        topics.publish(record("calls", 98), aborted=True)
    said = []
    found = run_audit(topics.client, DEFINITIONS, lambda *step: said.append(step))
    assert found == {"compared": 9, "different": 0, "missing": 0, "unexpected": 0, "examples": []}
    assert {step[0] for step in said} == {*TOPICS, "recompute"}

    topics.publish(record("new_leads", 2), record("win_rate", 1))
    topics.write((KPI_LATEST, orjson.dumps(["calls", "all"]), None))
    found = run_audit(topics.client, DEFINITIONS)
    assert (found["compared"], found["different"], found["missing"], found["unexpected"]) == (8, 3, 1, 1)


def test_records_of_others_are_differences_with_their_key(topics):
    """Whatever they are; it ended with an internal error."""
    topics.write((STAGE_CHANGE, "d", LEAD), (ACTIVITY, "d", CALL))
    topics.publish(*RIGHT)
    topics.write(
        (KPI_LATEST, b"\xff", b"of somebody else"),
        (KPI_LATEST, "b", []),
        (KPI_HISTORY, None, b"\xff"),
        (KPI_LATEST, "d", {}),
    )
    found = run_audit(topics.client, DEFINITIONS)
    assert (found["compared"], found["different"], found["unexpected"]) == (9, 4, 4)
    assert {(one["key"][0], one["found"]) for one in found["examples"]} == {
        ("\ufffd", "of somebody else"), ("b", "[]"), ("", "\ufffd"), ("d", "{}"),
    }  # fmt: skip


def test_where_nothing_is_told_the_clock_is_that_of_the_ticks(topics):
    """Everything has left the only window, and nothing is in latest: that is right; a tick that nobody believes is no clock."""
    definitions = settings(windows=["1h"], cuts=["all"], kpis={"leads_in_funnel": False, "active_deals": False})
    topics.write((STAGE_CHANGE, "d", LEAD), (ACTIVITY, "d", CALL))
    topics.write((TICKS, None, b"{}"), (TICKS, None, b"["), (TICKS, None, {"time": 10**18}))
    assert run_audit(topics.client, definitions)["missing"] > 0
    topics.write((TICKS, None, {"time": us("2024-03-04 18:00")}))
    found = run_audit(topics.client, definitions)
    assert (found["different"], found["missing"]) == (0, 0), found


def test_a_topic_that_is_not_there_is_named(broker):
    """The operator reads which one, and the remedy."""
    client = {"bootstrap.servers": broker.removeprefix("kafka://")}
    with pytest.raises(AuditError, match=r"no topic nowhere.*topics create"):
        list(read_topic(client, "nowhere", lambda *_: None))
