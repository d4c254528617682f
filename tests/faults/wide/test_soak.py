"""Does anything grow that should not?  Half an hour and forty days of event time under load, with a restart now and then."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from streams.cli.read import every_record
from streams.topics import ROOMS, changelog
from tests.faults.wide.crew import Crew
from tests.faults.wide.dose import SEED, dose, only_heavy, patience

pytestmark = [*patience(300, dose("SOAK_SECONDS", 60, 1_800) + 600), only_heavy]

SECONDS = dose("SOAK_SECONDS", 60, 1_800)
RATE = dose("SOAK_RATE", 200, 200)
STEP = 10.0  # event time between two events: days close, windows end, and what is 10 minutes late is 60 events late
EVERY = 5.0
A_ROW = 4_000  # bytes of memory that one more state row may cost: twice what one takes, all in
LEAKED = 60.0  # MB an hour that memory may grow beyond that; what leaks grows without rows
COMPACTED_AFTER = 900.0  # a segment that is written to is never cleaned; it is rolled after 600 s
A_LOOK = 150.0  # seconds between two looks into the changelogs


@dataclass
class Samples:
    """What one worker took over time."""

    at: list[float] = field(default_factory=list)
    rss: list[float] = field(default_factory=list)
    rows: list[float] = field(default_factory=list)

    def take(self, crew: Crew) -> None:
        worker = crew.living[0]
        rows = sum(value for (name, _), value in worker.metrics().items() if name == "dealpulse_table_keys")
        self.at.append(time.monotonic())
        self.rss.append(worker.rss())
        self.rows.append(rows)

    def slopes(self) -> dict[str, float]:
        """Return slopes over the last third: before that rows are learned and caches filled, and what a start took is given back."""
        from_ = len(self.at) * 2 // 3
        rss = slope(self.at[from_:], self.rss[from_:]) * 3600
        rows = slope(self.at[from_:], self.rows[from_:]) * 3600
        return {
            "hours": (self.at[-1] - self.at[from_]) / 3600,
            "rss_mb_per_hour": rss / 2**20,
            "rows_per_hour": rows,
            "leaked_mb_per_hour": (rss - A_ROW * max(rows, 0.0)) / 2**20,
        }


def slope(x: list[float], y: list[float]) -> float:
    """Return the slope of the line of least squares."""
    mx, my = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True)) / sum((a - mx) ** 2 for a in x)


def test_memory_grows_with_the_state_only(crew):
    """The first worker runs from beginning to end; the second is stopped or killed three times."""
    two = crew()
    two.join_ready(2)
    two.feed(RATE * SECONDS, SEED + 60, RATE, step=STEP)
    samples, began, restarts = Samples(), time.monotonic(), 0
    logs: dict[str, list[dict[str, float]]] = {room: [] for room in ROOMS}
    while two.feeding:
        samples.take(two)
        if time.monotonic() - began > A_LOOK * (len(logs["deals"]) + 1):
            for room, looks in logs.items():
                looks.append(growth(two, room))
        time.sleep(EVERY)
        if (time.monotonic() - began) / SECONDS > (restarts + 1) / 4:
            restarts += 1
            other = two.living[1]
            if restarts == 2:
                two.kill(other)
            else:
                assert other.stop()[0] == 0, other.last_words()
                two.harm("SIGTERM")
            two.join_ready()
    two.fed_up()
    two.assert_exact()
    found = samples.slopes()
    for room, looks in logs.items():
        looks.append(growth(two, room))
    two.report(
        "soak",
        "a long run with restarts: does memory or a changelog grow without need",
        soak_s=SECONDS,
        first_worker=found,
        rss_mb={"first": samples.rss[0] / 2**20, "last": samples.rss[-1] / 2**20, "max": max(samples.rss) / 2**20},
        rows={"first": samples.rows[0], "last": samples.rows[-1]},
        changelogs={room: looks[-1] for room, looks in logs.items()},
        records_per_row_over_time={room: [look["records_per_row"] for look in looks] for room, looks in logs.items()},
    )
    assert found["leaked_mb_per_hour"] < LEAKED
    if COMPACTED_AFTER < SECONDS:
        assert max(looks[-1]["old_records_per_row"] for looks in logs.values()) < 3


def test_a_leak_is_seen():
    """Two hundred bytes that stay of each of 200 events a second, beside rows that grow as they do."""
    at = [float(second) for second in range(0, 1_800, 5)]
    rows = [10_000 + 13.0 * second for second in at]
    sound = Samples(at, [400e6 + 2_000 * row for row in rows], rows)
    leaking = Samples(at, [400e6 + 2_000 * row + 200 * 200 * second for second, row in zip(at, rows, strict=True)], rows)
    assert sound.slopes()["leaked_mb_per_hour"] < LEAKED < leaking.slopes()["leaked_mb_per_hour"]


def growth(crew: Crew, room: str) -> dict[str, float]:
    """Return how many records a changelog holds for each live row: of any age, and of those old enough to be compacted.

    Offsets say nothing: what is compacted leaves gaps.
    """
    log = changelog(crew.installation.settings.environment.app_id, room)
    live: dict[tuple[int, bytes], bool] = {}
    records, old, settled = 0, 0, (time.time() - COMPACTED_AFTER) * 1000
    for message in every_record(crew.installation.client, log):
        records += 1
        old += message.timestamp()[1] < settled
        live[message.partition(), message.key()] = message.value() is not None
    rows = max(sum(live.values()), 1)
    return {"rows": rows, "records_per_row": records / rows, "old_records_per_row": old / rows}
