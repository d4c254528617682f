"""In which order did it happen, and what was known when?  Worked out by hand from the definitions."""

import pytest

from tests.audit.tables import change, us
from tests.deals.told import history_of


def entries(history):
    return [f"{entry.pipeline}/{entry.stage}" for entry in history.entries]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([], []),
        ([change("1", "2024-03-01 10:00", rep_id="anna")], []),
        ([change("1", "2024-03-01 10:00", "New")], ["default/New"]),
        ([change("1", "2024-03-01 10:00", "New"), change("2", "2024-03-02 10:00", "New")], ["default/New"]),
        (
            [change("1", "2024-03-01 10:00", "New"), change("2", "2024-03-02 10:00"), change("3", "2024-03-03 10:00", "New")],
            ["default/New"],
        ),
        (
            [
                change("1", "2024-03-01 10:00", "New"),
                change("3", "2024-03-03 10:00", "New"),
                change("2", "2024-03-02 10:00", "Qualified"),
            ],
            ["default/New", "default/Qualified", "default/New"],
        ),
        (
            [change("1", "2024-03-01 10:00", "Due", pipeline="renewals"), change("2", "2024-03-02 10:00", "Won")],
            ["renewals/Due", "renewals/Won"],
        ),
        (
            [change("1", "2024-03-01 10:00", "New"), change("2", "2024-03-02 10:00", "New", pipeline="renewals")],
            ["default/New", "renewals/New"],
        ),
        (
            [change("1", "2024-03-01 10:00", "New"), change("2", "2024-03-02 10:00", pipeline="renewals")],
            ["default/New"],
        ),
        (
            [change("b", "2024-03-01 10:00", "Qualified"), change("a", "2024-03-01 10:00", "New")],
            ["default/New", "default/Qualified"],
        ),
        (
            [change("é", "2024-03-01 10:00", "Qualified"), change("z", "2024-03-01 10:00", "New")],
            ["default/New", "default/Qualified"],
        ),
    ],
    ids=[
        "nothing", "attributes-only", "one", "said-again", "attributes-between", "late-event-splits", "pipeline-stays",
        "other-pipeline-same-stage", "pipeline-without-stage-is-not-read", "equal-instants-by-id", "ids-as-utf-8-bytes",
    ],
)  # fmt: skip
def test_an_entry_is_a_stage_event_that_differs_from_the_one_before_it(events, expected):
    """Order is time, then event id; the pipeline is what was said beside a stage, else the deal's."""
    assert entries(history_of(*events)) == expected


@pytest.mark.parametrize(
    ("events", "created"),
    [
        ([change("1", "2024-03-01 10:00", "New")], "2024-03-01 10:00"),
        ([change("1", "2024-03-01 10:00", "Limbo")], "2024-03-01 10:00"),
        ([change("1", "2024-03-01 10:00", "Won")], "2024-03-01 10:00"),
        ([change("1", "2024-03-01 10:00", "Won"), change("2", "2024-03-05 10:00", "New")], "2024-03-05 10:00"),
        ([change("1", "2024-03-01 10:00", rep_id="anna"), change("2", "2024-03-05 10:00", "New")], "2024-03-05 10:00"),
        ([change("1", "2024-03-05 10:00", "Qualified"), change("2", "2024-03-01 10:00", "New")], "2024-03-01 10:00"),
    ],
    ids=["lead", "not-configured-is-open", "only-closing", "closed-before", "attributes-before", "late"],
)
def test_created_is_the_first_entry_into_a_lead_or_open_stage_else_the_first(events, created):
    """A deal that only ever was closed is created by its close."""
    history = history_of(*events)
    assert history.entries[history.created].at == us(created)


@pytest.mark.parametrize(
    ("closed", "order", "anomalies"),
    [
        ("2024-03-01 10:00", ["New", "Won"], 0),
        ("2024-03-01 00:00", ["New", "Won"], 0),
        ("2024-02-29 10:01", ["New", "Won"], 0),
        ("2024-02-29 10:00", ["Won", "New"], 1),
        ("2024-02-20 00:00", ["Won", "New"], 1),
    ],
    ids=["same-instant", "that-day", "less-than-24-h", "24-h", "long-before"],
)
def test_a_closing_entry_less_than_a_day_before_creation_counts_directly_behind_it(closed, order, anomalies):
    """Dates without times put the close before the creation; event ids decide nothing here."""
    history = history_of(change("a", closed, "Won"), change("b", "2024-03-01 10:00", "New"))
    assert [entry.stage for entry in history.entries] == order
    assert history.anomalies == anomalies


def test_several_moved_closings_keep_their_order_and_take_the_instant_of_creation():
    """Lost at midnight and won an hour later, created at ten: new, lost, won, all at ten."""
    history = history_of(
        change("1", "2024-03-01 00:00", "Lost"),
        change("2", "2024-03-01 01:00", "Won"),
        change("3", "2024-03-01 10:00", "New"),
        change("4", "2024-03-02 10:00", "Proposal"),
    )
    assert [entry.stage for entry in history.entries] == ["New", "Lost", "Won", "Proposal"]
    assert {entry.at for entry in history.entries[:3]} == {us("2024-03-01 10:00")}


def test_only_the_closings_of_the_last_day_move():
    """A close in February stays where it is and is an anomaly; the one at midnight moves."""
    history = history_of(
        change("1", "2024-02-01 00:00", "Lost"),
        change("2", "2024-03-01 00:00", "Won"),
        change("3", "2024-03-01 10:00", "New"),
    )
    assert [entry.stage for entry in history.entries] == ["Lost", "New", "Won"]
    assert history.anomalies == 1


def test_what_a_moved_event_says_moves_with_it():
    """The amount is said by the close, so it is known from the creation on, and its word is the later one."""
    history = history_of(
        change("1", "2024-03-01 00:00", "Won", rep_id="borys"), change("2", "2024-03-01 10:00", "New", rep_id="anna")
    )
    assert history.present("rep_id") == "borys"
    assert history.at_instant("rep_id", us("2024-03-01 05:00")) == "anna"


def test_a_close_of_another_pipeline_moves_and_leaves_its_pipeline_to_those_behind_it():
    """Pipelines that were not said are judged on the order after the move: Proposal is one of the renewals then."""
    history = history_of(
        change("1", "2024-03-01 00:00", "Won", pipeline="renewals"),
        change("2", "2024-03-01 10:00", "New", pipeline="default"),
        change("3", "2024-03-02 10:00", "Proposal"),
    )
    assert entries(history) == ["default/New", "renewals/Won", "renewals/Proposal"]


@pytest.mark.parametrize(
    ("stages", "close"),
    [
        (["New"], None),
        (["New", "Won"], "Won 2"),
        (["New", "Lost"], "Lost 2"),
        (["New", "Won", "Qualified"], None),
        (["New", "Won", "Qualified", "Lost"], "Lost 4"),
        (["New", "Lost", "Won"], "Won 3"),
        (["New", "Won", "Lost", "Won"], "Won 4"),
        (["Won"], "Won 1"),
    ],
    ids=lambda one: "-".join(one) if isinstance(one, list) else "",
)
def test_the_close_is_the_start_of_the_last_run_of_closing_entries_of_one_kind(stages, close):
    """Re-opening takes the close back."""
    found = history_of(*(change(str(n), f"2024-03-0{n} 10:00", stage) for n, stage in enumerate(stages, 1))).close()
    assert (found and f"{found.stage} {found.place + 1}") == close


def test_several_won_stages_in_a_row_are_one_close():
    """Won on the 2nd and paid on the 9th: closed on the 2nd."""
    history = history_of(
        change("1", "2024-03-01 10:00", "Due", pipeline="renewals"),
        change("2", "2024-03-02 10:00", "Won"),
        change("3", "2024-03-09 10:00", "Paid"),
    )
    assert history.close().at == us("2024-03-02 10:00")


@pytest.mark.parametrize(
    ("words", "deleted"),
    [([], False), ([True], True), ([True, None], True), ([True, False], False), ([False, True], True)],
    ids=str,
)
def test_the_last_word_about_deleted_counts(words, deleted):
    """An event that says nothing about it changes nothing; an explicit false brings the deal back."""
    events = [change(str(n), f"2024-03-0{n} 10:00", deleted=word) for n, word in enumerate(words, 1)]
    assert history_of(*events).deleted is deleted


# Said on the 2nd (anna), cleared on the 4th, said again on the 6th (borys).
WORDS = (
    change("1", "2024-03-01 10:00", "New"),
    change("2", "2024-03-02 10:00", rep_id="anna"),
    change("4", "2024-03-04 10:00", clear=["rep_id"]),
    change("6", "2024-03-06 10:00", rep_id="borys"),
)


@pytest.mark.parametrize(
    ("at", "rep"),
    [
        ("2024-03-01 10:00", "anna"),
        ("2024-03-02 10:00", "anna"),
        ("2024-03-03 10:00", "anna"),
        ("2024-03-04 10:00", None),
        ("2024-03-05 10:00", None),
        ("2024-03-06 10:00", "borys"),
    ],
    ids=["before-anything-was-said", "that-instant", "after", "cleared-at-that-instant", "cleared", "said-again"],
)
def test_known_at_an_instant_is_the_last_word_else_the_first_value_said_later(at, rep):
    """After a clear nobody is known, however much is said later."""
    assert history_of(*WORDS).at_instant("rep_id", us(at)) == rep


def test_the_first_value_said_later_skips_a_clear():
    """Nothing was said up to the 1st; the clear of the 2nd is no value, borys on the 3rd is."""
    history = history_of(
        change("1", "2024-03-01 10:00", "New"),
        change("2", "2024-03-02 10:00", clear=["rep_id"]),
        change("3", "2024-03-03 10:00", rep_id="borys"),
    )
    assert history.at_instant("rep_id", us("2024-03-01 10:00")) == "borys"


def test_a_value_wins_over_a_clear_in_the_same_event():
    """`clear` and a value in one event: the value stays."""
    history = history_of(change("1", "2024-03-01 10:00", "New", rep_id="anna", clear=["rep_id"]))
    assert history.present("rep_id") == "anna"


def test_present_is_the_last_word_and_none_after_a_clear():
    """Levels never look for an older value behind a clear."""
    assert history_of(*WORDS).present("rep_id") == "borys"
    assert history_of(*WORDS[:3]).present("rep_id") is None
