"""Does an event that was refused count after it is sent again, once, and does nothing else change?"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from base64 import b64encode
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result
from confluent_kafka import Consumer, TopicPartition

from streams.cli.commands import cli
from streams.cli.lines import Outgoing
from streams.cli.rebuild import rebuild
from streams.cli.send import Sender
from streams.cli.settings import CheckError
from streams.events.contract import REPLAY_OF
from streams.topics import ACTIVITY, DEAD_LETTER, DLQ_REPLAYS, STAGE_CHANGE
from tests.flow.installation import Installation
from tests.flow.schemas import faults

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
RAW = {"partitions": 2, "windows": ["all"], "cuts": ["all", "rep"], "max_future": "1s"}
AHEAD = 8.0  # seconds; more than max_future, and than sending takes


def created(deal: str, at: str) -> dict[str, Any]:
    return {"event_id": "1", "occurred_at": at, "deal_id": deal, "rep_id": "anna", "to_stage": "New"}


def in_seconds(seconds: float) -> str:
    return datetime.fromtimestamp(time.time() + seconds, UTC).isoformat()


def invoke(installation: Installation, *options: str) -> Result:
    environment = installation.settings.environment
    arguments = ["--broker", environment.broker, "--config", environment.config, "dlq", "replay", "--json", *options]
    return CliRunner().invoke(cli, arguments, env={"DEALPULSE_APP_ID": environment.app_id})


def replay(installation: Installation, *options: str) -> Any:
    result = invoke(installation, *options)
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


# ------------------------------------------------------------------ whatever ends it

MANY = 20_000


def write_letters(installation: Installation) -> None:
    """Write dead letters as a worker does, of events that are accepted now."""
    for number in range(MANY):
        key, event = f"d{number}".encode(), orjson.dumps(created(f"d{number}", "2024-05-01T10:00:00Z"))
        letter = {
            "reason": "time_out_of_range", "detail": "", "topic": STAGE_CHANGE, "partition": number % 2, "offset": number,
            "timestamp": 1, "key_base64": b64encode(key).decode(), "value_base64": b64encode(event).decode(),
        }  # fmt: skip
        installation.send(DEAD_LETTER, orjson.dumps(letter), key)
    installation.sent()


@pytest.mark.kafka
def test_killed_in_the_middle_and_run_again_everything_is_sent_once(apache_kafka, install):
    """Records and marks stand and fall together, and what the dead one left open holds nobody up."""
    installation = install(apache_kafka, RAW)
    write_letters(installation)
    environment = installation.settings.environment
    command = [sys.executable, "-m", "streams.cli.main", "--broker", environment.broker, "--config", environment.config]
    killed = subprocess.Popen(
        [*command, "dlq", "replay", "--yes"], env={**os.environ, "DEALPULSE_APP_ID": environment.app_id}
    )
    consumer = Consumer({**installation.client, "group.id": "watch"})
    while sum(consumer.get_watermark_offsets(TopicPartition(DLQ_REPLAYS, one), timeout=10)[1] for one in range(2)) < 2_000:
        assert killed.poll() is None
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    consumer.close()
    again = replay(installation, "--yes")
    assert 0 < again["sent"] < MANY
    assert again["sent"] + again["skipped"]["sent_already"] == MANY
    sent = Counter(message.key() for message in installation.messages(STAGE_CHANGE))
    assert (len(sent), set(sent.values())) == (MANY, {1})


@pytest.mark.kafka
def test_what_fails_before_its_mark_is_not_sent(apache_kafka, install, monkeypatch):
    """At a chosen mark, in the second thousand: only the first is sent, and the next run sends the others."""
    installation = install(apache_kafka, RAW)
    write_letters(installation)
    send, marks = Sender.send, itertools.count()

    def fail_at_a_mark(sender: Sender, record: Outgoing) -> None:
        if record.topic == DLQ_REPLAYS and next(marks) == 1_500:
            raise CheckError("a record was not delivered")
        send(sender, record)

    with monkeypatch.context() as broken:
        broken.setattr(Sender, "send", fail_at_a_mark)
        result = invoke(installation, "--yes")
    assert (result.exit_code, "sent again: 1,000, then a record was not delivered; run it again" in result.stderr) == (
        1,
        True,
    )
    assert [len(installation.messages(topic)) for topic in (STAGE_CHANGE, DLQ_REPLAYS)] == [1_000, 1_000]
    assert replay(installation, "--yes")["sent"] == MANY - 1_000
    sent = Counter(message.key() for message in installation.messages(STAGE_CHANGE))
    assert (len(sent), set(sent.values())) == (MANY, {1})


@pytest.mark.kafka
def test_who_begins_later_shuts_the_other_out(apache_kafka, install):
    """Else both would send what neither has marked yet."""
    installation = install(apache_kafka, RAW)
    record = Outgoing(STAGE_CHANGE, b"d", b"{}")
    first, second = Sender(installation.client, "one-id"), Sender(installation.client, "one-id")
    with second.together():
        second.send(record)
    with pytest.raises(CheckError, match="did not end well"), first.together():
        first.send(record)
    assert len(installation.messages(STAGE_CHANGE)) == 1
