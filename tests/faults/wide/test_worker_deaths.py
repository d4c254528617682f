"""Does every published number survive workers that are killed?  The whole product on Apache Kafka (laws 3 to 5)."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime, timedelta
from itertools import islice

import orjson
import pytest

from streams.config import WINDOWS
from streams.topics import TICKS
from tests.faults import workers
from tests.faults.wide import load
from tests.faults.wide.dose import SEED, dose, only_heavy, patience

pytestmark = patience(240, 1500)

EVENTS, RATE = dose("EVENTS", 10_000, 200_000), dose("RATE", 600, 500)
KILLS, BURSTS = dose("KILLS", 3, 40), dose("BURSTS", 1, 5)
PAUSE = dose("PAUSE", 6, 15)  # at most, in seconds; at least a third


def test_kill_9_at_any_moment_changes_no_number(crew):
    """One of the workers is killed again and again while events come in: every cell is as if nothing had happened."""
    dice = random.Random(SEED)
    three = crew()
    size = dose("WORKERS", 2, 3)
    three.join_ready(size)
    three.feed(EVENTS, SEED, RATE)
    while three.done["kill -9"] < KILLS or three.feeding:
        time.sleep(dice.uniform(PAUSE / 3, PAUSE))
        three.kill(dice.choice(three.living))
        time.sleep(dice.uniform(0, PAUSE / 3))
        three.join()
    three.fed_up()
    assert len(three.living) == size
    three.assert_exact()
    three.report(
        "kill-9",
        f"one of the workers is killed every {PAUSE // 3} to {PAUSE} seconds",
    )


@only_heavy
def test_all_workers_killed_at_once(crew):
    """Bursts in which nobody survives, also while others still restore: every cell is as if nothing had happened."""
    dice = random.Random(SEED + 3)
    two = crew()
    two.join_ready(2)
    kills = dose("BURST_KILLS", 4, 20)
    two.feed(dose("BURST_EVENTS", 4_000, 30_000), SEED + 3, RATE)
    for _ in range(BURSTS):
        for _ in range(kills // 2):
            for worker in two.living:
                two.kill(worker)
            two.join()
            two.join()
            time.sleep(dice.uniform(0.2, 2))
        for worker in two.living:
            worker.wait_until_ready()
        time.sleep(dice.uniform(1, 3))
    two.fed_up()
    two.assert_exact()
    for worker in two.living:
        assert worker.stop()[0] == 0, worker.last_words()
    two.join_ready(2)  # what stands in the changelogs must be what was told
    two.feed(1_000, SEED + 4, RATE)
    two.fed_up()
    two.assert_exact()
    two.report("kill-bursts", "all workers are killed at once, again and again")


def test_kill_9_while_the_clock_ticks(crew):
    """Events of the last days, and long pauses in which ticks alone move the time; at last the clock stands still, for the audit."""
    dice = random.Random(SEED + 9)
    some = crew(definitions=load.definitions(tick_interval="1s", windows=list(WINDOWS)), ticks=True)
    some.join_ready(dose("TICKING_WORKERS", 2, 3))
    kills = dose("TICKING_KILLS", 2, 20)
    step, at_once = 30.0, 400
    # The skewed clocks of some are two hours ahead, and nothing may be of the future.
    begin = datetime.now(UTC) - timedelta(hours=3, seconds=step * at_once * kills)
    feed = load.records(at_once * kills, SEED + 9, step, begin=begin)
    some.progress.start()
    for _ in range(kills):
        some.send(islice(feed, at_once))
        time.sleep(dice.uniform(0, 6))  # in the middle of what was sent, or when there are ticks alone
        some.kill(dice.choice(some.living))
        some.join()
    for worker in some.living:
        worker.wait_until_ready()
        assert worker.stop()[0] == 0, worker.last_words()
    last = max(orjson.loads(tick.value())["time"] for tick in some.installation.messages(TICKS))
    assert last > time.time() * 1e6 - 60_000_000, "nobody ticked of late"
    some.join(ticks=False)
    some.assert_exact()
    some.report("kill-9-ticks", "workers are killed while the clock ticks, and often nothing else comes")


@pytest.mark.parametrize("transactions", [True, False], ids=["transactions", "plain-producing"])
def test_what_these_tests_can_see(crew, transactions):
    """Deaths in the middle of a flush: exact with transactions; without them, as most workers do it, the audit finds it."""
    dice = random.Random(SEED)
    one = crew(transactions=transactions)
    one.feed(3_000, SEED + 2, 300)  # in every flush there is an event
    for point in ("C2", "C3", "C2"):  # streams/kafka/faults.py
        worker = one.join(failpoint=f"{point}:{dice.randrange(5, 15)}")
        assert worker.wait(60) == workers.KILLED, worker.last_words()
        one.harm(point)
    one.join()
    one.fed_up()
    one.settle()
    if transactions:
        one.assert_exact()
    else:
        found = one.installation.audit()
        assert found["different"] > 0
        one.report(
            "plain-producing",
            "the negative control: the same without transactions",
            cells=found["compared"],
            different=found["different"],
        )
