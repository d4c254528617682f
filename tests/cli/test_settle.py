"""When is a worker at rest?"""

import pytest

from streams.cli.settle import Look, Quiet, Vitals

NOTHING = Look({}, frozenset())


def rests(*seen):
    """Return what was said last, with a pause of 2 seconds; `seen` is (time, transactions, records, CPU)."""
    quiet = Quiet(2.0)
    return [quiet.lasts(Vitals(*vitals), NOTHING, at) for at, *vitals in seen][-1]


def test_a_worker_that_does_nothing_for_the_pause_rests():
    """Not before."""
    assert rests((0, 1, 0, 1.0), (2.0, 1, 0, 1.1))
    assert not rests((0, 1, 0, 1.0), (1.9, 1, 0, 1.1))


def test_each_transaction_begins_the_pause_anew():
    """Something is still coming out."""
    assert not rests((0, 1, 0, 1.0), (1.9, 2, 0, 1.1), (2.5, 2, 0, 1.1))
    assert rests((0, 1, 0, 1.0), (1.9, 2, 0, 1.1), (3.9, 2, 0, 1.1))


def test_a_worker_that_computes_does_not_rest():
    """A round over years takes longer than the pause and says nothing meanwhile."""
    assert not rests((0, 1, 0, 1.0), (2.0, 1, 0, 3.0))
    assert not rests((0, 1, 0, 1.0), (2.0, 1, 0, 3.0), (3.9, 1, 0, 3.1))
    assert rests((0, 1, 0, 1.0), (2.0, 1, 0, 3.0), (4.1, 1, 0, 3.1))


def test_many_records_announce_a_later_round():
    """What a round tells takes the worker a while, in proportion."""
    assert not rests((0, 1, 0, 1.0), (1, 2, 1_000_000, 1.1), (5.9, 2, 1_000_000, 1.2))
    assert rests((0, 1, 0, 1.0), (1, 2, 1_000_000, 1.1), (6.1, 2, 1_000_000, 1.2))


@pytest.mark.parametrize("waiting", [frozenset(), frozenset({("crm.activity", 0)})])
def test_a_change_in_what_is_committed_is_life(waiting):
    """Even without an output."""
    quiet = Quiet(2.0)
    vitals = Vitals(1, 0, 1.0)
    quiet.lasts(vitals, Look({("crm.activity", 0): 1}, waiting), 0)
    assert not quiet.lasts(vitals, Look({("crm.activity", 0): 2}, waiting), 2.0)
