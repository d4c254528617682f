"""Are wrong settings refused with a sentence that names them, and are secrets kept?"""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.config import (
    ConfigError,
    Environment,
    bootstrap,
    client_settings,
    definitions_from,
    read_definitions,
    read_environment,
    seconds,
)


def test_the_example_of_the_contract_is_accepted():
    """Every setting of the contract's example, and those it names beside it."""
    found = definitions_from(
        {
            "currency": "EUR",
            "business": {"zone": "Europe/Kyiv", "hours": "Mon-Fri 09:00-18:00", "holidays": ["2026-01-01"]},
            "pipelines": {"default": {"maturity_days": 28, "stages": [{"name": "New", "kind": "lead"}]}},
            "reps": {"anna": {"team": "Central", "manager": "olha", "region": "EU"}},
            "sla": {"first_response": "1h"},
            "targets": [],
            "spend": [],
            "rates": {},
        }
    )
    assert (found.sla.first_response, found.reps["anna"].team) == (3600.0, "Central")


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        ({"curency": "EUR"}, "unknown setting curency; did you mean 'currency'"),
        ({"currency": "euro"}, "currency: 'euro'"),
        ({"currency": "ZZZ"}, "currency: 'ZZZ' is no active ISO 4217 code"),
        ({"business": {"zone": "Kyiv"}}, "business.zone: 'Kyiv'"),
        ({"business": {"hours": "9 to 5"}}, "business.hours: '9 to 5'"),
        ({"business": {"hours": "Xxx 09:00-18:00"}}, "business.hours"),
        ({"business": {"holidays": ["new year"]}}, "business.holidays: 'new year'"),
        ({"business": {"zones": "UTC"}}, "unknown setting business.zones; did you mean 'zone'"),
        ({"pipelines": {"p": {"stages": [{"name": "A", "sort": 1}]}}}, "unknown setting pipelines.p.stages[0].sort"),
        ({"pipelines": {"p": {"stages": [{"name": "A"}, {"name": "A"}]}}}, "pipelines.p.stages: 'A' stands there twice"),
        ({"pipelines": {"p": {"stages": [{"name": "A", "kind": "wun"}]}}}, "dealpulse.yaml"),
        ({"kpis": {"win_rte": False}}, "kpis: unknown 'win_rte'; did you mean 'win_rate'"),
        ({"cuts": ["reps"]}, "cuts: unknown 'reps'"),
        ({"windows": ["2h"]}, "windows: unknown '2h'"),
        ({"grace": "soon"}, "grace: 'soon' is no duration"),
        ({"rules": [{"name": "r", "kind": "conversion_drop", "cut": "stages"}]}, "rules.r.cut: unknown 'stages'"),
        ({"partitions": 0}, "partitions: 0"),
        ({"tick_interval": 0}, "tick_interval: must be between 1ms and 1h"),
        ({"publish_interval": 0}, "publish_interval: must be between 1ms and 1h"),
        ({"flush_interval": 0}, "flush_interval: must be between 1ms and 1h"),
        ({"pace": {"2h": 2}}, "pace: unknown '2h'"),
        ([], "expected a mapping"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(raw, sentence):
    """The sentence names the setting."""
    with pytest.raises(ConfigError) as refused:
        definitions_from(raw)
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("text", "expected"), [("100ms", 0.1), ("30s", 30.0), ("5m", 300.0), ("1h", 3600.0), ("14d", 1_209_600.0), (2, 2.0)]
)
def test_durations_are_read_in_their_units(text, expected):
    """A bare number is seconds."""
    assert seconds(text, "grace") == expected


@pytest.mark.parametrize(
    ("raw", "seconds_between"),
    [
        ({}, 2.0),
        ({"publish_interval": "100ms"}, 0.2),
        ({"pace": {"1h": 1}}, 1.0),
        ({"pace": {"1h": 1}, "windows": ["day"]}, 2.0),
        ({"flush_interval": "50ms"}, 0.05),
    ],
)
def test_a_flush_lingers_no_longer_than_the_shortest_pace(raw, seconds_between):
    """Two publish intervals where no pace is shorter, and what is set where it is set."""
    assert definitions_from(raw).flush_every == pytest.approx(seconds_between)


def test_a_missing_file_says_what_to_set():
    """The path, and the variable to mend."""
    with pytest.raises(ConfigError, match="DEALPULSE_CONFIG"):
        read_definitions("/nowhere/dealpulse.yaml")


def test_a_secret_comes_from_a_file_and_does_not_show_itself(tmp_path: Path):
    """The file's text without white space around it; repr hides it."""
    (tmp_path / "token").write_text("xoxb-1\n")
    found = read_environment({"DEALPULSE_SLACK_TOKEN_FILE": str(tmp_path / "token")})
    assert (str(found.slack_token), "xoxb-1" in repr(found)) == ("xoxb-1", False)


def test_a_secret_given_twice_is_refused(tmp_path: Path):
    """Nobody can tell which one was meant."""
    with pytest.raises(ConfigError, match="DEALPULSE_SLACK_TOKEN"):
        read_environment({"DEALPULSE_SLACK_TOKEN": "a", "DEALPULSE_SLACK_TOKEN_FILE": str(tmp_path / "token")})


@pytest.mark.parametrize("url", ["http://host:9092", "host", "kafka://host", "kafka://"])
def test_a_wrong_broker_address_is_refused(url):
    """Host and port are needed, and the scheme is ours."""
    with pytest.raises(ConfigError, match="DEALPULSE_BROKER"):
        bootstrap(Environment(broker=url))


def test_tls_and_sasl_reach_every_client():
    """Under the names that librdkafka knows."""
    found = client_settings(
        read_environment({"DEALPULSE_SECURITY_PROTOCOL": "SASL_SSL", "DEALPULSE_SASL_PASSWORD": "secret"})
    )
    assert (found["security.protocol"], found["sasl.password"]) == ("SASL_SSL", "secret")


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("WEB_PORT", "web", "'web' is no port"),
        ("WEB_PORT", "65536", "'65536' is no port"),
        ("WATCHDOG", "29", "'29' is no limit; write seconds from 30 to 86400, or 0"),
        ("WATCHDOG", "1m", "'1m' is no limit"),
        ("READY_LAG", "-1", "'-1' is no number of records"),
    ],
)
def test_a_wrong_number_is_refused(name, value, sentence):
    """With what may be written."""
    with pytest.raises(ConfigError) as refused:
        read_environment({f"DEALPULSE_{name}": value})
    assert f"DEALPULSE_{name}: {sentence}" in str(refused.value)


def test_numbers_are_read():
    """0 switches the watchdog off."""
    found = read_environment({"DEALPULSE_WATCHDOG": "0", "DEALPULSE_READY_LAG": "5", "DEALPULSE_WEB_PORT": "80"})
    assert (found.watchdog, found.ready_lag, found.web_port) == (0, 5, 80)
    assert (Environment().watchdog, Environment().ready_lag) == (60, 10_000)
