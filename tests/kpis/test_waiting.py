"""Is the age of the oldest waiting lead told again whenever it changes?"""

from __future__ import annotations

import msgspec

from streams.kafka.clients import MAX_STATE_VALUE
from streams.kafka.room import StateTable
from streams.kpis.entity import Entity
from streams.panes.pane import WAIT, pane
from tests.audit.tables import act, change, settings
from tests.in_memory import InMemory


def test_a_creation_that_was_earlier_than_known_makes_the_oldest_older():
    """An hour of age comes to light with a late event, while the clock stands still."""
    flow = InMemory(settings(partitions=1))
    flow.feed([change("b", "2024-03-01 11:00", "New", deal_id="a", rep_id="anna")])
    flow.feed([change("a", "2024-03-01 10:00", "New", deal_id="a", rep_id="borys")])
    ages = {
        one["entity"]["rep_id"]: one["value"]
        for one in flow.latest.values()
        if (one["kpi"], one["cut"]) == ("oldest_waiting", "rep") and one["n"]
    }
    assert ages == {"anna": 3600}


def test_an_import_of_leads_fits_into_rows():
    """Seven thousand that are created within five minutes and wait: a row of them all would be over the limit, now and for ever."""
    flow = InMemory(settings(partitions=1))
    leads = [change(f"e{number}", "2024-03-01 10:00", "New", deal_id=f"d{number}", rep_id="anna") for number in range(7_000)]
    flow.feed([msgspec.structs.replace(one, at=one.at + 40_000 * number) for number, one in enumerate(leads)])
    rows = [row for _, row in flow.state.items()]
    assert max(map(len, rows)) < MAX_STATE_VALUE
    [waiting] = [one for one in flow.latest.values() if (one["kpi"], one["cut"]) == ("oldest_waiting", "all")]
    assert (waiting["n"], waiting["value"]) == (7_000, 279.96)
    flow.restart()
    calls = [
        act(f"a{number}", "2024-03-01 10:20", "email", "outbound", deal_id=f"d{number}", rep_id="anna")
        for number in range(6_999)
    ]
    flow.feed(calls)
    [waiting] = [one for one in flow.latest.values() if (one["kpi"], one["cut"]) == ("oldest_waiting", "all")]
    assert (waiting["n"], waiting["value"]) == (1, 20 * 60 - 279.96)
    assert sum(b"\0" in key and len(row) > 1_000 for key, row in flow.state.items() if key[:1] == b"c") < 50


def test_one_who_waits_for_ever_keeps_nobody_else():
    """Leads come and are answered behind one that never is."""
    entity = Entity(("all",), StateTable())
    entity.change(pane(WAIT, 1), {5: 1})
    for second in range(2, 2_000):
        for count in (1, -1):
            entity.change(pane(WAIT, second), {second * 10: count})
            entity.write()
        assert entity.oldest() == 5
    assert len(entity.waiting) < 50
    entity.change(pane(WAIT, 1), {5: -1})
    entity.change(pane(WAIT, 3_000), {30_000: 1})
    assert entity.oldest() == 30_000
