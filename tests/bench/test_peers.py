"""Do the benchmarks against other systems judge and count rightly?"""

import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from bench import counts, j2
from bench.peers import panes, run, tree
from bench.peers.ledger import Ledger, quantile
from bench.peers.report import RAW, table
from bench.peers.systems import Task
from bench.peers.throughput import Offsets, Seen, figures
from bench.process import Sample
from streams.topics import ACTIVITY, STAGE_CHANGE


def event(topic, deal, at, **more):
    said = {"deal_id": deal, "rep_id": "rep-1", "occurred_at": at, **more}
    return topic, deal.encode(), json.dumps(said).encode()


HISTORY = [
    event(STAGE_CHANGE, "d", "2024-03-04T00:00:00.000Z", to_stage="New"),
    event(ACTIVITY, "d", "2024-03-04T00:00:59.999Z"),
    event(ACTIVITY, "d", "2024-03-04T00:01:00.000Z"),
    event(STAGE_CHANGE, "d", "2024-03-04T00:01:30.000Z", to_stage="New"),
    event(STAGE_CHANGE, "d", "2024-03-04T00:02:00.001Z", to_stage="Won"),
]
MINUTE = 28_491_840  # 2024-03-04T00:00Z


def test_every_event_counts_for_its_rep_and_minute():
    """The start of a minute belongs to it, its end to the next one."""
    assert panes.j1(HISTORY) == {
        f"rep-1|{MINUTE}": {"events": 2},
        f"rep-1|{MINUTE + 1}": {"events": 2},
        f"rep-1|{MINUTE + 2}": {"events": 1},
    }


def test_time_in_stage_counts_from_the_entry_to_the_exit():
    """To the ms, in the minute of the exit; a repeated stage is no entry."""
    assert panes.j2(HISTORY) == {
        f"New|{MINUTE}": {"entered": 1, "left": 0, "stay_ms": 0},
        f"rep-1|{MINUTE}": {"activities": 1},
        f"rep-1|{MINUTE + 1}": {"activities": 1},
        f"Won|{MINUTE + 2}": {"entered": 1, "left": 0, "stay_ms": 0},
        f"New|{MINUTE + 2}": {"entered": 0, "left": 1, "stay_ms": 120_001},
    }


def test_panes_add_up_to_what_ours_is_compared_with():
    """Both plain counts of the same events give the same totals."""
    events = list(j2.events(3_000))
    plain, sums = counts.plain(events), counts.Counts()
    for name, cell in panes.j2(events).items():
        whose = name.split("|")[0]
        for measure, value in cell.items():
            getattr(sums, measure)[whose] += value
    assert plain.differences(sums) == []


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ({"a|1": {"events": 1}, "b|1": {"events": 2}}, []),
        ({"a|1": {"events": 2}, "b|1": {"events": 2}}, ['a|1: {"events": 2} instead of {"events": 1}']),
        ({"a|1": {"events": 1}}, ['b|1: nothing instead of {"events": 2}']),
        (
            {"a|1": {"events": 1}, "b|1": {"events": 2}, "c|1": {"events": 1}},
            ['c|1: {"events": 1} instead of nothing'],
        ),
    ],
)
def test_a_pane_that_differs_is_told(seen, expected):
    """Wrong, missing and too much."""
    assert panes.differences({"a|1": {"events": 1}, "b|1": {"events": 2}}, seen) == expected


def test_a_result_answers_all_that_it_counts():
    """Each event waits for the first result that holds it; a result is as old as the newest event in it."""
    ledger = Ledger()
    for at in (1.0, 2.0, 3.0):
        ledger.send("rep", at)
    ledger.see("rep", 2, 2.5)
    ledger.see("rep", 2, 2.6)
    assert ledger.open == 1
    ledger.see("rep", 3, 3.25)
    assert ledger.between(0.0, 10.0) == ([0.25, 0.5, 1.5], [0.25, 0.5])
    assert ledger.open == 0


def test_events_belong_to_the_time_when_they_were_sent():
    """What was sent before the measured time is left out, even if its result came in it."""
    ledger = Ledger()
    for at in (1.0, 2.0):
        ledger.send("rep", at)
    ledger.see("rep", 2, 2.5)
    assert ledger.between(2.0, 3.0) == ([0.5], [0.5])


def test_more_than_was_sent_is_told():
    """A system that counts an event twice is seen."""
    ledger = Ledger()
    ledger.send("rep", 1.0)
    ledger.see("rep", 2, 1.5)
    assert (ledger.too_many, ledger.open) == (1, 0)


@pytest.mark.parametrize(("share", "expected"), [(0.5, 2), (0.99, 4), (1.0, 4), (0.25, 1)])
def test_quantiles_are_nearest_ranks(share, expected):
    """ceil(share * n), from 1."""
    assert quantile([1, 2, 3, 4], share) == expected


def test_time_runs_from_the_last_empty_look_to_the_last_result():
    """What is written after the last result, as a commit, costs CPU but no time."""
    looks = [
        (0.0, 0.0, Seen(0, 0)),
        (2.0, 1.0, Seen(0, 0)),
        (3.0, 1.5, Seen(0, 5)),
        (4.0, 2.5, Seen(7, 20)),
        (5.0, 3.0, Seen(7, 21)),
        (9.0, 3.5, Seen(7, 21)),
    ]
    found = figures([Sample(at, cpu, cpu, seen) for at, cpu, seen in looks], 1000)
    assert (found["seconds"], found["cpu"], found["start_seconds"], found["start_cpu"]) == (2.0, 2.0, 2.0, 1.0)
    assert found["cpu_per_million"] == 2000.0


def test_the_first_record_is_seen_also_in_a_topic_just_made():
    """Kafka Streams and Quix Streams make topics of their own when they begin; work would be done before the clock runs."""
    offsets = Offsets({"bootstrap.servers": "127.0.0.1:1"}, Task("", "j2", "out", "app", "", live=False, partitions=1))
    there = dict.fromkeys(["out"], 0)

    def answers(asked, **_):
        return {part: SimpleNamespace(result=lambda part=part: SimpleNamespace(offset=there[part.topic])) for part in asked}

    offsets._admin = SimpleNamespace(list_topics=lambda **_: SimpleNamespace(topics=dict(there)), list_offsets=answers)
    assert offsets.look() == Seen(0, 0)
    there["app-repartition"] = 5
    assert offsets.look() == Seen(0, 5)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_children_count_too():
    """A shell that waits for a busy child has used what the child uses."""
    busy = f"import time; end = time.monotonic() + 30\nwhile time.monotonic() < end and {os.getpid()}: pass"
    process = subprocess.Popen(["sh", "-c", f'"$0" -c "{busy}"; true', sys.executable])
    try:
        end = time.monotonic() + 20
        while tree.cpu(process.pid) < 0.2 and time.monotonic() < end:
            time.sleep(0.02)
        assert tree.cpu(process.pid) >= 0.2
        assert tree.memory(process.pid) > 1
    finally:
        for one in reversed(tree.members(process.pid)):
            os.kill(one, 9)
        process.wait()


def test_the_table_has_the_smallest_the_middle_and_the_largest():
    """In one row for a system; a peer that could not be measured says why."""
    run = {"job": "j1", "system": "A", "promise": "nothing", "events": 10, "memory": 5.0, "numbers": 3, "differences": 0}
    runs = [{**run, "rate": rate, "cpu_per_million": 1.0, "of_raw": 2.0, "load": 2.5} for rate in (30.0, 10.0, 20.0)]
    missing = {"job": "j1", "system": "B", "promise": "nothing", "failed": "no such version"}
    lines = table([*runs, missing]).splitlines()
    assert "| A | nothing | 10 | 10 / 20 / 30 | 1.0 | 2.0 | 5 | 2.5 | 0 of 3 |" in lines
    assert "| B | nothing | failed: no such version |" in lines
    assert "| MiB |" in lines[2]  # the kernel's KiB divided by 1,024


def test_raw_reading_on_two_brokers_makes_no_runs_more():
    """Ours has a broker of its own, and raw reading is measured on each."""
    one = {"promise": "nothing", "job": "j2", "events": 10, "rate": 1.0, "cpu_per_million": 1.0, "load": 1.0}
    systems = [{**one, "system": system} for system in (RAW, "dealpulse", RAW, "A")]
    assert table(systems).startswith("j2, 1 run\n")
    assert table(systems * 3).startswith("j2, 3 runs\n")


@pytest.mark.parametrize(
    ("system", "said", "code"),
    [
        ("dealpulse", {"missing": 0, "too_many": 0}, None),
        ("dealpulse", {"missing": 1, "too_many": 0}, 1),
        ("dealpulse", {"missing": 0, "too_many": 2}, 1),
        ("dealpulse", {"failed": "no result came"}, 1),
        ("bare Python loop", {"missing": 7, "too_many": 2}, None),
    ],
)
def test_ours_must_lose_no_event_and_count_none_twice(monkeypatch, capsys, system, said, code):
    """Also while only the time is measured."""
    result = {"job": "latency", "system": system, "promise": "exactly once", **said}
    monkeypatch.setattr(sys, "argv", ["bench.peers.run", "--job", "latency"])
    monkeypatch.setattr(run, "_install", lambda *_: None)
    monkeypatch.setattr(run.Peers, "results", lambda _: iter([result]))
    if code is None:
        run.main()
    else:
        with pytest.raises(SystemExit) as ended:
            run.main()
        assert ended.value.code == code
    assert "latency, 1 run" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("asked", "fetched"),
    [
        (["--system", "dealpulse", "loop", "faust"], []),
        (["--system", "quix", "streams-memory-1"], ["quix", "streams"]),
        ([], ["quix", "bytewax", "streams"]),
    ],
)
def test_only_what_is_asked_for_is_fetched(monkeypatch, asked, fetched):
    """Whoever measures ours alone needs neither Maven nor a registry."""
    told = []
    monkeypatch.setattr(sys, "argv", ["bench.peers.run", "--install", *asked])
    monkeypatch.setattr(run.cache, "environment", told.append)
    monkeypatch.setattr(run.cache, "kafka_streams", lambda: told.append("streams"))
    run.main()
    assert told == fetched
