"""Do the numbers stay right when workers die, freeze and come and go?  On Apache Kafka: the embedded broker does not fence."""

from __future__ import annotations

import time

import pytest
import toy
from confluent_kafka.admin import AdminClient, NewPartitions

from streams.kafka.faults import FAILPOINT, PLAIN_PRODUCING, POINTS
from tests.brokers.marks import rows_unmarked

pytestmark = [pytest.mark.slow, pytest.mark.kafka]

KILLED = -9


@pytest.mark.timeout(120)
def test_death_at_every_point_of_a_flush_loses_and_repeats_nothing(apache_kafka, new_flow):
    """At each point of the crash matrix: the worker dies, another takes over, every sum is right."""
    flows = {point: new_flow(apache_kafka) for point in POINTS}
    dying = {}
    for point, flow in flows.items():
        flow.send(3_000)
        dying[point] = flow.worker({FAILPOINT: f"{point}:3"})
    for point, flow in flows.items():
        dying[point].ready()
        for _ in range(8):
            flow.send(500)
            time.sleep(0.05)
        assert dying[point].wait(30) == KILLED, point
        flow.worker()
    for point, flow in flows.items():
        flow.assert_exact()
        flow.send(1_000)
        flow.assert_exact()
        assert flow.workers[-1].code is None, point


@pytest.mark.timeout(90)
def test_the_negative_control_is_caught(apache_kafka, new_flow):
    """Producing without transactions, as most workers do, repeats what a crash interrupts: the sums show it."""
    flow = new_flow(apache_kafka)
    flow.send(3_000)
    worker = flow.worker({FAILPOINT: "C2:6", PLAIN_PRODUCING: "1"}, transactions=False)
    worker.ready()
    while worker.code is None:  # every flush carries changes, so the one that is cut short does
        flow.send(200)
        time.sleep(0.02)
    assert worker.code == KILLED
    flow.worker().ready()
    end = time.monotonic() + 40
    changed, totals = flow.counts()
    while min(changed, sum(totals.values())) <= flow.sent and time.monotonic() < end:  # handled is not committed yet
        time.sleep(0.3)
        changed, totals = flow.counts()
    assert changed > flow.sent
    assert sum(totals.values()) > flow.sent


@pytest.mark.timeout(90)
def test_plain_producing_must_be_asked_for_twice(apache_kafka, new_flow):
    """No setting alone turns the transactions off."""
    worker = new_flow(apache_kafka).worker(transactions=False)
    assert worker.wait(30) == 1
    assert "only fault tests may ask for it" in worker.log()


@pytest.mark.timeout(110)
def test_workers_come_and_go_under_load(apache_kafka, new_flow):
    """One worker, two, one again by SIGTERM, then kill -9 and a new one: every sum is right."""
    flow = new_flow(apache_kafka)
    flow.send(5_000)
    first = flow.worker()
    first.ready()
    flow.send(5_000)
    second = flow.worker()
    second.wait_until(lambda status: status["ready"] and status["assigned"] == 4)
    for _ in range(5):
        flow.send(2_000)
        time.sleep(0.1)
    assert first.wait_until(lambda status: status["ready"])["assigned"] == 4
    code, took = first.stop()
    assert (code, took < 5) == (0, True), first.log()
    flow.send(5_000)
    second.wait_until(lambda status: status["ready"] and status["assigned"] == 8)
    flow.send(5_000)
    second.kill()
    flow.send(5_000)
    third = flow.worker()
    third.ready()
    flow.assert_exact()
    assert third.stop()[0] == 0


@pytest.mark.timeout(90)
def test_a_rebalance_while_restoring_drops_what_was_restored(apache_kafka, new_flow):
    """Seven of eight partitions are restored when another worker joins (C16): both begin anew, every sum is right."""
    flow = new_flow(apache_kafka)
    flow.send(5_000)
    before = flow.worker()
    flow.assert_exact()
    assert before.stop()[0] == 0
    flow.send(5_000)
    with rows_unmarked({"bootstrap.servers": flow.address}, flow.app, "sums", toy.names(flow.app)[1]) as mark:
        one = flow.worker(log_level="INFO")
        one.wait_until(
            lambda status: (status["generation"], status["restored_partitions"], status["partitions"]) == (1, 7, 8)
        )
        other = flow.worker()
        one.wait_until(lambda _status: "generation 1: the group moved on while it was restored" in one.log())
        both = [worker.wait_until(lambda status: status["partitions"] == 4) for worker in (one, other)]
        assert not all(status["ready"] for status in both)  # one of them has the partition that nobody can restore yet
        mark()
    for worker in (one, other):
        assert worker.wait_until(lambda status: status["ready"])["assigned"] == 4
    flow.assert_exact()
    assert (one.code, other.code) == (None, None)


@pytest.mark.timeout(90)
def test_a_frozen_owner_is_replaced_and_ends_when_it_wakes(apache_kafka, new_flow):
    """Frozen for longer than the session: another worker takes over, the woken one exits 70, every sum is right."""
    flow = new_flow(apache_kafka)
    flow.send(3_000)
    frozen = flow.worker()
    frozen.caught_up()
    other = flow.worker()
    other.wait_until(lambda status: status["ready"] and status["assigned"] == 4)
    flow.send(30_000)
    frozen.freeze(9)
    assert frozen.wait(15) == 70, frozen.log()
    assert len(frozen.log().splitlines()) >= 1
    other.wait_until(lambda status: status["ready"] and status["assigned"] == 8)
    flow.send(3_000)
    flow.assert_exact()


@pytest.mark.timed
@pytest.mark.timeout(60)
def test_a_worker_with_a_slot_comes_back_at_once(apache_kafka, new_flow):
    """Killed and started again under its slot: no session and no transaction has to time out."""
    flow = new_flow(apache_kafka)
    flow.send(5_000)
    worker = flow.worker(slot="0")
    worker.ready()
    flow.send(5_000)
    worker.kill()
    killed = time.monotonic()
    worker = flow.worker(slot="0")
    worker.ready()
    assert time.monotonic() - killed < 6
    flow.assert_exact()
    assert worker.stop()[0] == 0


@pytest.mark.timeout(60)
def test_a_spare_worker_takes_over_when_the_other_leaves(apache_kafka, new_flow):
    """More workers than partitions: one has nothing to do until it is needed."""
    flow = new_flow(apache_kafka, partitions=1)
    flow.send(2_000)
    one, other = flow.worker(), flow.worker()
    one.ready()
    other.ready()
    flow.send(2_000)
    time.sleep(3)
    busy, spare = sorted((one, other), key=lambda worker: -worker.status()["assigned"])
    assert (busy.status()["assigned"], spare.status()["assigned"]) == (2, 0)
    assert busy.stop()[0] == 0
    spare.wait_until(lambda status: status["assigned"] == 2 and status["ready"])
    flow.send(2_000)
    flow.assert_exact()
    assert spare.stop()[0] == 0


@pytest.mark.timeout(120)
def test_a_topic_that_is_only_written_to_gets_a_partition_more(apache_kafka, new_flow):
    """The group does not see it, and keys would lie in two partitions: the worker ends soon, and none starts again."""
    flow = new_flow(apache_kafka)
    worker = flow.worker()
    worker.ready()
    totals = toy.names(flow.app)[2]
    admin = AdminClient({"bootstrap.servers": flow.address})
    admin.create_partitions([NewPartitions(totals, flow.partitions + 1)])[totals].result(10)
    assert worker.wait(40) == 70, worker.log()
    assert f"topic {totals} has {flow.partitions + 1} partitions now, not {flow.partitions}" in worker.log()
    assert flow.worker().wait(30) == 1
