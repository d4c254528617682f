"""Does show find what was asked for, and say why there is nothing?"""

import orjson
import pytest

from streams.cli import show


@pytest.fixture
def topic(monkeypatch, kpi):
    """Stand in for the broker with these records."""
    rows = dict(
        [
            kpi("win_rate", "team", {"team": "West"}, "month", 0.5, start="2026-03-01T00:00:00+00:00"),
            kpi("win_rate", "team", {"team": "Central"}, "month", 0.6315, start="2026-03-01T00:00:00+00:00"),
            kpi("win_rate", value=0.4),
            kpi("revenue", value=10_005_534, unit="money", currency="USD"),
            kpi("active_deals", "stage", {"pipeline": "default", "stage": "New"}, "now", 500, "count"),
        ]
    )
    monkeypatch.setattr(
        show, "last_of_every_key", lambda _client, _topic, keep, **_: {k: v for k, v in rows.items() if keep(k)}
    )


@pytest.fixture
def foreign(monkeypatch, kpi):
    """Stand in for a topic to which others write: one record of ours among theirs, each of which ended the command."""
    key, value = kpi("win_rate", "team", {"team": "West"}, "month", 0.5, start="2026-03-01T00:00:00+00:00")
    told = orjson.loads(value)
    rows = {b"not-json": value, b"[]": b"{}", b'"text"': b"1", b"\xff": b"\xff", key: value}
    for field, wrong in (
        ("n", None),
        ("n", "4"),
        ("window", "month"),
        ("entity", ["West"]),
        ("currency", 1),
        ("value", "0.5"),
    ):
        rows[orjson.dumps(["win_rate", "team", [f"{field} {wrong}"], "month", None, None])] = orjson.dumps(
            {**told, field: wrong}
        )
    monkeypatch.setattr(
        show, "last_of_every_key", lambda _client, _topic, keep, **_: {k: v for k, v in rows.items() if keep(k)}
    )
    return len(rows) - 1


@pytest.mark.parametrize("options", [(), ("--json",), ("win_rate", "--window", "month", "--json")])
def test_records_of_others_are_counted_and_named(run, foreign, options):
    """And the rest is shown."""
    result = run("show", *options)
    assert (result.exit_code, result.stdout.count("West")) == (0, 1)
    said = f"{foreign} records in dealpulse.kpi.latest.v1 are no KPI records and are left out; the first: key not-json"
    assert said in result.stderr


def found(result):
    return [orjson.loads(line) for line in result.stdout.splitlines()]


def test_kpi_cut_and_window_narrow_it(run, topic):
    """Entities come in order of their names."""
    records = found(run("show", "win_rate", "--by", "team", "--window", "month", "--json"))
    assert [one["entity"]["team"] for one in records] == ["Central", "West"]


def test_without_a_filter_everything_comes_in_the_catalogues_order(run, topic):
    """Levels first, as the catalogue has them."""
    records = found(run("show", "--json"))
    assert [one["kpi"] for one in records] == ["active_deals", "win_rate", "win_rate", "win_rate", "revenue"]


def test_a_window_has_the_first_day_of_the_business_zone(run, topic, tmp_path):
    """Midnight in UTC is the evening before in New York."""
    config = tmp_path / "dealpulse.yaml"
    config.write_text("business: {zone: America/New_York}")
    assert "month 2026-02-28" in run("show", "--config", str(config)).stdout


def test_people_see_units(run, topic):
    """Money with its currency, shares in percent, the window with its first day."""
    output = run("show").stdout
    for text in ("10,005,534 USD", "63.1 %", "month 2026-03-01", "default / New"):
        assert text in output


def test_what_others_call_a_kpi_is_no_markup(run, monkeypatch, kpi):
    """A record of the right form is shown, whatever its names are."""
    key, value = kpi("[/calls]", "all", {}, "[/now]", 1, unit="money", currency="[/EUR]")
    monkeypatch.setattr(show, "last_of_every_key", lambda *_, **__: {key: value})
    result = run("show")
    assert (result.exit_code, all(text in result.stdout for text in ("[/calls]", "[/now]", "[/EUR]"))) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["win_rate", "--by", "stage"], "win_rate has no cut stage; it has: all, pipeline, team"),
        (["active_deals", "--window", "7d"], "active_deals is a level KPI; its window is now"),
        (["calls"], "no value matches; is the worker running"),
    ],
)
def test_nothing_is_explained(run, topic, arguments, sentence):
    """And is no error."""
    result = run("show", *arguments)
    assert result.exit_code == 0
    assert sentence in result.stderr
