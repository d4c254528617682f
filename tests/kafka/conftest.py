"""Flows of their own for every test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flow import Flow


@pytest.fixture
def new_flow(tmp_path: Path) -> Iterator[Callable[..., Flow]]:
    """Make flows on a broker; their workers end with the test."""
    flows: list[Flow] = []

    def make(url: str, **options: int) -> Flow:
        flows.append(Flow(url, tmp_path, **options).create())
        return flows[-1]

    yield make
    for flow in flows:
        flow.end()
