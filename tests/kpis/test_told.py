"""What does the state know of what was told, and what does it cost to keep it?"""

from __future__ import annotations

from collections import Counter

from streams.kafka.room import StateTable
from streams.kpis.entity import parse_row_key
from tests.kpis.live import Live, live

HEAD = b"h"


class Counting(StateTable):
    """Counts how often each entity's head is written, and its other rows."""

    def __init__(self) -> None:
        super().__init__()
        self.heads: Counter[tuple[str, ...]] = Counter()
        self.panes: Counter[tuple[str, ...]] = Counter()

    def put(self, key: bytes, value: bytes) -> None:
        if key[:1] == b"c":
            entity, rest = parse_row_key(key)
            (self.heads if rest == HEAD else self.panes)[entity] += 1
        super().put(key, value)


def revisions(flow: Live) -> list[int]:
    """Return the revisions of all that latest holds of everybody's new leads."""
    return [one["revision"] for one in flow.latest.values() if (one["kpi"], one["cut"]) == ("new_leads", "all")]


def test_a_steady_flow_is_told_without_a_row_for_each_time():
    """Two minutes of leads: everybody's numbers are told some 24 times, and what was told is written down a few times."""
    flow = live()
    flow.leads_for(10)
    table = Counting()
    table.rows = flow.state.rows
    flow.state = flow.kpis._owned[0].state = table  # the state as the edge sees it
    for entity in flow.kpis._owned[0].entities.values():
        entity.state = table
    told = len(flow.told)
    flow.leads_for(120)
    visits = len({at for at, window, _ in flow.told[told:] if window == "1h"})
    assert visits >= 20
    assert table.panes["all",] >= 100
    assert table.heads["all",] <= visits / 5


def test_revisions_rise_over_a_restart():
    """What the next worker tells has a revision of its own, greater than all before."""
    flow = live()
    flow.leads_for(20)
    before = max(revisions(flow))
    flow.restart()
    flow.leads_for(3)
    assert min(revisions(flow)) > before
