"""Does every published number survive workers that are killed and frozen?  The whole product on Apache Kafka (laws 3 to 5).

DEALPULSE_FAULTS=heavy gives the dose of a release: ten kills over 100,000 events instead of three over 10,000.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest
from confluent_kafka import Message

from streams.topics import DEAD_LETTER, KPI_HISTORY, KPI_LATEST
from tests.faults import load, workers
from tests.flow.installation import Installation
from tests.flow.schemas import faults

HEAVY = os.environ.get("DEALPULSE_FAULTS") == "heavy"
pytestmark = [pytest.mark.slow, pytest.mark.kafka, pytest.mark.faults, pytest.mark.timeout(1500 if HEAVY else 300)]

EVENTS, KILLS, RATE = (100_000, 10, 1_000) if HEAVY else (10_000, 3, 600)
SEED = int(os.environ.get("DEALPULSE_FAULTS_SEED", "20240301"))


class Crew:
    """Two workers of one installation, of which some die, and a feed that goes on meanwhile."""

    def __init__(self, url: str, folder: Path, **options) -> None:
        self.installation = Installation(url, folder, load.definitions())
        self.folder = folder
        self.options = options
        self.reasons: Counter[str] = Counter()
        self.fed = 0
        self.workers: list[workers.Worker] = []
        self._enough = threading.Event()
        self._feed = threading.Thread(daemon=True)
        self._at_least = 0

    def join(self, **options) -> workers.Worker:
        worker = workers.start(self.installation.settings, self.folder, **{**self.options, **options})
        self.workers.append(worker)
        return worker

    @property
    def living(self) -> list[workers.Worker]:
        return [worker for worker in self.workers if worker.code is None]

    def feed(self, at_least: int, seed: int, rate: float) -> None:
        """Send `rate` records a second from now on, in a thread, until `fed_up` is called and it is enough."""
        self._at_least = at_least
        self._feed = threading.Thread(target=self._send, args=(seed, rate), daemon=True)
        self._feed.start()

    def fed_up(self) -> None:
        """Let the feed end."""
        self._enough.set()
        self._feed.join()

    @property
    def feeding(self) -> bool:
        """Has the feed less than enough?"""
        return self._feed.is_alive() and self.fed < self._at_least

    def _send(self, seed: int, rate: float) -> None:
        began = time.monotonic()
        for sent in load.records(10**7, seed):
            if self.fed >= self._at_least and self._enough.is_set():
                break
            self.installation.send(sent.topic, sent.value, sent.key)
            self.reasons[sent.reason or "good"] += 1
            self.fed += 1
            if self.fed % 10 == 0:
                time.sleep(max(0.0, began + self.fed / rate - time.monotonic()))
        self.installation.sent()

    def settle(self) -> None:
        """Wait until all is processed, and nothing waits in any topic."""
        self.installation.process_all(*self.living)

    def end(self) -> None:
        self._at_least = 0
        self._enough.set()
        for worker in self.workers:
            worker.end()

    # ------------------------------------------------------------------ what must hold afterwards

    def assert_exact(self) -> None:
        found = self.installation.audit()
        assert found["different"] == 0, found
        assert found["compared"] > 1000
        assert self.dead_letters() == {reason: count for reason, count in self.reasons.items() if reason != "good"}
        assert list(faults(self.installation.messages(KPI_LATEST)))[:3] == []
        for topic in (KPI_LATEST, KPI_HISTORY):
            self.assert_each_key_told_once(topic)

    def dead_letters(self) -> Counter[str]:
        """Count dead letters by reason; each origin must be there once."""
        letters = [orjson.loads(message.value()) for message in self.installation.messages(DEAD_LETTER)]
        origins = Counter((letter["topic"], letter["partition"], letter["offset"]) for letter in letters)
        assert set(origins.values()) <= {1}, origins.most_common(3)
        return Counter(letter["reason"] for letter in letters)

    def assert_each_key_told_once(self, topic: str) -> None:
        """Each key is in one partition, and no revision of it is there twice, as one of an aborted transaction would be."""
        places = defaultdict(set)
        newest: dict[bytes, Message] = {}
        for message in self.installation.messages(topic):
            key = message.key()
            places[key].add(message.partition())
            if message.value() is not None:
                before = newest.get(key)
                if before is not None and revision(message) <= revision(before):
                    pytest.fail(f"{told(before)}\nand later\n{told(message)}")
                newest[key] = message
        assert {len(found) for found in places.values()} == {1}


def revision(message: Message) -> int:
    return orjson.loads(message.value())["revision"]


def told(message: Message) -> str:
    return f"{message.topic()}/{message.partition()}@{message.offset()} of {message.timestamp()[1]}: {message.value()}"


@pytest.fixture
def crew(apache_kafka, tmp_path) -> Iterator[Callable[..., Crew]]:
    """Make crews; their workers end with the test."""
    crews: list[Crew] = []

    def make(**options) -> Crew:
        crews.append(Crew(apache_kafka, tmp_path, **options))
        return crews[-1]

    yield make
    for one in crews:
        one.end()


def test_kill_9_at_any_moment_changes_no_number(crew):
    """One of two workers is killed again and again while events come in: every cell is as if nothing had happened."""
    dice = random.Random(SEED)
    two = crew()
    for worker in (two.join(), two.join()):
        worker.wait_until_ready()
    two.feed(EVENTS, SEED, RATE)
    killed = 0
    while killed < KILLS or two.feeding:
        time.sleep(dice.uniform(2, 8))
        victim = dice.choice(two.living)
        victim.kill()
        assert victim.code == workers.KILLED, victim.last_words()
        killed += 1
        time.sleep(dice.uniform(0, 2))
        two.join()
    two.fed_up()
    two.settle()
    assert len(two.living) == 2
    print(f"{two.fed} records, {killed} kills, {dict(two.reasons)}")
    two.assert_exact()
    two.settle()  # nothing waits behind what is committed


def test_a_frozen_owner_is_fenced(crew):
    """Frozen for longer than the session it wakes up, finds that others own its partitions, and exits 70; nothing changes."""
    two = crew()
    frozen, other = two.join(), two.join()
    for worker in (frozen, other):
        worker.wait_until_ready()
    two.feed(8_000, SEED + 1, 500)
    time.sleep(3)
    frozen.freeze(workers.SESSION + 4)
    assert frozen.wait(20) == 70, frozen.last_words()
    two.fed_up()
    assert two.living == [other]
    two.settle()
    two.assert_exact()


@pytest.mark.parametrize("transactions", [True, False], ids=["transactions", "plain-producing"])
def test_what_these_tests_can_see(crew, transactions):
    """Deaths in the middle of a flush: exact with transactions; without them, as most workers do it, the audit finds it."""
    dice = random.Random(SEED)
    one = crew(transactions=transactions)
    one.feed(3_000, SEED + 2, 300)  # in every flush there is an event
    for point in ("C2", "C3", "C2"):  # streams/kafka/faults.py
        worker = one.join(failpoint=f"{point}:{dice.randrange(5, 15)}")
        assert worker.wait(120) == workers.KILLED, worker.last_words()
    one.join()
    one.fed_up()
    one.settle()
    if transactions:
        one.assert_exact()
    else:
        found = one.installation.audit()
        assert found["different"] > 0
        print(f"without transactions {found['different']} of {found['compared']} records are wrong")
