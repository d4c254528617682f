"""What does no generation of the state need any more?  Topics and groups of those that are over or were thrown away."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streams import topics
from streams.cli.read import CALL_DEADLINE
from streams.cli.settings import Settings
from streams.kafka.admin import BrokerAdmin
from streams.kafka.answers import answer_of
from streams.kafka.generations import StateGeneration, read
from streams.rebuild.shadow import SHADOWED
from streams.state import digest, digest_of_rules, meaning
from streams.topics import changelog, shadow


def generation_name(settings: Settings, number: int) -> str:
    """Return the consumer group of a generation, which its changelogs' names begin with."""
    return settings.environment.app_id if number == 1 else f"{settings.environment.app_id}-g{number}"


def ended_after_its_switch(settings: Settings) -> StateGeneration | None:
    """Return the present generation when the rebuild that computed it with these definitions and rules has not cleaned up."""
    known = read(settings.environment)
    present = known.present
    if present is None or known.next is not None or present.app_id != settings.environment.app_id:
        return None
    wanted = (digest(meaning(settings.definitions)), digest_of_rules(settings.definitions))
    if (present.digest, present.rules) != wanted:
        return None
    there = BrokerAdmin(settings.environment).look().topics
    return present if any(shadow(present.name, topic).name in there for topic in SHADOWED) else None


def clean_up(settings: Settings, present: StateGeneration) -> list[str]:
    """Remove what no generation needs any more; return the topics that could not be removed."""
    old = {settings.environment.app_id, *(generation_name(settings, number) for number in range(1, present.number))}
    old = (old | {present.before}) - {present.name, ""}
    unwanted = [changelog(name, room) for name in old for room in topics.ROOMS]
    # These are the last to go: while one is there, it is known that there is something to remove.
    shadows = [shadow(name, topic).name for name in (*old, present.name) for topic in SHADOWED]
    left = delete_topics(settings, unwanted)
    _delete_groups(settings, old)
    return left + delete_topics(settings, shadows)


def _delete_groups(settings: Settings, names: Iterable[str]) -> None:
    admin = AdminClient({**settings.client, "log_level": 0})
    for gone in admin.delete_consumer_groups(sorted(names), request_timeout=CALL_DEADLINE).values():
        with contextlib.suppress(KafkaException):  # it never was, or the broker forgets it by itself
            answer_of(gone, CALL_DEADLINE)


def delete_topics(settings: Settings, names: list[str]) -> list[str]:
    """Delete those of the topics that are there; return the ones that are still there afterwards."""
    there = BrokerAdmin(settings.environment).look().topics
    wanted = sorted({name for name in names if name in there})
    if not wanted:
        return []
    admin = AdminClient({**settings.client, "log_level": 0})
    left = []
    for name, gone in admin.delete_topics(wanted, request_timeout=CALL_DEADLINE).items():
        try:
            answer_of(gone, CALL_DEADLINE)
        except KafkaException:
            left.append(name)
    return left + sorted(_not_gone(settings, set(wanted) - set(left)))


def _not_gone(settings: Settings, names: set[str]) -> set[str]:
    """Wait until the broker knows these topics no more; return those that it still knows after the deadline."""
    end = time.monotonic() + CALL_DEADLINE
    while (there := names & set(BrokerAdmin(settings.environment).look().topics)) and time.monotonic() < end:
        time.sleep(0.1)
    return there
