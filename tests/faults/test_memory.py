"""Would the soak see a leak?"""

from __future__ import annotations

import pytest

from tests.faults.wide.memory import LEAKED, PEAK, Samples

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("restore", [600, 1_200, 1_350, 1_740])
def test_a_leak_is_seen(restore):
    """Two hundred bytes that stay of each of 200 events a second, beside rows that grow as they do, whenever a restore falls."""
    at = [float(second) for second in range(0, 1_800, 5)]
    rows = [10_000 + 13.0 * second for second in at]
    took = [
        400e6 + 2_000 * row + (500e6 if restore <= second < restore + 60 else 0)
        for second, row in zip(at, rows, strict=True)
    ]
    sound = Samples(at, took, rows)
    leaking = Samples(at, [rss + 200 * 200 * second for second, rss in zip(at, took, strict=True)], rows)
    assert sound.slopes()["leaked_mb_per_hour"] < LEAKED < leaking.slopes()["leaked_mb_per_hour"]


@pytest.mark.parametrize(("most", "is_seen"), [(500e6, False), (900e6, True)])
def test_a_restore_that_takes_too_much_is_seen(most, is_seen):
    """However short: what a worker takes at its peak is what its machine must have."""
    samples = Samples([float(second) for second in range(0, 1_800, 5)], [300e6] * 360, [10_000.0] * 360)
    samples.rss[200] = most
    assert (samples.peak() >= PEAK) is is_seen
