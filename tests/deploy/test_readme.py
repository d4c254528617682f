"""Does the README say what is true?"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from streams.environment import ENV_PREFIX, Environment
from streams.topics import all_topics

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def test_every_setting_is_in_the_table_with_its_default():
    rows = dict(re.findall(r"^\| `(DEALPULSE_\w+)` \| (?:`([^`]*)`)? ?\|", README, re.MULTILINE))
    default = Environment()
    known = {
        ENV_PREFIX + name.upper(): str(value) if (value := getattr(default, name)) is not None else ""
        for name in Environment.__struct_fields__
    }
    assert rows == known


def test_every_topic_is_named():
    known = {topic.name for topic in all_topics("<app>")}
    named = set(re.findall(r"`((?:crm|dealpulse)\.[a-z0-9.-]+)`", README))
    assert named - {"dealpulse.yaml"} == {name for name in known if not name.startswith("<app>")}
    assert "`<app>-<room>-changelog`" in README


def test_every_link_leads_somewhere():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_every_make_target_is_there_and_explains_itself():
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    explained = set(re.findall(r"^([a-z-]+):.*## \S", MAKEFILE, re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z-]+)", README))
    assert targets == explained
    assert named <= targets
    assert set(re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[1].split()) == targets


def test_make_without_arguments_lists_the_targets():
    done = subprocess.run(["make", "-s", "-C", str(ROOT)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "make demo" in done.stdout


def test_every_dependency_has_its_reason():
    reasons = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    for name in {re.match(r"[A-Za-z0-9-]+", one)[0] for one in wanted}:
        assert re.search(rf"^\|[^|]*\b{re.escape(name)}\b[^|]*\|", reasons, re.MULTILINE), name


SUBSCRIBER = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1]


@pytest.mark.slow
def test_subscriber_of_the_readme_reads_the_kpi_topic():
    """The example, unchanged but for the broker's address, prints what a worker's producer sends, compressed and committed."""
    from confluent_kafka import Producer

    from streams.kafka.embedded import embedded_broker

    value = f'{{"value": 0.5, "text": "{"long enough to be compressed " * 9}"}}'
    with embedded_broker() as broker:
        address = broker.url.removeprefix("kafka://")
        producer = Producer(
            {"bootstrap.servers": address, "compression.type": "lz4", "transactional.id": "readme", "log_level": 0}
        )
        producer.init_transactions(20)
        producer.begin_transaction()
        producer.produce("dealpulse.kpi.latest.v1", key=b'["win_rate"]', value=value.encode())
        producer.produce("dealpulse.kpi.latest.v1", key=b'["revenue"]', value=None)
        producer.commit_transaction(20)
        code = SUBSCRIBER.replace("127.0.0.1:9092", address)
        reader = subprocess.Popen([sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, text=True)
        try:
            lines = {reader.stdout.readline(), reader.stdout.readline()}
        finally:
            reader.kill()
            reader.wait(10)
            reader.stdout.close()
    assert lines == {f'["win_rate"] {value}\n', '["revenue"] gone\n'}
