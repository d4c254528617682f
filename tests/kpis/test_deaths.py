"""Which numbers depend on when a worker died, or on how far partitions are apart meanwhile?  None may."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from streams import topics
from streams.kafka.room import Moment, StateTable
from streams.kpis import room
from streams.kpis.room import KpisRoom
from streams.panes import delta
from streams.panes.cell import Cell
from tests.audit.tables import change, settings, us
from tests.in_memory import delivered
from tests.kpis.rounds import active_deals, flow_of, lead

HOUR = 3_600_000_000
FINE = 300_000_000


def test_a_level_that_was_flushed_but_not_yet_told_is_told_by_the_next_worker():
    """The deal goes from anna to borys, who has nothing else; the worker dies after the flush, before the round."""
    flow = flow_of()
    flow.feed([lead("a", "2024-03-01 10:00", rep_id="anna")])
    flow.round = lambda: flow.kpis.drain(Moment(flow.clock + 1, frozenset((0,))))  # too early for a round
    flow.feed([change("b", "2024-03-01 11:00", deal_id="a", rep_id="borys")])
    del flow.round
    flow.restart()
    flow.feed([])
    assert active_deals(flow) == {"anna": 0, "borys": 1}


def test_what_left_the_window_is_subtracted_also_when_partitions_were_far_apart():
    """One partition is a day behind the other while it catches up; in the end nothing of the first day is in any window."""
    begin = us("2024-03-01 10:00")
    flow = TwoPartitions()
    flow.tell((begin, begin), {begin: 1})
    flow.tell((begin + 26 * HOUR, begin + 26 * HOUR), {})
    flow.tell((begin + 51 * HOUR, begin + 80 * HOUR), {})  # too far apart for windows of 24 hours
    flow.tell((begin + 60 * HOUR, begin + 80 * HOUR), {begin + 59 * HOUR: 1})
    assert flow.last("24h") == {"value": 1, "previous": None}


def test_a_pane_that_expired_between_two_looks_is_in_no_total():
    """The windows of 24 hours are not looked at for a while, panes expire meanwhile; then less than a day has passed."""
    begin = us("2024-03-01 10:00")
    flow = TwoPartitions()
    flow.tell((begin + 50 * HOUR, begin + 50 * HOUR), {begin + 3 * HOUR: 1, begin + 49 * HOUR: 1})
    assert flow.last("24h") == {"value": 1, "previous": 1}
    flow.tell((begin + 56 * HOUR, begin + 80 * HOUR), {})  # too far apart
    flow.tell((begin + 60 * HOUR, begin + 80 * HOUR), {begin + 59 * HOUR: 1})
    assert flow.last("24h") == {"value": 2, "previous": None}


def test_what_left_the_window_is_subtracted_also_when_partitions_drift_apart_during_a_round():
    """The round began while both were near; one goes far ahead before it ends."""
    begin = us("2024-03-01 00:00")
    flow = TwoPartitions()
    flow.tell((begin + 26 * HOUR, begin + 26 * HOUR), {begin + 20 * HOUR: 1}, ahead=begin + 94 * HOUR)
    flow.tell((begin + 73 * HOUR, begin + 94 * HOUR), {begin + 72 * HOUR: 1})
    assert flow.last("24h") == {"value": 1, "previous": None}


class TwoPartitions:
    """The kpis of two source partitions: what one entity enters, and how far either is."""

    def __init__(self) -> None:
        self.room = KpisRoom(settings(partitions=2))
        self.room.open(0, StateTable())
        self.clock = 0
        self.told: list[dict[str, Any]] = []

    def tell(self, watermarks: tuple[int, int], entered: dict[int, int], ahead: int = 0) -> None:
        """Add what was entered at these instants, and make a round; `ahead` is told of one partition before it ends."""
        cells: dict[int, Cell] = {at // FINE << 3: {1 << 16: count} for at, count in entered.items()}
        self._add(watermarks, [(("all",), cells), (("product", "pro"), cells)] if cells else [])
        self.clock += 10_000_000_000
        with pytest.MonkeyPatch.context() as patch:
            if ahead:
                patch.setattr(room, "_RECORDS_PER_FLUSH", 1)
                self._drain()
                self._add((watermarks[0], ahead), [])
            self._drain()

    def _add(self, watermarks: tuple[int, int], entities: list[tuple[tuple[str, ...], dict[int, Cell]]]) -> None:
        progress = {at: delta.Progress(watermark, True, False) for at, watermark in enumerate(watermarks)}
        self.room.handle(0, topics.DELTAS, [delivered(one) for one in delta.encode(progress, 0, entities)])

    def _drain(self) -> None:
        output = self.room.drain(Moment(self.clock, frozenset((0,))))
        self.told += [orjson.loads(value) for topic, _, _, value, _ in output if value and topic == topics.KPI_LATEST]

    def last(self, window: str) -> dict[str, Any]:
        """Return what was last told of a window."""
        last = [one for one in self.told if (one["window"]["name"], one["cut"]) == (window, "all")][-1]
        return {"value": last["value"], "previous": last["previous"]}
