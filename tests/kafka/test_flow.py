"""Does a worker count right on a broker where nothing goes wrong, and end in order?"""

from __future__ import annotations

import pytest


@pytest.mark.slow
@pytest.mark.timeout(90)
def test_a_clean_stop_and_start_loses_and_repeats_nothing(broker, new_flow):
    """Everything handled before SIGTERM is committed, rows that rest or not; the next worker begins exactly behind it."""
    flow = new_flow(broker)
    flow.send(20_000)
    first = flow.worker()
    first.caught_up()
    status = first.wait_until(lambda status: status["resting"] > 0)
    assert status["keys"] >= status["resting"]
    flow.send(7_123)
    code, took = first.stop()
    assert (code, took < 5) == (0, True), first.log()
    second = flow.worker()
    second.caught_up()
    flow.send(1_000)
    flow.assert_exact()
    assert second.stop()[0] == 0
    assert second.log() == ""


@pytest.mark.slow
@pytest.mark.timeout(90)
def test_a_stop_that_fails_is_said(embedded_broker, new_flow):
    """Exit 0 would mean that all is committed, and a supervisor would leave it at that."""
    flow = new_flow(embedded_broker)
    worker = flow.worker(fails_at_the_end=True)
    worker.ready()
    assert worker.stop()[0] == 70, worker.log()
    assert "stopping failed: RuntimeError('no last words')" in worker.log()


@pytest.mark.slow
@pytest.mark.timeout(90)
def test_a_room_that_waits_holds_up_nobody_else(broker, new_flow):
    """A room whose deliveries never end leaves the others exact, and the worker stops in time all the same.

    It shares a topic with another room; after a restart it gets again what it has not handled, the other does not.
    """
    flow = new_flow(broker)
    flow.send(5_000)
    worker = flow.worker(posts="stuck")
    flow.assert_exact(40)
    status = worker.wait_until(lambda status: status["lag"]["sums"] == 0)
    assert status["lag"]["posts"] > 0
    assert not status["caught_up"]
    code, took = worker.stop()
    assert (code, took < 5) == (0, True), worker.log()
    second = flow.worker(posts="well")
    second.caught_up()
    flow.assert_exact()
    assert second.stop()[0] == 0


@pytest.mark.slow
@pytest.mark.timeout(90)
def test_a_worker_that_cannot_keep_up_stays_in_the_group_and_small(broker, new_flow):
    """Fetching pauses; the worker still answers the group and stops in time in the middle of the work."""
    flow = new_flow(broker)
    flow.send(200_000)
    worker = flow.worker(slow=0.0001)
    first = worker.wait_until(lambda status: status["last_commit"])
    status = worker.wait_until(lambda status: status["last_commit"] > first["last_commit"])
    assert status["generation"] == 1
    assert status["lag"]["counts"] > 60_000
    assert status["rss_mb"] < 300
    code, took = worker.stop()
    assert (code, took < 4) == (0, True), (took, worker.log())  # a turn of its main loop takes 0.2 s, and Faust needs many
    flow.worker()
    flow.assert_exact()


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_worker_joins_in_the_middle_of_a_backlog(apache_kafka, new_flow):
    """What the first one has paused goes on after the rebalance, whoever has it then."""
    flow = new_flow(apache_kafka)
    flow.send(150_000)
    first = flow.worker(slow=0.0001)  # 10,000 a second: most of it waits, and fetching pauses
    began = first.wait_until(lambda status: status["last_commit"])
    first.wait_until(lambda status: status["last_commit"] > began["last_commit"])
    second = flow.worker(slow=0.0001)
    for worker in (first, second):
        worker.wait_until(lambda status: status["ready"] and status["assigned"] == 4)
    flow.assert_exact(40)
    assert (first.code, second.code) == (None, None), (first.log(), second.log())
