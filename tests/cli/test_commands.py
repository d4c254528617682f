"""Does every command end with the right exit code, its result on stdout and one clear line on stderr?"""

import os
import re
from importlib import metadata

import orjson
import pytest
from confluent_kafka import KafkaError, KafkaException

from streams.cli import show
from streams.cli.settings import CheckError, read_settings
from streams.config import WINDOWS
from streams.kafka import admin
from streams.kpis.catalogue import CATALOGUE

NOWHERE = "kafka://127.0.0.1:1"


def test_the_catalogue_has_every_kpi(run):
    """With names, formula, base, cuts and windows."""
    found = orjson.loads(run("kpis", "--json").stdout)
    assert [one["id"] for one in found] == [kpi.id for kpi in CATALOGUE]
    rate = next(one for one in found if one["id"] == "win_rate")
    assert rate["names"]["uk"] == "Відсоток виграних"
    assert rate["windows"] == list(WINDOWS)


def test_a_level_has_the_window_now(run):
    """And no other."""
    found = orjson.loads(run("kpis", "--json").stdout)
    assert next(one["windows"] for one in found if one["id"] == "active_deals") == ["now"]


def test_the_catalogue_is_readable_when_piped(run):
    """The ids are not cut off."""
    said = run("kpis").stdout
    assert [kpi.id for kpi in CATALOGUE if kpi.id not in said] == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--broker", "nonsense", "topics", "check"], "DEALPULSE_BROKER: 'nonsense' is no broker address"),
        (["topics", "check", "--broker", "http://x:1"], "unknown scheme"),
        (["rules", "check", "--config", "/nowhere.yaml"], "config file /nowhere.yaml"),
        (["show", "win_rat"], "did you mean win_rate?"),
        (["show", "win_rate", "--by", "tem"], "did you mean team?"),
        (["show", "--window", "8d"], "did you mean"),
        (["replay"], "Missing argument"),
        (["replay", "/nowhere.jsonl"], "does not exist"),
        (["replay", "-", "--speed", "fast"], "is no speed"),
        (["replay", "-", "--speed", "0"], "is no speed"),
        (["replay", "-", "--speed", "nan"], "is no speed"),
        (["replay", "-", "--topic", "crm.activities"], "is not one of"),
        (["replay", "-", "-"], "once only"),
        (["replay", "-", "--out", "x.jsonl"], "--embedded"),
        (["replay", "-", "--as-of", "2026-01-01"], "--embedded"),
        (["replay", "-", "--embedded", "--as-of", "soon"], "is no time"),
        (["replay", "-", "--embedded", "--as-of", "2999-01-01"], "lies in the future"),
        (["replay", "-", "--embedded", "--out", "/no/where/x.jsonl"], "there is no folder /no/where"),
        (["demo", "--json"], "--json belongs to --once"),
        (["nonsense"], "No such command"),
    ],
)
def test_wrong_usage_and_configuration_exit_with_2(run, arguments, sentence):
    """Before anything is started or sent."""
    result = run(*arguments)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert not result.stdout


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"LOG_LEVEL": "FOO"}, "DEALPULSE_LOG_LEVEL: 'FOO' is not known"),
        ({"SECURITY_PROTOCOL": "FOO"}, "DEALPULSE_SECURITY_PROTOCOL: 'FOO' is not known"),
        ({"SLACK_TOKEN": "xoxb-1"}, "DEALPULSE_SLACK_CHANNEL is missing"),
        ({"SECURITY_PROTOCOL": "SSL", "SSL_CA_LOCATION": __file__}, "ssl.ca.location failed"),
    ],
)
def test_a_wrong_environment_exits_with_2(run, monkeypatch, said, sentence):
    """Before a broker is asked."""
    for name, value in said.items():
        monkeypatch.setenv(f"DEALPULSE_{name}", value)
    result = run("topics", "check")
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert "the broker says" not in result.stderr


def test_an_unknown_setting_is_named(run, tmp_path):
    """With the one that was meant."""
    file = tmp_path / "dealpulse.yaml"
    file.write_text("curency: EUR\n")
    result = run("rules", "check", "--config", str(file))
    assert result.exit_code == 2
    assert result.stderr == "dealpulse: dealpulse.yaml: unknown setting curency; did you mean 'currency'?\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["show"], ["audit"], ["dlq", "list"], ["topics", "check"], ["topics", "create"],
        ["rebuild"], ["rebuild", "--abandon"], ["replay", "-"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_without_a_broker_every_command_says_where_it_looked_and_what_to_do(run, monkeypatch, arguments):
    """One line, exit code 1, after one deadline: not that of a delivery, nor that of a read."""
    monkeypatch.setattr(admin, "DEADLINE", 0.5)
    result = run("--broker", NOWHERE, *arguments, input='{"topic": "crm.activity", "value": {"rep_id": "anna"}}\n')
    assert result.exit_code == 1
    assert re.fullmatch(
        r"dealpulse: no broker answers at 127\.0\.0\.1:1 \(.*\); is it running, and is DEALPULSE_BROKER right\?\n",
        result.stderr,
    )


@pytest.mark.slow
def test_without_a_broker_doctor_finds_that_wrong(run, monkeypatch):
    """Among what else it found, with the same sentence."""
    monkeypatch.setattr(admin, "DEADLINE", 0.5)
    result = run("--broker", NOWHERE, "doctor", "--json")
    assert result.exit_code == 1
    (wrong,) = [one for one in orjson.loads(result.stdout)["findings"] if not one["ok"]]
    assert wrong["said"].startswith("no broker answers at 127.0.0.1:1 (")


@pytest.mark.parametrize(
    ("raised", "code", "sentence"),
    [
        (CheckError("it is wrong"), 1, "dealpulse: it is wrong\n"),
        (KafkaException(KafkaError(KafkaError._ALL_BROKERS_DOWN, "all down")), 1, "dealpulse: the broker says: "),
        (KeyboardInterrupt(), 130, "dealpulse: stopped\n"),
        (OSError(28, "No space left on device"), 1, "dealpulse: standard output: No space left on device\n"),
        (OSError(13, "Permission denied", "events.jsonl"), 1, "dealpulse: events.jsonl: Permission denied\n"),
        (ValueError("a fault of ours"), 70, "ValueError: a fault of ours\ndealpulse: internal error\n"),
    ],
)
def test_what_a_command_raises_becomes_an_exit_code(run, monkeypatch, raised, code, sentence):
    """A fault of ours shows all of it; everything else is one line."""

    def fail(*_, **__):
        raise raised

    monkeypatch.setattr(show, "last_of_every_key", fail)
    result = run("show")
    assert result.exit_code == code
    assert sentence in result.stderr


def test_rules_are_printed_with_what_they_compare(run):
    """The baseline is given or learned."""
    found = orjson.loads(run("rules", "check", "--json").stdout)
    assert {rule["kind"] for rule in found} == {"conversion_drop", "response_rise"}
    assert "learned from at least 300" in run("rules", "check").stdout


def test_what_is_said_of_a_rule_is_what_it_keeps(run, tmp_path):
    """The budget is that of each rep, and an average; entries alone are no baseline."""
    file = tmp_path / "dealpulse.yaml"
    rule = "{name: drop, kind: conversion_drop, cut: rep, budget_days: %d, min_entries: %d}"
    for number, days, entries in ((1, "1 day", "1 matured entry"), (90, "90 days", "90 matured entries")):
        file.write_text(f"rules: [{rule % (number, number)}]\n")
        said = " ".join(run("rules", "check", "--config", str(file)).stdout.split())
        assert "false alarms of each, at most" in said
        assert f"one in {days}, on average" in said
        assert f"learned from at least {entries} and 14 days" in said


def test_rules_that_are_not_in_force_are_not_printed(run, tmp_path):
    """A default rule whose cut is off, without a word of it."""
    file = tmp_path / "dealpulse.yaml"
    file.write_text("cuts: [all, team]\n")
    result = run("rules", "check", "--config", str(file))
    assert "response-rise" in result.stdout
    assert "conversion-drop" not in result.stdout
    file.write_text("cuts: [all]\n")
    result = run("rules", "check", "--config", str(file))
    assert (result.exit_code, result.stdout) == (0, "")
    assert "no alert rule is in force" in result.stderr


def test_a_rule_that_ends_every_worker_is_found_before_one_starts(run, tmp_path):
    """The same check as at start."""
    file = tmp_path / "dealpulse.yaml"
    file.write_text("rules: [{name: drop, kind: conversion_drop, cut: stage, baseline: 1.0}]\n")
    result = run("rules", "check", "--config", str(file))
    assert result.exit_code == 2
    assert result.stderr.startswith("dealpulse: rules.drop.baseline: must be between 0.0001 and 0.9999")


def test_a_result_is_not_written_over_what_is_read(run, tmp_path):
    """Nor where nothing can be written; both are said before the work."""
    file = tmp_path / "same.jsonl"
    file.write_text("{}\n")
    result = run("replay", str(file), "--embedded", "--out", str(file))
    assert (result.exit_code, file.read_text()) == (2, "{}\n")
    assert "is read, too; write to another file" in result.stderr


def test_the_file_of_definitions_may_be_a_pipe(tmp_path):
    """It is read once; a replay's worker gets what was read."""
    reading, writing = os.pipe()
    os.write(writing, b"currency: USD\nwindows: [all]\n")
    os.close(writing)
    settings = read_settings(None, f"/dev/fd/{reading}")
    os.close(reading)
    assert (settings.definitions.currency, settings.raw) == ("USD", {"currency": "USD", "windows": ["all"]})


def test_the_version_is_told(run):
    """That of the package."""
    assert run("--version").stdout == f"dealpulse {metadata.version('dealpulse')}\n"


def test_abandon_takes_no_other_option(run):
    """There is no summary to print, and nothing is computed."""
    for option in ("--json", "--from-what-is-left"):
        result = run("rebuild", "--abandon", option)
        assert (result.exit_code, "--abandon takes no other option" in result.stderr) == (2, True)
