"""What happens to a record that is no event?  It becomes a dead letter, and everything else goes on (law 6)."""

from __future__ import annotations

import re
from base64 import b64decode
from collections import Counter

import orjson
import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from streams.events.contract import Reason
from streams.topics import ACTIVITY, DEAD_LETTER, KPI_HISTORY, KPI_LATEST, STAGE_CHANGE
from tests.flow import poison
from tests.flow.installation import counts
from tests.flow.schemas import faults

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
RAW = {"partitions": 4, "windows": ["month", "all"], "cuts": ["all", "rep"]}
DEALS = 500


def deal(number: int, **more) -> dict:
    at = f"2024-05-{1 + number % 28:02}T10:00:00Z"
    return {"event_id": "1", "occurred_at": at, "deal_id": f"d{number}", "rep_id": "anna", "to_stage": "New", **more}


def call(number: int) -> dict:
    return {"event_id": "c", "occurred_at": "2024-05-30T10:00:00Z", "deal_id": f"d{number}", "type": "call"}


def send_among_good_events(installation, rows: list[poison.Row]) -> int:
    """Send each row with good events before and after it; return how many good ones."""
    good = [(STAGE_CHANGE, deal(number)) for number in range(DEALS)] + [(ACTIVITY, call(number)) for number in range(DEALS)]
    every = len(good) // len(rows)
    for number, row in enumerate(rows):
        installation.send_events(good[number * every : (number + 1) * every])
        topic, key, value, _ = row
        installation.send(topic, value, key)
    installation.send_events(good[len(rows) * every :])
    return len(good)


def letters(installation) -> list[dict]:
    return [orjson.loads(message.value()) for message in installation.messages(DEAD_LETTER)]


def test_every_kind_of_poison_becomes_one_dead_letter(broker, install):
    """With the reason and its origin, byte for byte; the worker goes on, and every good event counts."""
    installation = install(broker, RAW)
    good = send_among_good_events(installation, poison.ROWS)
    with installation.worker() as worker:
        installation.process_all(worker)
        counted = counts(worker)
    reasons = Counter(reason for *_, reason in poison.ROWS)
    assert counted == {"accepted": good, "duplicates": 0, "rejected": dict(reasons)}
    found = letters(installation)
    assert Counter(letter["reason"] for letter in found) == reasons
    sent = {
        (one.topic(), one.partition(), one.offset()): one
        for t in (STAGE_CHANGE, ACTIVITY)
        for one in installation.messages(t)
    }
    for letter in found:
        source = sent[letter["topic"], letter["partition"], letter["offset"]]
        raw = [None if one is None else b64decode(one) for one in (letter["key_base64"], letter["value_base64"])]
        assert (raw, letter["timestamp"]) == ([source.key(), source.value()], source.timestamp()[1])
    assert len({(letter["topic"], letter["partition"], letter["offset"]) for letter in found}) == len(found)
    assert list(faults(installation.messages(DEAD_LETTER))) == []
    assert installation.records()["new_leads", "all", "all", None, None]["value"] == DEALS
    assert installation.audit()["different"] == 0


def test_every_reason_but_too_late_has_its_poison():
    """The set above is as closed as the set of reasons; too_late needs a full record (tests/deals)."""
    assert {reason for *_, reason in poison.ROWS} == {reason.value for reason in Reason} - {"too_late"}


@pytest.mark.parametrize("size", [200_000, 900_000])
def test_a_record_that_a_broker_takes_never_stops_the_worker(embedded_broker, install, size):
    """However large: up to 1 MB by default."""
    check_large(install(embedded_broker, RAW), size)


@pytest.mark.kafka
def test_two_megabytes_do_not_stop_the_worker(apache_kafka, install):
    """Where somebody has raised the limit of the source topic."""
    installation = install(apache_kafka, RAW)
    resource = ConfigResource(ResourceType.TOPIC, STAGE_CHANGE)
    resource.add_incremental_config(ConfigEntry("max.message.bytes", "4000000", incremental_operation=AlterConfigOpType.SET))
    admin = AdminClient(installation.client)
    (done,) = admin.incremental_alter_configs([resource]).values()
    done.result(10)
    check_large(installation, 2_000_000)


def check_large(installation, size: int) -> None:
    """Send a large record between two good ones."""
    installation.send_events([(STAGE_CHANGE, deal(1))])
    installation.send(STAGE_CHANGE, b"x" * size, b"d1")
    installation.send_events([(STAGE_CHANGE, deal(1, event_id="2", to_stage="Won", amount=1))])
    with installation.worker() as worker:
        installation.process_all(worker)
        assert counts(worker) == {"accepted": 2, "duplicates": 0, "rejected": {"too_large": 1}}
    (letter,) = letters(installation)
    assert (letter["reason"], letter["partition"]) == ("too_large", installation.messages(STAGE_CHANGE)[0].partition())
    kept = b64decode(letter["value_base64"])
    assert (kept == b"x" * len(kept), len(kept) < size) == (True, letter.get("truncated", False))
    assert list(faults(installation.messages(DEAD_LETTER))) == []


def test_a_flood_of_bad_input_stops_the_worker(broker, install):
    """With a sentence that says why and what to do, and nothing committed: no letter, no record, no offset."""
    installation = install(broker, RAW)
    installation.send_events([(STAGE_CHANGE, deal(number)) for number in range(200)])
    for _ in range(400):
        installation.send(STAGE_CHANGE, b"<xml/>", b"d1")
    installation.sent()
    with installation.worker() as worker:
        code = worker.process.wait(60)
        said = worker.last_words()
    assert code == 70
    assert "looks like a wrong deployment" in said
    assert "Nothing of it was committed, and no dead letter" in said
    assert re.search(rf"the last at {STAGE_CHANGE}/\d@\d+: not_json: ", said)
    assert said.endswith("the process ends, mend the producer, or set bad_input.stop: false in dealpulse.yaml to go on")
    assert "Traceback" not in said
    assert [one for topic in (DEAD_LETTER, KPI_LATEST, KPI_HISTORY) for one in installation.messages(topic)] == []
    assert not any(installation.committed().values())


def test_a_flood_may_be_let_through(embedded_broker, install):
    """With bad_input.stop off, all of it becomes dead letters."""
    installation = install(embedded_broker, RAW | {"bad_input": {"stop": False}})
    installation.send_events([(STAGE_CHANGE, deal(number)) for number in range(200)])
    for _ in range(400):
        installation.send(STAGE_CHANGE, b"<xml/>", b"d1")
    installation.sent()
    with installation.worker() as worker:
        installation.process_all(worker)
        assert counts(worker) == {"accepted": 200, "duplicates": 0, "rejected": {"not_json": 400}}
    assert len(letters(installation)) == 400
