"""What does the room of the alerts do with panes that nobody can judge?"""

from __future__ import annotations

import orjson
import pytest

from streams.alerts.room import AlertsRoom, watches
from streams.backtest.wired import PARTITION, Record
from streams.config import definitions_from
from streams.kafka.room import StateTable
from streams.topics import MATURED


def pane(day: int, n: int, k: int, rule: str = "drop") -> Record:
    return Record(MATURED, orjson.dumps({"rule": rule, "entity": ["rep", "anna"], "day": day, "n": n, "k": k, "at": day}))


@pytest.mark.parametrize(("n", "k"), [(3, 4), (3, -1), (-2, -3)])
def test_a_pane_that_cannot_be_is_told_and_not_judged(caplog, n, k):
    """More successes than entries, or fewer than none: the log says so, and the next pane is judged."""
    rule = {"name": "drop", "kind": "conversion_drop", "cut": "rep"}
    room, state = AlertsRoom(definitions_from({"rules": [rule], "cuts": ["rep"]})), StateTable()
    room.open(PARTITION, state)
    room.handle(PARTITION, MATURED, [pane(1, 3, 1), pane(2, n, k), pane(3, 4, 2), pane(4, 9, 9, rule="gone")])
    [(_, watch)] = watches(state)
    assert (watch.learned_n, watch.learned_k, watch.day) == (7, 3, 3)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert f"n={n}, k={k}" in caplog.text
    assert "dealpulse audit" in caplog.text
