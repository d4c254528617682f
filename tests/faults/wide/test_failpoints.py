"""Does it matter where in a flush a worker dies, or who takes over?  Each point of the crash matrix, on the whole product."""

from __future__ import annotations

import pytest

from streams.kafka.faults import POINTS
from tests.faults import workers
from tests.faults.wide.dose import SEED, only_heavy, patience

pytestmark = patience(240, 900)


@only_heavy
@pytest.mark.parametrize("slot", [None, "0"], ids=["another", "the-same"])
def test_death_at_every_point_changes_no_number(crew, slot):
    """C1 to C6; another worker takes over, or the same one comes back under its name and meets its own open transaction."""
    crew = crew(slot=slot)
    crew.feed(3_000, SEED + 20, 400)
    if slot is None:
        crew.join_ready()
    for point in POINTS:
        dying = crew.join(failpoint=f"{point}:10")
        assert dying.wait(90) == workers.KILLED, f"{point}: {dying.last_words()}"
        crew.harm(f"death at {point}")
    if slot is not None:
        crew.join()
    crew.fed_up()
    crew.assert_exact()
    crew.report(
        f"failpoints-{'the-same' if slot else 'another'}-worker",
        "death at every point of a flush",
    )
