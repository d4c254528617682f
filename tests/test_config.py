"""Are wrong settings refused with a sentence that names them, and are secrets kept?"""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.alerts import detector
from streams.config import (
    ConfigError,
    Definitions,
    Environment,
    bootstrap,
    client_settings,
    definitions_from,
    read_definitions,
    read_environment,
    read_raw,
    seconds,
    text_of,
    variables,
    without_channel,
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
        (
            {"pipelines": {"p": {"stages": [{"name": "A", "sort": 1}]}}},
            "unknown setting pipelines.p.stages.A.sort; known: name, kind",
        ),
        ({"pipelines": {"p": {"stages": [{"name": "A"}, {"name": "A"}]}}}, "pipelines.p.stages: 'A' stands there twice"),
        (
            {"pipelines": {"p": {"stages": [{"name": "A", "kind": "wun"}]}}},
            "pipelines.p.stages.A.kind: unknown 'wun'; known: lead, lost, open, won",
        ),
        ({"kpis": {"win_rte": False}}, "kpis: unknown 'win_rte'; did you mean 'win_rate'"),
        ({"cuts": ["reps"]}, "cuts: unknown 'reps'"),
        ({"windows": ["2h"]}, "windows: unknown '2h'"),
        ({"grace": "soon"}, "grace: 'soon' is no duration"),
        ({"rules": [{"name": "r", "kind": "conversion_drop", "cut": "stages"}]}, "rules.r.cut: unknown 'stages'"),
        ({"partitions": 0}, "partitions: must be between 1 and 1024; 0 is not"),
        ({"tick_interval": 0}, "tick_interval: must be between 1ms and 1h"),
        ({"publish_interval": 0}, "publish_interval: must be between 1ms and 1h"),
        ({"flush_interval": 0}, "flush_interval: must be between 1ms and 1h"),
        ({"pace": {"2h": 2}}, "pace: unknown '2h'"),
        ({"pipelines": {"p": {"stages": 5}}}, "pipelines.p.stages: 5 is no list; write [...]"),
        (
            {"pipelines": {"p": {"stages": [5]}}},
            "pipelines.p.stages[0]: 5 is no mapping; write lines of the form name: value",
        ),
        (
            {"pipelines": {"p": {"stages": [{"name": 7}]}}},
            "pipelines.p.stages[0].name: 7 is no text; write one, in quotes if",
        ),
        (
            {"pipelines": {"p": {"stages": [{"name": "A", "qualified": "yes"}]}}},
            "stages.A.qualified: 'yes' is no switch; write true",
        ),
        ({"pipelines": {"p": {"stages": [{"kind": "won"}]}}}, "pipelines.p.stages[0].name is missing"),
        ({"pipelines": {"p": {"maturity_days": 5}}}, "pipelines.p.stages is missing"),
        ({"reps": {"anna": {"team": 5}}}, "reps.anna.team: 5 is no text"),
        ({"reps": {"anna": {"tem": "A"}}}, "unknown setting reps.anna.tem; did you mean 'team'?"),
        ({"reps": {"anna": None}}, "reps.anna: nothing is no mapping"),
        ({"reps": []}, "reps: [] is no mapping"),
        ({"kpis": {"win_rate": "off"}}, "kpis.win_rate: 'off' is no switch; write true or false"),
        ({"pace": {"day": "often"}}, "pace.day: 'often' is no number"),
        ({"partitions": True}, "partitions: True is no whole number"),
        ({"partitions": 1.5}, "partitions: 1.5 is no whole number"),
        ({"windows": [1]}, "windows[0]: 1 is no text"),
        ({"business": {"hours": 630}}, "business.hours: 630 is no text"),
        ({"slack": {"channel": ["a"]}}, "slack.channel: ['a'] is no text"),
        ({"targets": 5}, "targets: 5 is no list"),
        (
            {"rules": [{"name": "r", "kind": "drop", "cut": "stage"}]},
            "rules.r.kind: unknown 'drop'; known: conversion_drop, response_rise",
        ),
        (
            {"rules": [{"name": "r", "kind": "conversion_drop", "cut": "stage", "baseline": 10**400}]},
            "rules.r.baseline: 1000",
        ),
        ({"rules": ["r"]}, "rules[0]: 'r' is no mapping"),
        ({"pipelines": {"p": {"stages": [{"name": ""}]}}}, "pipelines.p.stages[0].name: '' is no name"),
        ({"pipelines": {"p": {"stages": [{"name": "A"}, {"name": "B "}]}}}, "pipelines.p.stages[1].name: 'B ' is no name"),
        ({"pipelines": {" ": {"stages": []}}}, "pipelines: ' ' is no name; write 1 to 256 characters"),
        ({"pipelines": {"p": {"stages": [], "maturity_days": -1}}}, "pipelines.p.maturity_days: must be between 0 and 390"),
        ({"pipelines": {"p": {"stages": [], "maturity_days": 400}}}, "pipelines.p.maturity_days: must be between 0 and 390"),
        ({"replication": 0}, "replication: must be between 1 and 100; 0 is not"),
        ({"grace": -1}, "grace: must be between 0s and 400d"),
        ({"grace": float("inf")}, "grace: inf is no duration"),
        ({"grace": float("nan")}, "grace: nan is no duration"),
        ({"grace": 10**400}, "is no duration"),
        ({"grace": "9" * 400 + "d"}, "grace: must be between 0s and 400d"),
        ({"max_future": -1}, "max_future: must be between 0s and 400d"),
        ({"sla": {"first_response": 0}}, "sla.first_response: must be between 1s and 400d"),
        ({"sla": {"first_response": "401d"}}, "sla.first_response: must be between 1s and 400d"),
        ({"slack": {"catch_up_limit": -1}}, "slack.catch_up_limit: must be between 0s and 36500d"),
        ({"bad_input": {"share": 1.5}}, "bad_input.share: must be between 0 and 1"),
        ({"bad_input": {"share": float("nan")}}, "bad_input.share: must be between 0 and 1"),
        ({"bad_input": {"of_last": 0}}, "bad_input.of_last: must be between 1 and 1000000"),
        ({"bad_input": {"at_least": 0}}, "bad_input.at_least: must be between 1 and 1000000"),
        ({"bad_input": {"of_last": 100}}, "bad_input.at_least: 200 of the last 100"),
        ({"pace": {"day": 0}}, "pace.day: must be between 1 and 3600 publish_intervals"),
        ([], "expected a mapping"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(raw, sentence):
    """The sentence names the setting."""
    with pytest.raises(ConfigError) as refused:
        definitions_from(raw)
    assert sentence in str(refused.value)


ANYTHING = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.sampled_from(["open", "1h", "stage"])
    ),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["name", "kind", "stages", "cut", "team", "default", "stop"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(raw=st.dictionaries(st.sampled_from(Definitions.__struct_fields__), ANYTHING, max_size=3))
def test_whatever_stands_there_is_taken_or_refused(raw):
    """Nothing else is raised."""
    with contextlib.suppress(ConfigError):
        definitions_from(raw)


DROP = {"name": "r", "kind": "conversion_drop", "cut": "stage"}
RISE = {"name": "r", "kind": "response_rise", "cut": "team"}


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        (DROP | {"baseline": 0}, "rules.r.baseline: must be between 0.0001 and 0.9999"),
        (DROP | {"baseline": 1}, "rules.r.baseline: must be between 0.0001 and 0.9999"),
        (DROP | {"baseline": 25}, "such as 0.25 for 25 %; 25"),
        (DROP | {"baseline": float("nan")}, "rules.r.baseline"),
        (RISE | {"baseline": 0.95}, "rules.r.baseline: must be between 0.0001 and 0.9499"),
        (DROP | {"budget_days": 0}, "rules.r.budget_days: must be between 1 and 36500 days; 0 is not"),
        (DROP | {"min_entries": 0}, "rules.r.min_entries: must be between 1 and"),
        (DROP | {"min_events": 0}, "rules.r.min_events: must be between 1 and"),
        (DROP | {"name": ""}, "rules[0].name: must have 1 to 100 characters"),
        (DROP | {"name": "x" * 101}, "rules[0].name: must have 1 to 100 characters"),
    ],
)
def test_a_rule_that_cannot_be_judged_is_refused_by_name(rule, sentence):
    """It would end every worker with the first matured day."""
    with pytest.raises(ConfigError) as refused:
        definitions_from({"rules": [rule]})
    assert sentence in str(refused.value)


def test_two_rules_of_one_name_are_refused():
    """One state would be judged by both."""
    with pytest.raises(ConfigError, match="rules: 'r' stands there twice"):
        definitions_from({"rules": [DROP, RISE]})


@pytest.mark.parametrize(
    ("raw", "rule", "sentence"),
    [
        ({}, RISE | {"cut": "product"}, "can never fire, there is no such KPI; write one of: all, pipeline, team, rep, lead_source"),
        ({}, RISE | {"cut": "stage"}, "a response_rise by stage can never fire"),
        ({}, DROP | {"cut": "customer"}, "a conversion_drop by customer can never fire"),
        ({"cuts": ["all", "team"]}, DROP, "cuts does not have stage; add it there, or write one of: all, team"),
        ({"cuts": ["stage"]}, RISE, "cuts does not have team; add it there, or take the rule out"),
        ({"kpis": {"stage_conversion": False}}, DROP, "kpis switches off stage_conversion; switch one on, or write one of: all"),
    ],
)  # fmt: skip
def test_a_rule_that_can_never_fire_is_refused(raw, rule, sentence):
    """With the cuts in which it could."""
    with pytest.raises(ConfigError) as refused:
        definitions_from({**raw, "rules": [rule]})
    assert str(refused.value).startswith("rules.r.cut: ")
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("raw", "in_force"),
    [
        ({}, ["conversion-drop", "response-rise"]),
        ({"cuts": ["all", "team"]}, ["response-rise"]),
        ({"kpis": {"stage_conversion": False}}, ["response-rise"]),
        ({"cuts": ["all"]}, []),
    ],
)
def test_a_default_rule_without_anything_to_judge_is_not_in_force(raw, in_force):
    """Nobody asked for it, so it is no mistake."""
    assert [rule.name for rule in definitions_from(raw).rules] == in_force


def test_what_is_said_of_rises_is_what_the_detector_can():
    """A baseline that is nearly everybody has no alternative above it."""
    assert detector.rises(0.9499)
    assert not detector.rises(detector.HIGHEST)


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


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"currency: \xff\n", "is not UTF-8"),
        (b"business: {holidays: [2026-02-30]}\n", "business.holidays: '2026-02-30' is no date"),
        (b"- currency: EUR\n", "expected a mapping"),
        (b"[]\n", "expected a mapping"),
        (b"false\n", "expected a mapping"),
        (b"partitions: !!int x\n", "is not valid YAML"),
        (b"a: [\n", "is not valid YAML"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, text, sentence):
    """Whatever is in it."""
    (tmp_path / "dealpulse.yaml").write_bytes(text)
    with pytest.raises(ConfigError) as refused:
        read_definitions(tmp_path / "dealpulse.yaml")
    assert sentence in str(refused.value)


@pytest.mark.parametrize("text", ["", "# nothing yet\n"])
def test_an_empty_file_gives_the_defaults(tmp_path: Path, text):
    """It says nothing."""
    (tmp_path / "dealpulse.yaml").write_text(text)
    assert read_definitions(tmp_path / "dealpulse.yaml") == read_definitions(None)


def test_dates_may_stand_there_as_people_write_them(tmp_path: Path):
    """With quotes and without."""
    (tmp_path / "dealpulse.yaml").write_text("business: {holidays: [2026-01-01, '2026-12-25']}\n")
    assert read_definitions(tmp_path / "dealpulse.yaml").business.holidays == ("2026-01-01", "2026-12-25")


def test_a_secret_comes_from_a_file_and_does_not_show_itself(tmp_path: Path):
    """The file's text without white space around it; repr hides it."""
    (tmp_path / "token").write_text("xoxb-1\n")
    found = read_environment({"DEALPULSE_SLACK_TOKEN_FILE": str(tmp_path / "token")})
    assert (str(found.slack_token), "xoxb-1" in repr(found)) == ("xoxb-1", False)


@pytest.mark.parametrize(
    ("content", "sentence"), [(None, "cannot read"), (b"\xff\xfe", "is not UTF-8"), (b" \n", "is empty")]
)
def test_a_secret_that_cannot_be_read_is_refused(tmp_path: Path, content, sentence):
    """Silence would send alerts to the log."""
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    with pytest.raises(ConfigError, match=f"^DEALPULSE_SLACK_TOKEN_FILE: .*{sentence}"):
        read_environment({"DEALPULSE_SLACK_TOKEN_FILE": str(tmp_path / "token")})


@pytest.mark.parametrize(
    ("said", "in_yaml", "refused"),
    [
        ({}, None, False),
        ({"SLACK_TOKEN": "xoxb-1"}, None, True),
        ({"SLACK_TOKEN": "xoxb-1"}, "#sales", False),
        ({"SLACK_TOKEN": "xoxb-1", "SLACK_CHANNEL": "#sales"}, None, False),
        ({"SLACK_WEBHOOK": "https://hooks"}, None, False),
        ({"SLACK_TOKEN": "xoxb-1", "SLACK_WEBHOOK": "https://hooks"}, None, False),
    ],
)
def test_a_bot_without_a_channel_tells_nobody(said, in_yaml, refused):
    """Where no webhook does."""
    environment = read_environment({f"DEALPULSE_{name}": value for name, value in said.items()})
    sentence = without_channel(environment, definitions_from({"slack": {"channel": in_yaml}}))
    assert bool(sentence) is refused
    assert sentence is None or sentence.startswith("DEALPULSE_SLACK_CHANNEL is missing")


def test_where_each_value_came_from_is_known(tmp_path: Path):
    """Also of one that says what is the default anyway."""
    (tmp_path / "token").write_text("xoxb-1")
    environ = {
        "DEALPULSE_WATCHDOG": "60", "DEALPULSE_SLACK_TOKEN_FILE": str(tmp_path / "token"), "DEALPULSE_BROKER": "kafka://a:1",
        "DEALPULSE_LOG_LEVEL": "",
    }  # fmt: skip
    found = variables(environ, broker="kafka://b:2", config=None)
    names = ("watchdog", "slack_token", "broker", "config", "log_level")
    assert [found[name].source for name in names] == ["environment", "file", "option", "default", "default"]
    assert (found["broker"].text, found["watchdog"].text) == ("kafka://b:2", "60")


def test_a_secret_given_twice_is_refused(tmp_path: Path):
    """Nobody can tell which one was meant."""
    with pytest.raises(ConfigError, match="DEALPULSE_SLACK_TOKEN"):
        read_environment({"DEALPULSE_SLACK_TOKEN": "a", "DEALPULSE_SLACK_TOKEN_FILE": str(tmp_path / "token")})


@pytest.mark.parametrize("url", ["http://host:9092", "host", "kafka://host", "kafka://"])
def test_a_wrong_broker_address_is_refused(url):
    """Host and port are needed, and the scheme is ours."""
    with pytest.raises(ConfigError, match="DEALPULSE_BROKER"):
        bootstrap(Environment(broker=url))


SASL = {
    "DEALPULSE_SECURITY_PROTOCOL": "sasl_ssl",
    "DEALPULSE_SASL_MECHANISM": "scram-sha-512",
    "DEALPULSE_SASL_USERNAME": "us",
    "DEALPULSE_SASL_PASSWORD": "secret",
}


@pytest.mark.parametrize("missing", ["MECHANISM", "USERNAME", "PASSWORD"])
def test_sasl_needs_all_of_it(missing):
    """Else the client says so, in librdkafka's words and too late."""
    left = {name: value for name, value in SASL.items() if not name.endswith(missing)}
    with pytest.raises(
        ConfigError, match=f"^DEALPULSE_SASL_{missing} is missing, and DEALPULSE_SECURITY_PROTOCOL is SASL_SSL"
    ):
        read_environment(left)


@pytest.mark.parametrize("name", ["SSL_CA_LOCATION", "SSL_CERTIFICATE_LOCATION", "SSL_KEY_LOCATION"])
def test_a_certificate_that_is_not_there_is_refused(name):
    """By the variable, with the path."""
    with pytest.raises(ConfigError, match=f"^DEALPULSE_{name}: cannot read /nowhere/ca.pem: No such file"):
        read_environment({f"DEALPULSE_{name}": "/nowhere/ca.pem"})


def test_certificates_may_be_a_folder(tmp_path: Path):
    """Of authorities; a key is a file."""
    assert read_environment({"DEALPULSE_SSL_CA_LOCATION": str(tmp_path)}).ssl_ca_location == str(tmp_path)
    with pytest.raises(ConfigError, match="DEALPULSE_SSL_KEY_LOCATION: cannot read"):
        read_environment({"DEALPULSE_SSL_KEY_LOCATION": str(tmp_path)})


def test_tls_and_sasl_reach_every_client():
    """Under the names that librdkafka knows."""
    found = client_settings(read_environment(SASL))
    assert (found["security.protocol"], found["sasl.mechanism"]) == ("SASL_SSL", "SCRAM-SHA-512")
    assert (found["sasl.username"], found["sasl.password"]) == ("us", "secret")


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("WEB_PORT", "web", "'web' is no port"),
        ("WEB_PORT", "65536", "'65536' is no port"),
        ("WEB_PORT", "²", "'²' is no port"),
        ("WATCHDOG", "29", "'29' is no limit; write seconds from 30 to 86400, or 0"),
        ("WATCHDOG", "1m", "'1m' is no limit"),
        ("READY_LAG", "-1", "'-1' is no number of records"),
        ("LOG_LEVEL", "FOO", "'FOO' is not known; write one of DEBUG, INFO, WARNING"),
        ("SECURITY_PROTOCOL", "FOO", "'FOO' is not known; write one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"),
        ("SASL_MECHANISM", "GSSAPI", "'GSSAPI' is not known; write one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512"),
        ("BROKER", "nonsense", "'nonsense' is no broker address"),
    ],
)
def test_a_wrong_value_is_refused(name, value, sentence):
    """With what may be written."""
    with pytest.raises(ConfigError) as refused:
        read_environment({f"DEALPULSE_{name}": value})
    assert f"DEALPULSE_{name}: {sentence}" in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "hooks.slack.com/services/T0/B0/very-secret",
        "http://hooks.slack.com/services/T0/B0/very-secret",
        "https:///services/T0/B0/very-secret",
        "https://hooks.slack.com:very-secret/",
        "https://[very-secret/",
        "https://hooks.slack.com/ very-secret",
        "https://hooks.slack.com/very-secret\n",
    ],
)
def test_a_webhook_that_is_no_address_is_refused_without_being_shown(url):
    """It is the secret."""
    with pytest.raises(ConfigError, match="DEALPULSE_SLACK_WEBHOOK: this is no address of a webhook") as refused:
        read_environment({"DEALPULSE_SLACK_WEBHOOK": url})
    assert "very-secret" not in str(refused.value)


def test_a_token_that_is_none_is_refused_without_being_shown():
    """Two of them in one file, say."""
    with pytest.raises(ConfigError, match="DEALPULSE_SLACK_TOKEN: this is no token") as refused:
        read_environment({"DEALPULSE_SLACK_TOKEN": "xoxb-1\nxoxb-2"})
    assert "xoxb" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["https://hooks.slack.com/services/T0/B0/x", "http://127.0.0.1:8080/x", "http://localhost/x"]
)
def test_a_webhook_is_https_or_here(url):
    """A test may stand in for Slack on this machine."""
    assert read_environment({"DEALPULSE_SLACK_WEBHOOK": url}).slack_webhook == url


def test_numbers_are_read():
    """0 switches the watchdog off."""
    found = read_environment({"DEALPULSE_WATCHDOG": "0", "DEALPULSE_READY_LAG": "5", "DEALPULSE_WEB_PORT": "80"})
    assert (found.watchdog, found.ready_lag, found.web_port) == (0, 5, 80)
    assert (Environment().watchdog, Environment().ready_lag) == (60, 10_000)


# ------------------------------------------------------------------ the file itself


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("currency: EUR\ncurrency: USD\n", "'currency' stands there twice"),
        ("reps:\n  anna: {team: A}\n  anna: {team: B}\n", "'anna' stands there twice"),
        ("reps: &a {anna: *a}\n", "an alias (*) stands within what it names, or it is nested too deeply"),
        ("targets: &a [*a]\n", "an alias (*) stands within what it names"),
        ("targets: " + "[" * 1_000 + "]" * 1_000, "is nested too deeply"),
        ("a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
            f"{one}: &{one} [{','.join([f'*{before}'] * 10)}]\n" for before, one in zip("abcdef", "bcdefg", strict=True)
        ), "more than 1,000,000 values; do aliases (*) multiply?"),
        ("# " + "x" * (4 << 20), "is larger than 4,194,304 bytes"),
    ],
    ids=["key-twice", "rep-twice", "itself", "itself-in-a-list", "deep", "billion-laughs", "large"],
)  # fmt: skip
def test_a_file_that_says_too_much_is_refused(tmp_path, text, sentence):
    """In one sentence, and soon."""
    file = tmp_path / "dealpulse.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as refused:
        read_definitions(file)
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("yes", "yes"), ("No", "No"), ("on", "on"), ("OFF", "OFF"), ("y", "y"), ("true", True), ("False", False),
        ("10:30", "10:30"), ("9:00", "9:00"), ("1:30.5", "1:30.5"), ("2026-01-01", "2026-01-01"),
        ("2026-01-01 10:00:00", "2026-01-01 10:00:00"), ("010", "010"), ("007", "007"), ("-01", "-01"), ("08.5", "08.5"),
        ("1_000", "1_000"), ("0b1", "0b1"), ("0o17", 15), ("0x1F", 31), ("0", 0), ("-12", -12), ("+3", 3), ("0.5", 0.5),
        (".5", 0.5), ("1e3", 1000.0), ("-1.5E+2", -150.0), ("5.", 5.0), (".inf", float("inf")), ("null", None), ("~", None),
        ("", None), ("=", "="), ("'1'", "1"), ("\u0661", "\u0661"),
    ],
)  # fmt: skip
def test_values_are_read_as_yaml_1_2_reads_them(tmp_path, said, read):
    """And what begins with 0 as it stands there: an id is no number, and nobody writes an octal one."""
    file = tmp_path / "dealpulse.yaml"
    file.write_text(f"a: {said}\n")
    found = read_raw(file)["a"]
    assert (found, type(found)) == (read, type(read))


def test_a_name_is_the_text_that_stands_there(tmp_path):
    """Whatever it looks like; quotes make no difference."""
    names = ["007", "7", "yes", "No", "1e3", "10:30", "2026-01-01", "null", "true", "0x1F", "1.50"]
    file = tmp_path / "dealpulse.yaml"
    file.write_text("reps:\n" + "".join(f"  {name}: {{}}\n" for name in names))
    assert list(read_definitions(file).reps) == names
    file.write_text("reps: {7: {}, '7': {}}\n")
    with pytest.raises(ConfigError, match="'7' stands there twice"):
        read_definitions(file)


@pytest.mark.parametrize(
    "text", ["1e3", "007", "yes", "0o17", "10:30", "2026-01-01", "null", "~", "", "<<", " a\n b", "\u2028"]
)
def test_what_is_written_is_read_back(tmp_path, text):
    """A replay's worker gets what its command has read."""
    raw = {"a": text, "b": {text: [1, 1.5, 1e17, True, None]}}
    file = tmp_path / "dealpulse.yaml"
    file.write_text(text_of(raw), encoding="utf-8")
    assert read_raw(file) == raw


def test_what_is_merged_may_be_said_otherwise(tmp_path):
    """A key of its own beside << is no repetition."""
    file = tmp_path / "dealpulse.yaml"
    file.write_text("reps:\n  anna: &one {team: A, region: EU}\n  boris: {<<: *one, team: B}\n  clara: {<<: *one}\n")
    reps = read_definitions(file).reps
    assert [(rep.team, rep.region) for rep in reps.values()] == [("A", "EU"), ("B", "EU"), ("A", "EU")]


@pytest.mark.parametrize("name", [" anna ", "", "a\nb", "\ud800", "x" * 257, "\x1b[31m"])
def test_a_name_that_no_event_can_say_is_refused(name):
    """Of a rep, a pipeline and a rule alike."""
    stages = [{"name": "New", "kind": "lead"}]
    for raw in (
        {"reps": {name: {"team": "T"}}},
        {"pipelines": {name: {"stages": stages}}},
        {"pipelines": {"default": {"stages": [*stages, {"name": name}]}}},
    ):
        with pytest.raises(ConfigError, match="is no name"):
            definitions_from(raw)


def test_a_password_in_the_address_is_not_shown():
    """Nor kept where it is."""
    with pytest.raises(ConfigError, match="a user or password does not belong into the address") as refused:
        read_environment({"DEALPULSE_BROKER": "kafka://us:very-secret@h:9092"})
    assert "very-secret" not in str(refused.value)
    assert "very-secret" not in repr(variables({"DEALPULSE_BROKER": "kafka://us:very-secret@h:9092"}))


def test_an_app_id_that_no_topic_can_begin_with_is_refused():
    """The broker would refuse the changelogs, and name no setting."""
    with pytest.raises(ConfigError, match="DEALPULSE_APP_ID: 'a/b' cannot begin the name of a topic"):
        read_environment({"DEALPULSE_APP_ID": "a/b"})
