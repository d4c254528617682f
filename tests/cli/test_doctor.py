"""Does doctor list every setting without its secrets, and see what is misspelt?"""

from types import SimpleNamespace

import orjson
import pytest

from streams.cli import doctor
from streams.cli.settings import Settings
from streams.cli.settle import Look
from streams.config import Definitions
from streams.environment import Environment, variables


def test_every_variable_is_listed():
    """Whether it is set or not."""
    names = [one.name for one in doctor.masked(variables({}))]
    assert names == ["DEALPULSE_" + field.upper() for field in Environment.__struct_fields__]


def test_secrets_are_masked():
    """Wherever doctor shows them."""
    shown = str(doctor.masked(variables({"DEALPULSE_SLACK_TOKEN": "xoxb-1", "DEALPULSE_SASL_PASSWORD": "hunter2"})))
    assert "xoxb-1" not in shown
    assert "hunter2" not in shown
    assert shown.count("***") == 2


def test_where_a_value_came_from_is_shown(run, monkeypatch, tmp_path):
    """An option, a file, the environment, or nowhere."""
    (tmp_path / "token").write_text("xoxb-1")
    monkeypatch.setenv("DEALPULSE_SLACK_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("DEALPULSE_WATCHDOG", "60")
    monkeypatch.setattr(doctor, "examined", lambda _: [])
    found = orjson.loads(run("doctor", "--broker", "kafka://127.0.0.1:1", "--json").stdout)["variables"]
    sources = {one["name"].removeprefix("DEALPULSE_"): one["source"] for one in found}
    assert (sources["BROKER"], sources["SLACK_TOKEN"]) == ("option", "file")
    assert (sources["WATCHDOG"], sources["WEB_PORT"]) == ("environment", "default")
    assert "xoxb-1" not in run("doctor").stdout


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("LOG_LEVEL", "FOO", "DEALPULSE_LOG_LEVEL: 'FOO' is not known"),
        ("WEB_PORT", "web", "DEALPULSE_WEB_PORT: 'web' is no port"),
        ("SECURITY_PROTOCOL", "SASL_SSL", "DEALPULSE_SASL_MECHANISM is missing"),
        ("SSL_CA_LOCATION", "/nowhere/ca.pem", "DEALPULSE_SSL_CA_LOCATION: cannot read /nowhere/ca.pem"),
        ("BROKER", "nonsense", "DEALPULSE_BROKER: 'nonsense' is no broker address"),
        ("CONFIG", "/nowhere/dealpulse.yaml", "config file /nowhere/dealpulse.yaml: No such file"),
    ],
)
def test_a_wrong_setting_is_a_finding_below_the_table(run, monkeypatch, name, value, sentence):
    """Who asks what is wrong sees all settings, and which of them it is."""
    monkeypatch.setenv(f"DEALPULSE_{name}", value)
    result = run("doctor")
    assert result.exit_code == 1
    assert "DEALPULSE_SSL_KEY_LOCATION" in result.stdout
    assert sentence in result.stdout
    assert not result.stderr


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"SLACK_TOKEN": "xoxb-1"}, "wrong slack: DEALPULSE_SLACK_CHANNEL is missing"),
        ({"SECURITY_PROTOCOL": "SSL", "SSL_CA_LOCATION": __file__}, "wrong broker: Failed to create admin client: ssl.ca"),
    ],
)
def test_what_only_the_whole_shows_is_a_finding(run, monkeypatch, said, sentence):
    """A bot with nowhere to post, a certificate that is none."""
    for name, value in said.items():
        monkeypatch.setenv(f"DEALPULSE_{name}", value)
    monkeypatch.setattr(doctor, "_broker", lambda *_: doctor.Finding("broker", ok=False, said="not asked"))
    result = run("doctor")
    assert result.exit_code == 1
    assert sentence in result.stdout


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("DEALPULSE_BORKER", "did you mean DEALPULSE_BROKER?"),
        ("DEALPULSE_QWXZ", "take it away"),
        ("DEALPULSE_SLACK_CHANNEL_FILE", "did you mean DEALPULSE_SLACK_CHANNEL?"),  # only secrets come from files
    ],
)
def test_a_misspelt_variable_is_found(name, remedy):
    """It would be ignored silently otherwise."""
    found = list(doctor._misspelt({name: "x", "DEALPULSE_SLACK_TOKEN_FILE": "x", "PATH": "x"}))
    assert [(one.ok, one.remedy) for one in found] == [(False, remedy)]


def test_what_is_wrong_makes_the_exit_code(run, monkeypatch):
    """And is said with its remedy."""
    findings = [doctor.Finding("a", ok=True, said="fine"), doctor.Finding("b", ok=False, said="bad", remedy="mend it")]
    monkeypatch.setattr(doctor, "examined", lambda _: findings)
    result = run("doctor")
    assert result.exit_code == 1
    assert "wrong b: bad\n      → mend it\n1 thing is wrong." in result.stdout
    assert orjson.loads(run("doctor", "--json").stdout)["ok"] is False
    monkeypatch.setattr(doctor, "examined", lambda _: findings[:1])
    assert run("doctor").exit_code == 0


WAITS = frozenset({("crm.activity", 0)})


@pytest.mark.parametrize(
    ("committed", "waiting", "ok"),
    [
        pytest.param(({}, {}), (WAITS, WAITS), False, id="nobody takes them"),
        pytest.param(({}, {}), (WAITS, WAITS | {("crm.activity", 1)}), False, id="nobody takes them, and more come"),
        pytest.param(({}, {("crm.activity", 0): 5}), (WAITS, WAITS), True, id="somebody is at them"),
        pytest.param(({}, {("crm.activity", 0): 5}), (WAITS, frozenset()), True, id="all are taken"),
    ],
)
def test_whether_somebody_takes_what_waits(monkeypatch, committed, waiting, ok):
    """As long as a flush lingers nothing is committed, and nobody is dead."""
    looks = iter(map(Look, committed, waiting))
    slept: list[float] = []
    monkeypatch.setattr(doctor, "Group", lambda _: SimpleNamespace(look=lambda: next(looks), close=lambda: None))
    monkeypatch.setattr(doctor.time, "sleep", slept.append)
    assert doctor._processing(Settings(Environment(), Definitions(flush_interval=30.0))).ok is ok
    assert slept == [31.0]
