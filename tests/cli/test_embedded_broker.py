"""Do the commands work against a broker, before any worker runs?"""

import orjson
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from streams import config
from streams.cli.read import every_record, last_of_every_key
from streams.cli.settings import Settings
from streams.cli.settle import Group
from streams.environment import Environment, client_settings
from streams.kafka import generations
from streams.kafka.embedded import embedded_broker
from streams.topics import ACTIVITY, KPI_LATEST, STAGE_CHANGE, all_topics

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def broker():
    with embedded_broker() as found:
        yield found.url


@pytest.fixture(scope="module")
def client(broker):
    return client_settings(Environment(broker=broker))


@pytest.fixture
def dealpulse(run, broker):
    return lambda *arguments, **more: run("--broker", broker, *arguments, **more)


def produce(client, topic, *records):
    producer = Producer({**client, "partitioner": "murmur2_random", "log_level": 0})
    for key, value in records:
        producer.produce(topic, value, key)
    assert not producer.flush(20)


def test_a_command_names_the_missing_topic(run):
    """And how to create it."""
    with embedded_broker() as found:
        for arguments in (["show"], ["replay", "-"], ["dlq", "list"]):
            result = run("--broker", found.url, *arguments, input="")
            assert result.exit_code == 1
            assert "create it with: dealpulse topics create" in result.stderr


def test_topics_are_created_once(dealpulse):
    """Then there is nothing to create, and check agrees."""
    created = dealpulse("topics", "create").stdout
    assert created == "" or all(f"created {topic.name}\n" in created for topic in all_topics("dealpulse"))
    assert "nothing to create" in dealpulse("topics", "create").stdout
    assert dealpulse("topics", "check").exit_code == 0
    assert orjson.loads(dealpulse("topics", "create", "--json").stdout) == {"ok": True, "created": [], "wrong": []}
    assert orjson.loads(dealpulse("topics", "check", "--json").stdout) == {"ok": True, "wrong": []}


def test_nothing_is_created_beside_wrong_topics(run, tmp_path):
    """New ones of the count that is wrong would stand in the way of the one that is right."""
    file = tmp_path / "dealpulse.yaml"
    file.write_text("partitions: 3\n")
    with embedded_broker() as found:
        admin = AdminClient({**client_settings(Environment(broker=found.url)), "log_level": 0})
        admin.create_topics([NewTopic(ACTIVITY, 3, 1)])[ACTIVITY].result(20)
        result = run("--broker", found.url, "topics", "create")
        assert result.exit_code == 1
        assert "nothing was created" in result.stderr
        assert "topic crm.activity has 3 partitions, not 12" in result.stderr
        assert "missing" not in result.stderr
        assert {topic.name for topic in all_topics("dealpulse")} & set(admin.list_topics(timeout=10).topics) == {ACTIVITY}
        assert run("--broker", found.url, "topics", "create", "--config", str(file)).exit_code == 0


def test_wrong_partition_counts_are_refused(dealpulse, tmp_path):
    """With a line for each."""
    dealpulse("topics", "create")
    file = tmp_path / "dealpulse.yaml"
    file.write_text("partitions: 7\n")
    result = dealpulse("topics", "check", "--config", str(file))
    assert result.exit_code == 1
    assert "topic crm.activity has 12 partitions, not 7" in result.stderr


def test_replay_sends_keys_values_and_the_time_of_sending(dealpulse, client):
    """And counts what it could not send."""
    dealpulse("topics", "create")
    lines = ['{"topic": "crm.deal-stage-change", "value": {"deal_id": 7, "amount": 1e400}}', "nonsense", "[]"]
    result = dealpulse("replay", "-", "--json", input="\n".join(lines))
    assert result.exit_code == 0
    found = orjson.loads(result.stdout)
    assert (found["sent"], found["not_sent"]) == (1, {"not_json": 1, "not_an_object": 1})
    assert "stdin:2: not_json" in result.stderr
    (message,) = [one for one in every_record(client, STAGE_CHANGE) if one.key() == b"7"]
    assert message.value() == b'{"deal_id": 7, "amount": 1e400}'


def test_a_replay_that_sent_nothing_does_not_end_well(dealpulse):
    """A table as a spreadsheet writes it: whoever deletes the file after a 0 has lost it.  An empty one is no mistake."""
    dealpulse("topics", "create")
    result = dealpulse("replay", "-", "--json", input="deal_id,amount\n7,1\n")
    assert result.exit_code == 1
    assert orjson.loads(result.stdout)["not_sent"] == {"not_json": 2}
    assert "not one line could be sent" in result.stderr
    assert dealpulse("replay", "-", "--json", input="").exit_code == 0


def test_keys_are_placed_as_java_clients_do(dealpulse, client):
    """Both topics of a deal meet in one partition, whoever wrote them."""
    dealpulse("topics", "create")
    deals = [f"place-{number}" for number in range(50)]
    for topic in (STAGE_CHANGE, ACTIVITY):
        dealpulse("replay", "-", "--topic", topic, input="\n".join(f'{{"deal_id": "{deal}"}}' for deal in deals))
    places = [
        {one.key(): one.partition() for one in every_record(client, topic) if (one.key() or b"").startswith(b"place-")}
        for topic in (STAGE_CHANGE, ACTIVITY)
    ]
    assert places[0] == places[1]
    assert len(places[0]) == 50


def test_show_reads_the_last_value_of_every_key(dealpulse, client, kpi):
    """A tombstone takes it away."""
    dealpulse("topics", "create")
    key, record = kpi("win_rate", "team", {"team": "Центр"}, "month", 0.25, start="2026-03-01T00:00:00+00:00")
    gone, other = kpi("win_rate", "team", {"team": "gone"}, "month", 0.5, start="2026-03-01T00:00:00+00:00")
    produce(client, KPI_LATEST, (key, record.replace(b"0.25", b"0.1")), (gone, other), (key, record), (gone, None))
    result = dealpulse("show", "win_rate", "--by", "team", "--json")
    assert [orjson.loads(line)["value"] for line in result.stdout.splitlines()] == [0.25]
    assert last_of_every_key(client, KPI_LATEST)[key] == record


def test_many_records_are_read_to_the_last(dealpulse, client):
    """The broker's own word on where a partition ends is not trusted."""
    dealpulse("topics", "create")
    produce(client, KPI_LATEST, *[(orjson.dumps(["calls", "all", [], "all", None, str(n)]), b"{}") for n in range(30_000)])
    assert len(last_of_every_key(client, KPI_LATEST, lambda key: key.startswith(b'["calls"'))) == 30_000


def test_an_audit_under_other_definitions_is_refused(run, tmp_path, monkeypatch):
    """With the worker's sentence instead of thousands of differences; state of which nothing is known is audited."""
    file = tmp_path / "dealpulse.yaml"
    file.write_text("currency: USD\n")
    with embedded_broker() as found:
        environment = Environment(broker=found.url)

        def audit(*more):
            return run("--broker", found.url, "audit", *more)

        run("--broker", found.url, "topics", "create")
        assert audit().exit_code == audit("--config", str(file)).exit_code == 0
        generations.for_worker(environment, config.Definitions())
        refused = audit("--config", str(file), "--json")
        assert (refused.exit_code, refused.stdout) == (1, "")
        assert "do not go with the present definitions: currency was EUR, is USD; set them back, or" in refused.stderr
        monkeypatch.setenv("DEALPULSE_APP_ID", "whoever")
        assert audit("--json").exit_code == 0


def test_doctor_sees_records_that_nobody_takes(dealpulse):
    """And what to do about it."""
    dealpulse("topics", "create")
    dealpulse("replay", "-", "--topic", ACTIVITY, input='{"rep_id": "anna"}')
    result = dealpulse("doctor", "--json")
    assert result.exit_code == 1
    wrong = [one for one in orjson.loads(result.stdout)["findings"] if not one["ok"]]
    assert [one["check"] for one in wrong] == ["processing"]
    assert "crm.activity" in wrong[0]["said"]
    assert "dealpulse worker" in wrong[0]["remedy"]


def test_the_group_is_seen_from_outside(dealpulse, broker):
    """What waits, without joining it."""
    dealpulse("topics", "create")
    dealpulse("replay", "-", "--topic", ACTIVITY, input='{"rep_id": "borys"}')
    group = Group(Settings(Environment(broker=broker), config.Definitions()))
    try:
        assert ACTIVITY in {topic for topic, _ in group.look().waiting}
    finally:
        group.close()
