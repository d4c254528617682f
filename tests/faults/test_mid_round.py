"""What if a worker dies in the middle of a round of the KPIs?  Some are told as of the new clock, the others not yet."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any
from zlib import crc32

import orjson
import pytest

from streams.config import definitions_from
from streams.kpis import room
from streams.topics import ACTIVITY, KPI_HISTORY, STAGE_CHANGE
from tests.faults.load import Sent
from tests.faults.wide.world import World

pytestmark = pytest.mark.faults

NOON = datetime(2024, 5, 6, 12, tzinfo=UTC)
A_DAY = timedelta(days=1)


class Fed(World):
    """A world to which one event after the other happens."""

    def __init__(self, partitions: int) -> None:
        super().__init__(definitions_from({"partitions": partitions, "cuts": ["all", "rep"], "rules": []}), random.Random(1))
        self.count = 0

    def call(self, rep: str, at: datetime) -> None:
        self._event(ACTIVITY, rep, at, type="call", rep_id=rep)

    def move(self, deal: str, at: datetime, **said: Any) -> None:
        self._event(STAGE_CHANGE, deal, at, deal_id=deal, **said)

    def _event(self, topic: str, key: str, at: datetime, **said: Any) -> None:
        self.count += 1
        value = orjson.dumps({"event_id": f"e{self.count}", "occurred_at": at.isoformat(), **said})
        self.send(Sent(topic, key.encode(), value))

    def rest(self, flushes: int = 60) -> None:
        """Let time pass until all rounds are over."""
        for _ in range(flushes):
            self.flush(pause=10_000_000)

    def deals_only(self) -> None:
        """Let the deals take in what waits, and the kpis not yet tell of it."""
        self.clock += 10_000_000
        for topic in (STAGE_CHANGE, ACTIVITY):
            for one in self.partitions:
                self._read(self.deals, (topic, one), 10**9)
        self._drain(self.deals)


def names(partition: int, letter: str, partitions: int = 2) -> list[str]:
    return [name for name in (f"{letter}{number}" for number in range(50)) if crc32(name.encode()) % partitions == partition]


@pytest.mark.parametrize("dies", [False, True])
def test_what_is_too_old_for_days_is_added_up_before_they_go(monkeypatch, dies):
    """A newcomer of last year that comes in mid-round: its day goes at the end of it, and its month is written with that."""
    monkeypatch.setattr(room, "_RECORDS_PER_FLUSH", 30)
    world = Fed(1)
    for number in range(30):
        world.call(f"r{number}", NOON)
    world.rest(400)
    assert not world.is_in_a_round
    world.call("r0", NOON + 30 * A_DAY)
    world.rest(2)
    assert world.is_in_a_round
    world.call("late", NOON - 400 * A_DAY)
    while world.is_in_a_round:
        world.flush(pause=1_000)
    if dies:
        world.restart()
    world.settle()
    found = world.audit()
    assert (found["different"], found["compared"] > 1_000) == (0, True), found


@pytest.mark.parametrize("dies", [False, True])
def test_no_round_is_before_one_that_had_begun(monkeypatch, dies):
    """A day was told to be over, then taken back; a partition that was silent so far speaks of that day."""
    world = Fed(2)
    (busy, other, *more), (late, *_), (deal, *_) = names(0, "r"), names(1, "r"), names(0, "d")
    for rep in (busy, other, *more[:4]):
        world.call(rep, NOON - timedelta(hours=2))
    world.rest()
    world.move(deal, NOON, to_stage="New", rep_id="zoe")
    world.rest()
    monkeypatch.setattr(room, "_RECORDS_PER_FLUSH", 1)
    world.call(busy, NOON + A_DAY)
    the_day = b'["new_leads","rep",["zoe"],"day","2024-05-06T00:00:00+00:00",null]'
    while the_day not in world.told[KPI_HISTORY]:
        world.flush(pause=10_000_000)
    assert world.is_in_a_round
    if dies:
        world.restart()
    world.move(deal, NOON + A_DAY + timedelta(minutes=1), deleted=True)
    world.call(late, NOON + timedelta(hours=1))
    world.deals_only()
    monkeypatch.setattr(room, "_RECORDS_PER_FLUSH", 20_000)
    world.rest()
    world.call(late, NOON + A_DAY + timedelta(minutes=2))
    world.call(other, NOON + A_DAY + timedelta(minutes=3))
    world.rest()
    world.settle()
    world.settle()
    found = world.audit()
    assert (found["different"], found["compared"] > 50) == (0, True), found
