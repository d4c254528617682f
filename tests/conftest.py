"""Brokers for every test that wants one: the embedded broker, and Apache Kafka from its jars."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.kafka.embedded import embedded_broker as run_embedded_broker

# Helpers stand beside the tests that use them, which are no packages.
HELPERS = [str(Path(__file__).parent / "brokers"), str(Path(__file__).parent / "kafka")]
sys.path += HELPERS
# Also for processes that tests start.
os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1]), *HELPERS])

from apache import MissingToolsError, jars  # noqa: E402
from apache import apache_kafka as run_apache_kafka  # noqa: E402


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
