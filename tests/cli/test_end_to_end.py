"""Does a whole history become the right numbers in one command, and does everything end with it?"""

import contextlib
import gzip
import json
import os
import signal
import subprocess
import sys
import time

import orjson
import pytest

from tests.processes import any_alive

pytestmark = pytest.mark.slow

DEALPULSE = [sys.executable, "-m", "streams.cli.main"]


def dealpulse(*arguments, **more):
    return subprocess.run([*DEALPULSE, *arguments], capture_output=True, text=True, timeout=280, **more)


def stage(event_id, deal, at, to_stage, **more):
    value = {"event_id": event_id, "deal_id": deal, "occurred_at": at, "to_stage": to_stage, **more}
    return json.dumps({"topic": "crm.deal-stage-change", "value": value})


LINES = [
    stage(1, "d1", "2026-01-05T10:00:00Z", "New", rep_id="anna"),
    stage(1, 17, "2026-01-05T11:00:00Z", "New", rep_id="anna"),
    stage(2, "d1", "2026-01-07T10:00:00Z", "Won", amount="100.10"),
    stage(2, 17, "2026-01-08T10:00:00Z", "Lost"),
    stage(2, "d1", "2026-01-07T10:00:00Z", "Won", amount="100.10"),
    json.dumps(
        {"topic": "crm.activity", "value": {"event_id": 1, "rep_id": "anna", "type": "call", "occurred_at": "2026-01-08"}}
    ),
    json.dumps(
        {"topic": "crm.activity", "value": {"event_id": 1, "rep_id": "anna", "type": "calls", "occurred_at": "2026-01-08"}}
    ),
    '{"topic": "crm.activity", "value": [1, 2]}',
    "this is no JSON",
]


@pytest.fixture(scope="module")
def replayed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replay")
    file, out = folder / "events.jsonl.gz", folder / "out.jsonl"
    file.write_bytes(gzip.compress("\n".join(LINES).encode()))
    as_of = ["--as-of", "2026-01-20T00:00:00Z"]
    found = dealpulse("replay", str(file), "--embedded", "--out", str(out), *as_of, "--json")
    assert found.returncode == 0, found.stderr
    return orjson.loads(found.stdout), [orjson.loads(line) for line in out.read_bytes().splitlines()], found.stderr


def test_the_summary_counts_every_line(replayed):
    """Accepted, rejected and repeated are all that was there."""
    summary, rows, stderr = replayed
    assert summary["accepted"] == 5
    assert summary["rejected"] == {"not_an_object": 1, "not_json": 1, "unknown_value": 1}
    assert summary["duplicates"] == 1
    assert summary["records"] == len(rows)
    assert "events.jsonl.gz:9: not_json" in stderr


def test_the_file_holds_each_key_once(replayed):
    """The last record of every key of the two KPI topics, keys as text."""
    _, rows, _ = replayed
    keys = [(row["topic"], row["key"]) for row in rows]
    assert len(keys) == len(set(keys))
    assert {row["topic"] for row in rows} == {"dealpulse.kpi.latest.v1", "dealpulse.kpi.history.v1"}
    for row in rows:
        kpi, cut, entity, window, start, currency = json.loads(row["key"])
        value = row["value"]
        assert [kpi, cut, currency] == [value["kpi"], value["cut"], value["currency"]]
        assert (entity, window, start) == ([*value["entity"].values()], value["window"]["name"], value["window"]["start"])


def test_the_numbers_are_right(replayed):
    """One won, one lost, 100.10 of revenue."""
    _, rows, _ = replayed
    latest = {row["key"]: row["value"] for row in rows if row["topic"] == "dealpulse.kpi.latest.v1"}
    rate = latest['["win_rate","all",[],"all",null,null]']
    assert (rate["value"], rate["numerator"], rate["denominator"]) == (0.5, 1, 2)
    assert latest['["revenue","rep",["anna"],"all",null,"EUR"]']["value"] == 100.1


def test_as_of_moves_the_clock(replayed):
    """The current month stays January; the current week is another one."""
    _, rows, _ = replayed
    windows = {row["value"]["window"]["start"] for row in rows if row["value"]["window"]["name"] == "week"}
    assert "2026-01-05T00:00:00+00:00" in windows
    assert {row["value"]["watermark"] for row in rows if row["topic"].endswith("latest.v1")} >= {"2026-01-20T00:00:00+00:00"}


@pytest.mark.parametrize(
    ("lines", "rejected"),
    [([], {}), (LINES[-3:], {"not_an_object": 1, "not_json": 1, "unknown_value": 1})],
    ids=["empty", "refused"],
)
def test_a_replay_of_which_nothing_is_accepted_ends(tmp_path, lines, rejected):
    """Nothing is told, and within seconds the worker rests."""
    file, out = tmp_path / "events.jsonl", tmp_path / "out.jsonl"
    file.write_text("\n".join(lines))
    found = dealpulse("replay", str(file), "--embedded", "--out", str(out), "--json")
    assert found.returncode == 0, found.stderr
    summary = orjson.loads(found.stdout)
    assert (summary["accepted"], summary["rejected"], summary["records"]) == (0, rejected, 0)
    assert out.read_bytes() == b""


def test_a_worker_that_gives_up_is_quoted(tmp_path):
    """Exit code 1, and its own sentence."""
    file = tmp_path / "bad.jsonl"
    file.write_text('{"topic": "crm.activity", "value": {"rep_id": "anna"}}\n' * 1500)
    found = dealpulse("replay", str(file), "--embedded", "--json")
    assert found.returncode == 1
    assert "the worker ended with exit code 70" in found.stderr
    assert "are refused" in found.stderr


def children(pid):
    return [int(one) for one in subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split()]


def wait_for(condition, seconds):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


@pytest.mark.timed
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL)]
)
@pytest.mark.parametrize("command", [["demo", "--once"], ["replay", "-", "--embedded"]])
def test_a_signal_ends_everything_within_three_seconds(command, number, code):
    """The broker and the worker as well, also on kill -9."""
    with subprocess.Popen([*DEALPULSE, *command], stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert wait_for(lambda: len(children(process.pid)) == 2, 20)
        started = children(process.pid)
        try:
            process.send_signal(number)
            assert wait_for(lambda: process.poll() is not None and not any_alive(started), 3)
            assert process.returncode == code
        finally:
            for pid in [process.pid, *started]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


@pytest.mark.timeout(300)
def test_the_demo_gives_the_reference_values_of_the_recorded_set():
    """From the KPI topics, untouched by what is simulated beside it."""
    found = dealpulse("demo", "--once", "--json", "--as-recorded")
    assert found.returncode == 0, found.stderr
    result = orjson.loads(found.stdout)
    reference = result["reference"]
    assert reference["won"] == 4_238
    assert reference["lost"] == 2_473
    assert reference["win_rate"] == 4_238 / 6_711
    assert reference["revenue"] == 10_005_534
    assert reference["active"] == 2_089
    assert reference["won_cycle_days_mean"] == pytest.approx(51.78, abs=0.005)
    assert reference["closed_cycle_days_mean"] == pytest.approx(47.99, abs=0.005)
    assert result["events"]["accepted"] == result["events"]["sent"]
    assert result["simulated"]["pipeline"] == "inbound"
