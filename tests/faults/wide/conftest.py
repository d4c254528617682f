"""Crews, and three brokers where one is not enough to lose."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from cluster import Cluster, three_brokers

from tests.faults.wide.crew import Crew
from tests.faults.wide.dose import HEAVY


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what takes an hour or two, unless it is asked for."""
    left_out = [item for item in items if item.get_closest_marker("heavy") and not HEAVY]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture
def crew_on(tmp_path, request) -> Iterator[Callable[..., Crew]]:
    """Make crews on a broker; their workers end with the test, and what was found exact without a report gets one."""
    crews: list[Crew] = []

    def make(url: str, **options) -> Crew:
        crews.append(Crew(url, tmp_path, request.node.nodeid, **options))
        return crews[-1]

    yield make
    for one in crews:
        one.end()
        if "checks_s" in one.found and not one.is_reported:
            name = re.sub(r"\W+", "-", request.node.name.removeprefix("test_").replace("_", "-")).strip("-")
            one.report(name, name.replace("-", " "))


@pytest.fixture
def crew(apache_kafka, crew_on) -> Callable[..., Crew]:
    """Make crews on the one broker."""
    return lambda **options: crew_on(apache_kafka, **options)


@pytest.fixture(scope="module")
def cluster(apache_kafka, tmp_path_factory) -> Iterator[Cluster]:
    """Return three brokers for the tests of a module."""
    with three_brokers(tmp_path_factory.mktemp("three-brokers")) as brokers:
        yield brokers
