"""What if the group's offsets, the state or the input are gone?  Right numbers, or a sentence and an exit; never wrong ones."""

from __future__ import annotations

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

from streams.kafka.admin import create_topics
from streams.topics import ACTIVITY, KPI_HISTORY, KPI_LATEST, STAGE_CHANGE, all_topics, changelog
from tests.faults.wide.crew import Crew, visible
from tests.faults.wide.dose import SEED, dose, only_heavy, patience

pytestmark = [*patience(240, 600), only_heavy]

EVENTS = dose("LOST_STATE_EVENTS", 2_000, 5_000)


@pytest.fixture
def stopped(crew) -> Crew:
    """Return an installation that has processed something and has more to process; nobody runs."""
    one = crew(exits=(70,))
    worker = one.join()
    one.feed(EVENTS, SEED + 40, 2_000)
    one.fed_up()
    one.settle()
    assert worker.stop()[0] == 0
    one.feed(EVENTS, SEED + 41, 2_000)
    one.fed_up()
    return one


def _set_group(crew: Crew, by: int) -> None:
    """Move the group's offsets of both sources by so many records, at least to the beginning."""
    committed = crew.installation.committed()
    moved = [
        TopicPartition(*place, max(0, at + by)) for place, at in committed.items() if place[0] in (STAGE_CHANGE, ACTIVITY)
    ]
    asked = ConsumerGroupTopicPartitions(crew.installation.settings.environment.app_id, moved)
    for answer in crew.admin.alter_consumer_group_offsets([asked]).values():
        answer.result(20)
    crew.harm(f"group moved by {by}")


def _assert_refuses(crew: Crew, words: str, code: int = 70) -> str:
    """Start a worker; return the sentence with which it ends, having told nothing."""
    told = visible(crew.installation, (KPI_LATEST, KPI_HISTORY))
    worker = crew.join()
    assert worker.wait(60) == code, worker.last_words()
    assert words in worker.last_words()
    assert visible(crew.installation, (KPI_LATEST, KPI_HISTORY)) == told
    return f"exit {code}: {next(line for line in worker.last_words().splitlines() if words in line)}"


@pytest.mark.parametrize("by", [-50, -(10**9)], ids=["a-little", "to-the-beginning"])
def test_a_group_that_is_set_back_counts_nothing_twice(stopped, by):
    """The state knows where it stands."""
    _set_group(stopped, by)
    stopped.join()
    stopped.assert_exact()


def test_a_group_whose_offsets_are_gone_counts_nothing_twice(stopped):
    """The group is deleted, as when it expired."""
    for answer in stopped.admin.delete_consumer_groups([stopped.installation.settings.environment.app_id]).values():
        answer.result(20)
    stopped.harm("group deleted")
    stopped.group_is_whole = False
    stopped.join()
    stopped.assert_exact()


def test_a_group_that_is_set_forward_is_refused(stopped):
    """The sentence says what to do; asked to go on from the older state, a worker skips nothing."""
    _set_group(stopped, 10)
    _assert_refuses(stopped, "set forward, or the changelog lost data")
    stopped.join(accept_older_state=True)
    stopped.assert_exact()


@pytest.mark.parametrize("room", ["deals", "kpis"])
def test_a_changelog_that_is_gone_is_refused(stopped, room):
    """Counting on from nothing would give wrong numbers."""
    log = changelog(stopped.installation.settings.environment.app_id, room)
    stopped.admin.delete_topics([log])[log].result(20)
    stopped.harm("changelog deleted")
    gone = _assert_refuses(stopped, log, 1)
    create_topics(stopped.installation.settings.environment, stopped.installation.settings.definitions)
    empty = _assert_refuses(stopped, f"{log} is another topic than the one", 1)
    stopped.report(f"changelog-gone-{room}", "a changelog is gone, then empty", gone=gone, empty=empty, numbers_told=0)


def test_input_that_is_gone_is_not_skipped(stopped):
    """Retention passed what was not read: the worker says that input was lost, and ends."""
    committed = stopped.installation.committed()
    gone = [TopicPartition(*place, at + 20) for place, at in committed.items() if place[0] == ACTIVITY]
    for answer in stopped.admin.delete_records(gone).values():
        answer.result(20)
    stopped.harm("input deleted")
    said = _assert_refuses(stopped, "input was lost")
    stopped.report("input-gone", "retention has passed what was not read", said=said, numbers_told=0)


def test_a_rebuild_from_the_source_gives_the_numbers_of_the_live_run(crew):
    """Everything but the input is deleted, and a new installation reads it at full speed: latest and dead letters are the same."""
    live = crew()
    live.join_ready(2)
    live.feed(dose("REPLAY_EVENTS", 3_000, 20_000), SEED + 42, 1_000)
    live.fed_up()
    live.assert_exact()
    told, letters = live.installation.numbers(KPI_LATEST), live.dead_letters()
    for worker in live.living:
        assert worker.stop()[0] == 0
    environment = live.installation.settings.environment
    outputs = [topic.name for topic in all_topics(environment.app_id) if topic.name not in (STAGE_CHANGE, ACTIVITY)]
    for answer in live.admin.delete_topics(outputs).values():
        answer.result(20)
    live.harm("all deleted but the input")
    live.installation.rename("again")
    live.join()
    live.assert_exact()
    assert live.installation.numbers(KPI_LATEST) == told
    assert live.dead_letters() == letters
    live.report(
        "rebuild",
        "a rebuild from the source at full speed",
        records_equal_to_live=len(told),
    )
