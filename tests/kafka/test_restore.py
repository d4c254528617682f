"""Does a restore give back exactly the state of the committed offset, and fast?"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import toy
from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import OffsetSpec
from flow import Flow

from streams.kafka import restore
from streams.kafka.clients import Connection
from streams.kafka.ownership import OFFSETS_KEY, Plan
from streams.kafka.restore import Progress, RestoreError, Restorer, Superseded
from streams.topics import changelog

GROWN = 100  # MB


def restorer(flow: Flow, **options) -> Restorer:
    plan = Plan(toy.rooms(flow.app)[:1])
    keys = [("counts", partition) for partition in range(flow.partitions)]
    connection = Connection({"bootstrap.servers": flow.address}, flow.app)
    return Restorer(connection, plan, keys, Progress(), options.pop("superseded", lambda: False), **options)


def producer(flow: Flow, **settings) -> Producer:
    made = Producer(
        {
            "bootstrap.servers": flow.address,
            "transactional.id": f"{flow.app}-fill",
            "linger.ms": 5,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 2_000_000,
            **settings,
        }
    )
    made.init_transactions(15)
    return made


def group(flow: Flow):
    """Return metadata that may commit offsets while the group has no members."""
    return Consumer({"bootstrap.servers": flow.address, "group.id": flow.app}).consumer_group_metadata()


def write(
    flow: Flow, made: Producer, rows: dict[bytes, bytes | None], offset: int | None, flushes: dict[str, int] | None = None
) -> None:
    """Produce rows, and offsets, into partition 0 of the changelog."""
    log = changelog(flow.app, "counts")
    for key, value in rows.items():
        made.produce(log, value, key, 0)
    if offset is not None:
        made.produce(log, json.dumps({toy.names(flow.app)[0]: offset, **(flushes or {})}).encode(), OFFSETS_KEY, 0)


def commit_offset(flow: Flow, made: Producer, offset: int, metadata: str = "") -> None:
    made.send_offsets_to_transaction([TopicPartition(toy.names(flow.app)[0], 0, offset, metadata)], group(flow), 10)


def test_a_coordinator_that_moves_is_asked_again():
    """Right after the start of a broker, or when it fails over, the group's coordinator is elsewhere for a moment."""
    answers = iter([KafkaException(KafkaError(KafkaError.NOT_COORDINATOR)), [TopicPartition("events", 0, 5)]])

    def committed(_asked, _deadline):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    made = Restorer(Connection({}, "app"), Plan([]), [], Progress(), lambda: False)
    found = made._ask_committed(SimpleNamespace(committed=committed), [TopicPartition("events", 0)], time.monotonic() + 5)
    assert [part.offset for part in found] == [5]


@pytest.mark.slow
def test_rows_tombstones_and_offsets(broker, new_flow):
    """The last value of a key counts, a tombstone takes it away, and the offsets row is no row."""
    flow = new_flow(broker)
    made = producer(flow)
    made.begin_transaction()
    write(flow, made, {b"a": b"1", b"b": b"1"}, 5)
    made.commit_transaction(10)
    made.begin_transaction()
    write(flow, made, {b"a": b"2", b"b": None}, 7)
    commit_offset(flow, made, 7)
    made.commit_transaction(10)
    found = restorer(flow).run()
    assert found["counts", 0].rows == {b"a": b"2"}
    assert found["counts", 0].offsets == {toy.names(flow.app)[0]: 7}
    assert found["counts", 0].anchored
    assert found["counts", 1].offsets == {toy.names(flow.app)[0]: 0}
    assert not found["counts", 1].anchored


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.timeout(60)
def test_a_transaction_that_is_still_open_is_waited_for(apache_kafka, new_flow):
    """While offsets are pending nothing is decided; then the state has them."""
    flow = new_flow(apache_kafka)
    made = producer(flow)
    made.begin_transaction()
    write(flow, made, {b"a": b"1"}, 5)
    made.flush(10)
    commit_offset(flow, made, 5)
    threading.Timer(1.5, lambda: made.commit_transaction(10)).start()
    started = time.monotonic()
    found = restorer(flow).run()
    assert time.monotonic() - started > 1
    assert found["counts", 0].offsets == {toy.names(flow.app)[0]: 5}
    assert found["counts", 0].rows == {b"a": b"1"}


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.timeout(60)
@pytest.mark.parametrize("quiet", [0.5, 2.5], ids=["soon", "after-a-while"])
def test_a_flush_that_moves_no_offset_is_waited_for(apache_kafka, new_flow, quiet):
    """The group knows of it, its rows are not readable yet, as when the broker marks one partition later than the other."""
    flow = new_flow(apache_kafka)
    made = producer(flow)
    made.begin_transaction()
    write(flow, made, {b"a": b"1"}, 5, {"flushes": 1})
    commit_offset(flow, made, 5, '{"counts":5,"counts flushes":2}')
    made.commit_transaction(10)
    made.begin_transaction()
    write(flow, made, {b"a": b"2"}, 5, {"flushes": 2})
    made.flush(10)
    threading.Timer(quiet, lambda: made.commit_transaction(10)).start()
    found = restorer(flow).run()
    assert found["counts", 0].rows == {b"a": b"2"}
    assert found["counts", 0].flushes == 2
    assert found["counts", 0].offsets == {toy.names(flow.app)[0]: 5}


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.timeout(60)
def test_a_decision_that_comes_while_it_is_asked_for_is_read(apache_kafka, new_flow, monkeypatch):
    """Nothing is open any more, but the last look at the log was before that: nobody has set the group forward."""
    flow = new_flow(apache_kafka)
    made = producer(flow)
    made.begin_transaction()
    write(flow, made, {b"a": b"1"}, 5)
    commit_offset(flow, made, 7)
    made.commit_transaction(10)
    made.begin_transaction()
    write(flow, made, {b"a": b"2"}, 7)
    made.flush(10)
    asked = restore.Restorer._nothing_comes

    def decide_and_ask(self, parts, deadline):
        if decisions:
            decisions.pop().commit_transaction(10)
        return asked(self, parts, deadline)

    decisions = [made]
    monkeypatch.setattr(restore.Restorer, "_nothing_comes", decide_and_ask)
    assert restorer(flow).run()["counts", 0].rows == {b"a": b"2"}
    assert decisions == []


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.timeout(60)
def test_a_state_behind_the_group_is_refused_unless_asked_for(apache_kafka, new_flow):
    """Somebody set the group forward, or the changelog lost data: the operator decides."""
    flow = new_flow(apache_kafka)
    made = producer(flow)
    made.begin_transaction()
    write(flow, made, {b"a": b"1"}, 5)
    commit_offset(flow, made, 9)
    made.commit_transaction(10)
    with pytest.raises(RestoreError, match="set forward, or the changelog lost data"):
        restorer(flow).run()
    found = restorer(flow, accept_older_state=True).run()
    assert found["counts", 0].offsets == {toy.names(flow.app)[0]: 5}


@pytest.mark.slow
def test_a_state_ahead_of_the_group_is_right(broker, new_flow):
    """Somebody set the group back: the state knows what it holds."""
    flow = new_flow(broker)
    made = producer(flow)
    made.begin_transaction()
    write(flow, made, {b"a": b"1"}, 5)
    commit_offset(flow, made, 2)
    made.commit_transaction(10)
    assert restorer(flow).run()["counts", 0].offsets == {toy.names(flow.app)[0]: 5}


@pytest.mark.slow
def test_a_newer_generation_stops_it(embedded_broker, new_flow):
    """Nobody waits for a restore that nobody wants."""
    with pytest.raises(Superseded):
        restorer(new_flow(embedded_broker), superseded=lambda: True).run()


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.timed
@pytest.mark.timeout(90)
def test_a_large_state_comes_back_fast(apache_kafka, new_flow, capsys):
    """A million changelog records among 170,000 that are aborted or open; 200,000 per second are promised, half of that is a broken build."""
    flow = new_flow(apache_kafka)
    made = producer(flow)
    log = changelog(flow.app, "counts")

    def begin(value: bytes, numbers: range) -> None:
        made.begin_transaction()
        for number in numbers:
            made.produce(log, value, b"key-%d" % (number // 2), number % flow.partitions)
        made.flush(20)

    for first in range(0, 1_000_000, 100_000):
        begin(b"x" * 100, range(first, first + 100_000))
        made.commit_transaction(20)
        begin(b"aborted", range(first, first + 15_000))
        made.abort_transaction(20)
    begin(b"open", range(20_000))
    work = restorer(flow)
    found = work.run()
    made.abort_transaction(20)
    assert sum(len(one.rows) for one in found.values()) == 1_000_000
    assert {value for one in found.values() for value in one.rows.values()} == {b"x" * 100}
    assert work.progress.records == 1_000_000
    rate = work.progress.records / work.progress.seconds
    with capsys.disabled():
        print(f" restored {rate:,.0f} records/s", end=" ")
    assert rate > 100_000


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.timed
@pytest.mark.timeout(120)
def test_a_broker_that_has_just_been_met_answers_at_once(apache_kafka, new_flow):
    """A librdkafka client that asks for offsets before it knows the topics waits 1 or 3 s, one time in five."""
    flow = new_flow(apache_kafka, partitions=96)
    asked, level = restorer(flow), IsolationLevel.READ_COMMITTED
    parts = [(topic, partition) for topic in toy.names(flow.app) for partition in range(96)]
    waits = []
    for _ in range(41):
        began = time.monotonic()
        assert len(asked._ask_offsets(parts, OffsetSpec.latest(), level, began + 20)) == len(parts)
        waits.append(time.monotonic() - began)
    assert max(waits[1:]) < 0.9  # the first one may wait: right after creation nobody leads some of them


def test_a_dead_owners_transaction_is_decided_before_it_gives_up():
    """The broker ends it when it is too old, at its next look."""
    assert restore.DEADLINE > restore.TRANSACTION_TIMEOUT + restore.BROKER_SCAN


def test_offsets_that_stay_undecided():
    """After the deadline it says what hangs, and how to find it."""

    def committed(_asked, _deadline):
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))

    made = Restorer(Connection({}, "app"), Plan([]), [], Progress(), lambda: False)
    with pytest.raises(RestoreError, match=r"committed offsets cannot be read: they stay undecided .* find-hanging"):
        made._ask_committed(SimpleNamespace(committed=committed), [TopicPartition("events", 0)], time.monotonic())


@pytest.mark.parametrize(
    ("behind", "until", "waits"),
    [
        pytest.param(2, 5.0, "on", id="a moment"),
        pytest.param(2, -1.0, "no longer", id="for too long"),
        pytest.param(0, -1.0, "in vain", id="nothing is open, however late it is"),
    ],
)
def test_what_stays_open_on_a_changelog(monkeypatch, behind, until, waits):
    """A state behind the group is told to have lost data only where nothing that is still open could bring it."""
    ends = {IsolationLevel.READ_COMMITTED: 10 - behind, IsolationLevel.READ_UNCOMMITTED: 10}
    monkeypatch.setattr(
        Restorer, "_ask_offsets", lambda _self, parts, _spec, level, _deadline: dict.fromkeys(parts, ends[level])
    )
    made = Restorer(Connection({}, "app"), Plan([]), [], Progress(), lambda: False)
    if waits == "no longer":
        with pytest.raises(RestoreError, match=r"log\[3\] stays undecided .* find-hanging"):
            made._nothing_comes([("log", 3)], time.monotonic() + until)
    else:
        assert made._nothing_comes([("log", 3)], time.monotonic() + until) is (waits == "in vain")


_PEAK = """
import sys
from pathlib import Path
import toy
from streams.kafka.allocator import few_arenas
from streams.kafka.clients import Connection
from streams.kafka.ownership import Plan
from streams.kafka.restore import Progress, Restorer
few_arenas()
address, app = sys.argv[1:]
progress = Progress()
made = Restorer(Connection({"bootstrap.servers": address}, app), Plan(toy.rooms(app)[:1]), [("counts", 0)], progress, lambda: False)
def now(what):
    return int(Path("/proc/self/status").read_text().partition(what)[2].split()[0]) // 1024
before = now("VmRSS:")
made.run()
print(progress.records, now("VmHWM:") - before)
"""


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.timeout(120)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux only")
def test_what_is_read_and_not_kept_is_little(apache_kafka, new_flow):
    """A changelog of 200 MB with a hundred rows in it: what waits to be read is bounded in bytes, whatever the broker offers."""
    flow = new_flow(apache_kafka)
    made = producer(flow, **{"batch.size": 900_000, "linger.ms": 20})
    noise = random.Random(1)
    made.begin_transaction()
    for number in range(200_000):
        made.produce(changelog(flow.app, "counts"), noise.randbytes(300).ljust(1000), b"%d" % (number % 100), 0)
    made.commit_transaction(60)
    command = [sys.executable, "-c", _PEAK, flow.address, flow.app]
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    records, grown = map(int, done.stdout.split())
    assert records == 200_000
    assert grown < GROWN
