"""Brokers for every test that wants one: the embedded broker, and Apache Kafka from its jars."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from streams.kafka.embedded import embedded_broker as run_embedded_broker

# Helpers stand beside the tests that use them, which are no packages.
HELPERS = [str(Path(__file__).parent / "brokers"), str(Path(__file__).parent / "kafka")]
sys.path += HELPERS
# Also for processes that tests start.
os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1]), *HELPERS])

from apache import MissingToolsError, jars  # noqa: E402
from apache import apache_kafka as run_apache_kafka  # noqa: E402

# Files, and tests, that share what is costly to set up or count together; of all others each test may go to another process.
SHARING = {
    "tests/audit/test_references.py",
    "tests/cli/test_embedded_broker.py",
    "tests/cli/test_end_to_end.py",
    "tests/deploy/test_prometheus.py",
    "tests/deploy/test_wheel.py",
    "tests/faults/test_model.py::test_no_history_changes_a_number",
    "tests/faults/test_worlds.py",
    "tests/flow/test_bpi.py",
    "tests/flow/test_maven.py",
}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hand out tests one by one under -n, but those that share something to one process."""
    from xdist.scheduler import LoadScopeScheduling

    class OneByOne(LoadScopeScheduling):
        def _assign_work_unit(self, node: Any) -> None:
            done = [scope for scope, unit in self.assigned_work[node].items() if all(unit.values())]
            for scope in done:  # else all of them are counted again after every test
                del self.assigned_work[node][scope]
            super()._assign_work_unit(node)

        def _split_scope(self, nodeid: str) -> str:
            for sharing in SHARING & {nodeid.partition("::")[0], nodeid.partition("[")[0]}:
                return f"{sharing} {'apache_kafka' in nodeid}"
            return nodeid

    return OneByOne(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let several workers begin with what may take longest, so that none of them ends long after the others."""
    if hasattr(config, "workerinput"):
        items.sort(key=_patience, reverse=True)


def _patience(item: pytest.Item) -> float:
    """Return how long the test may take, in seconds; 0 for those that are over at once."""
    if item.get_closest_marker("slow") is None:
        return 0.0
    told = item.get_closest_marker("timeout")
    return float(told.args[0] if told else item.config.getini("timeout"))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Fetch what Apache Kafka needs before the clock of any test runs; whether it can be had is said by `apache_kafka`."""
    gc.freeze()  # what is imported and collected stays, and need not be looked through again and again
    if any(item.get_closest_marker("kafka") for item in session.items) and not session.config.option.collectonly:
        with contextlib.suppress(MissingToolsError):
            jars()


@pytest.fixture(scope="session")
def embedded_broker() -> Iterator[str]:
    """Return the URL of an embedded broker that lives as long as the test run."""
    with run_embedded_broker() as broker:
        yield broker.url


@pytest.fixture(scope="session")
def apache_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of an Apache Kafka broker that lives as long as the test run."""
    try:
        jars()
    except MissingToolsError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must test on Apache Kafka: {error}")
        pytest.skip(f"Apache Kafka is not to be had: {error}")
    with run_apache_kafka(tmp_path_factory.mktemp("apache-kafka")) as url:
        yield url


@pytest.fixture(
    params=[
        "embedded_broker",
        pytest.param("apache_kafka", marks=[pytest.mark.kafka, pytest.mark.slow]),
    ]
)
def broker(request: pytest.FixtureRequest) -> str:
    """Run the test on both brokers; returns the kafka:// URL."""
    return str(request.getfixturevalue(request.param))
