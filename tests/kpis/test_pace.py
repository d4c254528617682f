"""How often is a window told while events keep coming, and is nothing lost or late that was held back?"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from streams.config import PACE, WINDOWS, ConfigError, definitions_from
from tests.audit.tables import change, us
from tests.kpis.live import SECOND, Live, live


def held(**changed: Any) -> tuple[Live, int]:
    """Return a flow that has told the latest lead where it may be told, and holds it back elsewhere; and how many there are."""
    flow = live(**changed)
    flow.leads_for(3)
    flow.wait(1)
    assert any(count < flow.leads for count in flow.counts().values())
    return flow, flow.leads


@pytest.mark.parametrize("windows", [WINDOWS, ("month",), ("24h", "year")], ids=str)
def test_what_is_held_back_is_owed_until_it_is_told(windows):
    """And nothing else: a worker that owes nothing tells nothing, however long one waits."""
    flow, leads = held(windows=list(windows))
    looks = 0
    while flow.owes():
        flow.wait(0.25)
        looks += 1
        assert looks < 100
    assert looks > 0
    assert set(flow.counts().values()) == {leads}
    told = len(flow.told)
    flow.wait(900)
    assert len(flow.told) == told


def test_while_events_keep_coming_a_window_is_told_no_sooner_than_its_pace_allows_and_hardly_later():
    """Five minutes of leads, four a second."""
    flow = live()
    flow.leads_for(310)
    for window in WINDOWS:
        times = PACE[window]
        gaps = [(after - before) / SECOND for before, after in pairwise(flow.instants(window))]
        assert gaps, window
        assert times <= min(gaps), window
        assert max(gaps) <= times + 0.5, window


def test_whatever_is_told_holds_all_that_came_in_until_then():
    """A number that was held back is not an old number: it is right when it is told."""
    flow = live()
    wrong = []
    for _ in range(300):
        told = len(flow.told)
        flow.lead()
        wrong += [one for _, _, one in flow.told[told:] if one and one["value"] != flow.leads]
    assert wrong == []


def test_the_pace_can_be_set_and_follows_the_publish_interval():
    """A year every half second, all else as it comes: looked at four times a second, up to a look later."""
    flow = live(publish_interval=0.25, pace={"year": 2})
    flow.leads_for(90)
    for window, times in (("1h", 5), ("year", 2), ("month", 120)):
        gaps = [(after - before) / SECOND for before, after in pairwise(flow.instants(window))]
        assert times * 0.25 <= min(gaps) <= max(gaps) <= times * 0.25 + 0.5, window


@pytest.mark.parametrize("pace", [{"decade": 2}, {"year": 0.5}, {"year": 10_000}])
def test_a_pace_that_cannot_be_is_refused(pace):
    """No such window, more often than any, less often than anybody wants."""
    with pytest.raises(ConfigError, match="pace"):
        definitions_from({"pace": pace})


def test_when_nothing_comes_in_any_more_all_is_told():
    """Twice as long after the last event as a flush lingers, not a minute."""
    flow, leads = held()
    flow.wait(3)
    assert set(flow.counts().values()) == {leads}


def test_when_all_is_told_no_round_is_made():
    """Also where what came since cancels out over the day: the last lead is ten minutes older than was known."""
    flow, leads = held()
    flow.wait(5)
    flow.feed([change("before", "2024-03-01 09:50", "New", deal_id=f"d{leads}")])
    flow.wait(5)
    assert set(flow.counts().values()) == {leads}
    [owned] = flow.kpis._owned.values()
    rounds = owned.revision
    flow.wait(10)
    assert owned.revision == rounds


@pytest.mark.parametrize("windows", [["90d"], ["year"], ["1h", "90d"], ["1h", "year"], None], ids=str)
def test_what_was_held_back_is_told_by_the_next_worker(windows):
    """Nothing but the state is left, nothing more comes in, and the first round tells it."""
    flow, leads = held(**({"windows": windows} if windows else {}))
    flow.restart()
    flow.step = 1_000  # no pace could have come to its end
    flow.feed([])
    flow.feed([])
    assert set(flow.counts().values()) == {leads}


def test_what_was_held_back_and_taken_back_is_told_by_the_next_worker():
    """A lead that no reader of the year was told of is deleted; then the worker dies."""
    flow, leads = held(windows=["year"])
    flow.feed([change("gone", "2024-03-01 11:00", deal_id=f"d{leads}", deleted=True)])
    flow.restart()
    flow.feed([])
    flow.wait(1)
    assert flow.counts() == {"year": leads - 1}


def test_a_window_that_ends_waits_for_no_pace():
    """At midnight the day leaves latest and is in history, with the last lead in it."""
    flow, leads = held(windows=["day"])
    flow.wait(1, tick=us("2024-03-02 00:00"))
    (day,) = [one for one in flow.history.values() if (one["kpi"], one["cut"]) == ("new_leads", "all")]
    assert (day["value"], flow.counts()) == (leads, {})


def test_a_window_that_begins_waits_no_longer_than_the_shortest_pace():
    """The first lead of the next day, though the day before has been told a moment ago."""
    flow, _ = held(windows=["day"], pace={"now": 1})
    flow.wait(1, tick=us("2024-03-02 00:00"))
    flow.lead("2024-03-02 00:00")
    flow.wait(1)
    assert flow.counts() == {"day": 1}


def test_when_no_more_is_coming_all_is_told_at_once():
    """A replay does not wait."""
    flow, leads = held()
    flow.wait(1, settled=True)
    assert set(flow.counts().values()) == {leads}


def test_when_a_catch_up_ends_all_is_told_at_once():
    """Though leads keep coming, as soon as an interval has passed since somebody was told; once, then the pace holds again."""
    flow = live()
    for _ in range(60):
        flow.lead(caught_up=False)
    assert any(count < flow.leads for count in flow.counts().values())
    flow.clock += SECOND
    flow.lead()
    assert {flow.leads} == set(flow.counts().values())
    for _ in range(3):
        flow.lead()
        assert {flow.leads} != set(flow.counts().values())


@pytest.mark.parametrize(("pace", "windows"), [(5, ["day"]), (1, ["day"]), (2, ["1h"])], ids=str)
def test_levels_are_told_at_the_shortest_pace_there_is(pace, windows):
    """Their own, or that of the window that is told most often."""
    flow = live(windows=windows, pace={"1h": 2} if "1h" in windows else {"now": pace})
    behind = []
    for _ in range(120):
        flow.lead()
        (active,) = [one["value"] for one in flow.latest.values() if (one["kpi"], one["cut"]) == ("active_deals", "all")]
        behind.append((flow.leads - active) / 4)
    assert pace - 0.5 <= max(behind) <= pace


def test_who_was_not_told_for_a_while_is_told_at_once():
    """Though somebody else of the partition has been told a moment ago."""
    flow = live()
    flow.feed([change("a", "2024-03-01 10:00", "New", deal_id="a", rep_id="anna")])
    flow.feed([change("b", "2024-03-01 10:00", "New", deal_id="b", rep_id="borys")])
    told = {
        (*one["entity"].values(),)
        for one in flow.latest.values()
        if one["kpi"] == "new_leads" and one["cut"] in ("rep", "all")
    }
    counts = flow.counts()
    assert told == {("anna",), ("borys",), ()}
    assert set(counts.values()) == {1}  # all of them were told of the first lead only


@pytest.mark.parametrize(("seconds", "told"), [(2, 2), (15, 1)])
def test_who_has_just_fallen_behind_is_told_without_waiting_for_an_interval(seconds, told):
    """A steady flow is often a few records ahead; in a long catch-up rounds are at least an interval apart."""
    flow = live()
    for number in range(seconds):
        flow.clock += SECOND
        flow.feed([change(f"x{number}", "2024-03-01 10:00", "New", deal_id=f"x{number}")], caught_up=False)
    flow.clock += SECOND
    for rep in ("anna", "borys"):
        flow.feed([change(rep, "2024-03-01 10:00", "New", deal_id=rep, rep_id=rep)], caught_up=False)
    reps = {(*one["entity"].values(),) for one in flow.latest.values() if (one["kpi"], one["cut"]) == ("new_leads", "rep")}
    assert len(reps) == told
