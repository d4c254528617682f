"""Does doctor list every setting without its secrets, and see what is misspelt?"""

import orjson
import pytest

from streams.cli import doctor
from streams.config import Environment, Secret, read_environment


def test_every_variable_is_listed():
    """Whether it is set or not."""
    names = [one.name for one in doctor.variables(Environment())]
    assert names == ["DEALPULSE_" + field.upper() for field in Environment.__struct_fields__]


def test_secrets_are_masked():
    """Wherever doctor shows them."""
    environment = read_environment({"DEALPULSE_SLACK_TOKEN": "xoxb-1", "DEALPULSE_SASL_PASSWORD": "hunter2"})
    shown = str(doctor.variables(environment))
    assert "xoxb-1" not in shown
    assert "hunter2" not in shown
    assert shown.count("***") == 2


def test_a_default_is_no_setting():
    """People see what they set themselves."""
    found = {one.name: one.given for one in doctor.variables(Environment(slack_token=Secret("x")))}
    assert found["DEALPULSE_SLACK_TOKEN"]
    assert not found["DEALPULSE_BROKER"]


@pytest.mark.parametrize(
    ("name", "remedy"),
    [("DEALPULSE_BORKER", "did you mean DEALPULSE_BROKER?"), ("DEALPULSE_QWXZ", "take it away")],
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
