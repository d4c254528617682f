"""Are the sample events of the compose file events that its workers accept?"""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path

import orjson
import pytest

from streams.cli.lines import key_of
from streams.config_file import read_definitions
from streams.events.contract import Limits, Rejection
from streams.events.decode import decode_activity, decode_stage_change
from streams.topics import ACTIVITY, STAGE_CHANGE

DEPLOY = Path(__file__).parents[2] / "deploy"
DECODE = {STAGE_CHANGE: decode_stage_change, ACTIVITY: decode_activity}


@pytest.fixture(scope="module")
def feed():
    spec = importlib.util.spec_from_file_location("feed", DEPLOY / "feed.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_committed_configuration_is_what_feed_py_makes(feed):
    committed = (DEPLOY / "dealpulse.yaml").read_text(encoding="utf-8")
    assert committed == feed.settings(), "run: python deploy/feed.py --definitions > deploy/dealpulse.yaml"


def test_every_event_is_accepted_and_knows_its_pipeline(feed):
    definitions = read_definitions(DEPLOY / "dealpulse.yaml")
    limits = Limits(max_future=int(definitions.max_future * 1e6), zone=definitions.zone)
    stages = {(name, stage.name) for name, one in definitions.pipelines.items() for stage in one.stages}
    received = int(time.time() * 1e6)
    lines = feed.lines()
    assert len(lines) > 15_000
    for line in lines:
        record = orjson.loads(line)
        value = orjson.dumps(record["value"])
        event = DECODE[record["topic"]](key_of(record["topic"], value), value, received, limits)
        assert not isinstance(event, Rejection), event
        if record["value"].get("to_stage"):
            assert (record["value"].get("pipeline") or "default", record["value"]["to_stage"]) in stages
