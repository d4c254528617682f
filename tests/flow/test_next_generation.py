"""Does the next generation begin, go on and end only where nothing is counted twice, whoever dies or starts meanwhile?"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time

import msgspec
import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from streams import topics
from streams.cli import generation
from streams.cli.settings import CheckError, Settings
from streams.kafka import generations
from streams.kafka.admin import create_topics
from streams.kafka.transaction import StartError
from streams.topics import GENERATIONS
from tests.flow.installation import Installation
from tests.flow.rebuilding import CHANGED, RAW, commit, feed, process_all, rebuilt, redefine, run, variables

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def begun_after_work(broker, install) -> tuple[Installation, str]:
    """Return an installation that has computed something, and the name of the next generation that was begun in it."""
    installation = install(broker, RAW)
    feed(installation, 300, 1)
    process_all(installation)
    redefine(installation, CHANGED)
    with generation.begun(installation.settings, from_what_is_left=False) as one:
        return installation, one.next.name


def test_nothing_is_created_beside_wrong_topics(embedded_broker, install):
    """Not even the topic that says which generation is the present one."""
    installation = install(embedded_broker, RAW)
    admin = AdminClient({**installation.client, "log_level": 0})
    admin.delete_topics([GENERATIONS])[GENERATIONS].result(20)
    redefine(installation, {**RAW, "partitions": 3})
    with (
        pytest.raises(CheckError, match="has 4 partitions, not 3"),
        generation.begun(installation.settings, from_what_is_left=False),
    ):
        pass
    redefine(installation, RAW)
    admin.delete_topics([topics.TICKS])[topics.TICKS].result(20)
    with (
        pytest.raises(CheckError, match="missing"),
        generation.begun(installation.settings, from_what_is_left=False),
    ):
        pass
    assert GENERATIONS not in admin.list_topics(timeout=10).topics


def test_an_interrupted_rebuild_keeps_workers_out_until_it_is_given_up(embedded_broker, install):
    """Given up, the old generation goes on with the old definitions."""
    installation = install(embedded_broker, RAW)
    environment = installation.settings.environment
    first = generations.for_worker(environment, installation.settings.definitions)
    redefine(installation, CHANGED)
    with generation.begun(installation.settings, from_what_is_left=False) as one:
        assert (one.next.number, one.next.name, one.resumed) == (2, f"{first.name}-g2", False)
    with installation.worker() as worker:
        assert worker.process.wait(30) == 1
        assert "give it up with: dealpulse rebuild --abandon" in worker.last_words()
    done = run(installation, "--abandon")
    assert (done.wait(30), done.communicate()[1]) == (0, b"generation 2 is thrown away; workers may start\n")
    redefine(installation, RAW)
    assert generations.for_worker(environment, installation.settings.definitions) == first
    names = AdminClient(installation.client).list_topics(timeout=10).topics
    assert not [name for name in names if name.startswith(f"{first.name}-g2")]


def test_what_has_computed_anything_is_not_given_up(embedded_broker, install):
    """Its deltas would be counted a second time by workers of the old generation; a rebuild to the end is right either way."""
    installation = install(embedded_broker, RAW)
    settings = installation.settings
    generations.for_worker(settings.environment, settings.definitions)
    with generation.begun(settings, from_what_is_left=False) as one:
        name = one.next.name
    commit(installation, name, topics.STAGE_CHANGE, 1)
    with pytest.raises(CheckError, match="run dealpulse rebuild to its end instead"):
        generation.abandon(settings)
    assert generations.read(settings.environment).next.name == name


def test_what_an_interrupted_rebuild_computed_is_used_only_if_nothing_has_changed(embedded_broker, install):
    """The same again is gone on with; other definitions, or a worker that was at work, begin another generation."""
    installation = install(embedded_broker, RAW)
    settings = installation.settings
    generations.for_worker(settings.environment, settings.definitions)

    def begin() -> tuple[int, bool]:
        with generation.begun(installation.settings, from_what_is_left=False) as one:
            return one.next.number, one.resumed

    assert [begin(), begin()] == [(2, False), (2, True)]
    redefine(installation, CHANGED)
    assert [begin(), begin()] == [(3, False), (3, True)]
    asking = Consumer({**installation.client, "group.id": settings.environment.app_id, "enable.auto.commit": False})
    control = generations.Control(settings.environment)
    installation.send(topics.TICKS, b"{}", None, 1)
    installation.sent()
    with control.transaction() as send:
        send(topics.DELTAS, 0, None, b"x")
        control.commit_offsets([TopicPartition(topics.TICKS, 1, 1)], asking.consumer_group_metadata())
    asking.close()
    assert [begin(), begin()] == [(4, False), (4, True)]
    redefine(installation, {**CHANGED, "rules": [{"name": "worse", "kind": "conversion_drop", "cut": "team"}]})
    assert [begin(), begin()] == [(5, False), (5, True)]


def test_a_worker_of_the_old_generation_in_between_is_noticed(embedded_broker, install):
    """Its deltas would be in the new sums: nothing is switched."""
    installation = install(embedded_broker, RAW)
    settings = installation.settings
    generations.for_worker(settings.environment, settings.definitions)
    with generation.begun(settings, from_what_is_left=False) as one:
        one.refuse_if_disturbed()
        one.next = msgspec.structs.replace(one.next, old_offsets={f"{topics.TICKS}/0": 5})
        with pytest.raises(CheckError, match="a worker of the old generation was at work meanwhile"):
            one.refuse_if_disturbed()


def test_a_worker_that_began_just_before_sees_it_as_a_member(embedded_broker, install):
    """It had asked which generation is the present one, and then the next was begun."""
    installation = install(embedded_broker, RAW)
    script = """
import sys
import msgspec
from streams.cli.settings import read_settings
from streams.kafka import generations
from streams.worker import run

for_worker = generations.for_worker

def asked_once(environment, definitions):
    generations.for_worker = for_worker
    found = for_worker(environment, definitions)
    following = msgspec.structs.replace(found, number=2, name=f"{found.name}-g2")
    with generations.Control(environment).transaction() as send:
        send("dealpulse.generations", 0, generations.NEXT, msgspec.json.encode(following))
    return found

generations.for_worker = asked_once
settings = read_settings(None, None)
sys.exit(run(settings.environment, settings.definitions))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **variables(installation)},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 70, done.stderr.decode()
    assert b"generation 2 of the state is being computed, and no worker may run meanwhile" in done.stderr
    assert installation.messages(topics.DELTAS) == []


def test_a_worker_that_is_at_work_already_is_seen_once_the_next_generation_is_written(broker, install, monkeypatch):
    """It began while the rebuild looked at what readers have been told."""
    installation = install(broker, RAW)
    generations.for_worker(installation.settings.environment, installation.settings.definitions)
    monkeypatch.setattr(generation, "MEMBERS_DEADLINE", 1.0)
    look = generation._look_at_told
    with contextlib.ExitStack() as stack:

        def begin_meanwhile(settings: Settings):
            stack.enter_context(installation.worker()).wait_until_ready()
            return look(settings)

        monkeypatch.setattr(generation, "_look_at_told", begin_meanwhile)
        with (
            pytest.raises(CheckError, match="stop"),
            generation.begun(installation.settings, from_what_is_left=False),
        ):
            pass


def test_a_generation_that_began_to_compute_while_it_was_given_up_stays(embedded_broker, install, monkeypatch):
    """Its worker began between the look and the record that says so."""
    installation = install(embedded_broker, RAW)
    settings = installation.settings
    generations.for_worker(settings.environment, settings.definitions)
    with generation.begun(settings, from_what_is_left=False) as one:
        following = one.next
    looks = iter((lambda: None, lambda: commit(installation, following.name, topics.STAGE_CHANGE, 1)))
    alone = generation.alone

    @contextlib.contextmanager
    def meanwhile(*told):
        with alone(*told):
            next(looks)()
            yield

    monkeypatch.setattr(generation, "alone", meanwhile)
    with pytest.raises(CheckError, match="run dealpulse rebuild to its end instead"):
        generation.abandon(settings)
    assert generations.read(settings.environment).next == following


def test_there_is_no_way_back_behind_one_that_has_computed(embedded_broker, install):
    """Its deltas stand where the present generation's workers read on, although another one is begun since."""
    installation, name = begun_after_work(embedded_broker, install)
    commit(installation, name, topics.STAGE_CHANGE, 20)
    redefine(installation, {**CHANGED, "windows": ["24h", "28d", "all"]})
    with generation.begun(installation.settings, from_what_is_left=False) as one:
        assert (one.next.number, one.resumed) == (3, False)
    with pytest.raises(CheckError, match=r"or one before it .* run dealpulse rebuild to its end instead"):
        generation.abandon(installation.settings)
    redefine(installation, RAW)
    with generation.begun(installation.settings, from_what_is_left=False) as one:
        assert (one.next.number, one.next.no_way_back) == (4, True)  # the old definitions are no way back either
    assert rebuilt(installation)["generation"] == 4
    assert not generations.read(installation.settings.environment).present.no_way_back
    process_all(installation)
    assert installation.audit()["different"] == 0


@pytest.mark.parametrize("step", ["present_ends", "create_topics", "_rows_of_notify", "_read_before"])
def test_workers_are_kept_out_until_another_one_is_begun(embedded_broker, install, monkeypatch, step):
    """A rebuild that dies while it begins anew leaves what is written about the one before it, whose deltas are there."""
    installation = install(embedded_broker, RAW)
    settings = installation.settings
    generations.for_worker(settings.environment, settings.definitions)
    with generation.begun(settings, from_what_is_left=False) as one:
        before = one.next
    redefine(installation, CHANGED)
    real = getattr(generation, step)

    def dies(*told, **more):
        if step == "present_ends" and not more["decided"] and told[1] == topics.SOURCES:
            return real(*told, **more)  # asked before, whether events are gone
        if step == "create_topics" and len(told) > 2 and told[2][0].name == topics.GENERATIONS:
            return real(*told, **more)
        raise CheckError("killed")

    monkeypatch.setattr(generation, step, dies)
    with pytest.raises(CheckError, match="killed"), generation.begun(installation.settings, from_what_is_left=False):
        pass
    assert generations.read(settings.environment).next == before
    with pytest.raises(StartError, match="no worker may run meanwhile"):
        generations.for_worker(settings.environment, settings.definitions)


def test_one_whose_group_the_broker_has_forgotten_is_not_given_up(embedded_broker, install, monkeypatch):
    """Offsets of a group without members expire, after a week as a rule: nobody knows any more what it has computed."""
    installation = install(embedded_broker, RAW)
    generations.for_worker(installation.settings.environment, installation.settings.definitions)
    with generation.begun(installation.settings, from_what_is_left=False):
        pass
    monkeypatch.setattr(generation, "committed", lambda _settings, _name: {})
    with pytest.raises(CheckError, match="run dealpulse rebuild to its end instead"):
        generation.abandon(installation.settings)


def test_no_generation_begins_on_topics_that_cannot_be_deleted(embedded_broker, install, monkeypatch):
    """What a generation of the same name left in them would be in its numbers."""
    installation = install(embedded_broker, RAW)
    generations.for_worker(installation.settings.environment, installation.settings.definitions)
    monkeypatch.setattr(generation, "delete_topics", lambda _settings, names: names[:1])
    with (
        pytest.raises(CheckError, match=r"-g2-.* cannot be deleted"),
        generation.begun(installation.settings, from_what_is_left=False),
    ):
        pass


def test_revisions_go_on_behind_what_people_were_told(embedded_broker, install):
    """Where the topics of alerts were lost, who was told is still known; a smaller revision would be taken for old news."""
    installation = install(embedded_broker, RAW)
    settings = installation.settings
    name = generations.for_worker(settings.environment, settings.definitions).name
    installation.send(topics.changelog(name, "notify"), b"5000", b"sent:somebody", 0)
    installation.sent()
    with generation.begun(settings, from_what_is_left=False) as one:
        assert one.next.first_revision == 5001


def test_a_number_that_was_given_up_is_used_again_from_the_beginning(embedded_broker, install):
    """What its group had committed is no matter."""
    installation, name = begun_after_work(embedded_broker, install)
    assert generation.abandon(installation.settings) == 2
    commit(installation, name, topics.STAGE_CHANGE, 20)
    assert rebuilt(installation)["generation"] == 2
    process_all(installation)
    assert installation.audit()["different"] == 0


@pytest.mark.kafka
def test_events_that_are_gone_from_the_source_are_not_silently_left_out(apache_kafka, install):
    """Refused, unless it is said that what is left will do."""
    installation = install(apache_kafka, RAW)
    settings = installation.settings
    generations.for_worker(settings.environment, settings.definitions)
    feed(installation, 200, 1)
    admin = AdminClient(installation.client)
    for answer in admin.delete_records([TopicPartition(topics.ACTIVITY, 0, 3)]).values():
        answer.result(10)
    with (
        pytest.raises(CheckError, match=r"crm\.activity: the first 3 records are gone .*--from-what-is-left"),
        generation.begun(settings, from_what_is_left=False),
    ):
        pass
    with generation.begun(settings, from_what_is_left=True) as one:
        assert (one.next.number, one.resumed) == (2, False)
    commit(installation, one.next.name, topics.ACTIVITY, 3)
    with generation.begun(settings, from_what_is_left=True) as one:
        assert (one.next.number, one.resumed) == (2, True)
    for answer in admin.delete_records([TopicPartition(topics.ACTIVITY, 0, 4)]).values():
        answer.result(10)
    with generation.begun(settings, from_what_is_left=True) as one:
        assert (one.next.number, one.resumed) == (3, False)  # what it had to read next is gone
    commit(installation, settings.environment.app_id, topics.ACTIVITY, 5)
    admin.delete_topics([topics.ACTIVITY])[topics.ACTIVITY].result(20)
    while topics.ACTIVITY in admin.list_topics(timeout=10).topics:
        time.sleep(0.1)
    create_topics(settings.environment, settings.definitions)
    with (
        pytest.raises(CheckError, match=r"crm\.activity: deleted and created anew .*--from-what-is-left"),
        generation.begun(settings, from_what_is_left=False),
    ):
        pass
    with generation.begun(settings, from_what_is_left=True) as one:
        assert not [place for place in one.next.told if place.startswith(topics.ACTIVITY)]  # of the topic before


@pytest.mark.kafka
def test_an_audit_says_when_events_are_gone_from_the_source(apache_kafka, install):
    """What it recomputes without them differs, and nothing else says why."""
    installation = install(apache_kafka, RAW)
    audit = [sys.executable, "-m", "streams.cli.main", "audit"]
    environment = {**os.environ, **variables(installation)}
    feed(installation, 200, 1)
    process_all(installation)
    admin = AdminClient(installation.client)
    for answer in admin.delete_records([TopicPartition(topics.STAGE_CHANGE, 0, 10)]).values():
        answer.result(10)
    done = subprocess.run(audit, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert f"{topics.STAGE_CHANGE}: the first 10 records are gone (retention?)" in done.stderr
