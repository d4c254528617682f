"""Does `rules backtest` read every kind of history, choose, count, and say it clearly?"""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jsonschema
import orjson
import pytest
import yaml
from referencing import Registry, Resource

from streams.cli import backtest as command_module
from streams.cli import in_step as in_step_module
from streams.cli.in_step import in_step, topics_in_step
from streams.kafka.embedded import embedded_broker
from streams.topics import ACTIVITY, STAGE_CHANGE

SCHEMAS = Path(__file__).parents[2] / "schemas"
FIRST = datetime(2024, 3, 4, 9, tzinfo=UTC)
RAW = {
    "partitions": 4,
    "pipelines": {
        "default": {
            "maturity_days": 1,
            "stages": [{"name": "New", "kind": "lead"}, {"name": "Qualified"}, {"name": "Won", "kind": "won"}],
        }
    },
    "rules": [
        {"name": "drop", "kind": "conversion_drop", "cut": "stage", "baseline": 0.5},
        {"name": "slow", "kind": "response_rise", "cut": "all"},
    ],
}


def leads(*a_day):
    """Return stage events and calls: 20 leads a day, of which so many are qualified, half of these won; all are called."""
    for day, advance in enumerate(a_day):
        for number in range(20):
            deal, at = f"d{day}-{number}", FIRST + timedelta(days=day, minutes=number)
            for hour, stage in enumerate(["New", "Qualified", "Won"][: 1 + (number < advance) + (number < advance // 2)]):
                when = (at + timedelta(hours=hour)).isoformat()
                yield STAGE_CHANGE, {"event_id": hour, "occurred_at": when, "deal_id": deal, "to_stage": stage}
            when = (at + timedelta(minutes=10)).isoformat()
            yield ACTIVITY, {"event_id": "c", "occurred_at": when, "deal_id": deal, "type": "call", "direction": "outbound"}


# Half of the leads advance, then one of twenty for a week, then half again.
EVENTS = sorted(leads(*[10] * 6, *[1] * 7, *[10] * 12), key=lambda one: one[1]["occurred_at"])


def lines(events):
    return [orjson.dumps({"topic": topic, "value": value}) for topic, value in events]


def written(path, found):
    path.write_bytes(b"".join(line + b"\n" for line in found))
    return str(path)


@pytest.fixture
def backtest(run, tmp_path):
    """Run it as JSON under RAW, changed as said, and return what it printed."""

    def call(*arguments, raw=RAW, **more):
        config = tmp_path / "dealpulse.yaml"
        config.write_text(yaml.safe_dump(raw))
        result = run("rules", "backtest", "--config", str(config), "--json", *arguments, **more)
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    return call


@pytest.fixture
def history(tmp_path):
    return written(tmp_path / "history.jsonl", lines(EVENTS))


@pytest.fixture
def expected(backtest, history):
    return without_time(backtest(history))


def without_time(found):
    return {name: value for name, value in found.items() if name != "seconds"}


# ------------------------------------------------------------------ what is said


def test_a_history_is_judged_from_a_file(backtest, history):
    """The drop of the seventh to the thirteenth day, told when their cohorts were complete, and its end."""
    found = backtest(history)
    assert (found["events"], found["rejected"], found["late"]) == (len(EVENTS), {}, 0)
    assert found["watermark"] == EVENTS[-1][1]["occurred_at"]
    assert found["seconds"] > 0
    (alert,) = [one for one in found["alerts"] if one["entity"]["stage"] == "New"]
    assert (alert["rule"], alert["state"], alert["simulated"]) == ("drop", "resolved", True)
    assert "2024-03-12T01:00:00+00:00" <= alert["at"] < "2024-03-18"
    assert "2024-03-19T01:00:00+00:00" <= alert["resolved_at"] < "2024-03-29"
    took = datetime.fromisoformat(alert["resolved_at"]) - datetime.fromisoformat(alert["at"])
    assert alert["duration_s"] == took.total_seconds()
    assert (alert["k"], alert["n"], alert["baseline"]) == (alert["n"] // 20, alert["n"], 0.5)
    assert alert["text"].startswith("Conversion dropped: pipeline default, stage New")
    assert alert["resolved_text"].startswith("Resolved: ")


def test_rules_are_summed_up(backtest, history):
    """Who was judged, who was learning, how often it fired beside what is promised."""
    drop, slow = backtest(history)["rules"]
    assert (drop["rule"], drop["cut"], drop["judged"], drop["fired"], drop["firing"]) == ("drop", "stage", 2, 1, 0)
    assert drop["fired_per_entity_year"] == pytest.approx(1 / drop["entity_years"])
    assert drop["promised_per_entity_year"] == pytest.approx(365.25 / 365)
    assert drop["median_duration_s"] > 0
    assert (slow["judged"], slow["fired"], slow["median_duration_s"]) == (1, 0, None)


def test_an_alert_keeps_to_the_schema_of_alerts(backtest, history):
    """But for what is said of its end."""
    schema = json.loads((SCHEMAS / "alert.v1.json").read_text())
    validator = jsonschema.Draft202012Validator(
        schema, registry=Registry().with_resource("", Resource.from_contents(schema))
    )
    for alert in backtest(history)["alerts"]:
        more = {"resolved_at", "resolved_text", "duration_s"}
        assert more <= alert.keys()
        assert list(validator.iter_errors({name: value for name, value in alert.items() if name not in more})) == []


def test_people_get_tables(run, history, tmp_path):
    """With begin, end, counts and text of each alert, and a line for each rule."""
    config = tmp_path / "dealpulse.yaml"
    config.write_text(yaml.safe_dump(RAW))
    result = run("rules", "backtest", history, "--config", str(config))
    assert result.exit_code == 0
    for text in (
        "drop",
        "default / New",
        "2024-03-12 01:00",
        "1 of 20",
        "50.0%",
        "Conversion dropped",
        "still learning",
        "1.00",
    ):
        assert text in result.stdout
    assert f"{len(EVENTS):,} events judged, up to 2024-03-28 1" in result.stderr
    assert "nobody was told" in result.stderr
    cut = written(tmp_path / "cut", lines(one for one in EVENTS if one[1]["occurred_at"] < "2024-03-15"))
    assert "still firing" in run("rules", "backtest", cut, "--config", str(config)).stdout


def test_a_narrow_terminal_has_no_columns_that_the_text_repeats(run, history, monkeypatch, tmp_path):
    """The text says entity, counts, share and baseline."""
    config = tmp_path / "dealpulse.yaml"
    config.write_text(yaml.safe_dump(RAW))
    monkeypatch.setattr(command_module, "_WIDE", 1_000)
    result = run("rules", "backtest", history, "--config", str(config))
    assert "k of n" not in result.stdout
    assert "fired at" in result.stdout


def test_from_and_to_choose_what_is_reported(backtest, history, expected):
    """By when alerts fired; the history before is folded all the same."""
    fired = expected["alerts"][0]["at"]
    assert backtest(history, "--from", fired)["alerts"] == expected["alerts"]
    assert backtest(history, "--to", fired)["alerts"] == []
    assert backtest(history, "--from", fired, "--to", "2024-03-20")["rules"][0]["fired"] == 1
    chosen = backtest(history, "--from", "2024-03-20")
    assert (chosen["alerts"], chosen["rules"][0]["fired"], chosen["events"]) == ([], 0, len(EVENTS))


def test_the_rules_are_those_that_are_given(backtest, history):
    """Another baseline, another verdict."""
    rule = {**RAW["rules"][0], "baseline": 0.04}
    assert backtest(history, raw={**RAW, "rules": [rule]})["alerts"] == []


def test_the_clock_goes_on_to_as_of(backtest, tmp_path):
    """The cohorts of the last two days are complete only later."""
    file = written(tmp_path / "short.jsonl", lines(one for one in EVENTS if one[1]["occurred_at"] < "2024-03-11"))
    assert backtest(file)["alerts"] == []
    file = written(tmp_path / "long.jsonl", lines(one for one in EVENTS if one[1]["occurred_at"] < "2024-03-12"))
    assert backtest(file, "--as-of", "2024-03-10")["alerts"] == []
    found = backtest(file, "--as-of", "2024-03-14T12:00:00Z")
    assert [one["resolved_at"] for one in found["alerts"] if one["entity"]["stage"] == "New"] == [None]
    assert found["watermark"] == "2024-03-14T12:00:00+00:00"


def test_without_rules_it_says_so(run, history, tmp_path):
    """As `rules check` does."""
    config = tmp_path / "dealpulse.yaml"
    config.write_text("rules: []\n")
    result = run("rules", "backtest", history, "--config", str(config))
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith("no alert rule is in force")
    found = json.loads(run("rules", "backtest", history, "--config", str(config), "--json").stdout)
    assert (found["alerts"], found["rules"]) == ([], [])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["/nowhere.jsonl"], "does not exist"),
        (["-", "-"], "once only"),
        (["-", "--topic", "crm.activities"], "is not one of"),
        (["--topic", "crm.activity"], "--topic belongs to FILES"),
        (["-", "--from", "soon"], "--from: 'soon' is no time"),
        (["-", "--to", "soon"], "--to: 'soon' is no time"),
        (["-", "--from", "2024"], "--from: '2024' is no time"),
        (["-", "--from", "2024-03-02", "--to", "2024-03-01"], "--from must be before --to"),
        (["-", "--from", "2024-03-01", "--to", "2024-03-01"], "--from must be before --to"),
        (["-", "--as-of", "2999-01-01"], "lies in the future"),
    ],
)
def test_wrong_usage_exits_with_2(run, arguments, sentence):
    """Before anything is read."""
    result = run("rules", "backtest", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert sentence in result.stderr


# ------------------------------------------------------------------ what is read


def test_lines_that_are_refused_are_counted_by_reason(backtest, expected, history, tmp_path):
    """Those that name no topic beside those that the rooms refuse; references are no events."""
    wrong = [
        b"not json",
        b"{}",
        orjson.dumps({"topic": STAGE_CHANGE, "value": {"event_id": 1, "deal_id": "x"}}),
        orjson.dumps({"topic": STAGE_CHANGE, "value": {"event_id": 1, "deal_id": "x", "occurred_at": "2999-01-01"}}),
        orjson.dumps({"topic": "crm.reference", "value": {"kind": "rep", "id": "anna"}}),
    ]
    file = written(tmp_path / "wrong.jsonl", [*wrong, *lines(EVENTS)])
    found = backtest(file)
    assert found["rejected"] == {"not_json": 1, "missing_field": 2, "time_out_of_range": 1}
    assert {**without_time(found), "rejected": {}} == expected


def test_lines_that_name_no_topic_are_named(run, tmp_path):
    """By the place of the first, as replay does; else a forgotten --topic looks like a history without alerts."""
    file = written(tmp_path / "bare.jsonl", [b'{"event_id": 1}'] * 3)
    result = run("rules", "backtest", "--json", str(file))
    assert f"lines that were not judged: 3; the first: {file}:1: missing_field" in result.stderr


@pytest.mark.parametrize("kind", ["stdin", "gz", "two files", "bare", "by topic, the later first"])
def test_the_same_history_is_read_from_every_kind_of_file(backtest, expected, tmp_path, kind):
    """As replay takes them; several files are put in order of time."""
    half = len(EVENTS) // 2
    of_topic = {topic: [one for one in EVENTS if one[0] == topic] for topic in (ACTIVITY, STAGE_CHANGE)}
    if kind == "stdin":
        found = backtest("-", input=b"\n".join(lines(EVENTS)))
    elif kind == "gz":
        file = tmp_path / "x.gz"
        file.write_bytes(gzip.compress(b"\n".join(lines(EVENTS))))
        found = backtest(str(file))
    elif kind == "two files":
        later = written(tmp_path / "b", lines(EVENTS[half:]))
        found = backtest(later, written(tmp_path / "a", lines(EVENTS[:half])))
    elif kind == "bare":
        bare = written(tmp_path / "bare", [orjson.dumps(value) for _, value in of_topic[STAGE_CHANGE]])
        found = backtest(bare, written(tmp_path / "a", lines(of_topic[ACTIVITY])), "--topic", STAGE_CHANGE)
    else:
        found = backtest(*(written(tmp_path / topic, lines(events)) for topic, events in of_topic.items()))
    assert without_time(found) == expected


def test_a_torn_archive_is_a_clear_error(run, tmp_path):
    """And no report of the half that could be read."""
    file = tmp_path / "torn.gz"
    file.write_bytes(gzip.compress(b"\n".join(lines(EVENTS)))[:-12])
    result = run("rules", "backtest", str(file))
    assert (result.exit_code, result.stdout) == (1, "")
    assert "torn.gz: " in result.stderr


def test_a_file_that_is_not_in_order_is_said_to_be(run, tmp_path):
    """What is judged is what a live run would have, but it is hardly what was meant."""
    file = written(tmp_path / "x", lines(reversed(EVENTS)))
    assert "events come more than a day behind a later one" in run("rules", "backtest", file).stderr


# ------------------------------------------------------------------ in step


def test_streams_are_put_in_order_of_time():
    """What has no time, or is late, keeps its place in its own stream."""
    streams = [iter(one) for one in ([1, 4, 2, 6], [3, None, 5], [])]
    assert [item for _, item in in_step(streams, lambda one: one)] == [1, 3, None, 4, 2, 5, 6]


@pytest.fixture(scope="module")
def topics(tmp_path_factory):
    """Return the settings of clients of a broker that holds the history, in four partitions."""
    from streams.cli.feed import Feed
    from streams.cli.send import Sender
    from streams.config import definitions_from
    from streams.environment import Environment, client_settings
    from streams.kafka.admin import create_topics

    file = written(tmp_path_factory.mktemp("topics") / "history", lines(EVENTS))
    with embedded_broker() as broker:
        environment = Environment(broker=broker.url)
        create_topics(environment, definitions_from(RAW))
        client = client_settings(environment)
        Feed(Sender(client)).files((file,))
        yield broker.url, client


@pytest.mark.slow
@pytest.mark.parametrize(("waiting", "most"), [(50_000, len(EVENTS)), (80, 10 + 20)])
def test_partitions_are_read_in_step_however_few_records_wait(topics, monkeypatch, waiting, most):
    """Every record once; of one partition never more than it may have and one look brings."""
    monkeypatch.setattr(in_step_module, "_WAITING", waiting)
    monkeypatch.setattr(in_step_module, "_LEAST", 10)
    monkeypatch.setattr(in_step_module, "_LOOK", 20)
    queues, look = [], in_step_module._Queues._look

    def noted(self):
        look(self)
        queues.append(max(map(len, self._queues.values())))

    monkeypatch.setattr(in_step_module._Queues, "_look", noted)
    values = [orjson.loads(message.value()) for _, message in topics_in_step(topics[1], (STAGE_CHANGE, ACTIVITY), at_of)]
    assert [one["occurred_at"] for one in values] == [one["occurred_at"] for _, one in EVENTS]
    assert sorted(map(orjson.dumps, values)) == sorted(orjson.dumps(one) for _, one in EVENTS)
    assert max(queues) <= most


def at_of(message):
    return datetime.fromisoformat(orjson.loads(message.value())["occurred_at"]).timestamp()


@pytest.mark.slow
def test_what_the_broker_holds_is_judged_without_a_trace(backtest, expected, topics):
    """The same alerts as of the file; no group, no record more."""
    from confluent_kafka.admin import AdminClient

    url, client = topics
    before = ends(client)
    assert without_time(backtest("--broker", url)) == expected
    assert backtest("--broker", url, "--from", "2024-03-20", "--to", "2024-03-21")["alerts"] == []
    assert ends(client) == before
    assert AdminClient(client).list_consumer_groups().result(10).valid == []


def ends(client):
    """Return where every partition of the installation ends."""
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({**client, "group.id": "looks"})
    found = {
        (name, one): consumer.get_watermark_offsets(TopicPartition(name, one), timeout=10)
        for name, topic in consumer.list_topics(timeout=10).topics.items()
        for one in topic.partitions
    }
    consumer.close()
    return found


@pytest.mark.slow
def test_without_topics_it_says_how_to_make_them(run):
    """And without a broker where it looked."""
    with embedded_broker() as broker:
        result = run("--broker", broker.url, "rules", "backtest", "--from", "2024-01-01")
    assert result.exit_code == 1
    assert "there is no topic crm.deal-stage-change; create it with: dealpulse topics create" in result.stderr
