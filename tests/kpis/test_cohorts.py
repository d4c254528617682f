"""How mature is a cohort, when is it judged, and of whom?"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import orjson
import pytest

from streams import topics
from streams.kafka.room import Moment, StateTable
from streams.kpis.room import KpisRoom
from streams.panes import delta
from streams.panes.cell import Measure
from streams.panes.pane import DAY, pane
from tests.audit.tables import change, settings, us
from tests.in_memory import InMemory, delivered
from tests.kpis.rounds import flow_of, found, lead


def test_the_mature_share_of_a_cohort_rises_with_the_watermark():
    """Of two leads of February none is older than 28 days on 2 March, one on the 10th, when a win tells it again."""
    flow = flow_of()
    flow.feed([lead("a", "2024-02-10 10:00"), lead("b", "2024-02-28 10:00")])
    flow.feed([], tick=us("2024-03-02 12:00"))
    assert found(flow.history, "lead_conversion", "month", "2024-02-01 00:00")["mature_share"] == 0.0
    flow.feed([change("won", "2024-03-10 12:00", "Won", deal_id="a")])
    told = found(flow.history, "lead_conversion", "month", "2024-02-01 00:00")
    assert (told["numerator"], told["denominator"], told["mature_share"]) == (1, 2, 0.5)


def test_who_is_ahead_of_the_clock_is_not_mature():
    """One partition of the deals is two days ahead of the other, which holds the clock back."""
    kpis = KpisRoom(settings(partitions=2, windows=["month"]))
    kpis.open(0, StateTable())
    day = kpis.calendar.day_of(us("2024-03-07 10:00"))
    progress = {n: delta.Progress(us(f"2024-03-0{5 + 2 * n} 12:00"), caught_up=True, settled=False) for n in (0, 1)}
    cells = {pane(DAY, day): {Measure.CREATED << 16: 1}}
    kpis.handle(0, topics.DELTAS, [delivered(one) for one in delta.encode(progress, 0, [(("all",), cells)])])
    output = kpis.drain(Moment(1_000_000, frozenset((0, 1))))
    told = [orjson.loads(value) for topic, _, _, value, _ in output if value and topic == topics.KPI_LATEST]
    assert [(one["n"], one["mature_share"]) for one in told if one["kpi"] == "lead_conversion"] == [(1, 0.0)]


def share_of(flow: InMemory, cut: str, *entity: str) -> float:
    """Return the mature share of the lead conversion of all time."""
    return next(
        one["mature_share"]
        for one in flow.latest.values()
        if (one["kpi"], one["cut"], one["window"]["name"]) == ("lead_conversion", cut, "all")
        and list(one["entity"].values()) == list(entity)
    )


@pytest.mark.parametrize(
    ("now", "share"), [("2024-03-31 21:00", 0), ("2024-03-31 22:30", 0), ("2024-04-01 20:59", 0), ("2024-04-01 21:00", 1)]
)
def test_a_day_is_mature_when_whoever_came_with_its_end_is(now, share):
    """Who came on Friday until midnight, Kyiv's time, has had two days on Monday at 01:00, as Sunday had 23 hours: Tuesday is the first day."""
    pipelines = {"default": {"maturity_days": 2, "stages": [{"name": "New", "kind": "lead"}]}}
    flow = flow_of(business={"zone": "Europe/Kyiv"}, pipelines=pipelines)
    flow.feed([lead("a", "2024-03-29 08:00")])
    flow.feed([], tick=us(now))
    flow.feed([lead("b", now)])
    assert share_of(flow, "all") == share / 2


def test_a_pipeline_that_is_not_configured_is_mature_after_the_days_of_the_default():
    """28, in its share and for the alerts, though the only configured one waits for 90."""
    stages = [{"name": "New", "kind": "lead"}, {"name": "Won", "kind": "won"}]
    flow = flow_of(pipelines={"default": {"stages": stages, "maturity_days": 90}}, rules=[RULE])
    flow.feed([lead("a", "2024-03-01 10:00", pipeline="other"), lead("b", "2024-03-01 10:00")])
    flow.feed([lead("c", "2024-04-05 10:00", pipeline="other"), lead("d", "2024-04-05 10:00")])
    assert share_of(flow, "pipeline", "other") == 0.5
    assert share_of(flow, "pipeline", "default") == 0
    assert [(one["entity"], one["at"]) for one in flow.matured] == [(["pipeline", "other"], us("2024-03-30 01:00"))]


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize(
    ("now", "mature"), [("2024-01-08 23:55", 0), ("2024-01-09 00:00", 2), ("2024-01-30 00:00", 3), ("2024-04-01 00:00", 4)]
)
def test_each_entry_is_as_mature_as_its_own_pipeline_says(now, mature, restarts):
    """Leads of 1 January in pipelines of 90 and of 7 days and in one that is not configured; one is heard later to have begun in another."""
    stages = [{"name": "New", "kind": "lead"}, {"name": "Won", "kind": "won"}]
    pipelines = {"slow": {"stages": stages, "maturity_days": 90}, "fast": {"stages": stages, "maturity_days": 7}}
    flow = flow_of(pipelines=pipelines)
    flow.feed([lead(name, "2024-01-01 10:00", pipeline=name, rep_id="anna") for name in ("slow", "fast", "other")])
    flow.feed([lead("moved", "2024-01-01 10:00", pipeline="slow", rep_id="anna")])
    if restarts:
        flow.restart()
    flow.feed([change("first", "2024-01-01 09:00", "New", pipeline="fast", deal_id="moved", rep_id="anna")], tick=us(now))
    flow.feed([lead(f"new-{name}", now, pipeline=name, rep_id="anna") for name in ("slow", "fast", "other")])
    assert share_of(flow, "all") == share_of(flow, "rep", "anna") == mature / 7
    assert share_of(flow, "pipeline", "fast") == (2 / 3 if mature else 0)


@pytest.mark.parametrize(("cut", "entity"), [("stage", ["fast", "New"]), ("rep_stage", ["anna", "fast", "New"])])
def test_a_stage_is_as_mature_as_its_pipeline_says(cut, entity):
    """7 days, though most wait for 90: in its share, and for the alerts."""
    stages = [{"name": "New", "kind": "lead"}, {"name": "Won", "kind": "won"}]
    pipelines = {"slow": {"stages": stages, "maturity_days": 90}, "fast": {"stages": stages, "maturity_days": 7}}
    flow = flow_of(pipelines=pipelines, rules=[RULE | {"cut": cut}])
    flow.feed([lead(name, "2024-01-01 10:00", pipeline=name, rep_id="anna") for name in ("slow", "fast")])
    flow.feed([lead("new", "2024-01-09 10:00", pipeline="fast", rep_id="anna")])
    shares = [
        one["mature_share"]
        for one in flow.latest.values()
        if (one["kpi"], one["window"]["name"], [*one["entity"].values()]) == ("stage_conversion", "all", entity)
    ]
    assert shares == [0.5]
    assert [(one["entity"], one["at"]) for one in flow.matured] == [([cut, *entity], us("2024-01-09 01:00"))]


RULE = {"name": "drop", "kind": "conversion_drop", "cut": "pipeline"}


def maturing(**changed: Any) -> InMemory:
    """Return a flow whose cohorts are mature after two days."""
    stages = [{"name": "New", "kind": "lead"}, {"name": "Won", "kind": "won"}]
    return flow_of(pipelines={"default": {"stages": stages, "maturity_days": 2}}, rules=[RULE], **changed)


@pytest.mark.parametrize("restart", [False, True], ids=["running", "restarted-each-day"])
def test_matured_cohorts_are_given_to_the_alerts_once_each_and_in_order(restart):
    """Three leads on the 1st (two won in time), one on the 3rd, none on the 2nd."""
    flow = maturing()
    flow.feed([lead("a", "2024-03-01 10:00"), lead("b", "2024-03-01 10:00"), lead("c", "2024-03-01 10:00")])
    flow.feed([change("w", "2024-03-01 12:00", "Won", deal_id="a"), change("w", "2024-03-02 12:00", "Won", deal_id="b")])
    flow.feed([lead("d", "2024-03-03 10:00")])
    for day in range(4, 12):
        if restart:
            flow.restart()
        flow.feed([], tick=us(f"2024-03-{day:02} 12:00"))
    first = us("2024-03-01 00:00") // 86_400_000_000 + 719_163
    told = [(one["day"] - first, one["n"], one["k"]) for one in flow.matured]
    assert told == [(0, 3, 2), (2, 1, 0)]


def test_a_matured_cohort_says_whose_it_is_and_when_it_may_be_judged():
    """The day, its two days of maturity and the grace are over."""
    flow = maturing()
    flow.feed([lead("a", "2024-03-01 10:00")])
    flow.feed([], tick=us("2024-03-09 12:00"))
    (one,) = flow.matured
    assert (one["rule"], one["entity"]) == ("drop", ["pipeline", "default"])
    assert one["at"] == us("2024-03-04 01:00")


def test_a_win_after_maturity_is_not_a_success_of_the_cohort_that_is_judged():
    """The same live and in a replay: what came after the two days does not count, however late the judge looks."""
    flow = maturing()
    flow.feed([lead("a", "2024-03-01 10:00"), change("w", "2024-03-05 10:00", "Won", deal_id="a")])
    flow.feed([], tick=us("2024-03-12 12:00"))
    assert [(one["n"], one["k"]) for one in flow.matured] == [(1, 0)]


@pytest.mark.parametrize("taken_back", [{"stage": "New"}, {"deleted": True}], ids=["re-opened", "deleted"])
def test_what_is_taken_back_after_it_was_judged_is_not_judged_again(taken_back):
    """Won in time and judged so; a replay knows the end and judges that, as docs/decisions.md says."""
    events = [lead("a", "2024-03-01 10:00"), change("w", "2024-03-02 10:00", "Won", deal_id="a")]
    end = change("x", "2024-03-20 10:00", deal_id="a", **taken_back)
    live, replay = maturing(), maturing()
    live.feed(events, tick=us("2024-03-10 12:00"))
    live.feed([end], tick=us("2024-03-21 12:00"))
    replay.feed([*events, end], tick=us("2024-03-21 12:00"))
    assert [(one["n"], one["k"]) for one in live.matured] == [(1, 1)]
    assert [(one["n"], one["k"]) for one in replay.matured] == ([] if "deleted" in taken_back else [(1, 0)])


@pytest.mark.parametrize("of_a_round", [10, 50])
def test_the_same_cohorts_are_judged_however_long_a_round_is(of_a_round):
    """50 leads, one in twelve days: more than days are kept; a round for each of them gives the same."""
    days = [date(2022, 1, 3) + timedelta(days=12 * step) for step in range(50)]
    leads = [lead(f"d{day}", f"{day} 10:00") for day in days]
    judged = []
    for size in (1, of_a_round):
        flow = maturing()
        for at in range(0, 50, size):
            flow.feed(leads[at : at + size])
        flow.feed([], tick=us("2023-09-01 12:00"))
        judged.append(flow.matured)
    assert len(judged[0]) == 50
    assert judged[1] == judged[0]
