"""Does any history of deaths, freezes and rebalances change a number?  The crash matrix at random, below the product's own code (laws 1, 3, 5)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from streams.config import definitions_from
from tests.faults.model import modelled
from tests.faults.wide import load, report
from tests.faults.wide.dose import SEED, dose

pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.timeout(300)]

EVENTS = 600
STEP = 900.0  # six days of event time
HARM = {"kill", "freeze", "stop", "missed"}  # all of it is in six histories
RARE = {"refused", "superseded"}  # in one of four, in one of two
SEEDS = dose("MODEL_SEEDS", 6, 300)


def _history(seed: int, broken: str = "") -> tuple[list[str], Counter[str]]:
    """Return what is wrong after a history, and which harm was done in it."""
    sent = list(load.records(EVENTS, seed, STEP))
    with modelled(definitions_from(load.definitions(partitions=3)), seed, broken) as model:
        model.run(sent)
        return model.wrong(Counter(one.reason for one in sent if one.reason)), model.done


def _expected(histories: int) -> set[str]:
    """Return the harm that so many histories must have done; fewer than six are somebody's who looks at one."""
    return HARM | RARE if histories >= 40 else HARM if histories >= 6 else set()


@pytest.fixture(scope="module")
def in_all(request) -> Iterator[Counter[str]]:
    """Count what is done in all histories that change nothing, and report it."""
    done: Counter[str] = Counter()
    yield done
    if done:
        assert _expected(done["histories"]) <= set(+done), done
        found = {"test": request.node.nodeid, "histories": done.pop("histories"), "events_of_each": EVENTS}
        found |= {"cells": done.pop("cells"), "different": 0, "harm": dict(done)}
        report.write(
            "model",
            "histories of deaths, freezes, stops, refusals and rebalances, also while restoring, without a broker",
            found,
        )


@pytest.mark.parametrize("seed", range(SEED, SEED + SEEDS))
def test_no_history_changes_a_number(seed, in_all):
    """Every cell as recomputed, every dead letter once, no revision told twice, and no worker that refuses to start."""
    wrong, done = _history(seed)
    assert wrong == []
    in_all.update(done, histories=1)


BROKEN = {
    "no_fence": "the broker takes offsets of an older generation",
    "pending_ignored": "offsets that are not decided yet are read as they were before",
    "hasty_restore": "nobody waits until the state has come where the group is",
    "plain_producing": "records are visible before they are committed",
    "go_on_after_errors": "a worker goes on as if a transaction that failed had been committed",
    "fresh_metadata": "the group's metadata is taken at the commit, and a rebalance does not wait for the flush that is under way",
    "commits_less": "the kpis' state is written without their offsets, so that nobody asks whether they are still ours",
}


@pytest.mark.parametrize("broken", BROKEN)
def test_what_this_model_can_see(broken):
    """With a rule broken some history gives wrong numbers, or workers that refuse to start for ever."""
    assert any(_history(seed, broken)[0] for seed in range(SEED, SEED + 30)), BROKEN[broken]
