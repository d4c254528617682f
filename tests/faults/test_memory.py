"""Would the soak see a leak?"""

from __future__ import annotations

import pytest

from tests.faults.wide.memory import LEAKED, Samples

pytestmark = pytest.mark.faults


def test_a_leak_is_seen():
    """Two hundred bytes that stay of each of 200 events a second, beside rows that grow as they do."""
    at = [float(second) for second in range(0, 1_800, 5)]
    rows = [10_000 + 13.0 * second for second in at]
    sound = Samples(at, [400e6 + 2_000 * row for row in rows], rows)
    leaking = Samples(at, [400e6 + 2_000 * row + 200 * 200 * second for second, row in zip(at, rows, strict=True)], rows)
    assert sound.slopes()["leaked_mb_per_hour"] < LEAKED < leaking.slopes()["leaked_mb_per_hour"]
