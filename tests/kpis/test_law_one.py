"""Is a number a function of the set of accepted events?  The rooms against the batch recomputation (law 1)."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.audit.compare import compare
from streams.audit.recompute import recompute
from streams.config import Definitions
from tests import strategies
from tests.in_memory import InMemory

ONE_PARTITION = {"partitions": 1}


def definitions() -> Definitions:
    """Return the settings of the strategies, on one partition."""
    import msgspec

    return msgspec.structs.replace(strategies.definitions(), partitions=1)


def check(flow: InMemory, events: list[Any], watermark: int) -> None:
    """Compare everything that was published with what is expected."""
    expected = recompute(events, flow.definitions, watermark)
    found = compare(expected, flow.definitions, [*flow.history.values(), *flow.latest.values()], list(flow.latest.values()))
    assert found["different"] == 0, found["examples"][:3]


@settings(max_examples=strategies.tries(80), deadline=None, suppress_health_check=list(HealthCheck))
@given(events=strategies.histories(), cuts=st.lists(st.integers(0, 40), max_size=5), restart=st.booleans())
def test_any_order_and_batching_gives_the_cells_of_the_batch_recomputation(
    events: list[Any], cuts: list[int], restart: bool
) -> None:
    """Late, repeated, corrected, re-opened, deleted, re-assigned, re-priced: every record is as if counted at once."""
    flow = InMemory(definitions())
    edges = sorted({0, *(min(cut, len(events)) for cut in cuts), len(events)})
    for start, end in itertools.pairwise(edges):
        flow.feed(events[start:end])
        if restart:
            flow.restart()
    flow.feed([], tick=strategies.WATERMARK, settled=True)
    check(flow, events, strategies.WATERMARK)
