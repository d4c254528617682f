"""Do 8,800 recorded opportunities, through topics and a real worker, give the numbers known of them (docs/kpis.md)?"""

from __future__ import annotations

import orjson
import pytest

from streams.cli.datasets import maven_definitions, maven_events
from streams.topics import KPI_HISTORY, KPI_LATEST
from tests.flow.installation import Installation, counts
from tests.flow.schemas import faults

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
DAY = 86_400


@pytest.fixture(scope="module")
def maven(broker_of_module, tmp_path_factory):
    """Return the installation after all is processed and the worker is gone."""
    installation = Installation(broker_of_module, tmp_path_factory.mktemp("maven"), {**maven_definitions(), "partitions": 4})
    with installation.worker() as worker:
        installation.sent_count = installation.send_events(maven_events())
        installation.process_all(worker)
        installation.counted = counts(worker)
    return installation


@pytest.fixture(scope="module")
def latest(maven):
    return maven.records()


def test_every_event_is_accepted_once(maven):
    """Nothing is refused, nothing taken for a repeat."""
    assert maven.sent_count == 8800 + 6711
    assert maven.counted == {"accepted": 8800 + 6711, "duplicates": 0, "rejected": {}}


def test_wins_and_losses(latest):
    """Won 4,238, lost 2,473."""
    found = latest["win_rate", "all", "all", None, None]
    assert (found["numerator"], found["denominator"]) == (4238, 6711)
    assert found["value"] == 4238 / 6711


def test_revenue(latest):
    """10,005,534 US dollars, of 4,238 deals."""
    found = latest["revenue", "all", "all", None, "USD"]
    assert (found["value"], found["n"]) == (10_005_534, 4238)


def test_cycles(latest):
    """Won 51.78 days on average, won and lost 47.99."""
    means = [latest[kpi, "all", "all", None, None]["stats"]["mean"] / DAY for kpi in ("sales_cycle", "closed_cycle")]
    assert [round(mean, 2) for mean in means] == [51.78, 47.99]


def test_levels(latest):
    """2,089 active: 1,589 Engaging and 500 Prospecting."""
    stages = [
        latest["active_deals", "stage", "default", stage, "now", None, None]["value"]
        for stage in ("Engaging", "Prospecting")
    ]
    assert (latest["active_deals", "all", "now", None, None]["value"], stages) == (2089, [1589, 500])


def test_the_audit_agrees(maven):
    """Independent code finds the same for every record of both topics."""
    found = maven.audit()
    assert found["different"] == 0, found["examples"][:3]
    assert found["compared"] > 20_000


@pytest.mark.parametrize("topic", [KPI_LATEST, KPI_HISTORY])
def test_records_keep_to_their_schema(maven, topic):
    """Keys, values and CloudEvents headers of all that was published, not only of the last of each key."""
    assert list(faults(maven.messages(topic)))[:3] == []


def test_the_audit_reports_a_changed_cell(maven, latest):
    """A record that says one win more than there are does not go unseen, and is the only one."""
    key, record = next((key, one) for key, one in latest.items() if key[:2] == ("win_rate", "team"))
    wire_key = orjson.dumps([*key[:2], [key[2]], *key[3:]])
    try:
        maven.send(KPI_LATEST, orjson.dumps({**record, "numerator": record["numerator"] + 1}), wire_key)
        maven.sent()
        found = maven.audit()
        assert found["different"] == 1
        assert found["examples"][0]["field"] == "numerator"
    finally:
        maven.send(KPI_LATEST, orjson.dumps(record), wire_key)
        maven.sent()
