"""Does a worker ever tell a wrong number, whatever is set, whatever comes, and between whichever flushes it dies?  Without a broker.

Each world is small and all of it is drawn from a seed: the settings, how dense its events are, in which pieces they are read, and
when the worker dies.  What bounds a row, a round and what stays decoded is drawn too, so that a few hundred events reach what
otherwise takes millions.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from streams.config import CUTS, WINDOWS, definitions_from
from streams.kpis import entity, room
from streams.kpis.catalogue import CATALOGUE
from streams.topics import ACTIVITY
from tests.faults.load import Sent
from tests.faults.wide import load, report
from tests.faults.wide.dose import SEED, dose
from tests.faults.wide.world import World

pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.timeout(300)]

WORLDS = dose("WORLDS", 30, 2_000)
ZONES = ("UTC", "Europe/Kyiv", "America/St_Johns", "Asia/Kathmandu", "Pacific/Apia")
STEPS = (0.5, 60.0, 900.0, 20_000.0, 150_000.0)  # seconds between two events: some minutes in a world, to years
# Ten years ago at least; a day that Apia left out, a month end with a change of the clocks, a leap day.
BEGINNINGS = tuple(datetime(*day, tzinfo=UTC) for day in ((2011, 12, 28), (2014, 3, 25), (2016, 2, 27)))
PAUSES = (1_000, 100_000, 1_200_000, 30_000_000)  # µs of the worker's clock between two flushes


def _settings(dice: random.Random) -> dict[str, Any]:
    business: dict[str, Any] = {"zone": dice.choice(ZONES)}
    if dice.random() < 0.5:
        business |= {"hours": "Mon-Fri 09:00-18:00", "holidays": ["2024-04-01"]}
    off = [one.id for one in CATALOGUE if one.id != "activities"]
    return load.definitions(
        partitions=dice.choice((1, 2, 4, 12)),
        business=business,
        cuts=["all", *dice.sample(CUTS[1:], dice.randrange(1, 4))],
        windows=dice.sample(WINDOWS, dice.randrange(1, 6)),
        kpis=dict.fromkeys(dice.sample(off, dice.randrange(len(off) // 2)), False),
        grace=dice.choice((60, 3_600, 86_400)),
        pipelines={"default": {"maturity_days": dice.choice((1, 14, 28)), "stages": load.STAGES}},
        publish_interval=dice.choice((0.1, 1, 20)),
        rules=[],
    )


def _tiny(patch: pytest.MonkeyPatch, dice: random.Random) -> None:
    """Let rows, rounds and what stays decoded be small, each in half of the worlds."""
    for where, name, values in (
        (room, "_RECORDS_PER_FLUSH", (7, 60, 500)),
        (room, "_WARM_ENTITIES", (1, 4)),
        (entity, "_ROW_OF_WAITS", (2, 5)),
        (entity, "_WARM", (1, 4)),
    ):
        assert hasattr(where, name)
        if dice.random() < 0.5:
            patch.setattr(where, name, dice.choice(values))


def _events(dice: random.Random, seed: int) -> Iterator[Sent]:
    """Yield what happens before a silence, and after it; at last an event that everybody hears of, whose time is the newest."""
    pieces, begin = [], dice.choice(BEGINNINGS)
    for name in ("before", "after"):
        step, count = dice.choice(STEPS), dice.randrange(30, 300)
        if dice.random() < 0.03:
            step, count = min(step, 900.0), 3_000
        running = dice.choice((3, 20, 100))
        pieces.append(load.records(count, seed, step, name, long=0, begin=begin, running=running))
        begin += timedelta(seconds=step * 2 * count + dice.choice((0, 90_000, 8_000_000, 40_000_000)))
    before, after = map(list, pieces)
    for one in dice.sample(before, len(before) // 20):  # what nobody had entered in time
        before.remove(one)
        after.insert(dice.randrange(len(after)), one)
    yield from (*before, *after)
    yield _call(begin + timedelta(days=1))


def _call(at: datetime) -> Sent:
    said = {"event_id": "the newest", "occurred_at": at.isoformat(), "type": "call", "rep_id": "rep-0"}
    return Sent(ACTIVITY, b"rep-0", orjson.dumps(said))


def _live(world: World, sent: Iterator[Sent], dice: random.Random) -> int:
    """Let everything come in and be told; return how many workers died."""
    hurry = dice.choice((3, 20, 100))  # records that come in between two flushes, at most
    deaths, waiting = 0, 0
    for one in sent:
        world.send(one)
        waiting -= 1
        if waiting > 0:
            continue
        waiting = dice.randrange(1, hurry)
        _flush(world, dice)
        if dice.random() < 0.1:
            world.restart()
            deaths += 1
            waiting *= dice.choice((0, 1, 10))  # for as long nobody works
    world.rest()
    world.settle()
    return deaths


def _flush(world: World, dice: random.Random) -> None:
    """Read some of each partition, or of one, or one after the other as whoever is new to a backlog may."""
    pause, most = dice.choice(PAUSES), dice.choice((2, 30, 10**9))
    if dice.random() < 0.1:
        for one in dice.sample(world.partitions, len(world.partitions)):
            world.flush(only=one, pause=pause)
    else:
        world.flush(share=dice.choice((0.3, 1.0)), most=most, only=dice.choice((None, None, 0)), pause=pause)


def _world(seed: int) -> tuple[dict[str, Any], int]:
    """Return what an audit finds in a world, and how many deaths there were in it."""
    dice = random.Random(seed)
    with pytest.MonkeyPatch.context() as patch:
        _tiny(patch, dice)
        world = World(definitions_from(_settings(dice)), dice)
        deaths = _live(world, _events(dice, seed), dice)
        return world.audit(), deaths


@pytest.fixture(scope="module")
def in_all(request) -> Iterator[Counter[str]]:
    """Count what is done in all worlds that end as recomputed, and report it."""
    done: Counter[str] = Counter()
    yield done
    if done:
        assert done["deaths"] > done["worlds"], done
        report.write(
            "worlds",
            "random settings, events, limits and deaths, both rooms without a broker",
            {"test": request.node.nodeid, **done, "different": 0},
        )


@pytest.mark.parametrize("seed", range(SEED, SEED + WORLDS))
def test_no_world_tells_a_wrong_number(seed, in_all):
    """Every cell is as recomputed from the source topics."""
    found, deaths = _world(seed)
    assert found["different"] == 0, (found["different"], found["examples"][:3])
    in_all.update(worlds=1, deaths=deaths, cells=found["compared"])


def test_what_these_worlds_can_see(monkeypatch):
    """Of workers that forget what the one before had not told yet some tell a wrong number."""
    restore = entity.Entity.restore

    def forgetful(one: entity.Entity, rest: bytes, value: bytes) -> int | None:
        place = restore(one, rest, value)
        one.untold.clear()
        one.ended.clear()
        return place

    monkeypatch.setattr(entity.Entity, "restore", forgetful)
    assert any(_world(seed)[0]["different"] for seed in range(SEED, SEED + 30))
