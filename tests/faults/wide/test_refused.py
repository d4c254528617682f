"""What if the broker will not take what a flush wants to write?  It ends with 70, shows nothing of it, and is exact after the repair."""

from __future__ import annotations

import pytest
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource

from streams.kafka.admin import create_topics
from streams.topics import ACTIVITY, DEAD_LETTER, DELTAS, STAGE_CHANGE
from tests.faults.wide.crew import Crew, open_transactions, visible
from tests.faults.wide.dose import SEED, dose, only_heavy, patience

pytestmark = patience(240, 600)

EVENTS = dose("REFUSED_EVENTS", 1_500, 5_000)
# What a flush with events writes; KPI records may come in flushes of their own.
OUTPUTS = (DELTAS, DEAD_LETTER)


def _limit(crew: Crew, topic: str, size: int | None) -> None:
    """Set max.message.bytes of a topic, or set it back."""
    deed = AlterConfigOpType.SET if size else AlterConfigOpType.DELETE
    entry = ConfigEntry("max.message.bytes", str(size or 0), incremental_operation=deed)
    asked = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])
    for answer in crew.admin.incremental_alter_configs([asked]).values():
        answer.result(20)


def _begin(crew: Crew) -> dict[str, int]:
    """Process a first part in peace; return how much is visible."""
    worker = crew.join()
    crew.feed(EVENTS, SEED + 30, 2_000)
    crew.fed_up()
    crew.settle()
    assert worker.stop()[0] == 0
    crew.feed(EVENTS, SEED + 31, 2_000)
    crew.fed_up()
    return visible(crew.installation, OUTPUTS)


def _assert_refused(crew: Crew, seen: dict[str, int], **options) -> str:
    """A worker ends with 70 and nothing of its flush is visible; return its last words."""
    before = crew.installation.committed()
    worker = crew.join(**options)
    assert worker.wait(60) == 70, worker.last_words()
    crew.harm("refused flush")
    assert open_transactions(crew.installation) == {}
    assert visible(crew.installation, OUTPUTS) == seen
    after = crew.installation.committed()
    assert {place: at for place, at in after.items() if place[0] in (STAGE_CHANGE, ACTIVITY)} == {
        place: at for place, at in before.items() if place[0] in (STAGE_CHANGE, ACTIVITY)
    }
    return worker.last_words()


def test_a_record_that_the_broker_refuses_shows_nothing_of_its_flush(crew):
    """The topic of the deltas takes 100 bytes: each start ends with 70; when it takes more again, every number is right."""
    one = crew(exits=(70,))
    seen = _begin(one)
    _limit(one, DELTAS, 100)
    for _ in range(2):
        assert "MSG_SIZE_TOO_LARGE" in _assert_refused(one, seen)
    _limit(one, DELTAS, None)
    one.join()
    one.assert_exact()
    one.report(
        "refused-record",
        "max.message.bytes of an output topic is too small",
    )


@only_heavy
def test_a_topic_that_is_gone_shows_nothing_of_the_flush(crew):
    """The dead-letter topic is deleted under a worker: 70, then 1 with the name of the topic; created again, all is right."""
    one = crew(exits=(70, 1))
    one.join_ready()
    one.feed(EVENTS, SEED + 32, 2_000)
    one.fed_up()
    one.settle()
    before = one.reasons.copy()
    one.admin.delete_topics([DEAD_LETTER])[DEAD_LETTER].result(20)
    one.harm("topic deleted")
    one.feed(EVENTS, SEED + 33, 2_000)
    one.fed_up()
    assert one.workers[-1].wait(60) == 70, one.workers[-1].last_words()
    again = one.join()
    assert again.wait(60) == 1
    assert DEAD_LETTER in again.last_words()
    create_topics(one.installation.settings.environment, one.installation.settings.definitions)
    one.join()
    good = one.reasons["good"]
    one.reasons -= before
    one.reasons["good"] = good
    one.assert_exact()
    one.report(
        "deleted-topic",
        "an output topic is deleted under a worker",
    )


@only_heavy
def test_a_record_that_the_client_refuses_shows_nothing_of_its_flush(crew):
    """The queue of librdkafka is too short for a flush: 70, nothing visible; with the usual one every number is right."""
    one = crew(exits=(70,))
    seen = _begin(one)
    assert "Queue full" in _assert_refused(one, seen, sabotage=["short_queue"])
    one.join()
    one.assert_exact()


@only_heavy
@pytest.mark.parametrize("broken", ["swallow_errors_of_produce"])
def test_what_these_tests_can_see(crew, broken):
    """A worker that goes on after a refusal: the audit finds what is lost."""
    one = crew()
    _begin(one)
    worker = one.join(sabotage=["short_queue", broken])
    one.installation.process_all(worker)
    found = one.installation.audit()
    one.report(
        f"broken-{broken.replace('_', '-')}",
        "a negative control: errors of produce() are swallowed",
        cells=found["compared"],
        different=found["different"],
    )
    assert found["different"] > 0
