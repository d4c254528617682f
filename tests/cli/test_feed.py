"""Are lines read, counted and paced as they should be?"""

import gzip
import io
import os
import random
import sys
import threading
import tracemalloc

import pytest

from streams.cli.feed import Feed, Pace, opened
from streams.cli.lines import MAX_LINE
from streams.cli.settings import CheckError
from streams.config import Definitions


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


def test_a_damaged_archive_is_a_clear_error(tmp_path):
    """Bytes that were changed in the middle of it."""
    whole = bytearray(gzip.compress(random.Random(1).randbytes(20_000).hex().encode()))
    whole[5_000:5_020] = b"x" * 20
    file = tmp_path / "damaged.gz"
    file.write_bytes(whole)
    with pytest.raises(CheckError, match=r"damaged\.gz: "):
        Feed(Recorder()).files((str(file),))


def test_a_pipe_is_read(tmp_path):
    """As a shell makes one of <(zcat history.gz)."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writing = threading.Thread(target=pipe.write_bytes, args=(b'{"topic": "crm.activity", "value": {"rep_id": 1}}\n',))
    writing.start()
    sender = Recorder()
    assert Feed(sender).files((str(pipe),)).sent == 1
    writing.join()


@pytest.mark.parametrize("packed", [False, True])
def test_a_line_without_an_end_is_not_held(tmp_path, packed):
    """It is refused by its first million bytes, and the next one is read."""
    file, lines = tmp_path / "long", b"\0" * 60_000_000 + b'\n{"topic": "crm.activity", "value": {"rep_id": 1}}\n'
    file.write_bytes(gzip.compress(lines, 1) if packed else lines)
    sender = Recorder()
    tracemalloc.start()
    try:
        fed = Feed(sender).files((str(file),))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (fed.sent, fed.refused, [record.key for record in sender.records]) == (1, {"too_large": 1}, [b"1"])
    assert most < 10_000_000


@pytest.mark.parametrize("over", [0, 1])
def test_the_longest_line(tmp_path, over):
    """That long, whatever ends it, and no longer."""
    event = b'{"rep_id": "' + b"x" * (MAX_LINE - 14 + over) + b'"}'
    assert len(event) == MAX_LINE + over
    file = tmp_path / "x"
    file.write_bytes(event + b"\r\n" + event)
    fed = Feed(Recorder(), "crm.activity").files((str(file),))
    assert (fed.sent, fed.refused.total()) == ((0, 2) if over else (2, 0))


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
    pace = Pace(speed, Definitions())
    pace.wait(b'{"occurred_at": "2025-01-01T00:00:00Z"}', idle)
    pace.wait(b'{"occurred_at": "2025-01-01T00:01:00Z"}', idle)
    assert now[0] - 100 == pytest.approx(waited)


@pytest.mark.parametrize("value", [b"{}", b"nonsense", b'{"occurred_at": "soon"}', b'{"occurred_at": "2024-01-01"}'])
def test_an_event_without_a_time_or_of_the_past_goes_at_once(clock, value):
    """A late event waits for nobody."""
    now, idle = clock
    pace = Pace(1.0, Definitions())
    pace.wait(b'{"occurred_at": "2025-01-01T00:00:00Z"}', idle)
    pace.wait(value, idle)
    assert now[0] == 100


@pytest.mark.parametrize("wild", [b'{"occurred_at": 0}', b'{"occurred_at": "2999-01-01T00:00:00Z"}'])
@pytest.mark.parametrize("first", [True, False])
def test_nobody_waits_for_a_time_that_no_worker_accepts(clock, wild, first):
    """One bad clock in a file, and a replay would stand still for years."""
    now, idle = clock
    pace = Pace(1.0, Definitions())
    sound = b'{"occurred_at": "2025-01-01T00:00:00Z"}'
    for value in (wild, sound) if first else (sound, wild):
        pace.wait(value, idle)
    pace.wait(b'{"occurred_at": "2025-01-01T00:01:00Z"}', idle)
    assert now[0] - 100 == pytest.approx(60)
