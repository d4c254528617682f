"""Does a rebuild give the numbers of the present definitions, and do readers never miss one meanwhile?"""

from __future__ import annotations

import contextlib
import itertools
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator

import orjson
import pytest
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from streams import topics
from streams.kafka import generations
from streams.kafka.admin import create_topics
from streams.rebuild.shadow import shadow_topics
from streams.topics import DEAD_LETTER, KPI_HISTORY, KPI_LATEST, all_topics
from tests.faults import load
from tests.flow.installation import Installation, open_transaction, stop
from tests.flow.rebuilding import CHANGED, DEFINED, RAW, feed, process_all, rebuilt, redefine, run
from tests.flow.schemas import faults

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Follower(threading.Thread):
    """A subscriber of `latest` that never goes away, and remembers all that it saw."""

    def __init__(self, client: dict, partitions: int) -> None:
        super().__init__(daemon=True)
        self.seen: list[Message] = []
        self._end = threading.Event()
        self._consumer = Consumer(
            {
                **client,
                "group.id": "follower",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "log_level": 0,
            }
        )
        self._consumer.assign([TopicPartition(KPI_LATEST, one, 0) for one in range(partitions)])

    def run(self) -> None:
        while not self._end.is_set():
            self.seen += [message for message in self._consumer.consume(10_000, 0.1) if message.error() is None]
        self._consumer.close()

    def rest(self) -> int:
        """Wait until nothing comes; return how much came."""
        count = -1
        while count != len(self.seen):
            count = len(self.seen)
            time.sleep(1.0)
        return count

    def end(self) -> None:
        self._end.set()
        self.join()


def view(messages: list[Message]) -> dict[bytes, dict]:
    found: dict[bytes, dict] = {}
    for message in messages:
        found[message.key()] = orjson.loads(message.value() or b"null")
    return {key: record for key, record in found.items() if record is not None}


def wait_until_it_computes(installation: Installation, rebuild: subprocess.Popen[bytes]) -> None:
    """Wait until a rebuild has written the first rows of the second generation's deals; it must be under way until then."""
    topic = topics.changelog(f"{installation.settings.environment.app_id}-g2", "deals")
    asking = Consumer({**installation.client, "group.id": "asking"})
    places = [TopicPartition(topic, partition) for partition in range(DEFINED.partitions)]
    written = 0
    while not written:
        assert rebuild.poll() is None, rebuild.communicate()
        time.sleep(0.05)
        with contextlib.suppress(KafkaException):  # there is no such topic yet
            written = sum(asking.get_watermark_offsets(place, timeout=5)[1] for place in places)
    asking.close()


def assert_revisions_rise(messages: list[Message]) -> None:
    newest: dict[bytes, int] = {}
    for message in messages:
        if message.value() is not None:
            revision = orjson.loads(message.value())["revision"]
            assert revision > newest.get(message.key(), -1), message.key()
            newest[message.key()] = revision


@pytest.fixture
def follower() -> Iterator[list[Follower]]:
    """Hold followers, which end with the test."""
    made: list[Follower] = []
    yield made
    for one in made:
        one.end()


def test_definitions_change_and_no_reader_misses_anything(broker, install, follower):
    """Refused, rebuilt (killed once in the middle, where the broker can take it), and everything is as from the first day.

    Events that came while no worker ran are in the numbers, and their dead letters are written; no other one is.
    """
    installation = install(broker, RAW)
    reasons = feed(installation, 3_000, 1)
    process_all(installation)
    assert installation.audit()["different"] == 0
    redefine(installation, CHANGED)
    with installation.worker() as worker:
        assert worker.process.wait(30) == 1
        assert "reps.rep-1.team was East, is North" in worker.last_words()
        assert "dealpulse rebuild" in worker.last_words()

    reasons += feed(installation, 400, 2)
    follower.append(Follower(installation.client, DEFINED.partitions))
    follower[0].start()
    before = follower[0].rest()
    old = view(follower[0].seen)
    if not broker_is_embedded(installation):
        interrupted = run(installation)
        wait_until_it_computes(installation, interrupted)
        interrupted.send_signal(signal.SIGKILL)
        interrupted.communicate()
        with installation.worker() as worker:
            assert worker.process.wait(30) == 1
            assert "generation 2 of the state is being computed" in worker.last_words()
    assert follower[0].rest() == before
    summary = rebuilt(installation)
    follower[0].rest()

    switch = follower[0].seen[before:]
    new = view(follower[0].seen)
    assert (summary["generation"], summary["events"], summary["latest"]) == (2, 3_400, len(new))
    gone = {message.key() for message in switch if message.value() is None}
    assert gone == old.keys() - new.keys()
    assert any(b'"month"' in key for key in gone)
    assert Counter(message.key() for message in switch) == dict.fromkeys(old.keys() | new.keys(), 1)
    assert {record["entity"]["team"] for record in new.values() if record["cut"] == "team"} == {
        "Central",
        "East",
        "West",
        "North",
    }
    found = installation.audit()
    assert (found["different"], found["compared"] > 1_000) == (0, True), found
    assert dead_letters(installation) == reasons

    reasons += feed(installation, 400, 3)
    process_all(installation)
    assert installation.audit()["different"] == 0
    assert dead_letters(installation) == reasons
    for topic in (KPI_LATEST, KPI_HISTORY):
        messages = installation.messages(topic)
        assert_revisions_rise(messages)
        assert list(faults([one for one in messages if topic == KPI_LATEST or one.value() is not None]))[:3] == []
    name = installation.settings.environment.app_id
    left = {topic for topic in AdminClient(installation.client).list_topics(timeout=10).topics if topic.startswith(name)}
    assert left == {topics.changelog(f"{name}-g2", room) for room in topics.ROOMS}


def broker_is_embedded(installation: Installation) -> bool:
    return AdminClient(installation.client).list_topics(timeout=10).cluster_id == "dealpulse-embedded"


def dead_letters(installation: Installation) -> Counter[str]:
    """Count dead letters by reason; each origin must be there once."""
    letters = [orjson.loads(message.value()) for message in installation.messages(DEAD_LETTER)]
    origins = Counter((letter["topic"], letter["partition"], letter["offset"]) for letter in letters)
    assert set(origins.values()) <= {1}
    return Counter(letter["reason"] for letter in letters)


def test_no_rebuild_while_a_worker_runs(broker, install):
    """It says what to do."""
    installation = install(broker, RAW)
    with installation.worker() as worker:
        worker.wait_until_ready()
        done = run(installation)
        _, said = done.communicate(timeout=60)
        assert done.returncode == 1
        assert b"stop" in said
        assert generations.read(installation.settings.environment).next is None


def test_events_that_come_meanwhile_are_for_the_workers_afterwards(broker, install):
    """However fast they come, the rebuild ends, with what was there when it began."""
    installation = install(broker, RAW)
    stream = load.records(100_000, 1)
    installation.send_all(itertools.islice(stream, 1_000))
    process_all(installation)
    redefine(installation, CHANGED)
    over = threading.Event()

    def go_on() -> None:
        while not over.wait(0.1):
            installation.send_all(itertools.islice(stream, 100))

    feeding = threading.Thread(target=go_on)
    feeding.start()
    try:
        time.sleep(1.0)
        summary = rebuilt(installation)
    finally:
        over.set()
        feeding.join()
    stand = sum(len(installation.messages(topic)) for topic in (topics.STAGE_CHANGE, topics.ACTIVITY))
    assert 1_000 < summary["events"] < stand
    process_all(installation)
    found = installation.audit()
    assert (found["different"], found["compared"] > 1_000) == (0, True), found


@pytest.mark.kafka
def test_what_old_workers_left_behind_an_open_transaction_is_not_the_new_generations(apache_kafka, install):
    """Another worker's deltas stand behind it; they become visible while the next generation is computed."""
    installation = install(apache_kafka, RAW)
    with open_transaction(installation.client, topics.DELTAS, DEFINED.partitions, 30.0) as decided:
        feed(installation, 500, 1)
        with installation.worker() as worker:
            installation.read_all(worker)
            stop(worker)
        redefine(installation, CHANGED)
        assert not decided.is_set()
        rebuilt(installation)
        assert decided.is_set()
    found = installation.audit()
    assert (found["different"], found["compared"] > 1_000) == (0, True), found


def test_a_run_that_ended_after_its_switch_is_only_cleaned_up(embedded_broker, install):
    """Everything is told already."""
    installation = install(embedded_broker, RAW)
    feed(installation, 100, 1)
    process_all(installation)
    redefine(installation, CHANGED)
    assert rebuilt(installation)["generation"] == 2
    present = generations.read(installation.settings.environment).present
    left = shadow_topics(present.name)
    create_topics(installation.settings.environment, DEFINED, left)
    summary = rebuilt(installation)
    assert (summary["generation"], summary["events"], summary["latest"]) == (2, 0, 0)
    assert generations.read(installation.settings.environment) == generations.Generations(present)
    there = AdminClient(installation.client).list_topics(timeout=10).topics
    assert {topic.name for topic in left} & there.keys() == {topic.name for topic in all_topics(present.name)}
