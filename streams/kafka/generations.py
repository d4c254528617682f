"""Which generation of the state is the present one, and may a worker with these definitions go on with it?

One topic holds a record about the present generation, and one about the next while `dealpulse rebuild` computes
it.  Whoever writes there holds one transactional id: the last one to register shuts the others out.
"""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from streams import topics
from streams.config import Definitions
from streams.environment import Environment, bootstrap, client_settings
from streams.kafka.admin import AdminError, BrokerAdmin, check_topics, metadata
from streams.kafka.answers import answer_of
from streams.kafka.inbox import TopicPart
from streams.kafka.poll import describe
from streams.kafka.reading import until_end
from streams.kafka.room import Headers
from streams.kafka.transaction import KeptOutError, StartError, register, transaction
from streams.state import differences, digest, in_words, meaning

DEADLINE = 8.0
BEGIN_DEADLINE = 12.0
ATTEMPTS = 8
# A rebuild that dies in its last transaction holds readers back for as long, unless it is run again.
TRANSACTION_TIMEOUT = 600.0
PRESENT, NEXT = b"present", b"next"
REMEDY = "compute the state anew with: dealpulse rebuild"

# What numbers are computed from, and what was told of them: if one of these is another topic, the state is not of it.
_STANDS_ON = (
    topics.STAGE_CHANGE, topics.ACTIVITY, topics.TICKS, topics.DELTAS, topics.MATURED,
    topics.KPI_LATEST, topics.KPI_HISTORY, topics.ALERTS, topics.ALERT_EVENTS, topics.JUDGED,
)  # fmt: skip


class StateGeneration(msgspec.Struct, frozen=True, omit_defaults=True):
    """One generation of the state."""

    number: int
    app_id: str  # whose it is
    name: str  # its consumer group, and what its changelogs' names begin with
    digest: str
    meaning: dict[str, Any]
    first_revision: int = 0  # every revision is greater
    topics: dict[str, str] = {}  # topic -> its identity on the broker
    before: str = ""  # the name of the generation that it replaces
    rules: str = ""  # a digest of those by which a rebuild judged alerts
    # Of the next generation only, by topic/partition:
    old_offsets: dict[str, int] = {}  # where the present generation's group stood when it began
    told: dict[str, int] = {}  # below these offsets dead letters are written already
    until: dict[str, int] = {}  # up to where the source topics are read; what came later is for the workers afterwards
    no_way_back: bool = (
        False  # one that was thrown away for it had computed: its deltas stand where the present one reads on
    )


class Generations(msgspec.Struct, frozen=True):
    """What the topic says."""

    present: StateGeneration | None = None
    next: StateGeneration | None = None


_decoder = msgspec.json.Decoder(StateGeneration)


def read(environment: Environment) -> Generations:
    """Return the generations; nothing written gives none.  Raises AdminError."""
    return _read(environment) if _is_there(environment) else Generations()


def _is_there(environment: Environment) -> bool:
    return topics.GENERATIONS in BrokerAdmin(environment).look().topics


def _read(environment: Environment) -> Generations:
    found: dict[bytes, StateGeneration | None] = {}
    for key, value in _records(environment, [(topics.GENERATIONS, 0)]):
        found[key] = None if value is None else _decoder.decode(value)
    return Generations(found.get(PRESENT), found.get(NEXT))


def in_force(environment: Environment) -> Environment:
    """Return the environment with the present generation's name; as it is where nothing is known.  Raises AdminError."""
    present = read(environment).present
    if present is None or present.app_id != environment.app_id:
        return environment
    return msgspec.structs.replace(environment, app_id=present.name)


# ------------------------------------------------------------------ for a worker


def for_worker(environment: Environment, definitions: Definitions) -> StateGeneration | None:
    """Return the generation that a worker goes on with, a new one where nothing is there yet.

    None when topics are missing or wrong: their check says so.  Raises StartError, AdminError.
    """
    if not _is_there(environment):
        return None
    known = _read(environment)
    if known.next is not None:
        raise StartError(
            f"generation {known.next.number} of the state is being computed, and no worker may run meanwhile; let dealpulse "
            "rebuild end (run it again if it was interrupted), or give it up with: dealpulse rebuild --abandon"
        )
    if known.present is None:
        return _found(environment, definitions)
    refuse_other(known.present, environment, definitions)
    return known.present


def for_rebuild(environment: Environment, definitions: Definitions) -> StateGeneration:
    """Return the generation that is being computed.  Raises StartError, AdminError."""
    found = read(environment).next
    if found is None or found.digest != digest(meaning(definitions)):
        raise StartError("no generation with these definitions is being computed; begin with: dealpulse rebuild")
    return found


def refuse_other(present: StateGeneration, environment: Environment, definitions: Definitions) -> None:
    """Raise StartError when the state is not of these definitions, this app id and these topics."""
    if present.app_id != environment.app_id:
        raise StartError(
            f"the state on this broker is that of DEALPULSE_APP_ID={present.app_id}, not of {environment.app_id}; "
            f"set it back, or {REMEDY}"
        )
    refuse_other_partitions(present, definitions)
    now = meaning(definitions)
    # A rep of whom nothing is said but who the manager is makes another digest, and no difference.
    if present.digest != digest(now) and (what := differences(present.meaning, now)):
        raise StartError(
            f"the numbers of this state do not go with the present definitions: {in_words(what)}; set them back, or {REMEDY}"
        )
    there = identities(environment, present.topics)
    gone = sorted(name for name, known in present.topics.items() if there.get(name, known) != known)
    if gone:
        raise StartError(
            f"{', '.join(gone)} {'is another topic' if len(gone) == 1 else 'are other topics'} than the one that the state "
            f"was computed with (deleted and created anew?); {REMEDY}"
        )


def refuse_other_partitions(present: StateGeneration, definitions: Definitions) -> None:
    """Raise StartError when the number of partitions is another: events of one deal would lie in two of them."""
    was = present.meaning.get("partitions")
    if was != definitions.partitions:
        raise StartError(
            f"partitions was {was}, is {definitions.partitions}; the count is chosen once, since the events of a deal stay where "
            f"they are: set it back to {was}, or delete all topics, create them anew and replay the history"
        )


def _found(environment: Environment, definitions: Definitions) -> StateGeneration | None:
    """Write down the first generation, unless there is state without any; None while the topics are not right.

    Of several first workers the last one to register writes; the others find what it wrote.
    """
    if check_topics(environment, definitions):
        return None
    why = "what was written is not visible yet"
    for attempt in range(ATTEMPTS):
        try:
            _write_first(Control(environment), environment, definitions)
        except KeptOutError as error:
            why = str(error)
        except KafkaException as error:
            why = describe(error)
        # Also after a commit: until its marks are written nobody reads it, and whoever registers next waits for them.
        known = read(environment)
        if known.present is not None or known.next is not None:
            return for_worker(environment, definitions)
        time.sleep(random.uniform(0.1, 0.3) * (attempt + 1))  # noqa: S311  # so that two do not keep each other out
    raise StartError(f"{topics.GENERATIONS} cannot be written ({why}); is more than one worker started again and again?")


def _write_first(control: Control, environment: Environment, definitions: Definitions) -> None:
    known = read(environment)  # somebody may have been faster
    if known.present is not None or known.next is not None:
        return
    older = _first_with_records(environment, definitions.partitions)
    if older is not None:
        raise StartError(
            f"{older} holds records, but nothing says which definitions they were made with: the state is of an older version "
            f"of dealpulse or of another DEALPULSE_APP_ID; {REMEDY}"
        )
    means = meaning(definitions)
    first = StateGeneration(
        number=1, app_id=environment.app_id, name=environment.app_id, digest=digest(means), meaning=means,
        topics=identities(environment, stands_on(environment.app_id)),
    )  # fmt: skip
    with control.transaction() as send:
        send(topics.GENERATIONS, 0, PRESENT, msgspec.json.encode(first))


def _first_with_records(environment: Environment, partitions: int) -> str | None:
    """Return a topic of state that holds anything."""
    names = [*(topics.changelog(environment.app_id, room) for room in topics.ROOMS), topics.DELTAS]
    there = BrokerAdmin(environment).look().topics
    places = [(name, one) for name in names if name in there for one in range(min(partitions, len(there[name].partitions)))]
    found: list[TopicPart] = []
    for _ in _records(environment, places, found):
        return found[0][0]
    return None


def stands_on(name: str) -> list[str]:
    """Return the topics that a generation stands on."""
    return [*_STANDS_ON, *(topics.changelog(name, room) for room in topics.ROOMS)]


def identities(environment: Environment, names: Iterable[str]) -> dict[str, str]:
    """Return the identity of each topic that there is, as far as the broker tells.  Raises AdminError."""
    admin = AdminClient({**client_settings(environment), "log_level": 0})
    found = {}
    for name, answer in admin.describe_topics(TopicCollection(list(names)), request_timeout=DEADLINE).items():
        try:
            identity = answer_of(answer, DEADLINE).topic_id
        except KafkaException as error:
            if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:  # the check of topics says so
                continue
            raise AdminError(f"the broker does not tell which topic {name} is: {describe(error)}") from None
        if identity is not None:
            found[name] = str(identity)
    return found


# ------------------------------------------------------------------ reading and writing


def _records(
    environment: Environment, places: list[TopicPart], where: list[TopicPart] | None = None
) -> Iterator[tuple[bytes, bytes | None]]:
    """Yield the committed records of these partitions up to their end; `where` is told the place of each."""
    consumer = _reader(environment)
    try:
        # Else assign() takes half a second for a topic that the client has not heard of.
        metadata(consumer, bootstrap(environment))
        consumer.assign([TopicPartition(*place, OFFSET_BEGINNING) for place in places])
        for message in until_end(consumer, len(places), decided=False):
            if where is not None:
                where[:] = [(message.topic(), message.partition())]
            yield message.key(), message.value()
    finally:
        consumer.close()


def _reader(environment: Environment) -> Consumer:
    return Consumer(
        {
            **client_settings(environment),
            "group.id": f"{environment.app_id}-generations",  # the client demands one; nothing is ever committed
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 10,
            "log_level": 0,
        }
    )


def by_place(offsets: Mapping[str, int]) -> dict[TopicPart, int]:
    """Return offsets by topic and partition, from a generation's record."""
    found = {}
    for place, offset in offsets.items():
        topic, _, partition = place.rpartition("/")
        found[topic, int(partition)] = offset
    return found


def present_ends(environment: Environment, names: Iterable[str], partitions: int, *, decided: bool) -> dict[TopicPart, int]:
    """Return the offset behind the last visible record of every partition.  Raises AdminError.

    `decided`: behind everything that is there, after waiting for what a dead worker left undecided.  Read, not asked: the
    embedded broker names as end the beginning of the last batch.
    """
    consumer, ends = _reader(environment), dict[TopicPart, int]()
    try:
        start = []
        for name in names:
            for one in range(partitions):
                _, high = consumer.get_watermark_offsets(TopicPartition(name, one), timeout=DEADLINE)
                start.append(TopicPartition(name, one, high))
        consumer.assign(start)
        for _ in until_end(consumer, len(start), decided=decided, ends=ends):
            pass
    except KafkaException as error:
        raise AdminError(f"the broker does not tell where topics end: {describe(error)}") from None
    finally:
        consumer.close()
    return ends


Send = Callable[..., None]
# Workers that start at once fence each other here and try again: librdkafka calls that fatal, whatever `log_level` says.
_silent = logging.getLogger("dealpulse.librdkafka.generations")
_silent.setLevel(logging.CRITICAL + 1)


class Control:
    """The right to write about generations.  Raises StartError when it cannot be had, KeptOutError when somebody else is faster."""

    def __init__(self, environment: Environment) -> None:
        self._producer = Producer(
            {
                **client_settings(environment),
                "transactional.id": f"{environment.app_id}-generations",
                "transaction.timeout.ms": int(TRANSACTION_TIMEOUT * 1000),
                # As the workers place keys.
                "partitioner": "murmur2_random",
                "compression.type": "lz4",
                "linger.ms": 5,
                "message.max.bytes": 8_000_000,  # before compression; the broker's own limit is for after it
                "queue.buffering.max.messages": 500_000,
                "logger": _silent,
            }
        )
        register(self._producer, BEGIN_DEADLINE)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Send]:
        """Make all that is sent within the block visible together, or nothing of it."""
        with transaction(self._producer, TRANSACTION_TIMEOUT):
            yield self._send

    def commit_offsets(self, offsets: list[TopicPartition], metadata: Any) -> None:
        """Commit offsets of a group without members, as part of the transaction."""
        self._producer.send_offsets_to_transaction(offsets, metadata, DEADLINE)

    def _send(
        self, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: Headers | None = None
    ) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key, partition, headers=headers or [])
            except BufferError:
                self._producer.poll(0.05)
            else:
                return


def present(generation: StateGeneration) -> bytes:
    """Return the record of a generation that has become the present one."""
    return msgspec.json.encode(msgspec.structs.replace(generation, old_offsets={}, told={}, until={}, no_way_back=False))


def places(offsets: Mapping[TopicPart, int]) -> dict[str, int]:
    """Return offsets as a generation's record holds them."""
    return {f"{topic}/{partition}": offset for (topic, partition), offset in sorted(offsets.items())}
