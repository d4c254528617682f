"""Does the demo tell what happens, wherever it is shown?"""

import io

import pytest
from rich.console import Console

from streams.cli import demo, view
from streams.cli.sample import definitions
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
