"""Brokers for whole installations: the product's topic names are fixed, so no two tests may use them at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from streams.kafka.embedded import embedded_broker as run_embedded_broker
from tests.flow.installation import Installation
from tests.flow.webhook import FakeSlack, listening

BOTH = ["embedded_broker", pytest.param("apache_kafka", marks=[pytest.mark.kafka])]


@pytest.fixture
def embedded_broker() -> Iterator[str]:
    """Return the URL of a new embedded broker for every test; `broker` and `apache_kafka` are everybody's."""
    with run_embedded_broker() as broker:
        yield broker.url


@pytest.fixture(scope="module")
def module_broker() -> Iterator[str]:
    """Return the URL of an embedded broker for all tests of a module."""
    with run_embedded_broker() as broker:
        yield broker.url


@pytest.fixture(scope="module", params=BOTH)
def broker_of_module(request: pytest.FixtureRequest) -> str:
    """Run a whole module on both brokers."""
    return str(request.getfixturevalue("apache_kafka" if request.param == "apache_kafka" else "module_broker"))


@pytest.fixture
def install(tmp_path) -> Callable[..., Installation]:
    """Make an installation on a broker."""
    return lambda url, raw, **environment: Installation(url, tmp_path, raw, **environment)


@pytest.fixture
def slack() -> Iterator[FakeSlack]:
    """Return a Slack that listens."""
    with listening() as fake:
        yield fake
