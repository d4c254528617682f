"""Does Apache Kafka start with the settings of the compose file, and run a transaction?"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

from tests.brokers import apache
from tests.brokers.ports import reserved_port

SETTINGS = Path(__file__).parents[2] / "deploy" / "kafka" / "server.properties"

# What only holds inside the container: ports, names and the folder.
HERE = {
    "listeners": "HOST://127.0.0.1:{port},INSIDE://127.0.0.1:%d,CONTROLLER://127.0.0.1:{controller}",
    "advertised.listeners": "HOST://127.0.0.1:{port},INSIDE://127.0.0.1:%d",
    "controller.quorum.voters": "1@127.0.0.1:{controller}",
    "log.dirs": "{directory}/data",
}


def moved_here() -> str:
    text, inside = SETTINGS.read_text(encoding="utf-8"), reserved_port()
    for name, value in HERE.items():
        text, found = re.subn(
            rf"^{re.escape(name)}=.*$", f"{name}={value.replace('%d', str(inside))}", text, flags=re.MULTILINE
        )
        assert found == 1, name
    return text


@pytest.mark.slow
@pytest.mark.kafka
def test_kafka_runs_transactions_with_the_settings_of_the_compose_file(tmp_path, monkeypatch):
    try:
        apache.jars()
    except apache.MissingToolsError as missing:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(missing))
    monkeypatch.setattr(apache, "PROPERTIES", moved_here())
    with apache.apache_kafka(tmp_path) as url:
        servers = {"bootstrap.servers": url.removeprefix("kafka://")}
        admin = AdminClient(servers)
        broker = ConfigResource(ConfigResource.Type.BROKER, "1")
        found = admin.describe_configs([broker])[broker].result(20)
        assert found["transaction.abort.timed.out.transaction.cleanup.interval.ms"].value == "1000"
        assert found["auto.create.topics.enable"].value == "false"

        admin.create_topics([NewTopic("one", 1, 1)])["one"].result(20)
        producer = Producer({**servers, "transactional.id": "t"})
        producer.init_transactions(30)
        producer.begin_transaction()
        producer.produce("one", b"committed")
        producer.commit_transaction(20)

        consumer = Consumer({**servers, "group.id": "g", "auto.offset.reset": "earliest"})
        try:
            consumer.subscribe(["one"])
            message = consumer.poll(30)
        finally:
            consumer.close()
    assert message is not None
    assert message.value() == b"committed"
