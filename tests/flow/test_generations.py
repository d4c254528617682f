"""Does a worker refuse a state that is not of its definitions, in one sentence and within 30 seconds?"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
import yaml
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewPartitions

from streams import topics
from streams.cli.settings import Settings
from streams.config import definitions_from
from streams.kafka import generations
from streams.kafka.admin import create_topics
from streams.kafka.transaction import KeptOutError, StartError
from tests.faults import load
from tests.flow.installation import Installation

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
RAW = load.definitions(partitions=2)


def go_on(installation: Installation, **environment: str) -> generations.StateGeneration:
    """Ask as a worker does at its start."""
    settings = installation.settings
    return generations.for_worker(msgspec.structs.replace(settings.environment, **environment), settings.definitions)


def redefine(installation: Installation, **changes: object) -> None:
    raw = {**RAW, **changes}
    (installation.folder / "dealpulse.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    installation.settings = Settings(installation.settings.environment, definitions_from(raw))


def refusal(call: Callable[[], object]) -> str:
    started = time.monotonic()
    with pytest.raises(StartError) as refused:
        call()
    assert time.monotonic() - started < 30
    return str(refused.value)


def recreate(installation: Installation, *names: str) -> None:
    admin = AdminClient({**installation.client, "log_level": 0})
    for gone in admin.delete_topics(list(names)).values():
        gone.result(20)
    while set(names) & set(admin.list_topics(timeout=10).topics):
        time.sleep(0.1)
    create_topics(installation.settings.environment, installation.settings.definitions)


@pytest.mark.timed
def test_the_first_worker_has_its_generation_soon(embedded_broker, install):
    """What it reads, seven times, is empty or short: a topic that a client has not heard of would cost half a second each time."""
    installation = install(embedded_broker, RAW)
    started = time.monotonic()
    go_on(installation)
    assert time.monotonic() - started < 1.5


def test_the_first_worker_founds_the_state_and_the_next_one_goes_on(broker, install):
    """With the same generation; a harmless change changes nothing."""
    installation = install(broker, RAW)
    first = go_on(installation)
    assert (first.number, first.name, first.first_revision) == (1, installation.settings.environment.app_id, 0)
    redefine(installation, publish_interval="2s", grace="3h", rules=[])
    assert go_on(installation) == first
    assert set(first.topics) >= {topics.STAGE_CHANGE, topics.DELTAS, f"{first.name}-kpis-changelog"}


def test_other_definitions_are_refused_by_name(embedded_broker, install):
    """What was, what is, and the remedy; back again, it goes on."""
    installation = install(embedded_broker, RAW)
    first = go_on(installation)
    redefine(installation, currency="USD", reps={**RAW["reps"], "rep-1": {"team": "North", "region": "EU"}})
    said = refusal(lambda: go_on(installation))
    assert "currency was EUR, is USD; reps.rep-1.team was East, is North; set them back" in said
    assert "dealpulse rebuild" in said
    redefine(installation)
    assert go_on(installation) == first


def test_a_rep_of_whom_only_the_manager_is_known_is_no_difference(embedded_broker, install):
    """No number depends on one, come or gone; it was refused, and nothing was named that could be set back."""
    installation = install(embedded_broker, RAW)
    first = go_on(installation)
    redefine(installation, reps={**RAW["reps"], "newcomer": {"manager": "Olha"}})
    assert go_on(installation) == first
    redefine(installation, reps={**RAW["reps"], "newcomer": {"manager": "Olha", "team": "East"}})
    assert "reps.newcomer.team was not set, is East; set them back" in refusal(lambda: go_on(installation))


def test_another_app_id_is_refused(embedded_broker, install):
    """It would read the deltas of the other one a second time."""
    installation = install(embedded_broker, RAW)
    name = go_on(installation).app_id
    said = refusal(lambda: go_on(installation, app_id="other"))
    assert f"that of DEALPULSE_APP_ID={name}, not of other; set it back, or" in said


def test_another_number_of_partitions_is_refused(embedded_broker, install):
    """A rebuild would not help: the events of a deal stay where they are."""
    installation = install(embedded_broker, RAW)
    go_on(installation)
    redefine(installation, partitions=3)
    said = refusal(lambda: go_on(installation))
    assert "partitions was 2, is 3; the count is chosen once" in said
    assert "rebuild" not in said


@pytest.mark.parametrize("name", [topics.STAGE_CHANGE, topics.DELTAS, topics.KPI_LATEST])
def test_a_topic_that_was_created_anew_is_refused(broker, install, name):
    """Of the same name and partitions, but not the one that the state was computed with."""
    installation = install(broker, RAW)
    assert go_on(installation) is not None
    recreate(installation, name)
    assert f"{name} is another topic than the one that the state was computed with" in refusal(lambda: go_on(installation))


def test_state_of_which_nothing_is_known_is_refused(embedded_broker, install):
    """Of a version before there were generations, or when their topic was lost."""
    installation = install(embedded_broker, RAW)
    log = topics.changelog(installation.settings.environment.app_id, "kpis")
    installation.send(log, b"1", b"c", 1)
    installation.sent()
    said = refusal(lambda: go_on(installation))
    assert f"{log} holds records, but nothing says which definitions they were made with" in said
    assert "dealpulse rebuild" in said


def test_deltas_of_another_app_id_are_refused_where_no_generation_is_known(embedded_broker, install):
    """The new rooms would add them up beside their own."""
    installation = install(embedded_broker, RAW)
    installation.send(topics.DELTAS, b"1", None, 0)
    installation.sent()
    assert f"{topics.DELTAS} holds records" in refusal(lambda: go_on(installation))


def test_only_one_can_write_about_generations(broker, install, capfd):
    """Two first workers with different definitions: the later one to register shuts the other out, which is not called fatal."""
    installation = install(broker, RAW)
    environment = installation.settings.environment
    slow = generations.Control(environment)
    generations.Control(environment)
    with pytest.raises(KafkaException), slow.transaction() as send:
        send(topics.GENERATIONS, 0, generations.PRESENT, b"{}")
    assert generations.read(environment).present is None
    assert capfd.readouterr().err == ""


def test_several_first_workers_agree(broker, install):
    """Started at the same moment, all go on with one generation."""
    installation = install(broker, RAW)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: go_on(installation), range(4)))
    assert found == [generations.read(installation.settings.environment).present] * 4


def test_first_workers_that_keep_each_other_out_try_again(embedded_broker, install, monkeypatch):
    """Whoever registers later fences the one before, also while that registers; and what one has committed may be invisible for a moment."""
    installation = install(embedded_broker, RAW)
    happens = iter(["fenced", "committed, and not visible yet"])
    control, read = generations.Control, generations.read
    blind = []

    def register(environment):
        if next(happens, "") == "fenced":
            raise KeptOutError("somebody else is faster")
        return control(environment)

    def look(environment):
        known = read(environment)
        if known.present is not None and not blind:
            blind.append(known)
            return generations.Generations(None, None)
        return known

    monkeypatch.setattr(generations, "Control", register)
    monkeypatch.setattr(generations, "read", look)
    found = go_on(installation)
    assert found == read(installation.settings.environment).present
    assert blind == [generations.Generations(found, None)]


def test_nothing_is_founded_on_wrong_topics(embedded_broker, install):
    """Else the count that was wrong would be the one to keep to."""
    installation = install(embedded_broker, RAW)
    redefine(installation, partitions=3)
    assert go_on(installation) is None
    redefine(installation)
    assert go_on(installation).number == 1


@pytest.mark.kafka
def test_a_worker_ends_when_partitions_are_added_and_none_starts(apache_kafka, install):
    """Within 30 seconds each, with a sentence: exit 70 while it runs, 1 at the start."""
    installation = install(apache_kafka, RAW)
    with installation.worker() as worker:
        worker.wait_until_ready()
        admin = AdminClient(installation.client)
        for added in admin.create_partitions([NewPartitions(topics.STAGE_CHANGE, 4)]).values():
            added.result(10)
        assert worker.process.wait(30) == 70
        assert "all topics need equal partition counts" in worker.last_words()
    with installation.worker() as worker:
        assert worker.process.wait(30) == 1
        assert f"topic {topics.STAGE_CHANGE} has 4 partitions, not 2" in worker.last_words()


@pytest.mark.kafka
def test_a_worker_ends_when_a_topic_is_taken_away_and_none_starts(apache_kafka, install):
    """Deleted and created anew under a running worker: exit 70 within 30 seconds, and then no start on what is not its own."""
    installation = install(apache_kafka, RAW)
    with installation.worker(ticks=True) as worker:
        worker.wait_until_ready()
        time.sleep(2)
        recreate(installation, topics.DELTAS)
        assert worker.process.wait(30) == 70
        assert topics.DELTAS in worker.last_words() or "transaction failed" in worker.last_words()
    with installation.worker() as worker:
        assert worker.process.wait(30) == 1
        assert f"{topics.DELTAS} is another topic than the one" in worker.last_words()
