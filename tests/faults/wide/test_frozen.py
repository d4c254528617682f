"""Can an owner that stood still harm anybody when it wakes?  Frozen as a whole, or only its committing or polling thread (law 5)."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.faults import workers
from tests.faults.wide.crew import open_transactions
from tests.faults.wide.dose import SEED, dose, only_heavy, patience
from tests.faults.wide.progress import quantile

pytestmark = patience(240, 900)

RATE = 400
GONE = workers.SESSION + 2  # the others own its partitions, and its transaction has not timed out
LONG = 14.0  # over the transaction's time-out and the broker's scan
PAUSE = float(dose("LATE_PAUSE", 14, 30))


def test_a_frozen_owner_is_fenced(crew):
    """Frozen for longer than the session it wakes up, finds that others own its partitions, and exits 70; nothing changes."""
    dice = random.Random(SEED + 1)
    two = crew(exits=(70,))
    two.join_ready(2)
    two.feed(2_000, SEED + 1, RATE)
    for number in range(dose("FREEZES", 1, 4)):
        time.sleep(dice.uniform(2, 4))
        frozen = dice.choice(two.living)
        two.harm("freeze")
        frozen.freeze(GONE + (LONG if number % 2 else 0))
        assert frozen.wait(20) == 70, frozen.last_words()
        two.join_ready()
    two.fed_up()
    two.assert_exact()
    two.report("frozen", "an owner is frozen for longer than the session")


IN_A_FLUSH = [("C4", GONE), ("C1", GONE), ("C3", GONE), ("C3", LONG), ("C4", LONG), ("C6", GONE)]


def test_an_owner_frozen_in_the_middle_of_a_flush_is_fenced(crew):
    """Open, its offsets perhaps pending: whoever takes over waits for the decision; what wakes exits 70; nothing changes."""
    two = crew(exits=(70,))
    two.join_ready()
    two.feed(2_000, SEED + 4, RATE)
    for point, seconds in IN_A_FLUSH[: dose("FROZEN_FLUSHES", 1, 6)]:
        frozen = two.join(failpoint=f"{point}:15:freeze")
        wait_until_stopped(frozen)
        two.harm(f"freeze at {point} for {seconds:.0f} s")
        time.sleep(seconds)
        frozen.thaw()
        assert frozen.wait(25) == 70, frozen.last_words()
    two.fed_up()
    two.assert_exact()
    two.report(
        "frozen-in-a-flush",
        "an owner is frozen in the middle of a flush",
    )


@only_heavy
def test_a_commit_that_comes_too_late_is_refused(crew):
    """The committing thread alone stands still between offsets and commit: the broker gives up, the worker exits 70."""
    one = crew(exits=(70,), environment={"watchdog": 0})  # else the watchdog may be sooner than the broker's answer
    one.feed(3_000, SEED + 5, RATE)
    for _ in range(dose("LATE_COMMITS", 1, 5)):
        late = one.join(failpoint=f"C4:15:pause={PAUSE}")
        late.wait_until_it_says("failpoint C4", 60)
        one.harm("pause before the commit")
        assert late.wait(PAUSE + 15) == 70, late.last_words()
        assert "FENCED" in late.last_words(), late.last_words()
    one.join()
    one.fed_up()
    one.assert_exact()
    one.report(
        "late-commit",
        "a pause between offsets and commit, longer than the transaction may last",
    )


@only_heavy
def test_a_poll_thread_that_stands_still_ends_the_worker(crew):
    """The group waits max.poll.interval.ms (8 s here) for it and goes on without; it exits 70; nothing changes."""
    two = crew(exits=(70,))
    stuck = two.join(sabotage=["stuck_poll_thread"])
    two.join_ready()
    two.feed(4_000, SEED + 6, RATE)
    assert stuck.wait(60) == 70, stuck.last_words()
    two.harm("poll thread stuck")
    two.fed_up()
    two.assert_exact()
    two.report(
        "stuck-poll-thread",
        "nobody polls for longer than max.poll.interval.ms",
    )


@only_heavy
def test_a_dead_owner_holds_readers_up_for_a_bounded_time(crew):
    """Killed with an open transaction: what it wrote to can be read on after the time-out and the broker's scan, some 11 s."""
    one = crew()
    one.feed(3_000, SEED + 7, RATE)
    stalls = []
    for number in range(dose("STALLS", 1, 10)):
        point = ("C3", "C4")[number % 2]
        dying = one.join(failpoint=f"{point}:15")
        assert dying.wait(60) == workers.KILLED, dying.last_words()
        one.harm(f"kill at {point}")
        began = time.monotonic()
        while open_transactions(one.installation):
            assert time.monotonic() < began + 60
            time.sleep(0.1)
        stalls.append(time.monotonic() - began)
    assert quantile(stalls, 0.95) < 10 + 1 + 2
    one.join()
    one.fed_up()
    one.assert_exact()
    one.report(
        "stall",
        "how long an owner that dies in mid-transaction holds up readers",
        stall_s={"p50": quantile(stalls, 0.5), "p95": quantile(stalls, 0.95), "max": max(stalls), "of": len(stalls)},
    )


@only_heavy
@pytest.mark.parametrize("broken", ["hasty_restore"])
def test_what_these_tests_can_see(crew, broken):
    """Workers whose rules are broken, frozen before they commit: the audit finds it."""
    two = crew(sabotage=[broken])
    two.join_ready()
    two.feed(3_000, SEED + 8, RATE)
    for _ in range(2):
        frozen = two.join(failpoint="C4:15:freeze")
        wait_until_stopped(frozen)
        two.harm("freeze at C4")
        time.sleep(GONE)
        frozen.thaw()
        time.sleep(4)
        frozen.end()
        two.harm("kill -9")
    two.fed_up()
    two.tend(1)  # the broken rule may have ended the other one, too
    two.settle()
    found = two.installation.audit()
    two.report(
        f"broken-{broken.replace('_', '-')}",
        "a negative control: frozen workers with a broken rule",
        cells=found["compared"],
        different=found["different"],
    )
    assert found["different"] > 0


def wait_until_stopped(worker: workers.Worker, deadline: float = 60.0) -> None:
    """Wait until the worker has stopped itself."""
    end = time.monotonic() + deadline
    while Path(f"/proc/{worker.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "T":
        assert worker.code is None, worker.last_words()
        assert time.monotonic() < end, f"it has not stopped: {worker.last_words()}"
        time.sleep(0.02)
