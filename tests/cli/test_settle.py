"""When will nothing more come out of the workers?"""

import pytest

from streams.cli.settle import Look, Said, is_settled, together

NOTHING = Look({}, frozenset())
WAITING = Look({}, frozenset({("crm.activity", 0)}))
IDLE, BUSY = Said(7, True), Said(7, False)


@pytest.mark.parametrize(
    ("before", "look", "after", "settled"),
    [
        pytest.param(IDLE, NOTHING, IDLE, True, id="nothing waits, nothing is owed"),
        pytest.param(IDLE, WAITING, IDLE, False, id="a record waits"),
        pytest.param(BUSY, NOTHING, IDLE, False, id="it was busy, and may have told something since"),
        pytest.param(IDLE, NOTHING, BUSY, False, id="it has taken something in"),
        pytest.param(IDLE, NOTHING, Said(8, True), False, id="it has told something, and others may take it in"),
        pytest.param(None, NOTHING, None, False, id="it does not answer"),
        pytest.param(IDLE, NOTHING, None, False, id="it does not answer any more"),
    ],
)
def test_all_is_told(before, look, after, settled):
    """Only if two answers say so, and nothing happened between them."""
    assert is_settled(before, look, after) is settled


@pytest.mark.parametrize(
    ("said", "one"),
    [
        pytest.param([IDLE, Said(3, True)], Said(10, True), id="both idle"),
        pytest.param([IDLE, Said(3, False)], Said(10, False), id="one busy"),
        pytest.param([IDLE, None], None, id="one silent"),
        pytest.param([], Said(0, True), id="nobody"),
    ],
)
def test_several_workers_are_asked_as_one(said, one):
    """Idle when all are."""
    assert together(said) == one
