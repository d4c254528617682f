"""Are dead letters listed as asked?"""

from base64 import b64encode
from types import SimpleNamespace

import orjson
import pytest

from streams.cli import dlq
from streams.cli.read import Strangers


def letter(at, reason="not_json", partition=0):
    return {
        "reason": reason, "detail": "no JSON", "topic": "crm.activity", "partition": partition, "offset": at,
        "timestamp": 1_760_000_000_000 + at, "key_base64": None, "value_base64": b64encode(b"x" * 500).decode(),
    }  # fmt: skip


# Each would have ended the command with an internal error.
FOREIGN = [
    {name: value for name, value in letter(3).items() if name != "detail"},
    {**letter(3), "value_base64": "x"},
    {**letter(3), "key_base64": "é"},
    {**letter(3), "partition": -1},
    {**letter(3), "reason": "timeout"},
    [letter(3)],
]


def record(at, value):
    return SimpleNamespace(topic=lambda: "crm.dead-letter", partition=lambda: 5, offset=lambda: at, value=lambda: value)


def test_the_newest_are_kept_in_order_over_partitions():
    """Oldest of them first; the counts are of all."""
    found, counts = dlq.newest([letter(5, partition=1), letter(6, partition=1), letter(1), letter(7)], None, 3)
    assert [one["offset"] for one in found] == [5, 6, 7]
    assert counts == {"not_json": 4}


def test_one_reason_can_be_asked_for():
    """The counts stay of all."""
    found, counts = dlq.newest([letter(1), letter(2, "too_late")], "too_late", 10)
    assert [one["offset"] for one in found] == [2]
    assert counts.total() == 2


@pytest.fixture
def topic(monkeypatch):
    foreign = [orjson.dumps(one) for one in FOREIGN]
    values = [
        orjson.dumps(letter(1)),
        b"of somebody else",
        b'{"reason": "timeout"}',
        None,
        *foreign,
        orjson.dumps(letter(2)),
    ]
    messages = [record(at, value) for at, value in enumerate(values)]
    monkeypatch.setattr(dlq, "every_record", lambda *_, **__: messages)


def test_all_of_them_are_not_sent_without_a_question(run):
    """A script says --yes; nothing is read before."""
    result = run("dlq", "replay", "--broker", "kafka://127.0.0.1:1")
    assert result.exit_code == 2
    assert "say --yes, or choose: --reason" in result.stderr


@pytest.mark.parametrize("said", ["yesterday", "2026", "20260131", "946684799"])
def test_a_time_that_is_none_is_refused(run, said):
    """Before anything is read.  A year alone was taken for seconds of 1970, which is every letter, and nothing was asked."""
    result = run("dlq", "replay", "--since", said, "--broker", "kafka://127.0.0.1:1")
    assert (result.exit_code, f"--since: '{said}' is no time" in result.stderr) == (2, True)


def test_a_place_that_is_none_is_refused(run):
    """Before a broker is asked."""
    for said in ("foo", "crm.activity/1", "crm.activity@1", "crm.activity/1@²"):
        result = run("dlq", "replay", "--origin", said, "--broker", "kafka://127.0.0.1:1")
        assert (result.exit_code, "is no place; write TOPIC/PARTITION@OFFSET" in result.stderr) == (2, True)


def test_programs_get_lines_and_people_a_table(run, topic):
    """Long values are cut for people only; what is no letter is left out, as in a replay."""
    assert [orjson.loads(line)["offset"] for line in run("dlq", "list", "--json").stdout.splitlines()] == [1, 2]
    result = run("dlq", "list")
    assert "crm.activity/0@2" in result.stdout
    assert "2 dead letters: not_json 2" in result.stderr


def test_records_of_others_are_counted_and_named(run, topic):
    """So that nobody takes the list for complete."""
    said = (
        f"{3 + len(FOREIGN)} records in crm.dead-letter are no dead letters and are left out; the first: crm.dead-letter/5@1"
    )
    for options in ((), ("--json",)):
        result = run("dlq", "list", *options)
        assert (result.exit_code, said in result.stderr) == (0, True)


def test_no_record_of_others_is_planned_to_be_sent(monkeypatch):
    """Nor one of a partition that there is not: the broker would refuse it, and with it all the others."""
    monkeypatch.setattr(
        dlq,
        "every_record",
        lambda *_, **__: [record(0, orjson.dumps(one)) for one in (letter(1, partition=4), letter(2), *FOREIGN)],
    )
    settings, strangers = SimpleNamespace(client={}, definitions=SimpleNamespace(partitions=4)), Strangers()
    assert [one.offset for _, one in dlq._letters(settings, strangers)] == [2]
    assert strangers.count == 1 + len(FOREIGN)
