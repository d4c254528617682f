"""Are lines read, counted and paced as they should be?"""

import gzip
import io
import sys
from zoneinfo import ZoneInfo

import pytest

from streams.cli.feed import Feed, Pace, opened
from streams.cli.settings import CheckError

UTC = ZoneInfo("UTC")


class Recorder:
    """Stands in for the producer."""

    def __init__(self):
        self.records, self.confirmed = [], False

    def send(self, record):
        self.records.append(record)

    def poll(self, _seconds):
        pass

    def confirm(self):
        self.confirmed = True


def write(path, *lines):
    path.write_bytes(b"\n".join(lines) + b"\n")
    return str(path)


def test_lines_of_all_files_are_sent_in_order_and_confirmed(tmp_path):
    """Plain and packed files alike."""
    one = write(tmp_path / "one.jsonl", b'{"topic": "crm.activity", "value": {"rep_id": 1}}')
    two = tmp_path / "two.jsonl.gz"
    two.write_bytes(gzip.compress(b'{"topic": "crm.activity", "value": {"rep_id": 2}}\n'))
    sender = Recorder()
    fed = Feed(sender).files((one, str(two)))
    assert [record.key for record in sender.records] == [b"1", b"2"]
    assert (fed.sent, sender.confirmed) == (2, True)


def test_a_mark_of_the_byte_order_and_a_packed_pipe_are_read(tmp_path, monkeypatch):
    """What other systems write, and what is piped as it is stored."""
    one = tmp_path / "bom.jsonl"
    one.write_bytes(b"\xef\xbb\xbf" + b'{"topic": "crm.activity", "value": {"rep_id": 1}}\n')
    packed = gzip.compress(b'{"topic": "crm.activity", "value": {"rep_id": 2}}\n')
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(packed))))
    sender = Recorder()
    fed = Feed(sender).files((str(one), "-"))
    assert [record.key for record in sender.records] == [b"1", b"2"]
    assert fed.refused == {}


def test_what_is_not_sent_is_counted_and_the_first_is_named(tmp_path):
    """With file, line and reason; the rest goes on."""
    file = write(tmp_path / "x", b"{}", b"not json", b"", b'{"topic": "crm.activity", "value": {}}')
    fed = Feed(Recorder()).files((file,))
    assert fed.sent == 1
    assert fed.refused == {"missing_field": 1, "not_json": 1}
    assert fed.first_refusal == f"{file}:1: missing_field: the line names no topic; for bare events give --topic"


def test_a_torn_archive_is_a_clear_error(tmp_path):
    """What came before it has been sent."""
    file = tmp_path / "torn.gz"
    file.write_bytes(gzip.compress(b'{"topic": "crm.activity", "value": {}}\n' * 100)[:-12])
    with pytest.raises(CheckError, match=r"torn\.gz: "):
        Feed(Recorder()).files((str(file),))


def test_the_position_is_counted_in_stored_bytes(tmp_path):
    """So the bar of a packed file ends at its size."""
    file = tmp_path / "x.gz"
    file.write_bytes(gzip.compress(b"{}\n" * 1000))
    with opened(str(file)) as source:
        assert sum(1 for _ in source.lines) == 1000
        assert source.position() == file.stat().st_size


def test_a_dying_worker_ends_the_feed(tmp_path):
    """Within a few thousand lines."""

    def check():
        raise CheckError("the worker ended")

    file = write(tmp_path / "x", *[b'{"topic": "crm.activity", "value": {}}'] * 2_000)
    with pytest.raises(CheckError, match="the worker ended"):
        Feed(Recorder(), check=check).files((file,))


@pytest.fixture
def clock(monkeypatch):
    """A clock that only waiting moves."""
    now = [100.0]
    monkeypatch.setattr("streams.cli.feed.time.monotonic", lambda: now[0])

    def idle(seconds):
        now[0] += seconds

    return now, idle


@pytest.mark.parametrize(("speed", "waited"), [(1.0, 60.0), (60.0, 1.0), (0.5, 120.0)])
def test_the_pace_is_that_of_occurred_at(clock, speed, waited):
    """Divided by the speed."""
    now, idle = clock
    pace = Pace(speed, UTC)
    pace.wait(b'{"occurred_at": "2026-01-01T00:00:00Z"}', idle)
    pace.wait(b'{"occurred_at": "2026-01-01T00:01:00Z"}', idle)
    assert now[0] - 100 == pytest.approx(waited)


@pytest.mark.parametrize("value", [b"{}", b"nonsense", b'{"occurred_at": "soon"}', b'{"occurred_at": "2025-01-01"}'])
def test_an_event_without_a_time_or_of_the_past_goes_at_once(clock, value):
    """A late event waits for nobody."""
    now, idle = clock
    pace = Pace(1.0, UTC)
    pace.wait(b'{"occurred_at": "2026-01-01T00:00:00Z"}', idle)
    pace.wait(value, idle)
    assert now[0] == 100
