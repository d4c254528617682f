"""How does the next generation of the state begin, and how does it end?  Around what a worker computes."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from streams import topics
from streams.cli.leftovers import delete_topics, generation_name
from streams.cli.letters import read_letter
from streams.cli.read import CALL_DEADLINE, every_record
from streams.cli.settings import CheckError, Settings
from streams.cli.switch import Ledger, ledger
from streams.environment import bootstrap
from streams.kafka.admin import BrokerAdmin, check_topics, create_topics, is_embedded, wrong_topics
from streams.kafka.answers import answer_of
from streams.kafka.clients import SESSION_TIMEOUT, STATIC_SESSION_TIMEOUT
from streams.kafka.embedded import SecondWorkerError, claim_for_one_worker
from streams.kafka.generations import (
    NEXT,
    Control,
    Generations,
    StateGeneration,
    by_place,
    identities,
    places,
    present_ends,
    read,
    refuse_other_partitions,
    stands_on,
)
from streams.kafka.inbox import TopicPart
from streams.kafka.ownership import FORM_KEY, OFFSETS_KEY
from streams.notify.room import greatest_told
from streams.rebuild.shadow import SHADOWED, shadow_topics
from streams.state import digest, digest_of_rules, meaning
from streams.topics import Topic, all_topics, changelog

# A worker that was killed is a member of its group for as long; one with a slot also when it ended in order.
MEMBERS_DEADLINE, STATIC_MEMBERS_DEADLINE = SESSION_TIMEOUT + 3.0, STATIC_SESSION_TIMEOUT + 3.0
_ANYWAY = "to compute from what is left: dealpulse rebuild --from-what-is-left"
# Where the new rooms begin at the present end: what is in there is the old generation's.
_AT_END = {"deals": topics.TICKS, "kpis": topics.DELTAS, "alerts": topics.MATURED, "notify": topics.JUDGED}


@dataclass
class Rebuild:
    """The next generation while it is being computed."""

    settings: Settings
    control: Control
    present: StateGeneration | None
    next: StateGeneration
    old_watermark: int | None  # µs; how far readers have been told
    history: Ledger
    resumed: bool

    def refuse_if_disturbed(self) -> None:
        """Raise CheckError when a worker of the old generation was at work meanwhile: its deltas went into our sums.

        Nor may one of another run be at work in ours.
        """
        with alone(self.settings, [_name(self.present, self.settings), self.next.name]):
            pass
        now = committed(self.settings, _name(self.present, self.settings))
        if places(now) != self.next.old_offsets:
            raise CheckError(
                "a worker of the old generation was at work meanwhile; stop all workers and run dealpulse rebuild again: it "
                "begins anew"
            )


@contextlib.contextmanager
def begun(settings: Settings, *, from_what_is_left: bool) -> Iterator[Rebuild]:
    """Begin the next generation, or go on with it; nobody else may.  Raises CheckError, StartError, AdminError."""
    known = read(settings.environment)
    if known.present is not None:
        refuse_other_partitions(known.present, settings.definitions)
    kept = _kept_topics(_name(known.present, settings))
    _refuse(wrong_topics(settings.environment, settings.definitions, kept))
    others = [one for one in kept if one.name != topics.GENERATIONS]
    _refuse(check_topics(settings.environment, settings.definitions, others))  # so that nothing is left beside wrong topics
    _create_control_topic(settings)
    with alone(settings, [_name(known.present, settings), *([known.next.name] if known.next else [])]):
        control = Control(settings.environment)
        known = read(settings.environment)
        offsets = committed(settings, _name(known.present, settings))
        if not from_what_is_left:
            _refuse_lost_events(settings, known.present, offsets)
        watermark, history, revision = _look_at_told(settings)
        following, resumed = known.next, True
        if following is None or not _goes_on(following, settings, offsets):
            following, resumed = _begin_anew(settings, control, known, revision, offsets), False
    # A worker that began before this was written is a member by now, or will see it when it is.
    with alone(settings, [_name(known.present, settings), following.name]):
        yield Rebuild(settings, control, known.present, following, watermark, history, resumed)


def _begin_anew(
    settings: Settings, control: Control, known: Generations, revision: int, offsets: dict[TopicPart, int]
) -> StateGeneration:
    read_by_any, no_way_back = offsets, False
    if known.next is not None:
        stands = committed(settings, known.next.name)
        read_by_any, no_way_back = _later(offsets, stands), _has_computed(known.next, stands)
    anew = _created_anew(settings, known.present)  # what was read of their namesakes says nothing of them
    read_before = _later(
        _read_before(settings), {place: at for place, at in read_by_any.items() if place[0] in topics.SOURCES}
    )
    told = {place: at for place, at in read_before.items() if place[0] not in anew}
    following = _begin(settings, control, known, revision, offsets, told, no_way_back=no_way_back)
    if known.next is not None:  # not before: what is written about it has kept workers out until now
        _delete_topics_of(settings, known.next.name)
    return following


def abandon(settings: Settings) -> int | None:
    """Throw the next generation away; return its number, None where there is none.

    Raises CheckError when it has computed anything: its deltas are in the topic that the present generation reads.
    """
    following = read(settings.environment).next
    if following is None:
        return None
    with alone(settings, [following.name]):
        control = Control(settings.environment)
        if read(settings.environment).next != following:  # it took over while we waited
            return None
        _refuse_if_computed(settings, following)
        _write_next(control, None)
        # Its worker, if it began meanwhile, is a member by now, or will see that it may not work.
        try:
            with alone(settings, [following.name]):
                _refuse_if_computed(settings, following)
        except CheckError:
            _write_next(control, following)
            raise
        _delete_topics_of(settings, following.name)
    return following.number


def _refuse_if_computed(settings: Settings, following: StateGeneration) -> None:
    if _has_computed(following, committed(settings, following.name)):
        raise CheckError(
            f"generation {following.number}, or one before it that was interrupted, has written changes into {topics.DELTAS} that "
            "workers of the present one would count a second time; run dealpulse rebuild to its end instead, with the old "
            "definitions to get their numbers back"
        )


def _has_computed(following: StateGeneration, stands: dict[TopicPart, int]) -> bool:
    """May there be deltas of it?  `stands` is where its group stands: at 0 when it began, and nowhere when the broker has forgotten."""
    read = [offset for (topic, _), offset in stands.items() if topic in topics.SOURCES]
    return following.no_way_back or not read or any(read)


def first_offsets(settings: Settings, places: Iterable[TopicPart]) -> dict[TopicPart, int]:
    """Return the first offset that each partition still holds."""
    consumer = _consumer(settings, settings.environment.app_id)
    try:
        return {place: consumer.get_watermark_offsets(TopicPartition(*place), timeout=CALL_DEADLINE)[0] for place in places}
    finally:
        consumer.close()


def gone_before(firsts: Mapping[TopicPart, int]) -> str | None:
    """Return which records are gone before these offsets, as the beginning of a sentence; None where none are."""
    where = ", ".join(sorted({topic for (topic, _), first in firsts.items() if first}))
    return f"{where}: the first {sum(firsts.values()):,} records are gone (retention?)" if where else None


def committed(settings: Settings, name: str) -> dict[TopicPart, int]:
    """Return where a generation's group stands in its inputs."""
    inputs = (*topics.SOURCES, topics.TICKS, topics.DELTAS, topics.MATURED, topics.ALERT_EVENTS)
    asked = [TopicPartition(topic, one) for topic in inputs for one in range(settings.definitions.partitions)]
    consumer = _consumer(settings, name)
    try:
        found = consumer.committed(asked, timeout=CALL_DEADLINE)
    finally:
        consumer.close()
    return {(one.topic, one.partition): one.offset for one in found if one.offset >= 0}


# ------------------------------------------------------------------ nobody else


@contextlib.contextmanager
def alone(settings: Settings, names: list[str]) -> Iterator[None]:
    """Be sure that no worker of these groups runs.  Raises CheckError."""
    if is_embedded(settings.environment):
        with _locked(settings, names):
            yield
        return
    admin = AdminClient({**settings.client, "log_level": 0})
    began = time.monotonic()
    while members := _members(admin, names):
        is_static = any(member.group_instance_id for member in members)
        if time.monotonic() - began > (STATIC_MEMBERS_DEADLINE if is_static else MEMBERS_DEADLINE):
            workers = f"{len(members)} worker{'s' if len(members) > 1 else ''} of {' and '.join(names)}"
            raise CheckError(f"{workers} run; stop them first")
        time.sleep(0.5)
    yield


def _members(admin: Any, names: list[str]) -> list[Any]:
    answers = admin.describe_consumer_groups(names, request_timeout=CALL_DEADLINE).values()
    return [member for answer in answers for member in _members_of(answer)]


def _members_of(answer: Any) -> list[Any]:
    try:
        return list(answer_of(answer, CALL_DEADLINE).members)
    except KafkaException as error:
        if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
            return []
        raise


@contextlib.contextmanager
def _locked(settings: Settings, names: list[str]) -> Iterator[None]:
    """Look whether the embedded broker's one worker runs; it lists no members of groups."""
    for name in names:
        try:
            os.close(claim_for_one_worker(bootstrap(settings.environment), name))
        except SecondWorkerError:
            raise CheckError("a worker runs on the embedded broker; stop it first") from None
    yield


# ------------------------------------------------------------------ begin


def _create_control_topic(settings: Settings) -> None:
    wanted = next(one for one in all_topics("") if one.name == topics.GENERATIONS)
    create_topics(settings.environment, settings.definitions, [wanted])


def _kept_topics(name: str) -> list[Topic]:
    """Return the topics of every generation: changelogs that are gone are no matter."""
    return [one for one in all_topics(name) if not one.name.startswith(f"{name}-")]


def _refuse(wrong: list[str]) -> None:
    if wrong:
        raise CheckError("; ".join(wrong))


def _name(present: StateGeneration | None, settings: Settings) -> str:
    return present.name if present is not None else settings.environment.app_id


def _goes_on(following: StateGeneration, settings: Settings, offsets: dict[TopicPart, int]) -> bool:
    """Can what an earlier run computed be used?  The same definitions, rules and topics, and nobody disturbed it."""
    return (
        following.digest == digest(meaning(settings.definitions))
        and following.rules == digest_of_rules(settings.definitions)
        and bool(following.until)
        and following.app_id == settings.environment.app_id
        and following.old_offsets == places(offsets)
        and following.topics == identities(settings.environment, following.topics)
        and _is_still_there(settings, following)
    )


def _is_still_there(settings: Settings, following: StateGeneration) -> bool:
    """Does the broker still hold the next source record that it reads?  Where nothing was read, it begins with what is left."""
    firsts = first_offsets(settings, by_place(following.until))
    stands = committed(settings, following.name)
    return all(stands.get(place, 0) == 0 or stands[place] >= first for place, first in firsts.items())


def _later(one: dict[TopicPart, int], other: dict[TopicPart, int]) -> dict[TopicPart, int]:
    return {place: max(one.get(place, 0), other.get(place, 0)) for place in one.keys() | other.keys()}


def _created_anew(settings: Settings, present: StateGeneration | None) -> set[str]:
    """Return the source topics that are other ones than those that the state was computed with."""
    known = present.topics if present is not None else {}
    there = identities(settings.environment, topics.SOURCES)
    return {topic for topic in topics.SOURCES if topic in known and there.get(topic, known[topic]) != known[topic]}


def _refuse_lost_events(settings: Settings, present: StateGeneration | None, offsets: dict[TopicPart, int]) -> None:
    """Raise CheckError when events of the source are gone: let go by the broker, or deleted with their topic."""
    ends = present_ends(settings.environment, topics.SOURCES, settings.definitions.partitions, decided=False)
    firsts = first_offsets(settings, ends)
    gone = gone_before(firsts)
    if gone:
        raise CheckError(f"{gone}, so their events would be in no number any more; {_ANYWAY}")
    anew = _created_anew(settings, present)
    anew |= {place[0] for place, end in ends.items() if end < offsets.get(place, 0)}
    if anew:
        raise CheckError(
            f"{', '.join(sorted(anew))}: deleted and created anew since the state was computed, so the events of before would be "
            f"in no number any more; {_ANYWAY}"
        )


def _look_at_told(settings: Settings) -> tuple[int | None, Ledger, int]:
    """Return how far readers have been told, what history holds, and the greatest revision that anybody has seen."""
    latest, history, alerts = (ledger(settings.client, name) for name in SHADOWED)
    watermark = max((one.watermark for one in (latest, history) if one.watermark is not None), default=None)
    return watermark, history, max(latest.revision, history.revision, alerts.revision)


def _begin(  # noqa: PLR0913  # what a generation begins with
    settings: Settings, control: Control, known: Generations, revision: int, offsets: dict[TopicPart, int],
    told: dict[TopicPart, int], *, no_way_back: bool,
) -> StateGeneration:  # fmt: skip
    """Create the topics of a generation, and write down that it is being computed and where its rooms begin.

    Notify begins with all that it has: whom it told stays true.
    """
    environment, definitions = settings.environment, settings.definitions
    number = 1 + max((one.number for one in (known.present, known.next) if one), default=1)
    name, before = generation_name(settings, number), _name(known.present, settings)
    left = _delete_topics_of(settings, name)
    if left:
        raise CheckError(
            f"{', '.join(left)} cannot be deleted, and the generation that is to begin would count what they hold; delete them, "
            "or let the broker do so (delete.topic.enable, rights), then run dealpulse rebuild again"
        )
    create_topics(environment, definitions, shadow_topics(name))
    means = meaning(definitions)
    heard = _rows_of_notify(settings, before)
    # Whoever was told of a revision takes a smaller one for old news, also where the topics that told it are gone.
    seen = max(revision, greatest_told(heard), known.present.first_revision if known.present else 0)
    # What is undecided in the source is for the workers afterwards; what old workers left so in ours becomes visible, and
    # must not be read as the new generation's.
    sources = present_ends(environment, topics.SOURCES, definitions.partitions, decided=False)
    following = StateGeneration(
        number=number, app_id=environment.app_id, name=name, digest=digest(means), meaning=means, first_revision=seen + 1,
        topics=identities(environment, stands_on(name)), before=before, old_offsets=places(offsets),
        told=places(told), until=places(sources), rules=digest_of_rules(settings.definitions), no_way_back=no_way_back,
    )  # fmt: skip
    ends = present_ends(environment, _AT_END.values(), definitions.partitions, decided=True)
    starts = {
        (room, one): {topic: ends[topic, one]} for room, topic in _AT_END.items() for one in range(definitions.partitions)
    }
    for one in range(definitions.partitions):
        if (topics.ALERT_EVENTS, one) in offsets:
            starts["notify", one][topics.ALERT_EVENTS] = offsets[topics.ALERT_EVENTS, one]
    consumer = _consumer(settings, name)
    try:
        with control.transaction() as send:
            send(topics.GENERATIONS, 0, NEXT, msgspec.json.encode(following))
            for (room, partition), begins in starts.items():
                send(changelog(name, room), partition, OFFSETS_KEY, msgspec.json.encode(begins))
                send(changelog(name, room), partition, FORM_KEY, following.digest.encode())
            for (partition, key), row in heard.items():
                send(changelog(name, "notify"), partition, key, row)
            # The source from its beginning, also where a generation of this number was thrown away.
            begin = ends | dict.fromkeys(sources, 0)
            control.commit_offsets(
                [TopicPartition(*place, offset) for place, offset in begin.items()], consumer.consumer_group_metadata()
            )
    finally:
        consumer.close()
    return following


def _rows_of_notify(settings: Settings, name: str) -> dict[tuple[int, bytes], bytes]:
    """Return what a generation knows of whom it told, by partition and key; nothing where its changelog is gone."""
    log = changelog(name, "notify")
    if log not in BrokerAdmin(settings.environment).look().topics:
        return {}
    rows = {(one.partition(), one.key()): one.value() for one in every_record(settings.client, log)}
    return {place: row for place, row in rows.items() if row is not None and place[1] not in (OFFSETS_KEY, FORM_KEY)}


def _read_before(settings: Settings) -> dict[TopicPart, int]:
    """Return up to where dead letters say that their topics were read."""
    found: dict[TopicPart, int] = {}
    for message in every_record(settings.client, topics.DEAD_LETTER):
        letter = read_letter(message.value())
        if letter is not None:
            place = (letter.topic, letter.partition)
            found[place] = max(found.get(place, 0), letter.offset + 1)
    return found


# ------------------------------------------------------------------ throw away


def _write_next(control: Control, following: StateGeneration | None) -> None:
    with control.transaction() as send:
        send(topics.GENERATIONS, 0, NEXT, None if following is None else msgspec.json.encode(following))


def _delete_topics_of(settings: Settings, name: str) -> list[str]:
    """Delete what a generation alone has; return the topics that are still there."""
    return delete_topics(settings, [one.name for one in shadow_topics(name) if one.name.startswith(name)])


def _consumer(settings: Settings, name: str) -> Consumer:
    """Return a consumer that asks about a group; it never joins it."""
    return Consumer(
        {
            **settings.client,
            "group.id": name,
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "log_level": 0,
        }
    )
