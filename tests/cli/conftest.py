"""What do the tests of the command line share?"""

import orjson
import pytest
from click.testing import CliRunner

from streams.cli.commands import cli
from streams.environment import ENV_PREFIX, Environment


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    for name in Environment.__struct_fields__:
        monkeypatch.delenv(ENV_PREFIX + name.upper(), raising=False)
        monkeypatch.delenv(ENV_PREFIX + name.upper() + "_FILE", raising=False)


@pytest.fixture
def run():
    """Run dealpulse in this process."""
    return lambda *arguments, **more: CliRunner().invoke(cli, list(arguments), prog_name="dealpulse", **more)


@pytest.fixture
def kpi():
    """Make a KPI record and its key."""

    def make(name, cut="all", entity=None, window="all", value=1.0, unit="ratio", *, start=None, currency=None, n=1):
        entity = entity or {}
        record = {
            "kpi": name, "cut": cut, "entity": entity, "window": {"name": window, "start": start, "end": None},
            "value": value, "unit": unit, "n": n, "numerator": None, "denominator": None, "stats": None,
            "previous": None, "target": None, "currency": currency,
        }  # fmt: skip
        return orjson.dumps([name, cut, list(entity.values()), window, start, currency]), orjson.dumps(record)

    return make
