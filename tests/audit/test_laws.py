"""What must hold of any history, by whatever hand: properties of the batch recomputation itself."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.audit.deal import CLOSING, DAY_AND_NIGHT, read_deal
from streams.audit.recompute import recompute
from streams.events.contract import StageChange
from tests.strategies import WATERMARK, deal_history, definitions, histories, tries

DEFINITIONS = definitions()


@settings(max_examples=tries(25), deadline=None)
@given(st.data(), histories(most=6))
def test_numbers_do_not_depend_on_order_and_repeats(data, events):
    """Law 1: a function of the set of accepted events."""
    other = data.draw(st.permutations([*events, *events[:3]]))
    assert recompute(other, DEFINITIONS, WATERMARK) == recompute(events, DEFINITIONS, WATERMARK)


@settings(max_examples=tries(25), deadline=None)
@given(histories(most=6))
def test_parts_add_up(events):
    """Months make quarters and years; pipelines make all; won and lost are closed; what left had entered."""
    records = recompute(events, DEFINITIONS, WATERMARK)

    def counted(kpi, cut, window):
        return sum(one.n for key, one in records.items() if (key[0], key[1], key[3]) == (kpi, cut, window))

    for kpi in ("new_leads", "win_rate", "calls", "revenue", "lead_conversion"):
        whole = counted(kpi, "all", "all")
        assert [counted(kpi, "all", window) for window in ("day", "week", "month", "quarter", "year")] == [whole] * 5
    for kpi in ("new_leads", "win_rate", "lead_conversion"):
        assert counted(kpi, "pipeline", "all") == counted(kpi, "all", "all")
    assert counted("win_rate", "all", "all") == counted("closed_cycle", "all", "all")
    assert counted("stage_left", "stage", "all") == counted("time_in_stage", "stage", "all")
    standing = counted("stage_entered", "stage", "all") - counted("stage_left", "stage", "all")
    assert standing == counted("new_leads", "all", "all")


@settings(max_examples=tries(200), deadline=None)
@given(deal_history("d"))
def test_order_of_a_deal(history):
    """Every event has its place once, places are ordered, stays differ, and no closing stands just before creation."""
    changes = [event for event in history if isinstance(event, StageChange)]
    deal = read_deal(changes, (), DEFINITIONS)
    assert sorted(placed.event.event_id for placed in deal.events) == sorted(change.event_id for change in changes)
    assert [placed.at for placed in deal.events] == sorted(placed.at for placed in deal.events)
    places = [(entry.pipeline, entry.stage) for entry in deal.entries]
    assert all(one != other for one, other in itertools.pairwise(places))


@settings(max_examples=tries(200), deadline=None)
@given(deal_history("d"))
def test_no_closing_stands_just_before_creation(history):
    """Where each event names its pipeline, so that a move cannot turn one stage into another."""
    changes = [event for event in history if isinstance(event, StageChange)]
    for change in changes:
        change.pipeline = change.pipeline or "default"
    deal = read_deal(changes, (), DEFINITIONS)
    if deal.entries and deal.created.kind not in CLOSING:
        before = [entry for entry in deal.entries if entry.place < deal.created.place]
        assert all(deal.created.at - entry.at >= DAY_AND_NIGHT for entry in before)
