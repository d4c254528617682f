"""Does the demo's picture show what the topics say?"""

import orjson
import pytest
from rich.cells import cell_len
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


def drawn(scene, width=160) -> str:
    console = Console(width=width, record=True, file=None, force_terminal=False)
    with console.capture() as captured:
        console.print(view.picture(scene, width))
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


@pytest.fixture
def full(kpi, scene):
    """A view with numbers as long as those of the demo."""
    funnel = {"Prospecting": 500, "Engaging": 8300, "Won": 4238, "Lost": 2473}
    stages = [
        kpi("stage_entered", "stage", {"pipeline": "default", "stage": stage}, "all", count, "count")
        for stage, count in funnel.items()
    ]
    numbers = [
        one
        for name in ("West", "Inbound North")
        for one in (
            kpi("win_rate", "team", {"team": name}, "90d", 0.6315),
            kpi("revenue", "team", {"team": name}, "90d", 939_073, "money", currency="USD"),
            kpi("lead_conversion", "team", {"team": name}, "28d", 0.6063),
            kpi("first_response_time", "team", {"team": name}, "7d", 1366, "seconds"),
            kpi("activities", "team", {"team": name}, "7d", 80, "count"),
        )
    ]
    rep = {"rep_id": "Elizabeth Anderson"}
    numbers += [
        kpi("win_rate", "rep", rep, value=0.6315),
        kpi("revenue", "rep", rep, "all", 1_153_214, "money", currency="USD"),
        kpi("lead_conversion", "rep", rep, "all", 0.4711),
        kpi("activities", "rep", rep, "28d", 4, "count"),
    ]
    return view.Scene(scene.definitions, Records(*stages, *numbers), scene.broker, scene.metrics_url, scene.note)


@pytest.mark.parametrize("width", [40, 60, 80, 100, 114, 120, 160, 200])
def test_nothing_is_cut_on_a_narrow_terminal(full, width):
    """What does not fit beside goes below, and the last KPIs go first: half a number is another number."""
    text = drawn(full, width)
    assert "…" not in text
    assert max(map(cell_len, text.splitlines())) <= width
    for part in ("63.1 %" if width == 40 else "1,153,214 USD", "939,073 USD", "Prospecting", "8,300", "Elizabeth Anderson"):
        assert part in text
    if width >= 80:
        for part in ("60.6 %", "22 min 46 s", "47.1 %"):
            assert part in text
    words = " ".join(text.replace("│", " ").split())
    for command in view.subscribe_lines(full.broker):
        assert command in words


@pytest.mark.parametrize("width", [60, 80, 114, 200])
def test_bars_keep_their_proportions_on_a_narrow_terminal(full, width):
    """One that is cut would look as long as one of half its number."""
    longest, won = (
        next(line.count("█") for line in drawn(full, width).splitlines() if count in line) for count in ("8,300", "4,238")
    )
    assert longest >= 5
    assert abs(won - longest * 4238 / 8300) <= 1


def test_a_long_name_gives_way_to_the_numbers(full, kpi):
    """A name may be cut; it says so."""
    name = {"team": "N" * 200}
    full.watch.found += [
        orjson.loads(kpi("revenue", "team", name, "90d", 12_345_678, "money", currency="USD")[1]),
        orjson.loads(kpi("win_rate", "team", name, "90d", 0.1234)[1]),
    ]
    text = drawn(full, 80)
    assert "12,345,678 USD" in text
    assert "12.3 %" in text
    assert "N…" in text


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


def test_the_last_alerts_are_those_that_happened_last(scene):
    """They come from several partitions, one after the other."""
    days = (7, 8, 9, 1, 2, 3, 4, 5)
    scene.watch.alerts = [
        {"at": f"2026-03-0{day}T01:00:00+00:00", "transition": "fired", "state": "firing", "rule": "r", "text": "It rose."}
        for day in days
    ]
    lines = [line for line in drawn(scene).splitlines() if "It rose." in line]
    assert [line[10:12] for line in lines] == ["03", "04", "05", "07", "08", "09"]
