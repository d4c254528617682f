"""What if a producer goes wrong under load, and a third of what comes is no event?  A stop with a sentence, or exact numbers (law 6)."""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from itertools import cycle, islice

import orjson
import pytest
import yaml

from streams.cli.read import every_record
from streams.topics import DEAD_LETTER
from tests.faults import workers
from tests.faults.load import Sent
from tests.faults.wide import load
from tests.faults.wide.crew import Crew
from tests.faults.wide.dose import SEED, dose, only_heavy, patience
from tests.flow import poison

pytestmark = [*patience(300, 900), only_heavy]

RATE = 400
SECONDS = dose("FLOOD_SECONDS", 10, 40)
IN_A_ROW = 100
SENTENCE = "looks like a wrong deployment"


def _definitions(*, stop: bool) -> dict:
    return load.definitions(bad_input={"stop": stop})


def _flood(crew: Crew, monkeypatch, share: float) -> None:
    """From now on this share of what is sent is poison."""
    monkeypatch.setattr(load, "POISONED", share)
    crew.harm(f"{share:.1%} poison")


def _stands(crew: Crew) -> Counter[tuple[str, int, int]]:
    """Return the origins of the dead letters that stand in their topic."""
    letters = [orjson.loads(message.value()) for message in every_record(crew.installation.client, DEAD_LETTER)]
    return Counter((letter["topic"], letter["partition"], letter["offset"]) for letter in letters)


@pytest.mark.parametrize("share", [0.3, 0.5])
def test_a_flood_that_is_let_through_changes_no_number(crew, monkeypatch, share):
    """With bad_input.stop off, and workers that are killed meanwhile: every dead letter once, every cell as if there were no poison."""
    dice = random.Random(SEED + 70)
    two = crew(definitions=_definitions(stop=False))
    two.join_ready(2)
    two.feed(2_000, SEED + 70, RATE)
    time.sleep(3)
    _flood(two, monkeypatch, share)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        time.sleep(dice.uniform(3, 8))
        two.kill(dice.choice(two.living))
        two.join()
    _flood(two, monkeypatch, 0.005)
    time.sleep(2)
    two.fed_up()
    refused = two.fed - two.reasons["good"]
    assert refused > 0.8 * share * RATE * SECONDS
    two.assert_exact()
    two.report(
        f"poison-{share:.0%}".replace("%", ""),
        f"{share:.0%} of what is sent is poison for a while, bad_input.stop is off, workers are killed",
        refused=refused,
    )


def test_a_thousand_of_each_reason_are_a_thousand_dead_letters(crew):
    """A hundred in a row, several times over: nobody restarts, every dead letter stands once, and what comes after them counts."""
    rows = defaultdict(list)
    for topic, key, value, reason in poison.ROWS:
        rows[reason].append(Sent(topic, key, value, reason))
    two = crew(definitions=_definitions(stop=False))
    two.join_ready(2)
    two.feed(2_000, SEED + 72, RATE)
    two.fed_up()
    of_each = dose("OF_EACH", 100, 1_000)
    for _ in range(of_each // IN_A_ROW):
        for found in rows.values():
            two.send(islice(cycle(found), IN_A_ROW))
    two.feed(2_000, SEED + 73, RATE)
    two.fed_up()
    assert min(two.reasons[reason] for reason in rows) >= of_each
    two.assert_exact()
    assert len(two.living) == len(two.workers) == 2
    two.report(
        "poison-each",
        f"{of_each:,} of each reason to refuse a record, {IN_A_ROW} in a row",
        refused=two.fed - two.reasons["good"],
    )


def test_a_flood_stops_every_worker_until_somebody_decides(crew, monkeypatch):
    """Each ends with 70 and the sentence, also those that are started again; let through afterwards, every number is right."""
    two = crew(definitions=_definitions(stop=True), exits=(70,))
    two.join_ready(2)
    two.feed(2_000, SEED + 71, RATE)
    time.sleep(3)
    _flood(two, monkeypatch, 0.4)
    for worker in two.living:
        assert worker.wait(90) == 70, worker.last_words()
        assert SENTENCE in worker.last_words(), worker.last_words()
        assert "bad_input.stop" in worker.last_words()
    before = _stands(two)
    assert set(before.values()) <= {1}
    for _ in range(2):  # as a supervisor does
        again = two.join()
        assert again.wait(60) == 70, again.last_words()
        assert SENTENCE in again.last_words()
    _flood(two, monkeypatch, 0.005)
    two.fed_up()
    file = two.installation.folder / "dealpulse.yaml"
    file.write_text(yaml.safe_dump(_definitions(stop=False), allow_unicode=True, sort_keys=False), encoding="utf-8")
    two.join_ready(2)
    two.assert_exact()
    after = _stands(two)
    assert before.keys() <= after.keys()
    assert {worker.code for worker in two.workers if worker not in two.living} == {70}
    assert workers.KILLED not in {worker.code for worker in two.workers}
    two.report(
        "poison-stops",
        "40 % of what is sent is poison, and bad_input.stop is on; then somebody turns it off",
        letters_before_the_decision=sum(before.values()),
    )
