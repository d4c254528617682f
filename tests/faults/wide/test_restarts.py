"""Can an installation be restarted and scaled under load?  Nobody exits 70, nobody takes longer than 5 s to go, nothing changes."""

from __future__ import annotations

import random
import time

import pytest

from tests.faults.wide.dose import SEED, dose, only_heavy, patience
from tests.faults.wide.progress import quantile

pytestmark = patience(240, 900)

GONE = 5.0


def test_rolling_restarts_and_scaling_change_no_number(crew):
    """From one worker to five, each replaced in turn, also while others still restore, then 1 again."""
    dice = random.Random(SEED + 10)
    some = crew()
    some.join_ready()
    some.feed(dose("RESTART_EVENTS", 3_000, 30_000), SEED + 10, 500)
    took = []

    def stop(worker) -> None:
        code, seconds = worker.stop()
        some.harm("SIGTERM")
        took.append(seconds)
        assert (code, seconds < GONE) == (0, True), f"after {seconds:.1f} s: {worker.last_words()}"

    for _ in range(dose("WORKERS", 2, 5) - 1):
        some.join_ready()
        time.sleep(1)
    for number in range(dose("STOPS", 2, 50)):
        time.sleep(dice.uniform(0.5, 3))
        stop(some.living[0])
        some.join()
        if number % 2:
            some.living[-1].wait_until_ready()
    for worker in some.living[:-1]:
        stop(worker)
    some.fed_up()
    some.assert_exact()
    stop(some.living[0])
    some.report(
        "restarts",
        "rolling restarts and scaling under load",
        stop_s={"p50": quantile(took, 0.5), "max": max(took), "of": len(took)},
    )


@only_heavy
@pytest.mark.parametrize(("pause", "code"), [(2.0, 0), (8.0, 70)], ids=["short", "long"])
def test_a_stop_waits_for_a_commit_under_way_but_not_for_ever(crew, pause, code):
    """SIGTERM while the committing thread is in the middle: it ends in order, or with 70 after the deadline; nothing changes."""
    one = crew(exits=(code,))
    one.feed(2_000, SEED + 11, 400)
    slow = one.join(failpoint=f"C4:15:pause={pause}")
    slow.wait_until_it_says("failpoint C4")
    found, seconds = slow.stop()
    one.harm("SIGTERM in a commit")
    assert (found, seconds < GONE + 1) == (code, True), f"after {seconds:.1f} s: {slow.last_words()}"
    one.join()
    one.fed_up()
    one.assert_exact()


@only_heavy
def test_a_rebalance_waits_for_a_commit_under_way(crew):
    """Another worker joins while the committing thread is in the middle of a flush: nobody exits, nothing changes."""
    two = crew()
    two.feed(2_000, SEED + 12, 400)
    slow = two.join(failpoint="C4:15:pause=4")
    slow.wait_until_it_says("failpoint C4")
    two.harm("rebalance in a commit")
    two.join_ready()
    two.fed_up()
    assert slow.code is None, slow.last_words()
    two.assert_exact()
