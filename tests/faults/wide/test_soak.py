"""Does anything grow that should not?  Half an hour and forty days of event time under load, with a restart now and then."""

from __future__ import annotations

import time

from streams.cli.read import every_record
from streams.topics import ROOMS, changelog
from tests.faults.wide.crew import Crew
from tests.faults.wide.dose import SEED, dose, only_heavy, patience
from tests.faults.wide.memory import LEAKED, LEAST, PEAK, Samples
from tests.faults.workers import Worker

pytestmark = [*patience(300, dose("SOAK_SECONDS", 60, 1_800) + 1_200), only_heavy]

SECONDS = dose("SOAK_SECONDS", 60, 1_800)
RATE = dose("SOAK_RATE", 200, 200)
STEP = 10.0  # event time between two events: days close, windows end, and what is 10 minutes late is 60 events late
EVERY = 5.0
RESTARTS = 3  # all before the last third: a restore leaves the memory of who does it on another level, which is no slope
COMPACTED_AFTER = 900.0  # a segment that is written to is never cleaned; it is rolled after 600 s
CLEANED_WITHIN = 240.0  # seconds
MOST = 3.0  # records for a live row, of those that are old
A_LOOK = 150.0  # seconds between two looks into the changelogs

Logs = dict[str, list[dict[str, float]]]  # room -> what each look found in its changelog


def test_memory_grows_with_the_state_only(crew):
    """The first worker runs from beginning to end; the second is stopped or killed three times."""
    two = crew()
    two.join_ready(2)
    two.feed(RATE * SECONDS, SEED + 60, RATE, step=STEP)
    samples, began, restarts = Samples(), time.monotonic(), 0
    logs: Logs = {room: [] for room in ROOMS}
    while two.feeding:
        samples.take(two.living[0])  # the one that runs from beginning to end
        since = time.monotonic() - began
        if since > A_LOOK * (len(logs["deals"]) + 1):
            _look(two, logs)
        if restarts < RESTARTS and since / SECONDS > (restarts + 1) / 5:
            restarts += 1
            _restart(two, two.living[1], kill=restarts == 2)
        time.sleep(EVERY)
    two.fed_up()
    two.catch_up()
    # Before the checks: nothing is compacted of a segment that nobody writes to any more.
    compacted_after = _compacted(two, logs)
    two.assert_exact()
    found = samples.slopes()
    two.report(
        "soak",
        "a long run with restarts: does memory or a changelog grow without need",
        soak_s=SECONDS,
        compacted_after_s=compacted_after,
        first_worker=found,
        rss_mb={"max": max(samples.rss) / 2**20, "times_the_level": samples.peak()},
        rss_mb_over_time=samples.rss_mb(),
        rows={"first": samples.rows[0], "last": samples.rows[-1]},
        changelogs={room: looks[-1] for room, looks in logs.items()},
        records_per_row_over_time={room: [look["records_per_row"] for look in looks] for room, looks in logs.items()},
    )
    if found["hours"] > LEAST:
        assert found["leaked_mb_per_hour"] < LEAKED
        assert samples.peak() < PEAK
    if COMPACTED_AFTER < SECONDS:
        assert _most_that_is_old(logs) < MOST


def _restart(crew: Crew, worker: Worker, *, kill: bool) -> None:
    if kill:
        crew.kill(worker)
    else:
        assert worker.stop()[0] == 0, worker.last_words()
        crew.harm("SIGTERM")
    crew.join_ready()


def _look(crew: Crew, logs: Logs) -> None:
    for room, looks in logs.items():
        looks.append(growth(crew, room))


def _compacted(crew: Crew, logs: Logs) -> float:
    """Look until what is old is compacted, for some minutes at most; return after how many seconds it was.

    A broker compacts one partition after the other, those of every topic, with a thread that has to share two cores.
    """
    began = time.monotonic()
    while True:
        _look(crew, logs)
        took = time.monotonic() - began
        if _most_that_is_old(logs) < MOST or took > CLEANED_WITHIN:
            return took
        time.sleep(EVERY)


def _most_that_is_old(logs: Logs) -> float:
    return max(looks[-1]["old_records_per_row"] for looks in logs.values())


def growth(crew: Crew, room: str) -> dict[str, float]:
    """Return how many records a changelog holds for each live row: of any age, and of those old enough to be compacted.

    Tombstones are counted apart, all of them: they stay for an hour after compaction, in which months of panes come and go here.
    Offsets say nothing: what is compacted leaves gaps.
    """
    log = changelog(crew.installation.settings.environment.app_id, room)
    live: dict[tuple[int, bytes], bool] = {}
    records, old, tombstones, settled = 0, 0, 0, (time.time() - COMPACTED_AFTER) * 1000
    for message in every_record(crew.installation.client, log):
        is_row = message.value() is not None
        records += is_row
        tombstones += not is_row
        old += is_row and message.timestamp()[1] < settled
        live[message.partition(), message.key()] = is_row
    rows = max(sum(live.values()), 1)
    return {
        "rows": rows,
        "records_per_row": records / rows,
        "old_records_per_row": old / rows,
        "tombstones_per_row": tombstones / rows,
    }
