"""Does an event that was refused count after it is sent again, once, and does nothing else change?"""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from click.testing import CliRunner

from streams.cli.main import cli
from streams.cli.rebuild import rebuild
from streams.events.contract import REPLAY_OF
from streams.topics import ACTIVITY, DEAD_LETTER, STAGE_CHANGE
from tests.flow.installation import Installation
from tests.flow.schemas import faults

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
RAW = {"partitions": 2, "windows": ["all"], "cuts": ["all", "rep"], "max_future": "1s"}
AHEAD = 8.0  # seconds; more than max_future, and than sending takes


def created(deal: str, at: str) -> dict[str, Any]:
    return {"event_id": "1", "occurred_at": at, "deal_id": deal, "rep_id": "anna", "to_stage": "New"}


def in_seconds(seconds: float) -> str:
    return datetime.fromtimestamp(time.time() + seconds, UTC).isoformat()


def replay(installation: Installation, *options: str) -> Any:
    environment = installation.settings.environment
    arguments = ["--broker", environment.broker, "--config", environment.config, "dlq", "replay", "--json", *options]
    result = CliRunner().invoke(cli, arguments, env={"DEALPULSE_APP_ID": environment.app_id})
    assert result.exit_code == 0, result.output
    found = orjson.loads(result.stdout)
    assert found.pop("seconds") >= 0
    return found


def letters(installation: Installation) -> list[dict[str, Any]]:
    return [orjson.loads(message.value()) for message in installation.messages(DEAD_LETTER)]


def new_leads(installation: Installation) -> Any:
    return installation.records()["new_leads", "all", "all", None, None]["value"]


def process(installation: Installation) -> None:
    with installation.worker() as worker:
        installation.process_all(worker)


def test_what_was_refused_for_the_clock_counts_after_a_replay_and_only_once(broker, install):
    """What stays bad is not sent; the second replay sends nothing; numbers are those of the audit and of a rebuild."""
    installation = install(broker, RAW)
    installation.send_events([(STAGE_CHANGE, created(f"d{number}", "2024-05-01T10:00:00Z")) for number in range(50)])
    installation.send_events([(STAGE_CHANGE, created("ahead", in_seconds(AHEAD)))])
    due = time.time() + AHEAD
    installation.send_events([(ACTIVITY, {"event_id": 1, "occurred_at": "yesterday", "deal_id": "d1", "type": "call"})])
    process(installation)
    assert Counter(letter["reason"] for letter in letters(installation)) == {"time_out_of_range": 1, "bad_time": 1}
    assert new_leads(installation) == 50
    time.sleep(max(0.0, due - time.time()))

    plan = {"skipped": {"still_refused": 1}, "by_reason": {"time_out_of_range": 1}}
    assert replay(installation, "--dry-run") == {"sent": 0, "would_send": 1, **plan}
    assert replay(installation, "--yes") == {"sent": 1, **plan}
    assert replay(installation, "--yes") == {"sent": 0, "skipped": {"sent_already": 1, "still_refused": 1}, "by_reason": {}}
    process(installation)
    assert new_leads(installation) == 51
    assert installation.audit()["different"] == 0
    assert len(letters(installation)) == 2
    one, two = [message for message in installation.messages(STAGE_CHANGE) if message.key() == b"ahead"]
    assert (two.value(), two.partition()) == (one.value(), one.partition())
    assert dict(two.headers()) == {REPLAY_OF: f"{STAGE_CHANGE}/{one.partition()}@{one.offset()}".encode()}

    numbers = installation.numbers("dealpulse.kpi.latest.v1")
    rebuild(installation.settings)
    assert installation.numbers("dealpulse.kpi.latest.v1") == numbers
    assert len(letters(installation)) == 2


def test_a_record_that_is_refused_again_names_the_first(broker, install):
    """However many letters an event has got, it counts once, and the record that is sent names the first."""
    installation = install(broker, RAW)
    event, due = orjson.dumps(created("d", in_seconds(AHEAD))), time.time() + AHEAD
    installation.send(STAGE_CHANGE, event, b"d")
    installation.sent()
    (first,) = installation.messages(STAGE_CHANGE)
    origin = f"{STAGE_CHANGE}/{first.partition()}@{first.offset()}"
    # As if it had been sent again by somebody whose clock is ahead.
    installation.producer.produce(STAGE_CHANGE, event, b"d", headers=[(REPLAY_OF, origin.encode())])
    installation.sent()
    process(installation)
    assert [letter.get("replay_of") for letter in letters(installation)] == [None, origin]
    assert list(faults(installation.messages(DEAD_LETTER))) == []
    time.sleep(max(0.0, due - time.time()))
    assert replay(installation, "--limit", "1")["sent"] == 1
    assert replay(installation, "--origin", origin)["sent"] == 1
    assert replay(installation, "--yes") == {"sent": 0, "skipped": {"sent_already": 2}, "by_reason": {}}
    process(installation)
    assert [dict(one.headers() or []) for one in installation.messages(STAGE_CHANGE)[1:]] == [
        {REPLAY_OF: origin.encode()}
    ] * 3
    assert new_leads(installation) == 1
    assert len(letters(installation)) == 2
