"""Is nobody woken by a replay, and does everybody hear afterwards of what fires now?  Times are counted in days from now: a replay is long ago."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
import yaml

from streams.cli.rebuild import rebuild
from streams.cli.settings import Settings
from streams.config import definitions_from
from streams.environment import Secret
from streams.kafka.generations import in_force
from streams.topics import ALERT_EVENTS, STAGE_CHANGE
from tests.flow.schemas import faults

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]
A_DAY = timedelta(days=1)
BEGIN, LIMIT = 40, 8  # days ago
ENTRIES, GOOD, BAD = 40, 20, 2  # a day
STAGES = [{"name": "New", "kind": "lead"}, {"name": "Qualified"}, {"name": "Won", "kind": "won"}]
RAW = {
    "partitions": 4,
    "windows": ["day", "all"],
    "publish_interval": "0.2s",
    "cuts": ["all", "stage"],
    "pipelines": {name: {"maturity_days": 1, "stages": STAGES} for name in ("north", "south", "east")},
    "rules": [{"name": "drop", "kind": "conversion_drop", "cut": "stage", "baseline": 0.5, "budget_days": 365}],
    "slack": {"catch_up_limit": f"{LIMIT}d"},
}
NOW = datetime.now(UTC)


def ago(days: float) -> datetime:
    return NOW - days * A_DAY


def micros(days: float) -> int:
    return int(ago(days).timestamp() * 1_000_000)


def leads(pipeline: str, first: int, last: int, advance: int) -> list[tuple[str, dict[str, Any]]]:
    """Return the leads from so many days ago until so many, of which so many a day are won on the spot."""
    events = []
    for day in range(first, last, -1):
        for number in range(ENTRIES):
            said = {"deal_id": f"{pipeline}-{day}-{number}", "pipeline": pipeline}
            for minute, stage in enumerate(["New", "Qualified", "Won"] if number < advance else ["New"]):
                at = (ago(day) + timedelta(minutes=minute)).isoformat()
                events.append((STAGE_CHANGE, {**said, "event_id": minute, "occurred_at": at, "to_stage": stage}))
    return events


def a_month() -> list[tuple[str, dict[str, Any]]]:
    """Return a month of history: in the north a drop that ended in it, in the south and the east one that goes on."""
    return sorted(
        leads("north", BEGIN, 34, GOOD) + leads("north", 34, 28, BAD) + leads("north", 28, 9, GOOD)
        + leads("south", BEGIN, 16, GOOD) + leads("south", 16, 9, BAD)
        + leads("east", BEGIN, 14, GOOD) + leads("east", 14, 9, BAD),
        key=lambda event: event[1]["occurred_at"],
    )  # fmt: skip


def until(true: Callable[[], object], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.05)


def test_a_replay_wakes_nobody_and_one_digest_says_what_fires_now(broker, install, slack):
    """A month of old events, then the present: no message, one message, and one of the end of an alert that was in it."""
    installation = install(broker, RAW, slack_webhook=Secret(slack.url))

    def transitions() -> list[str]:
        events = [orjson.loads(message.value()) for message in installation.messages(ALERT_EVENTS)]
        return sorted(
            f"{one['entity']['pipeline']} {one['transition']}" for one in events if one["entity"]["stage"] == "New"
        )

    with installation.worker() as worker:
        installation.send_events(a_month())
        installation.process_all(worker, as_of=micros(LIMIT + 0.5))
        assert transitions() == ["east fired", "north fired", "north resolved", "south fired"]
        assert slack.heard == []
        installation.process_all(worker, as_of=micros(LIMIT - 0.5))
        [digest] = slack.texts
        assert digest.startswith("2 alerts fire that nobody was told of: Conversion dropped: ")
        assert [f"pipeline {name}" in digest for name in ("east", "north", "south")] == [True, False, True]
    with installation.worker() as worker:
        installation.process_all(worker, as_of=micros(LIMIT - 1))
        assert len(slack.heard) == 1
        installation.send_events(leads("south", 7, 1, GOOD))
        installation.process_all(worker, as_of=micros(0))
        assert transitions() == ["east fired", "north fired", "north resolved", "south fired", "south resolved"]
    assert len(slack.heard) == 2
    assert slack.texts[1].startswith("Resolved: pipeline south")
    assert list(faults(installation.messages(ALERT_EVENTS))) == []


def test_a_replay_of_what_stays_old_is_silent(embedded_broker, install, slack):
    """No more is coming, and it is long ago: nothing fires now."""
    installation = install(embedded_broker, RAW, slack_webhook=Secret(slack.url))
    with installation.worker() as worker:
        installation.send_events(a_month())
        installation.process_all(worker)
    with installation.worker() as worker:
        installation.process_all(worker)
    assert slack.heard == []


def test_a_worker_that_lives_comes_to_the_present_by_its_clock(embedded_broker, install, slack):
    """Its ticks say what time it is when all has been read; nobody else has to."""
    installation = install(embedded_broker, RAW, slack_webhook=Secret(slack.url))
    installation.send_events(a_month())
    with installation.worker(ticks=True) as worker:
        worker.wait_until_ready()
        until(lambda: slack.heard)
        time.sleep(2)
    [digest] = slack.texts
    assert digest.startswith("2 alerts fire that nobody was told of: ")


def test_a_worker_killed_while_it_tells_leaves_it_to_the_next_one(embedded_broker, install, slack):
    """Slack has the message and has not said so: it is told once more, and not lost."""
    installation = install(embedded_broker, RAW, slack_webhook=Secret(slack.url))
    slack.silent = True
    with installation.worker() as worker:
        installation.send_events(a_month())
        installation.process_all(worker, as_of=micros(LIMIT + 0.5))
        installation.tick(micros(LIMIT - 0.5))
        until(lambda: slack.heard)
        worker.process.kill()
        worker.process.wait(10)
    slack.silent = False
    told = len(slack.heard)
    with installation.worker() as worker:
        installation.process_all(worker, as_of=micros(LIMIT - 1))
    assert len(slack.heard) == told + 1
    assert len(set(slack.texts)) == 1


@pytest.mark.kafka
def test_of_several_workers_each_tells_what_it_holds_when_all_are_past_history(apache_kafka, install, slack):
    """Whoever judged it: each alert is in one digest, and what ended in none."""
    installation = install(apache_kafka, RAW, slack_webhook=Secret(slack.url))
    with installation.worker() as one, installation.worker() as other:
        installation.send_events(a_month())
        installation.process_all(one, other, as_of=micros(LIMIT + 0.5))
        assert slack.heard == []
        installation.process_all(one, other, as_of=micros(LIMIT - 0.5))
    assert all("nobody was told of" in digest for digest in slack.texts)
    named = sorted(name for digest in slack.texts for name in ("east", "north", "south") if f"pipeline {name}" in digest)
    assert named == ["east", "south"]


def test_a_rebuild_says_nothing_and_loses_nothing(embedded_broker, install, slack):
    """Who was not told before the switch is told when history is over, once, by a worker of the new generation."""
    installation = install(embedded_broker, RAW, slack_webhook=Secret(slack.url))
    with installation.worker() as worker:
        installation.send_events(a_month())
        installation.process_all(worker, as_of=micros(LIMIT + 0.5))
    raw = {**RAW, "reps": {"anna": {"team": "Central"}}}
    (installation.folder / "dealpulse.yaml").write_text(yaml.safe_dump(raw))
    installation.settings = Settings(installation.settings.environment, definitions_from(raw))
    assert rebuild(installation.settings)["alert_events"] == 0
    with installation.worker() as worker:
        worker.wait_until_ready()
        installation.settings = Settings(in_force(installation.settings.environment), installation.settings.definitions)
        installation.process_all(worker)
        assert slack.heard == []
        installation.process_all(worker, as_of=micros(LIMIT - 0.5))
    [digest] = slack.texts
    assert [f"pipeline {name}" in digest for name in ("east", "north", "south")] == [True, False, True]
