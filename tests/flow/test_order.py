"""Is a number a function of the set of accepted events, through real topics and over a restart (law 1)?"""

from __future__ import annotations

import random

import orjson
import pytest

from streams.cli.settle import settle
from streams.cli.stack import observer
from streams.topics import KPI_LATEST, STAGE_CHANGE
from tests.faults import load
from tests.flow.installation import counts, stop
from tests.flow.schemas import faults

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
EVENTS = 2_000
RAW = load.definitions(partitions=4, windows=["24h", "28d", "day", "month", "all"])
AS_OF = 1_714_564_800_000_000  # 2024-05-01T12:00:00Z, after all of them
JUNE, JULY = 1_718_452_800_000_000, 1_720_958_400_000_000  # the 15th, µs


def test_order_repeats_and_a_restart_change_no_number(broker, embedded_broker, install):
    """Sorted by time and once each; or shuffled, a third repeated, and the worker restarted in the middle: the same."""
    wanted = {sent: None for sent in load.records(EVENTS, 1) if sent.reason is None}
    events = sorted(wanted, key=lambda sent: orjson.loads(sent.value)["occurred_at"])
    dice = random.Random(2)
    shuffled = [*events, *dice.sample(events, len(events) // 3)]
    dice.shuffle(shuffled)
    half = len(shuffled) // 2

    orderly = install(embedded_broker, RAW)
    orderly.send_all(events)
    with orderly.worker() as worker:
        orderly.process_all(worker, as_of=AS_OF)
        assert counts(worker) == {"accepted": len(events), "duplicates": 0, "rejected": {}}
    expected = orderly.numbers(KPI_LATEST)

    wild = install(broker, RAW)
    wild.send_all(shuffled[:half])
    with wild.worker() as worker:
        wild.read_all(worker)
        first = counts(worker)
        wild.send_all(shuffled[half : half + 300])  # it is in the middle of something
        code, took = stop(worker)
        assert (code, took < 5) == (0, True), worker.last_words()
    wild.send_all(shuffled[half + 300 :])
    with wild.worker() as worker:
        wild.process_all(worker, as_of=AS_OF)
        assert first["accepted"] + counts(worker)["accepted"] <= len(events)
    assert wild.numbers(KPI_LATEST) == expected
    assert len(expected) > 1_000
    found = wild.audit()
    assert found["different"] == 0, found["examples"][:3]


def test_corrections_replace_what_was_published(broker, install):
    """An amount, an owner, a reopening and a deletion that come after their numbers were told: told anew, and audited."""
    installation = install(broker, RAW)
    with installation.worker() as worker:
        for number in range(4):
            installation.send_events(won(f"d{number}", number))
        installation.process_all(worker)
        told = installation.records()
        assert told["revenue", "all", "all", None, "EUR"]["value"] == 400
        assert told["win_rate", "rep", "rep-0", "all", None, None]["numerator"] == 4
        installation.send_events(
            [
                said("d0", 7, amount=250),
                said("d1", 7, rep_id="rep-1", occurred_at="2024-05-03T08:00:00Z"),
                said("d2", 7, to_stage="Proposal"),
                said("d3", 7, deleted=True),
            ]
        )
        installation.process_all(worker)
    told = installation.records()
    assert told["revenue", "all", "all", None, "EUR"]["value"] == 350
    assert told["win_rate", "rep", "rep-0", "all", None, None]["numerator"] == 1
    assert told["win_rate", "rep", "rep-1", "all", None, None]["numerator"] == 1
    assert told["active_deals", "all", "now", None, None]["value"] == 1
    found = installation.audit()
    assert found["different"] == 0, found["examples"][:3]


def test_windows_that_ended_are_taken_away(embedded_broker, install):
    """As tombstones: null on the wire, not the text null; what ends in June is no longer in latest in July."""
    installation = install(embedded_broker, RAW)
    with installation.worker() as worker:
        installation.send_events(won("d0", 0))
        installation.process_all(worker, as_of=JUNE)
        installation.send_events([said("d1", 1, occurred_at="2024-06-20T10:00:00Z", to_stage="New")])
        installation.read_all(worker)
        settle(installation.settings, observer([worker]))  # June is told before July begins
        installation.process_all(worker, as_of=JULY)
    messages = installation.messages(KPI_LATEST)
    ended = {message.key() for message in messages if message.value() is None}
    assert b'["new_leads","all",[],"month","2024-05-31T21:00:00+00:00",null]' in ended
    assert b"null" not in {message.value() for message in messages}
    assert list(faults(messages)) == []
    starts = {record["window"]["start"] for record in installation.records().values() if record["window"]["name"] == "month"}
    assert starts <= {"2024-06-30T21:00:00+00:00"}


def won(deal: str, number: int) -> list[tuple[str, dict]]:
    """Return a deal of 100 euros that rep-0 won in May."""
    return [
        said(deal, 1, occurred_at=f"2024-05-0{number + 1}T09:00:00Z", to_stage="New", rep_id="rep-0", amount=100),
        said(deal, 2, occurred_at=f"2024-05-0{number + 3}T09:00:00Z", to_stage="Won"),
    ]


def said(deal: str, event: int, **more) -> tuple[str, dict]:
    return STAGE_CHANGE, {"event_id": event, "occurred_at": "2024-05-20T09:00:00Z", "deal_id": deal, **more}
