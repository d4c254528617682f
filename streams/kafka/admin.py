"""Are the broker and the topics what they must be?  Creates what is missing, and says what is wrong.

Every answer comes within a deadline, and every problem is one sentence that says what to do.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import wait
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from streams.config import Definitions
from streams.environment import Environment, bootstrap, client_settings
from streams.kafka.answers import answer_of
from streams.kafka.embedded import CLUSTER_ID
from streams.kafka.poll import describe
from streams.kafka.rights import may_join, missing, unseen
from streams.kafka.transaction import KeptOutError, StartError, register
from streams.topics import Topic, all_topics

DEADLINE = 8.0
TRANSACTIONS_DEADLINE = 12.0

_ANSWERED = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "the credentials may not create topics",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "the credentials may not create topics",
    KafkaError.INVALID_REPLICATION_FACTOR: "the cluster has fewer brokers than the replication factor; set replication",
}
# That a broker does not answer afterwards says nothing of it.
_ON_THE_WAY_IN = {
    KafkaError._AUTHENTICATION: "are DEALPULSE_SASL_MECHANISM, _USERNAME and _PASSWORD right?",  # noqa: SLF001  # its only name
    KafkaError._SSL: "are DEALPULSE_SECURITY_PROTOCOL and what DEALPULSE_SSL_CA_LOCATION names right?",  # noqa: SLF001
}


class AdminError(Exception):
    """The broker cannot be asked or refuses; the text says why."""


def metadata(asked: Any, address: str, *topic: str) -> Any:
    """Return what a client of any kind is told of the cluster, or of one topic.  Raises AdminError when no broker answers."""
    try:
        return asked.list_topics(*topic, timeout=DEADLINE)
    except KafkaException as error:
        raise AdminError(
            f"no broker answers at {address} ({describe(error)}); is it running, and is DEALPULSE_BROKER right?"
        ) from None


class BrokerAdmin:
    """One connection for questions to the broker."""

    def __init__(self, environment: Environment) -> None:
        self._address = bootstrap(environment)
        self._shut_out: list[str] = []  # why connections ended before anything was asked
        self._settings: dict[str, Any] = {
            **client_settings(environment),
            "client.id": f"{environment.app_id}-admin",
            "log_level": 2,  # what matters comes back as an error
            "socket.timeout.ms": int(DEADLINE * 1000),
            "error_cb": partial(_hear, self._shut_out),  # nothing that holds the client: it ends with this
        }
        self._client = AdminClient(self._settings)

    def look(self) -> Any:
        """Return the cluster's metadata.  Raises AdminError."""
        try:
            return metadata(self._client, self._address)
        except AdminError:
            self._client.poll(0)  # only now is told what went wrong meanwhile
            if self._shut_out:
                raise AdminError(f"the broker at {self._address} does not let us in {self._shut_out[-1]}") from None
            raise

    def create(self, topics: Sequence[Topic], definitions: Definitions) -> list[str]:
        """Create the topics; return their names.  Raises AdminError."""
        if not topics:
            return []
        new = [
            NewTopic(topic.name, definitions.partitions, definitions.replication, config=_settings_of(topic, definitions))
            for topic in topics
        ]
        for name, future in self._client.create_topics(new, request_timeout=DEADLINE).items():
            try:
                answer_of(future, DEADLINE)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # somebody was faster
                    why = _ANSWERED.get(error.args[0].code(), "the broker refuses it")
                    raise AdminError(f"topic {name} cannot be created: {why} ({describe(error)})") from None
        self._wait_until_known({topic.name for topic in topics})
        return [topic.name for topic in topics]

    def _wait_until_known(self, names: set[str]) -> None:
        """Wait for a while until the broker knows the topics: it says that they are created before it does."""
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            there = self.look().topics
            if all(name in there and there[name].error is None for name in names):
                return
            time.sleep(0.05)

    def policies(self, names: Sequence[str]) -> dict[str, str]:
        """Return each topic's cleanup policy, as far as the broker tells."""
        asked = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        answers = self._client.describe_configs(asked, request_timeout=DEADLINE)
        done, _ = wait(answers.values(), timeout=DEADLINE + 1)
        found = {}
        for resource, future in answers.items():
            if future in done and future.exception() is None:
                entry = future.result().get("cleanup.policy")
                if entry is not None:
                    found[resource.name] = str(entry.value)
        return found

    def unseen(self, names: Sequence[str]) -> list[str]:
        """Return the topics of which the broker does not even say whether they are there."""
        return unseen(self._client, names) if names else []

    def missing_rights(self, names: Sequence[str]) -> list[str]:
        """Return the rights on topics that a worker lacks, a sentence each."""
        return missing(self._client, names)

    def may_join(self, group: str) -> bool:
        """Tell whether a worker may join the group; not for workers to ask."""
        return may_join(self._client, group)

    def has_transactions(self, transactional_id: str) -> str | None:
        """Return None, or why no transaction can be begun and what to do."""
        try:
            register(Producer({**self._settings, "transactional.id": transactional_id}), TRANSACTIONS_DEADLINE)
        except KeptOutError:  # by somebody who has begun one
            return None
        except StartError as error:
            return str(error)
        return None


def _hear(shut_out: list[str], error: KafkaError) -> None:
    check = _ON_THE_WAY_IN.get(error.code())
    if check is not None:
        shut_out.append(f"({error.name()}: {error.str()}); {check}")


def _settings_of(topic: Topic, definitions: Definitions) -> dict[str, str]:
    settings = {"cleanup.policy": topic.cleanup, **topic.settings}
    if definitions.replication >= 3:
        settings["min.insync.replicas"] = "2"
        settings["unclean.leader.election.enable"] = "false"
    return settings


def create_topics(environment: Environment, definitions: Definitions, topics: Sequence[Topic] | None = None) -> list[str]:
    """Create every topic that is missing; return their names.  Raises AdminError."""
    admin = BrokerAdmin(environment)
    there = admin.look().topics
    wanted = _wanted(environment, topics)
    return admin.create([topic for topic in wanted if topic.name not in there], definitions)


def check_topics(environment: Environment, definitions: Definitions, topics: Sequence[Topic] | None = None) -> list[str]:
    """Return what is wrong with the topics, a sentence each.  Raises AdminError."""
    admin = BrokerAdmin(environment)
    wanted = _wanted(environment, topics)
    return _problems(admin, admin.look(), definitions, wanted)


def grown_topics(environment: Environment, definitions: Definitions, topics: Sequence[Topic] | None = None) -> list[str]:
    """Return which topics have more partitions than they must, a sentence each; none while no broker can be asked.

    It may not answer, or no client can be made, as in the moment in which a certificate is replaced.
    """
    wanted = _wanted(environment, topics)
    try:
        there = BrokerAdmin(environment).look().topics
    except (AdminError, KafkaException):
        return []
    counts = {topic.name: len(there[topic.name].partitions) for topic in wanted if topic.name in there}
    return [
        f"topic {name} has {count} partitions now, not {definitions.partitions}: records of a key would go to another than before"
        for name, count in counts.items()
        if count > definitions.partitions
    ]


def wrong_topics(environment: Environment, definitions: Definitions, topics: Sequence[Topic] | None = None) -> list[str]:
    """Return what is wrong with the topics that are there, a sentence each; missing ones are no matter.  Raises AdminError."""
    admin = BrokerAdmin(environment)
    wanted = _wanted(environment, topics)
    return _wrong(admin, admin.look(), definitions, wanted)


def missing_rights(environment: Environment, topics: Sequence[Topic] | None = None) -> list[str]:
    """Return the rights on topics that a worker lacks, a sentence each."""
    return BrokerAdmin(environment).missing_rights([topic.name for topic in _wanted(environment, topics)])


def _wanted(environment: Environment, topics: Sequence[Topic] | None) -> Sequence[Topic]:
    return all_topics(environment.app_id) if topics is None else topics


def _problems(admin: BrokerAdmin, seen: Any, definitions: Definitions, wanted: Sequence[Topic]) -> list[str]:
    problems = _wrong(admin, seen, definitions, wanted)
    absent = [topic.name for topic in wanted if topic.name not in seen.topics]
    hidden = admin.unseen(absent)
    absent = [name for name in absent if name not in hidden]
    if hidden:
        problems.insert(0, f"the credentials may not DESCRIBE the topics {', '.join(hidden)}; allow it, if they are there")
    if absent:
        problems.insert(0, f"missing topics: {', '.join(absent)}; create them with: dealpulse topics create")
    return problems


def _wrong(admin: BrokerAdmin, seen: Any, definitions: Definitions, wanted: Sequence[Topic]) -> list[str]:
    problems = []
    there = [topic for topic in wanted if topic.name in seen.topics]
    policies = admin.policies([topic.name for topic in there]) if there else {}
    for topic in there:
        problems += _problems_of(topic, seen.topics[topic.name].partitions, policies.get(topic.name), definitions)
    return problems


def _problems_of(topic: Topic, partitions: Any, policy: str | None, definitions: Definitions) -> list[str]:
    problems = []
    if len(partitions) != definitions.partitions:
        problems.append(
            f"topic {topic.name} has {len(partitions)} partitions, not {definitions.partitions}; the count is chosen once "
            "for all topics: set partitions to it, or create the topic anew"
        )
    copies = min((len(one.replicas) for one in partitions.values()), default=0)
    if copies < definitions.replication:
        problems.append(
            f"topic {topic.name} has {copies} copies, not {definitions.replication}; reassign its replicas or set replication"
        )
    if policy is not None and set(policy.replace(" ", "").split(",")) != set(topic.cleanup.split(",")):
        problems.append(
            f"topic {topic.name} has cleanup.policy={policy}, not {topic.cleanup}: state or history would be lost; "
            f"set it with kafka-configs.sh --alter"
        )
    return problems


def check_broker(
    environment: Environment,
    definitions: Definitions,
    topics: Sequence[Topic] | None = None,
    *,
    transactions: bool = True,
) -> list[str]:
    """Return what keeps a worker from starting, a sentence each; nothing wrong gives nothing.

    `transactions=False` leaves that probe to the worker's own producer.
    """
    admin = BrokerAdmin(environment)
    wanted = _wanted(environment, topics)
    try:
        problems = _problems(admin, admin.look(), definitions, wanted)
    except AdminError as error:
        return [str(error)]
    why = admin.has_transactions(f"{environment.app_id}-check") if transactions and not problems else None
    return [*problems, why] if why else problems


def is_embedded(environment: Environment) -> bool:
    """Tell whether the broker is our embedded one.  Raises AdminError."""
    return bool(BrokerAdmin(environment).look().cluster_id == CLUSTER_ID)
