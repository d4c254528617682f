"""Do the numbers survive brokers that die, freeze and come back?  Three brokers, every topic three times, three workers.

Workers may end with 70 (or 1, when nobody answers at their start) and are started again, as a supervisor does.
"""

from __future__ import annotations

import random
import time
from itertools import cycle, islice

import pytest

from tests.faults.wide import load
from tests.faults.wide.crew import CAUGHT_UP, open_transactions
from tests.faults.wide.dose import SEED, dose, only_heavy, patience

pytestmark = [*patience(300, 2_400), only_heavy]

WORKERS = 3
ROUNDS = dose("BROKER_ROUNDS", 1, 2)
LED = ("group", "transactions", "dealpulse.kpi.latest.v1")


@pytest.fixture
def some(cluster, crew_on):
    """Return workers on three brokers."""
    cluster.wait_until_whole()
    crew = crew_on(cluster.url, definitions=load.definitions(replication=3), exits=(70, 1))
    crew.join_ready(WORKERS)
    yield crew
    for broker in cluster.brokers:
        broker.thaw() if broker.runs else broker.start()
    crew.end()


def _led_by(cluster, what):
    return cluster.coordinator(what) if what in ("group", "transactions") else cluster.leader(what)


def _in_a_transaction(crew) -> None:
    """Return when a worker has stopped for some seconds in the middle of a flush: its transaction is open.

    It comes in the place of another one.  While brokers still look for each other it may end, as others do, and is started again.
    """
    _tend_until(crew, 120, lambda worker: worker.readiness().get("restored"))
    crew.let_go(crew.living[0])
    end = time.monotonic() + 120
    while True:
        worker = crew.join(failpoint="C4:10:pause=4")
        while worker.code is None and not (paused := worker.has_said("failpoint C4")):
            assert time.monotonic() < end, worker.last_words()
            time.sleep(0.02)
        if worker.code is None and paused:
            break
        crew.tend(WORKERS - 1)
    assert open_transactions(crew.installation)


def _rest(crew, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        crew.tend(WORKERS)
        time.sleep(0.5)


def _tend_until(crew, seconds: float, holds) -> None:
    """Start what ends again, until all workers are there and this holds of each."""
    end = time.monotonic() + seconds
    while len(crew.living) < WORKERS or not all(map(holds, crew.living)):
        assert time.monotonic() < end, [worker.last_words() for worker in crew.living]
        _rest(crew, 0.5)


def _finish(crew, cluster, name: str, question: str) -> None:
    cluster.wait_until_whole()
    _rest(crew, 12)
    crew.fed_up()
    # A commit that does not return is ended by the watchdog, after 20 s.
    _tend_until(crew, CAUGHT_UP, lambda worker: worker.metrics() and not worker.lag())
    crew.assert_exact()
    crew.report(
        name,
        question,
        exits=dict(crew.exits),
        last_words=sorted(set(crew.last_words))[:8],
    )


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_broker_that_goes_in_the_middle_of_a_transaction(some, cluster, how):
    """Whoever leads the group, the transactions or an output is killed, or stopped in order, and comes back."""
    some.feed(2_000, SEED + 50, 300)
    for _ in range(ROUNDS):
        for what in LED:
            _in_a_transaction(some)
            broker = _led_by(cluster, what)
            getattr(broker, how)()
            some.harm(f"{how} the broker that leads {what}")
            _rest(some, 10)
            broker.start()
            _rest(some, 2)
            cluster.wait_until_whole()
    _finish(
        some,
        cluster,
        f"broker-{how}",
        f"{how} of a broker in the middle of a transaction",
    )


def test_two_of_three_brokers_down(some, cluster):
    """Nothing can be decided for a minute; afterwards every number is right."""
    some.feed(2_000, SEED + 51, 300)
    _in_a_transaction(some)
    down = cluster.brokers[:2]
    for broker in down:
        broker.kill()
        some.harm("kill a broker")
    _rest(some, dose("BROKERS_DOWN", 20, 60))
    for broker in down:
        broker.start()
    _finish(some, cluster, "brokers-two-down", "two of three brokers are down for a while")


def test_a_broker_that_freezes(some, cluster):
    """Thirty seconds without an answer, its connections open; workers are killed meanwhile."""
    dice = random.Random(SEED + 52)
    some.feed(2_000, SEED + 52, 300)
    for what in islice(cycle(LED), dose("BROKER_FREEZES", 1, 5)):
        broker = _led_by(cluster, what)
        broker.freeze()
        some.harm(f"freeze the broker that leads {what}")
        _rest(some, 10)
        victim = dice.choice(some.living)
        some.kill(victim)
        _rest(some, 20)
        broker.thaw()
        _rest(some, 10)
    _finish(some, cluster, "broker-frozen", "a broker freezes, and workers are killed meanwhile")
