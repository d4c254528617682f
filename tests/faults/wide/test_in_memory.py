"""Which numbers depend on when a worker dies and how the backlog is read?  Without a broker, so that many deaths are cheap."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

import pytest

from streams.config import definitions_from
from tests.faults.wide import load, report
from tests.faults.wide.dose import SEED, dose, only_heavy
from tests.faults.wide.world import World

pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.timeout(300), only_heavy]

EVENTS = dose("IN_MEMORY_EVENTS", 5_000, 10_000)
BACKLOG = 1_500


def _catch_up(world: World, how: str, dice: random.Random) -> None:
    """Read the backlog as one worker does, or one partition after the other, or die again in the middle."""
    if how == "one by one":
        for one in dice.sample(world.partitions, len(world.partitions)):
            world.flush(only=one, pause=dice.choice((50_000, 1_200_000)))
        return
    for _ in range(dice.randrange(5, 40)):
        world.flush(share=0.3, most=60, pause=dice.choice((50_000, 1_200_000)))
    if how == "again":
        world.restart()


@pytest.fixture(scope="module")
def in_all(request) -> Iterator[Counter[str]]:
    """Count what is done in all worlds that end as recomputed, and report it."""
    done: Counter[str] = Counter()
    yield done
    if done:
        found = {"test": request.node.nodeid, "events_of_each": EVENTS, **done, "different": 0}
        report.write("in-memory", "deaths and backlogs, both rooms without a broker", found)


@pytest.mark.parametrize("how", ["alive", "piece by piece", "one by one", "again"])
@pytest.mark.parametrize("seed", range(SEED, SEED + dose("IN_MEMORY_SEEDS", 1, 10)))
def test_a_death_and_a_backlog_change_no_number(how, seed, in_all):
    """Killed between two flushes, started again when thousands of events wait: every cell is as recomputed."""
    dice = random.Random(seed)
    world = World(definitions_from(load.definitions()), dice)
    dies = () if how == "alive" else sorted(dice.sample(range(EVENTS // 5, EVENTS - BACKLOG), 2))
    dead_at = {at: dice.randrange(BACKLOG // 2, 2 * BACKLOG) for at in dies}
    alive_again = 0
    for number, sent in enumerate(load.records(EVENTS, seed, long=0)):
        world.send(sent)
        if number in dead_at:
            alive_again = number + dead_at[number]
        if number == alive_again and number:
            world.restart()
            _catch_up(world, how, dice)
        if number >= alive_again and number % 30 == 0:
            world.flush()
    world.flush()
    world.settle()
    found = world.audit()
    assert found["compared"] > 10_000
    assert found["different"] == 0, (found["different"], found["examples"][:3])
    in_all.update(worlds=1, deaths=len(dies), cells=found["compared"])
