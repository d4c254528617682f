"""Is the age of the oldest waiting lead told again whenever it changes?"""

from __future__ import annotations

from tests.audit.tables import change, settings
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
