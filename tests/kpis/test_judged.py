"""Do the alerts hear, behind their panes, that these are all?  When history has been read, and each time that something more was judged."""

from __future__ import annotations

import orjson
import pytest

from streams import topics
from streams.kafka.room import Moment
from streams.panes import delta
from tests.audit.tables import change, settings, us
from tests.in_memory import InMemory, delivered

RULE = {"name": "late", "kind": "response_rise", "cut": "all"}
LEAD = change("e", "2024-03-04 10:00", "New")


def flow_of() -> InMemory:
    return InMemory(settings(partitions=1, rules=[RULE]))


def test_they_hear_it_when_all_has_been_read():
    """While a worker catches up they have panes, and do not know whether these are all."""
    flow = flow_of()
    flow.feed([LEAD], caught_up=False)
    flow.feed([], tick=us("2024-03-20 12:00"), caught_up=False)
    assert (len(flow.matured), flow.judged) == (1, [])
    flow.feed([], tick=us("2024-03-20 12:00"))
    assert flow.judged == [us("2024-03-20 12:00")]


def test_they_hear_it_once_a_day():
    """When the grace of a day is over, whether or not something was complete; live that is one record a day."""
    flow = flow_of()
    for hours in range(96):
        flow.feed([LEAD], tick=us("2024-03-04 10:00") + hours * 3_600_000_000)
    assert flow.judged == [us(f"2024-03-0{day}") for day in ("4 10:00", "5 01:00", "6 01:00", "7 01:00", "8 01:00")]


def test_the_next_owner_says_it_again():
    """Nobody knows whether the one before has."""
    flow = flow_of()
    flow.feed([LEAD])
    flow.restart()
    flow.feed([])
    assert flow.judged == [us("2024-03-04 10:00")] * 2


def test_it_is_owed_until_it_is_told():
    """Who waits until everything is out waits for it."""
    flow = flow_of()
    flow.feed([LEAD], caught_up=False)
    moment = Moment(flow.clock + flow.step, frozenset((0,)))
    progress = {0: delta.Progress(flow.watermark, caught_up=True, settled=False)}
    flow.kpis.handle(0, topics.DELTAS, [delivered(one) for one in delta.encode(progress, 0, [])])
    assert (flow.kpis.owes(moment), flow.kpis.due(moment)) == (True, True)
    flow.round()
    assert (flow.kpis.owes(moment), flow.kpis.due(moment)) == (False, False)


@pytest.mark.parametrize("most", [1, 1_000])
def test_it_stands_behind_the_panes(most, monkeypatch):
    """Also when a round takes several flushes."""
    monkeypatch.setattr("streams.kpis.room._RECORDS_PER_FLUSH", most)
    rule = {"name": "drop", "kind": "conversion_drop", "cut": "stage"}
    flow, told = InMemory(settings(partitions=1, rules=[rule], cuts=["stage"])), []
    flow._receive = told.append
    stages = ["New", "Qualified", "Proposal"]
    flow.feed(
        [change(f"e{n}", "2024-03-04 10:00", stages[n % 3], deal_id=f"d{n}") for n in range(9)], tick=us("2024-04-20 12:00")
    )
    for _ in range(20):
        flow.round()
    rules = [orjson.loads(value)["rule"] for topic, _, _, value, _ in told if topic == topics.MATURED]
    assert rules == ["drop", "drop", "drop", ""]


def test_nobody_hears_it_while_a_partition_has_not_spoken():
    """The clock is the minimum over all of them."""
    flow = InMemory(settings(partitions=2, rules=[RULE]))
    flow.feed([LEAD])
    assert flow.judged == []


def test_it_is_not_said_while_more_is_to_be_judged():
    """All has been read, and the round that judges it has to wait for its pace."""
    flow = flow_of()
    flow.feed([LEAD], caught_up=False)
    progress = {0: delta.Progress(us("2024-03-20 12:00"), caught_up=True, settled=False)}
    flow.kpis.handle(0, topics.DELTAS, [delivered(one) for one in delta.encode(progress, 0, [])])
    assert flow.kpis.drain(Moment(flow.clock + 1, frozenset((0,)))) == []
    flow.round()
    assert (len(flow.matured), flow.judged) == (1, [us("2024-03-20 12:00")])
