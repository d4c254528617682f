"""Does the measure of a recovery see what is slow?  A commit of before the fault is no recovery."""

from __future__ import annotations

import pytest

from tests.faults.wide.progress import Move, Progress

pytestmark = pytest.mark.faults


def _watched(*moves: list[Move]) -> Progress:
    progress = Progress.__new__(Progress)
    progress.moves = {("topic", partition): found for partition, found in enumerate(moves)}
    return progress


def test_what_was_committed_before_the_fault_and_seen_after_it_is_no_recovery():
    """The first look after the fault finds what was committed just before it; the worker comes back after 20 s."""
    watched = _watched([Move(9.8, 10.1), Move(29.9, 30.2)], [Move(10.1, 10.4)])
    assert watched.recoveries([10.0]) == [pytest.approx(20.2)]


def test_who_never_comes_back_is_no_recovery():
    """Partition 0 moved once more, certainly or not, and then never."""
    assert _watched([Move(9.8, 10.1)], [Move(10.1, 10.4)]).recoveries([10.0]) == []


def test_the_longest_wait_is_between_two_moves_of_one_partition():
    """Whatever the faults were."""
    assert _watched([Move(0, 1), Move(5, 6)], [Move(0, 1), Move(1, 2)]).longest_wait() == 5
