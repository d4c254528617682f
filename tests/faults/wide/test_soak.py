"""Does anything grow that should not?  Hours under load with a restart now and then: memory per key, records per live row."""

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
EVERY = 5.0
A_ROW = 20_000  # bytes of memory that one more state row may cost; what leaks grows without rows
COMPACTED_AFTER = 900.0  # a segment that is written to is never cleaned; it is rolled after 600 s


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

    def later_half(self) -> dict[str, float]:
        """Return slopes over the second half."""
        half = len(self.at) // 2
        hours = (self.at[-1] - self.at[half]) / 3600
        grown = slope(self.at[half:], self.rss[half:]) * 3600
        rows = slope(self.at[half:], self.rows[half:]) * 3600
        return {
            "hours": hours,
            "rss_mb_per_hour": grown / 2**20,
            "rows_per_hour": rows,
            "bytes_per_row": grown / max(rows, 1.0),
        }


def slope(x: list[float], y: list[float]) -> float:
    """Return the slope of the line of least squares."""
    mx, my = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True)) / sum((a - mx) ** 2 for a in x)


def test_memory_grows_with_the_state_only(crew):
    """The first worker runs from beginning to end; the second is stopped or killed three times."""
    two = crew()
    two.join_ready(2)
    two.feed(RATE * SECONDS, SEED + 60, RATE, step=1 / RATE)  # event time goes as fast as ours
    samples, began, restarts = Samples(), time.monotonic(), 0
    while two.feeding:
        samples.take(two)
        time.sleep(EVERY)
        if (time.monotonic() - began) / SECONDS > (restarts + 1) / 4:
            restarts += 1
            other = two.living[1]
            two.kill(other) if restarts == 2 else other.stop()
            two.harm("restart")
            two.join_ready()
    two.fed_up()
    two.assert_exact()
    found = samples.later_half()
    logs = {room: growth(two, room) for room in ROOMS}
    two.report(
        "soak",
        "a long run with restarts: does memory or a changelog grow without need",
        soak_s=SECONDS,
        first_worker=found,
        rss_mb={"first": samples.rss[0] / 2**20, "last": samples.rss[-1] / 2**20, "max": max(samples.rss) / 2**20},
        changelogs=logs,
    )
    assert found["bytes_per_row"] < A_ROW
    if COMPACTED_AFTER < SECONDS:
        assert max(log["old_records_per_row"] for log in logs.values()) < 3


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
