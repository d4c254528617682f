"""Is the age of the oldest waiting lead told again whenever it changes?"""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as settings_of
from hypothesis import strategies as st

from streams.kafka.clients import MAX_STATE_VALUE
from streams.kafka.room import StateTable
from streams.kpis import entity as kept
from streams.kpis.entity import Entity, parse_row_key
from streams.panes.pane import WAIT, pane
from tests.audit.tables import act, change, settings
from tests.in_memory import InMemory
from tests.strategies import tries


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


@settings_of(max_examples=tries(60), deadline=None)
@given(
    steps=st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=6), max_size=30), dice=st.randoms(use_true_random=False)
)
def test_whoever_has_no_room_waits_all_the_same(steps, dice):
    """Rows of two: leads come and go, flushes and restores between; the oldest is the oldest, and in the end nothing is left."""
    table, who = StateTable(), Counter[int]()
    entity = Entity(("all",), table)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept, "_ROW_OF_WAITS", 2)
        for step in (*steps, None):
            instants = [at * 100_000 for at in step] if step else list(who.elements())
            gone = step is None or (who and dice.random() < 0.4)
            changes = Counter(dice.sample(sorted(who), min(len(who), len(instants))) if gone and step else instants)
            for at in changes:
                changes[at] *= -1 if gone else 1
            entity.wait(pane(WAIT, 0), {at: count for at, count in changes.items() if count})
            who.update(changes)
            who = +who
            assert entity.oldest() == min(who, default=None)
            if dice.random() < 0.5:
                entity.write()
            if dice.random() < 0.2 and not entity.hot:
                entity = restored(table)
        entity.write()
    assert [row for key, row in table.items() if key[-8:] != b"h"] == []


def restored(table: StateTable) -> Entity:
    """Return the entity as whoever takes over finds it."""
    entity = Entity(("all",), table)
    for key, value in table.items():
        _, rest = parse_row_key(key)
        entity.restore(rest, value)
    entity.restored()
    return entity
