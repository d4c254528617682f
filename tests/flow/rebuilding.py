"""An installation whose definitions change, and the command that computes its state anew."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import orjson
import yaml
from confluent_kafka import Consumer, TopicPartition

from streams.cli.settings import Settings
from streams.config import definitions_from
from streams.kafka.generations import in_force
from tests.faults import load
from tests.flow.installation import Installation

STAGES = [
    {"name": "New", "kind": "lead"}, {"name": "Qualified"}, {"name": "Meeting"}, {"name": "Proposal"},
    {"name": "Won", "kind": "won"}, {"name": "Lost", "kind": "lost"},
]  # fmt: skip
RAW = load.definitions(
    partitions=4, windows=["24h", "28d", "month", "all"], pipelines={"default": {"stages": STAGES}}, rules=[]
)
# Another team for two reps, one that nobody knows any more, and a stage of another kind.
CHANGED = {
    **RAW,
    "reps": {
        **{rep: told for rep, told in RAW["reps"].items() if rep != "rep-3"},
        "rep-1": {"team": "North", "region": "EU"},
        "rep-2": {"team": "North", "region": "EU"},
    },
    "pipelines": {"default": {"stages": [STAGES[0], {"name": "Qualified", "kind": "lead"}, *STAGES[2:]]}},
    "windows": ["24h", "28d", "week", "all"],
}
DEFINED = definitions_from(CHANGED)


def redefine(installation: Installation, raw: dict) -> None:
    (installation.folder / "dealpulse.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    installation.settings = Settings(installation.settings.environment, definitions_from(raw))


def feed(installation: Installation, count: int, seed: int) -> Counter[str]:
    records = list(load.records(count, seed))
    installation.send_all(records)
    return Counter(record.reason for record in records if record.reason)


def process_all(installation: Installation) -> None:
    """Run a worker as an operator does, until everything is processed."""
    given = installation.settings
    with installation.worker() as worker:
        worker.wait_until_ready()
        installation.settings = Settings(in_force(given.environment), given.definitions)
        try:
            installation.process_all(worker)
        finally:
            installation.settings = given


def variables(installation: Installation) -> dict[str, str]:
    environment = installation.settings.environment
    return {
        "DEALPULSE_APP_ID": environment.app_id,
        "DEALPULSE_BROKER": environment.broker,
        "DEALPULSE_CONFIG": environment.config,
    }


def run(installation: Installation, *options: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "streams.cli.main", "rebuild", *options],
        env={**os.environ, **variables(installation)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def rebuilt(installation: Installation) -> dict:
    done = run(installation, "--json")
    out, said = done.communicate(timeout=200)
    assert done.returncode == 0, said.decode()
    return orjson.loads(out)


def commit(installation: Installation, group: str, topic: str, offset: int) -> None:
    """Let a group have read partition 0 of a topic so far."""
    asking = Consumer({**installation.client, "group.id": group, "enable.auto.commit": False})
    asking.commit(offsets=[TopicPartition(topic, 0, offset)], asynchronous=False)
    asking.close()
