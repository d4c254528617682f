"""Which snapshots cannot be true, whatever was known when their day closed?"""

import copy

import pytest

from streams.audit.compare import compare, told_again
from tests.audit.tables import act, change, settings, us
from tests.in_memory import InMemory

WON = {"rep_id": "anna", "amount": "100", "currency": "EUR"}


@pytest.fixture(scope="module")
def flow():
    """Return what is told of a few days of leads, calls, wins and losses."""
    flow = InMemory(settings(partitions=1))
    for day in range(1, 9):
        at = f"2024-03-0{day}"
        flow.feed([
            change("new", f"{at} 09:00", "New", deal_id=f"d{day}", **WON),
            act("call", f"{at} 09:30", "call", "outbound", deal_id=f"d{day}", duration_ms=60_000, outcome="connected"),
        ])  # fmt: skip
        if day > 2:
            flow.feed([change("end", f"{at} 12:00", "Won" if day % 2 else "Lost", deal_id=f"d{day - 1}")])
    flow.feed([], tick=us("2024-03-10 12:00"), settled=True)
    return flow


def judged(flow, change_one=None, snapshots_only=True):
    """Return how many differ when history is changed; what compare expects is nothing, so only snapshots may stay."""
    history = copy.deepcopy(list(flow.history.values()))
    history = [one for one in history if is_snapshot(one)] if snapshots_only else history
    if change_one:
        history = [one for one in history if change_one(one) is not None]
    return compare({}, flow.definitions, history)


def is_snapshot(one):
    return (one["window"]["name"] in ("1h", "24h", "7d", "28d", "90d") and one["window"]["end"] <= one["watermark"]) or (
        one["window"]["name"] == "day"
        and one["kpi"] in ("active_deals", "leads_in_funnel", "pipeline_value", "waiting_leads")
    )


def test_true_snapshots_agree(flow):
    """Hundreds of them."""
    assert sum(map(is_snapshot, flow.history.values())) > 300
    assert judged(flow)["different"] == 0


@pytest.mark.parametrize(
    ("kpi", "changed", "field"),
    [
        ("active_deals", {"value": 99}, "value"),
        ("active_deals", {"value": 0, "n": 0}, "leads_in_funnel"),
        ("win_rate", {"value": 0.123}, "value"),
        ("win_rate", {"value": 0.0, "numerator": 0}, "won_lost_ratio"),
        ("closed_cycle", {"n": 99}, "closed_cycle"),
        ("closed_cycle", {"value": 1.0}, "value"),
        ("calls", {"value": 99, "n": 99}, "value"),
        ("calls", {"value": 99, "n": 99, "stats": {"inbound": 0, "outbound": 99, "internal": 0, "unknown": 0}}, "tasks"),
        ("revenue", {"value": 1}, "avg_deal_size"),
        ("lead_conversion", {"mature_share": 0.9}, "mature_share"),
        ("calls", {"final": None}, "final"),
        ("calls", {"watermark": "2024-03-01T00:00:00+00:00"}, "window"),
        ("calls", {"unit": "money"}, "unit"),
    ],
)
def test_a_snapshot_that_cannot_be_true_is_a_difference(flow, kpi, changed, field):
    """One field of one record, or all that belongs together in it."""
    done = []

    def falsify(one):
        if one["kpi"] == kpi and one["cut"] == "all" and one["n"] and not done and one["window"]["name"] in ("28d", "day"):
            if kpi == "active_deals" and one["n"] < 1:
                return one
            one.update(changed)
            done.append(one)
        return one

    found = judged(flow, falsify)
    assert done
    assert found["different"] >= 1
    assert field in {one["field"] for one in found["examples"]}


def test_a_snapshot_that_is_missing_beside_others_of_its_day_is_a_difference(flow):
    """A level of a day, and a window's cycles, of which the wins are there."""
    for kpi in ("leads_in_funnel", "closed_cycle", "time_in_stage"):
        assert judged(flow, lambda one, kpi=kpi: None if one["kpi"] == kpi else one)["different"] > 0, kpi


def test_a_key_is_told_again_with_a_greater_revision_and_no_snapshot_with_another_value(flow):
    """A calendar window may be corrected."""
    snapshot = next(one for one in flow.history.values() if is_snapshot(one))
    month = next(one for one in flow.history.values() if one["window"]["name"] == "month")
    for one in (snapshot, month):
        assert told_again(one, one | {"revision": one["revision"] + 1}) is None
        assert told_again(one, one)[1][0] == "revision"
    later = {"revision": 10**6, "value": 77}
    assert told_again(month, month | later) is None
    assert told_again(snapshot, snapshot | later)[1][0] == "value"
