"""When will nothing more come out of the workers?"""

from types import SimpleNamespace

import pytest

from streams.cli import settle
from streams.cli.settings import CheckError
from streams.cli.settle import Look, Observer, Said, is_settled, together

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


class Silent:
    """A group of which the broker says nothing so many times, then that nothing waits."""

    def __init__(self, times: int) -> None:
        self.left, self.closed = times, False

    def look(self) -> Look:
        self.left -= 1
        if self.left >= 0:
            raise CheckError("the broker does not say how far the group is")
        return NOTHING

    def close(self) -> None:
        self.closed = True


def waited(group: Silent) -> None:
    settings = SimpleNamespace(definitions=SimpleNamespace(flush_every=0.0, publish_interval=0.0))
    settle._watch(settings, Observer(lambda: IDLE, lambda: None, lambda _look: None), group, is_settled)


def test_a_broker_that_is_silent_for_a_moment_ends_nothing(monkeypatch):
    """A coordinator moves in the third hour of a rebuild."""
    monkeypatch.setattr(settle, "_BUSY_PAUSE", 0.001)
    group = Silent(3)
    waited(group)
    assert group.closed


def test_a_broker_that_stays_silent_is_an_error(monkeypatch):
    """Its own sentence."""
    monkeypatch.setattr(settle, "_BUSY_PAUSE", 0.001)
    monkeypatch.setattr(settle, "SILENCE", 0.05)
    group = Silent(10**9)
    with pytest.raises(CheckError, match="how far the group is"):
        waited(group)
    assert group.closed
