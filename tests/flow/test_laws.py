"""What is added up, and at what cost?  Laws 2 and 8 over the rooms themselves; docs/laws.md says who watches the others."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from streams.config import WINDOWS, definitions_from
from streams.events.contract import Event, Limits, Rejection
from streams.events.decode import decode_activity, decode_stage_change
from streams.kpis.entity import parse_row_key
from streams.panes import cell as cells
from streams.topics import STAGE_CHANGE
from tests.faults import load
from tests.in_memory import InMemory

DEFINITIONS = definitions_from(load.definitions(partitions=1, windows=list(WINDOWS)))
LIMITS = Limits(300_000_000, DEFINITIONS.zone)
SENT_AT = 1_800_000_000_000_000


def decoded(topic: str, key: bytes, value: bytes) -> Event:
    event = (decode_stage_change if topic == STAGE_CHANGE else decode_activity)(key, value, SENT_AT, LIMITS)
    assert not isinstance(event, Rejection)
    return event


def test_nothing_is_summed_but_integers():
    """Every number of every pane, after thousands of events with amounts in quarters and durations in half seconds."""
    flow = InMemory(DEFINITIONS)
    flow.feed(decoded(*sent[:3]) for sent in load.records(3_000, 4) if sent.reason is None)
    rows = [(parse_row_key(key)[1], value) for key, value in flow.state.rows.items() if key[:1] == b"c"]
    numbers = [number for rest, value in rows if rest != b"h" for number in cells.unpack(value).values()]
    assert {type(number) for number in numbers} == {int}
    assert len(numbers) > 10_000


def entry(deal: int, rep: str = "rep-0", day: int = 28) -> Event:
    value = {
        "event_id": 1,
        "occurred_at": f"2024-03-{day:02}T10:00:00Z",
        "deal_id": f"d{deal}",
        "to_stage": "New",
        "rep_id": rep,
    }
    return decoded(STAGE_CHANGE, value["deal_id"].encode(), orjson.dumps(value))


@pytest.mark.parametrize(
    "history",
    [
        pytest.param(lambda count: [entry(number) for number in range(count)], id="deals"),
        pytest.param(lambda count: [entry(number, day=1 + number % 28) for number in range(count)], id="days"),
        pytest.param(lambda count: [entry(number, f"rep-{number}", 27) for number in range(count)], id="entities"),
    ],
)
def test_an_event_costs_no_more_after_a_long_history(history: Callable[[int], list[Event]]):
    """From the event to the records it makes, counted in calls: the same after 1,000 deals, days of them, or reps as after 30."""
    costs = []
    for count in (30, 1_000):
        flow = InMemory(DEFINITIONS)
        flow.feed([*history(count), entry(-1)])
        flow.feed([entry(-2)])
        costs.append(calls(lambda flow=flow: flow.feed([entry(-3)])))
    assert costs[1] <= 1.2 * costs[0]


def calls(work: Callable[[], Any]) -> int:
    """Count the calls that work makes; unlike seconds they do not depend on who else is busy."""
    count = 0

    def called(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(called)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count
