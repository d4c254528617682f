"""Does `dealpulse replay --embedded` give the numbers of the batch recomputation, in a file and a summary?"""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections import Counter
from zoneinfo import ZoneInfo

import orjson
import pytest
import yaml

from streams.audit.compare import compare
from streams.audit.recompute import recompute
from streams.config import definitions_from
from streams.events.contract import Limits, Rejection
from streams.events.decode import decode_activity, decode_stage_change
from streams.topics import ALERT_EVENTS, KPI_HISTORY, KPI_LATEST, STAGE_CHANGE
from tests.faults import load

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
RAW = load.definitions(windows=["24h", "90d", "day", "month", "all"], rules=[])
AS_OF, AS_OF_US = "2024-05-01T12:00:00Z", 1_714_564_800_000_000


def test_replay_gives_what_the_batch_recomputation_gives(tmp_path):
    """Each record of the file, with the clock advanced to the time asked for; lines that are no event are counted."""
    lines, events = history(3_000)
    with gzip.open(tmp_path / "events.jsonl.gz", "wb") as file:
        file.write(b"\n".join([*lines, b"nonsense", b'{"topic": "crm.activity", "value": {"event_id": 1}}', b""]))
    (tmp_path / "dealpulse.yaml").write_text(yaml.safe_dump(RAW))
    command = [sys.executable, "-m", "streams.cli.main", "replay", "events.jsonl.gz", "--embedded", "--json"]
    options = ["--out", "out.jsonl", "--as-of", AS_OF, "--config", "dealpulse.yaml"]
    done = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, timeout=100)
    assert done.returncode == 0, done.stderr.decode()

    rows = [orjson.loads(line) for line in (tmp_path / "out.jsonl").read_bytes().splitlines()]
    summary = orjson.loads(done.stdout)
    unique = {(type(one), one.deal_id or one.rep_id, one.event_id) for one in events}
    assert summary["seconds"] > 0
    assert {name: summary[name] for name in ("accepted", "rejected", "duplicates", "records")} == {
        "accepted": len(unique),
        "rejected": {"missing_field": 1, "not_json": 1},
        "duplicates": len(events) - len(unique),
        "records": len(rows),
    }
    topics = Counter(row["topic"] for row in rows)
    assert set(topics) <= {KPI_LATEST, KPI_HISTORY, ALERT_EVENTS}
    assert len({(row["topic"], row["key"]) for row in rows}) == len(rows)
    latest, past = ([row["value"] for row in rows if row["topic"] == topic] for topic in (KPI_LATEST, KPI_HISTORY))
    assert max(record["watermark"] for record in latest) == "2024-05-01T12:00:00+00:00"
    definitions = definitions_from(RAW)
    found = compare(recompute(events, definitions, AS_OF_US), definitions, past, latest)
    assert (found["different"], found["compared"] > 1_000) == (0, True), found


def history(count: int) -> tuple[list[bytes], list]:
    """Return lines as a CRM's export has them, and the events that they hold."""
    lines, events = [], []
    limits = Limits(300_000_000, ZoneInfo(RAW["business"]["zone"]))
    for sent in load.records(count, 3):
        if sent.reason is None:
            lines.append(b'{"topic": "%s", "value": %s}' % (sent.topic.encode(), sent.value))
            decode = decode_stage_change if sent.topic == STAGE_CHANGE else decode_activity
            event = decode(sent.key, sent.value, 1_800_000_000_000_000, limits)
            assert not isinstance(event, Rejection)
            events.append(event)
    return lines, events
