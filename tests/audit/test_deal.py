"""What happened to a deal: order, entries, creation, close (design section 5, worked out by hand)."""

import pytest

from streams.audit.deal import read_deal
from tests.audit.tables import act, change, settings, us


def entries(*events, definitions=None):
    """Return (time of day-ish, pipeline, stage) of every entry."""
    deal = read_deal(events, (), definitions or settings())
    return [(one.at, one.pipeline, one.stage) for one in deal.entries]


def stages(*events):
    return [stage for _, _, stage in entries(*events)]


def close(*events):
    found = read_deal(events, (), settings()).close
    return found and (found.at, found.kind)


def created(*events):
    found = read_deal(events, (), settings()).created
    return (found.at, found.stage)


NEW = change("1", "2024-03-04 10:00", "New")


def test_order_is_time_then_event_id_as_bytes():
    """Of equal instants the smaller id is first: "10" before "9", "Z" before "a", "z" before "é"."""
    at = "2024-03-04 10:00"
    history = [change(name, at, stage) for name, stage in [("é", "5"), ("z", "4"), ("a", "3"), ("9", "2"), ("10", "1")]]
    assert stages(*history) == ["1", "2", "3", "4", "5"]


def test_entry_is_a_change_of_stage():
    """The same stage said again, or none, only changes attributes."""
    assert stages(NEW, change("2", "2024-03-05 10:00", "New"), change("3", "2024-03-06 10:00")) == ["New"]


def test_late_event_splits_an_entry():
    """New, New is one entry; Qualified between them makes three."""
    again = change("3", "2024-03-06 10:00", "New")
    assert stages(NEW, again, change("2", "2024-03-05 10:00", "Qualified")) == ["New", "Qualified", "New"]


def test_move_to_another_pipeline_is_an_entry():
    """The stage's name stays, the pipeline changes; the next event without a pipeline stays in the new one."""
    moved = change("2", "2024-03-05 10:00", "New", pipeline="renewals")
    then = change("3", "2024-03-06 10:00", "Due")
    assert entries(NEW, moved, then) == [
        (us("2024-03-04 10:00"), "default", "New"),
        (us("2024-03-05 10:00"), "renewals", "New"),
        (us("2024-03-06 10:00"), "renewals", "Due"),
    ]


def test_pipeline_without_to_stage_is_not_read():
    """Said beside attributes only, a pipeline moves nothing."""
    assert stages(NEW, change("2", "2024-03-05 10:00", pipeline="renewals", rep_id="anna")) == ["New"]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([NEW], "New"),
        ([change("0", "2024-03-01 10:00", "Won"), NEW], "New"),
        ([change("0", "2024-03-01 10:00", "Lost"), change("1", "2024-03-04 10:00", "Qualified")], "Qualified"),
        ([change("0", "2024-03-01 10:00", "Won"), change("1", "2024-03-04 10:00", "Lost")], "Won"),
        ([change("0", "2024-03-01 10:00", "Limbo"), NEW], "Limbo"),
    ],
)
def test_created_is_the_first_lead_or_open_entry_else_the_first(events, expected):
    """A stage that is not configured is open."""
    assert created(*events)[1] == expected


def test_closing_less_than_a_day_before_creation_counts_at_that_instant():
    """A date alone is midnight; the lead came at 10:00 of that day: won at 10:00, after New."""
    assert entries(change("0", "2024-03-04 00:00", "Won"), NEW) == [
        (us("2024-03-04 10:00"), "default", "New"),
        (us("2024-03-04 10:00"), "default", "Won"),
    ]


@pytest.mark.parametrize(("before", "moved"), [("2024-03-03 10:00", False), ("2024-03-03 10:01", True)])
def test_a_whole_day_before_is_an_earlier_life(before, moved):
    """Exactly 24 hours stays where it is, less moves."""
    assert stages(change("0", before, "Won"), NEW) == (["New", "Won"] if moved else ["Won", "New"])


def test_closing_of_the_same_instant_but_smaller_id_moves():
    """Id 0 sorts before id 1."""
    assert stages(change("0", "2024-03-04 10:00", "Lost"), NEW) == ["New", "Lost"]


def test_several_early_closings_keep_their_order_before_what_follows():
    """Lost, Won, then New: New, Lost, Won, and the events after the creation behind them."""
    early = [change("0", "2024-03-04 01:00", "Lost"), change("a", "2024-03-04 02:00", "Won")]
    later = change("2", "2024-03-04 10:00", "Qualified")
    assert stages(*early, NEW, later) == ["New", "Lost", "Won", "Qualified"]


def test_a_repeat_of_an_early_closing_moves_with_it():
    """Won said twice before New: without the first the second is an entry, and early as well."""
    early = [change("0", "2024-03-04 01:00", "Won"), change("a", "2024-03-04 02:00", "Won")]
    assert stages(*early, NEW) == ["New", "Won"]


def test_only_the_early_one_of_two_lives_moves():
    """Won a week before is an earlier life; Lost at midnight belongs to this one."""
    events = [change("0", "2024-02-26 00:00", "Won"), change("a", "2024-03-04 00:00", "Lost"), NEW]
    assert stages(*events) == ["Won", "New", "Lost"]


def test_pipeline_is_judged_after_the_move():
    """Won said renewals; behind New, New is of the default pipeline again."""
    early = change("0", "2024-03-04 00:00", "Won", pipeline="renewals")
    assert [one[1:] for one in entries(early, NEW)] == [("default", "New"), ("renewals", "Won")]


WON = change("5", "2024-04-01 10:00", "Won")
LOST = change("6", "2024-04-02 10:00", "Lost")


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([NEW], None),
        ([NEW, WON], (us("2024-04-01 10:00"), "won")),
        ([NEW, WON, LOST], (us("2024-04-02 10:00"), "lost")),
        ([NEW, WON, change("7", "2024-04-03 10:00", "Qualified")], None),
        ([NEW, WON, LOST, change("7", "2024-04-03 10:00", "Won")], (us("2024-04-03 10:00"), "won")),
        ([NEW, WON, change("7", "2024-04-03 10:00", "Paid", pipeline="renewals")], (us("2024-04-01 10:00"), "won")),
    ],
)
def test_close_is_the_first_of_the_last_run_of_one_kind(events, expected):
    """Re-opening takes the close back; won, lost, won closes with the last; two won stages in a row with the first."""
    assert close(*events) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [((True,), True), ((True, False), False), ((False, True), True), ((True, None), True), ((None,), False)],
)
def test_the_last_word_on_deleted_decides(words, expected):
    """Only an explicit false brings a deal back."""
    events = [change(str(at), f"2024-03-0{at + 1} 10:00", "New", deleted=word) for at, word in enumerate(words)]
    assert read_deal(events, (), settings()).deleted is expected


def test_stage_at_an_instant_includes_its_events():
    """At 10:00 sharp the deal is in New; a microsecond before in none."""
    deal = read_deal([NEW], [act("a", "2024-03-04 10:00")], settings())
    assert deal.stage_at(us("2024-03-04 10:00")).stage == "New"
    assert deal.stage_at(us("2024-03-04 10:00") - 1) is None
