"""Does somebody hear of a drop, once, and once of its end?  From CRM events to a message at a Slack that is not Slack's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import orjson
import pytest
import yaml

from streams.cli.read import last_of_every_key
from streams.cli.rebuild import rebuild
from streams.cli.settings import Settings
from streams.config import definitions_from
from streams.environment import Secret
from streams.kafka.generations import in_force
from streams.topics import ALERT_EVENTS, ALERTS, STAGE_CHANGE
from tests.flow.schemas import faults

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
FIRST_DAY = datetime(2024, 3, 4, 9, tzinfo=UTC)
A_DAY, ENTRIES = timedelta(days=1), 40
RAW = {
    "partitions": 4,
    "windows": ["day", "all"],
    "cuts": ["all", "stage"],
    "pipelines": {
        "default": {
            "maturity_days": 1,
            "stages": [{"name": "New", "kind": "lead"}, {"name": "Qualified"}, {"name": "Won", "kind": "won"}],
        }
    },
    "rules": [{"name": "drop", "kind": "conversion_drop", "cut": "stage", "baseline": 0.5, "budget_days": 365}],
    "slack": {"catch_up_limit": "20000d"},
}


def leads(first: int, last: int, advance: int) -> list[tuple[str, dict]]:
    """Return the leads of some days, of which so many a day are qualified, and half of those are won."""
    events = []
    for day in range(first, last):
        for number in range(ENTRIES):
            deal, at = f"d{day}-{number}", FIRST_DAY + day * A_DAY
            stages = ["New", "Qualified", "Won"][: 1 + (number < advance) + (number < advance // 2)]
            for hour, stage in enumerate(stages):
                when = (at + timedelta(hours=hour)).isoformat()
                events.append((STAGE_CHANGE, {"event_id": hour, "occurred_at": when, "deal_id": deal, "to_stage": stage}))
    return events


def micros(day: int) -> int:
    return int((FIRST_DAY + day * A_DAY).timestamp()) * 1_000_000


def test_a_drop_is_told_once_and_its_end_once(broker, install, slack):
    """Half of the leads advance, then one in twenty for four days, then half again; a restart tells nobody again."""
    installation = install(broker, RAW, slack_webhook=Secret(slack.url))

    def transitions() -> list[str]:
        return [orjson.loads(message.value())["transition"] for message in installation.messages(ALERT_EVENTS)]

    with installation.worker() as worker:
        installation.send_events(leads(0, 6, 20))
        installation.process_all(worker, as_of=micros(9))
        assert (transitions(), slack.heard) == ([], [])
        installation.send_events(leads(9, 13, 2))
        installation.process_all(worker, as_of=micros(16))
        assert transitions() == ["fired"]
        assert len(slack.heard) == 1
        assert "Conversion dropped" in slack.heard[0]["text"]
        assert "New" in slack.heard[0]["text"]
    with installation.worker() as worker:
        installation.send_events(leads(16, 22, 20))
        installation.process_all(worker, as_of=micros(25))
        assert transitions() == ["fired", "resolved"]
    assert len(slack.heard) == 2
    assert "Resolved" in slack.heard[1]["text"]
    assert slack.url.encode() not in worker.log.read_bytes()
    for topic in (ALERTS, ALERT_EVENTS):
        assert list(faults(installation.messages(topic))) == []


def test_a_rebuild_tells_nobody_again(embedded_broker, install, slack):
    """An alert that fires goes on firing under the new generation, without a word; its end is told once.

    It is old by then: that people were told of the beginning is known to the new generation, too.
    """
    installation = install(embedded_broker, RAW, slack_webhook=Secret(slack.url))
    with installation.worker() as worker:
        installation.send_events(leads(0, 6, 20))
        installation.process_all(worker, as_of=micros(9))
        installation.send_events(leads(9, 13, 2))
        installation.process_all(worker, as_of=micros(16))
    assert len(slack.heard) == 1
    before = installation.messages(ALERT_EVENTS)
    raw = {**RAW, "reps": {"anna": {"team": "Central"}}, "slack": {"catch_up_limit": "2d"}}
    (installation.folder / "dealpulse.yaml").write_text(yaml.safe_dump(raw))
    installation.settings = Settings(installation.settings.environment, definitions_from(raw))
    summary = rebuild(installation.settings)
    assert (summary["generation"], summary["alert_events"]) == (2, 0)
    assert [message.value() for message in installation.messages(ALERT_EVENTS)] == [one.value() for one in before]
    [alert] = last_of_every_key(installation.client, ALERTS).values()
    assert orjson.loads(alert)["state"] == "firing"
    with installation.worker() as worker:
        worker.wait_until_ready()
        installation.settings = Settings(in_force(installation.settings.environment), installation.settings.definitions)
        installation.send_events(leads(16, 22, 20))
        installation.process_all(worker, as_of=micros(25))
    events = [orjson.loads(message.value()) for message in installation.messages(ALERT_EVENTS)]
    assert [event["transition"] for event in events] == ["fired", "resolved"]
    assert events[1]["revision"] > orjson.loads(alert)["revision"] > events[0]["revision"]
    assert len(slack.heard) == 2
    assert "Resolved" in slack.heard[1]["text"]
