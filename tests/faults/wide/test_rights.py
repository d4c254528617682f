"""What if the broker takes a right away from running workers?  They end and say which, and go on exactly when it is given back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import islice

import orjson
import pytest
from apache import apache_kafka
from click.testing import CliRunner
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)
from ports import reserved_port

from streams.cli.commands import cli
from streams.environment import variable_of
from streams.topics import ACTIVITY, KPI_LATEST, changelog
from tests.faults.wide.crew import Crew
from tests.faults.wide.dose import SEED, dose, patience

pytestmark = patience(240, 900)

RATE = dose("RIGHTS_RATE", 150, 400)
WORKER, PASSWORD = "worker", "of-a-test"
# Who comes without credentials may do everything.
GUARDED = """
listeners=PLAINTEXT://127.0.0.1:{{port}},CONTROLLER://127.0.0.1:{{controller}},GUARDED://127.0.0.1:{guarded}
advertised.listeners=PLAINTEXT://127.0.0.1:{{port}},GUARDED://127.0.0.1:{guarded}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,GUARDED:SASL_PLAINTEXT
inter.broker.listener.name=PLAINTEXT
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
sasl.enabled.mechanisms=PLAIN
listener.name.guarded.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_{user}="{password}";
"""
EVERY = AclBindingFilter(
    ResourceType.ANY, None, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ANY
)
OPERATIONS = {
    ResourceType.TOPIC: (AclOperation.READ, AclOperation.WRITE),
    ResourceType.GROUP: (AclOperation.READ,),
    ResourceType.TRANSACTIONAL_ID: (AclOperation.WRITE,),
}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, str]]]:
    """Return the URL of a broker that asks who may do what, and what the environment of a worker says there."""
    port = reserved_port()
    more = GUARDED.format(guarded=port, user=WORKER, password=PASSWORD)
    said = {
        "broker": f"kafka://127.0.0.1:{port}",
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "PLAIN",
        "sasl_username": WORKER,
        "sasl_password": PASSWORD,
    }
    with apache_kafka(tmp_path_factory.mktemp("guarded-broker"), more=more) as url:
        yield url, said


def _acl(kind, name, operation, pattern, permission) -> AclBinding:
    return AclBinding(kind, name, pattern, f"User:{WORKER}", "*", operation, permission)


def _allow(crew: Crew) -> None:
    """Give the workers what the README says that they need, and nothing else."""
    app = crew.installation.settings.environment.app_id
    names = {ResourceType.TOPIC: ("crm.", "dealpulse.", app)}
    wanted = [
        _acl(kind, name, operation, ResourcePatternType.PREFIXED, AclPermissionType.ALLOW)
        for kind, operations in OPERATIONS.items()
        for name in names.get(kind, (app,))
        for operation in operations
    ]
    for answer in crew.admin.create_acls(wanted).values():
        answer.result(20)
    _until(crew, lambda there: set(wanted) <= there)


def _until(crew: Crew, holds: Callable[[set[AclBinding]], bool]) -> None:
    """Wait until what the broker has confirmed is in force, too."""
    end = time.monotonic() + 20
    while not holds(set(crew.admin.describe_acls(EVERY).result(20))):
        assert time.monotonic() < end
        time.sleep(0.1)


def _denied(app: str, kind, name, operation) -> AclBinding:
    pattern = ResourcePatternType.PREFIXED if name == "{app}" else ResourcePatternType.LITERAL
    return _acl(kind, name.format(app=app), operation, pattern, AclPermissionType.DENY)


def _take_away(crew: Crew, one: AclBinding) -> None:
    """Deny it, and return at once: workers learn of it as they go."""
    for answer in crew.admin.create_acls([one]).values():
        answer.result(20)


def _give_back(crew: Crew, one: AclBinding) -> None:
    asked = AclBindingFilter(
        one.restype, one.name, one.resource_pattern_type, one.principal, one.host, one.operation, one.permission_type
    )
    for answer in crew.admin.delete_acls([asked]).values():
        answer.result(20)
    _until(crew, lambda there: one not in there)


def _doctor(crew: Crew, said: dict[str, str]) -> str:
    environment = crew.installation.settings.environment
    told = said | {"app_id": environment.app_id, "config": environment.config}
    result = CliRunner().invoke(cli, ["doctor", "--json"], env={variable_of(name): value for name, value in told.items()})
    assert result.exit_code == 1, result.output
    return "\n".join(one["said"] for one in orjson.loads(result.stdout)["findings"] if not one["ok"])


# What is taken away, and what doctor says of it.
RIGHTS = {
    "write an output": (ResourceType.TOPIC, KPI_LATEST, AclOperation.WRITE, f"may not WRITE the topics {KPI_LATEST}"),
    "read a source": (ResourceType.TOPIC, ACTIVITY, AclOperation.READ, f"may not READ the topics {ACTIVITY}"),
    "join the group": (ResourceType.GROUP, "{app}", AclOperation.READ, "may not READ the group {app}"),
    "begin transactions": (
        ResourceType.TRANSACTIONAL_ID,
        "{app}",
        AclOperation.WRITE,
        "Transactional Id authorization failed",
    ),
    "see a source": (ResourceType.TOPIC, ACTIVITY, AclOperation.DESCRIBE, f"may not DESCRIBE the topics {ACTIVITY}"),
    "write the state": (
        ResourceType.TOPIC,
        changelog("{app}", "kpis"),
        AclOperation.WRITE,
        "may not WRITE the topics {app}-kpis",
    ),
}


@pytest.mark.parametrize("right", list(islice(RIGHTS, dose("RIGHTS", 1, len(RIGHTS)))))
def test_a_right_that_is_taken_away_ends_workers_until_it_is_given_back(crew_on, guarded, right):
    """The last words of each say where to look, doctor says which right it is; nothing of a refused flush is told."""
    url, said = guarded
    one = crew_on(url, exits=(70, 1))
    _allow(one)
    worker = one.join(environment=said)
    worker.wait_until_ready()
    one.feed(500, SEED + 95, RATE)
    time.sleep(1)
    app = one.installation.settings.environment.app_id
    *what, told = RIGHTS[right]
    denied = _denied(app, *what)
    _take_away(one, denied)
    one.harm(f"no right to {right}")
    try:
        assert worker.wait(30) == 70, worker.last_words()
        assert "dealpulse doctor names those that are missing" in worker.last_words(), worker.last_words()
        again = one.join(environment=said)
        assert again.wait(30) in (70, 1), again.last_words()
        assert "AUTHORIZATION_FAILED" in again.last_words(), again.last_words()
        assert told.format(app=app) in _doctor(one, said)
    finally:
        _give_back(one, denied)
    one.join(environment=said).wait_until_ready()
    one.fed_up()
    one.assert_exact()
    one.report(f"right-to-{right.replace(' ', '-')}", f"the right to {right} is taken away, and given back")
