"""Does the demo's picture show what the topics say?"""

import orjson
import pytest
from rich.console import Console

from streams.cli import view
from streams.cli.sample import definitions
from streams.config import definitions_from


class Records:
    """Stands in for the followed topics."""

    def __init__(self, *pairs):
        self.found = [orjson.loads(value) for _, value in pairs]
        self.alerts = []

    def records(self, kpi, cut, window):
        return [one for one in self.found if (one["kpi"], one["cut"], one["window"]["name"]) == (kpi, cut, window)]


def drawn(scene) -> str:
    console = Console(width=160, record=True, file=None, force_terminal=False)
    with console.capture() as captured:
        console.print(view.picture(scene))
    return captured.get()


@pytest.fixture
def scene(kpi):
    new = {"pipeline": "inbound", "stage": "New"}
    watch = Records(
        kpi("stage_entered", "stage", new, "all", 3500, "count"),
        kpi("stage_entered", "stage", {**new, "stage": "Qualified"}, "all", 1000, "count"),
        kpi("active_deals", "stage", new, "now", 77, "count"),
        kpi("win_rate", "team", {"team": "Central"}, "90d", 0.6315),
        kpi("revenue", "team", {"team": "Central"}, "90d", 1000, "money", currency="USD"),
        kpi("win_rate", "team", {"team": "[bold]Odd"}, "90d", None),
    )
    return view.Scene(definitions_from(definitions()), watch, "kafka://127.0.0.1:9", "http://127.0.0.1:1/metrics", "note")


def test_the_picture_shows_funnel_teams_and_where_to_subscribe(scene):
    """Numbers in their units, names as they are."""
    text = drawn(scene)
    for part in ("Funnel: inbound", "3,500", "77", "63.1 %", "1,000 USD", "[bold]Odd", "none so far",
                 "dealpulse --broker kafka://127.0.0.1:9 show win_rate --by team", "http://127.0.0.1:1/metrics"):  # fmt: skip
        assert part in text


def test_an_empty_topic_draws_too(scene):
    """The first picture comes before the first record."""
    empty = view.Scene(scene.definitions, Records(), scene.broker, scene.metrics_url, scene.note)
    assert "Prospecting" in drawn(empty)


@pytest.mark.parametrize(("value", "most", "length"), [(0, 0, 0), (0, 10, 0), (10, 10, 30), (5, 10, 15), (1, 10_000, 0)])
def test_a_bar_is_as_long_as_its_share(value, most, length):
    """And fits."""
    assert len(view.bar(value, most).rstrip("▏▎▍▌▋▊▉")) == length


def test_an_alert_is_one_line(scene):
    """With when, what, where and why."""
    alert = {"at": "2026-03-01T10:00:00+00:00", "transition": "fired", "state": "firing", "rule": "r", "text": "It rose."}
    assert view.alert_line(alert) == "2026-03-01 10:00  fired  r  It rose."
    assert view.is_firing(alert)
