"""Does the demo tell what happens, wherever it is shown?"""

import io

import pytest
from rich.console import Console

from streams.cli import demo, view
from streams.cli.sample import definitions
from streams.cli.settings import CheckError
from streams.config import definitions_from


class Nothing:
    """Stands in for the followed topics, on which nothing is yet."""

    def __init__(self):
        self.alerts = []

    def records(self, _kpi, _cut, _window):
        return []


@pytest.fixture
def scene():
    watch = Nothing()
    return view.Scene(definitions_from(definitions()), watch, "kafka://127.0.0.1:9", "http://127.0.0.1:1/metrics", "note")


@pytest.mark.parametrize(("term", "lines"), [("dumb", True), ("unknown", True), ("xterm", False)])
def test_a_terminal_on_which_nothing_is_drawn_anew_gets_lines(monkeypatch, capsys, scene, term, lines):
    """It stayed empty until the end."""
    console = Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": term})
    monkeypatch.setattr(demo, "stdout", lambda: console)
    scene.progress.sent = 36_534
    with demo._shown(scene) as show:
        show()
        assert ("sent 36,534" in capsys.readouterr().out) == lines
    assert ("Funnel" in console.file.getvalue()) != lines


def test_all_numbers_of_one_picture_are_told_at_one_pace(run, monkeypatch):
    """Leads were in a stage for up to five minutes before it was told that they had entered it."""
    given = {}

    def stack(definitions, **_):
        given.update(definitions)
        raise CheckError("this was all")

    monkeypatch.setattr(demo, "embedded_stack", stack)
    assert run("demo").exit_code == 1
    windows = {"now", "all"} | {window for *_, window in (*view.TEAM_COLUMNS, *view.REP_COLUMNS)}
    assert {definitions_from(given).told_every(window) for window in windows} == {5.0}


class Worker:
    """Stands in for one that says so many accepted and waiting; None: it does not answer."""

    def __init__(self, *said):
        self.said = list(said)

    def metrics(self):
        accepted, self.waiting = self.said.pop(0) or (None, 0)
        return {} if accepted is None else {("dealpulse_events_accepted_total", ""): accepted}

    def lag(self):
        return self.waiting


def test_what_was_sent_and_not_read_waits():
    """Before a worker owns its partitions it knows of no lag, and nothing seemed to wait."""
    progress = view.Progress()
    demo.measure(Worker((0, 0)), progress, 36_534, 100.0)
    assert (progress.sent, progress.accepted, progress.waiting, progress.rate) == (36_534, 0, 36_534, 0.0)


def test_the_rate_is_that_of_the_time_between_two_looks():
    """They are further apart on a busy machine."""
    progress, worker = view.Progress(), Worker((0, 0), (4000, 10))
    for now in (100.0, 102.0):
        demo.measure(worker, progress, 4000, now)
    assert (progress.rate, progress.waiting) == (2000.0, 10)


def test_a_worker_that_does_not_answer_has_not_lost_its_count():
    """The picture fell to nothing accepted, and told all of it as the rate of the next second."""
    progress, worker = view.Progress(), Worker((5000, 7), None, (5010, 0))
    rates = []
    for now in (100.0, 101.0, 102.0):
        demo.measure(worker, progress, 5010, now)
        rates.append((progress.accepted, progress.rate))
    assert rates == [(5000, 0.0), (5000, 0.0), (5010, 5.0)]
