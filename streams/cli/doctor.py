"""What is wrong with this installation, and what to do about it?  In plain words."""

from __future__ import annotations

import difflib
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import click
from confluent_kafka import KafkaException
from rich.table import Table

from streams.cli.output import print_json, print_table, shown, stdout
from streams.cli.settings import CheckError, Settings, with_options
from streams.cli.settle import Group
from streams.config import ConfigError, Definitions
from streams.config_file import read_definitions
from streams.environment import (
    ENV_PREFIX,
    SECRETS,
    Environment,
    Said,
    Secret,
    environment_from,
    problems,
    variable_of,
    variables,
    without_channel,
)
from streams.kafka.admin import AdminError, BrokerAdmin, check_topics
from streams.kafka.generations import in_force, read, refuse_other
from streams.kafka.transaction import StartError
from streams.topics import GENERATIONS, all_topics

MOVING = 2.0  # seconds in which a running worker commits something, at least where no flush lingers for longer
MASK = "***"


@dataclass(frozen=True)
class Finding:
    """One check: is it fine, what was seen, and the remedy where it is not."""

    check: str
    ok: bool
    said: str
    remedy: str = ""


@dataclass(frozen=True)
class Variable:
    """One DEALPULSE_ variable as it is said, and where: default, environment, file or option."""

    name: str
    value: str | None
    source: str


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_options
def command(broker: str | None, config_file: str | None, *, as_json: bool) -> None:
    """Say what is wrong with this installation; exit 1 if something is."""
    said = variables(broker=broker, config=config_file)
    listed = masked(said)
    findings = list(examined(said))
    ok = all(one.ok for one in findings)
    if as_json:
        print_json({"ok": ok, "findings": [asdict(one) for one in findings], "variables": [asdict(one) for one in listed]})
    else:
        _print(listed, findings)
    if not ok:
        click.get_current_context().exit(1)


def examined(said: Mapping[str, Said]) -> Iterator[Finding]:
    """Yield the findings; the broker's only when the settings are right and it answers."""
    wrong = problems(said)
    yield from (Finding("environment", False, problem) for problem in wrong)
    yield from _misspelt(os.environ)
    try:
        definitions = read_definitions(said["config"].text)
    except ConfigError as error:
        yield Finding("settings", False, str(error))
        return
    yield _configuration(said["config"].text, definitions)
    if not wrong:
        settings = Settings(environment_from(said), definitions)
        yield from _slack(settings)
        yield from _installation(settings)


def _installation(settings: Settings) -> Iterator[Finding]:
    try:
        admin = BrokerAdmin(settings.environment)
    except KafkaException as error:  # no broker was asked: the client cannot be made of these
        yield Finding(
            "broker", False, error.args[0].str(), f"mend what {ENV_PREFIX}SASL_ and {ENV_PREFIX}SSL_ settings name"
        )
        return
    broker = _broker(admin, settings)
    yield broker
    if not broker.ok:
        return
    yield _transactions(admin, settings)
    yield _attempt("state", lambda: _state(admin, settings))
    try:
        settings = Settings(in_force(settings.environment), settings.definitions)
    except AdminError as error:
        yield Finding("state", False, str(error), "look at the broker's log")
        return
    topics = _attempt("topics", lambda: _topics(settings))
    yield topics
    yield _attempt("rights", lambda: _rights(admin, settings))
    if topics.ok:
        yield _attempt("processing", lambda: _processing(settings))


def masked(said: Mapping[str, Said]) -> list[Variable]:
    """Return every variable as it is said; secrets are masked."""
    return [
        Variable(variable_of(name), MASK if isinstance(one.text, Secret) else one.text, one.source)
        for name, one in said.items()
    ]


def _configuration(path: str | None, found: Definitions) -> Finding:
    where = path or f"built-in defaults, no {ENV_PREFIX}CONFIG"
    return Finding("settings", True, f"valid ({where}): {len(found.pipelines)} pipelines, {len(found.rules)} alert rules")


def _slack(settings: Settings) -> Iterator[Finding]:
    problem = without_channel(settings.environment, settings.definitions)
    if problem:
        yield Finding("slack", False, problem)


def _misspelt(names: Any) -> Iterator[Finding]:
    ours = [variable_of(name) for name in Environment.__struct_fields__]
    known = {*ours, *(f"{variable_of(name)}_FILE" for name in SECRETS)}
    for name in sorted(names):
        if name.startswith(ENV_PREFIX) and name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.85)
            hint = f"did you mean {near[0]}?" if near else "take it away"
            yield Finding("environment", False, f"{name} is no setting and has no effect", hint)


def _broker(admin: BrokerAdmin, settings: Settings) -> Finding:
    try:
        found = admin.look()
    except AdminError as error:
        return Finding("broker", False, str(error))
    address = settings.client["bootstrap.servers"]
    return Finding("broker", True, f"{address} answers: {len(found.brokers)} brokers, cluster {found.cluster_id}")


def _transactions(admin: BrokerAdmin, settings: Settings) -> Finding:
    why = admin.has_transactions(f"{settings.environment.app_id}-doctor-{uuid.uuid4().hex[:8]}")
    return Finding("transactions", why is None, why or "the broker has them")


def _state(admin: BrokerAdmin, settings: Settings) -> Finding:
    if GENERATIONS not in admin.look().topics:
        return Finding("state", True, "none yet")
    known = read(settings.environment)
    if known.next is not None:
        remedy = (
            "let dealpulse rebuild end (run it again if it was interrupted), or give it up with dealpulse rebuild --abandon"
        )
        return Finding("state", False, f"generation {known.next.number} is being computed; no worker can run", remedy)
    if known.present is None:
        return Finding("state", True, "none yet, or of an older version: the first worker will tell")
    try:
        refuse_other(known.present, settings.environment, settings.definitions)
    except StartError as error:
        return Finding("state", False, str(error))
    return Finding("state", True, f"generation {known.present.number} ({known.present.name}) is of these definitions")


def _topics(settings: Settings) -> Finding:
    wrong = check_topics(settings.environment, settings.definitions)
    if wrong:
        return Finding("topics", False, "; ".join(wrong))
    return Finding("topics", True, f"all there, {settings.definitions.partitions} partitions each")


def _rights(admin: BrokerAdmin, settings: Settings) -> Finding:
    there = admin.look().topics
    app_id = settings.environment.app_id
    denied = admin.missing_rights([topic.name for topic in all_topics(app_id) if topic.name in there])
    if not admin.may_join(app_id):
        denied.append(f"the credentials may not READ the group {app_id}")
    if denied:
        return Finding(
            "rights", False, "; ".join(denied), "no worker can run with them: allow that, for example with kafka-acls.sh"
        )
    return Finding("rights", True, "a worker may do all that it has to, as far as the broker tells")


def _processing(settings: Settings) -> Finding:
    group = Group(settings)
    try:
        before = group.look()
        if not before.waiting:
            return Finding("processing", True, "nothing waits")
        time.sleep(max(MOVING, 1 + settings.definitions.flush_every))
        after = group.look()
    finally:
        group.close()
    where = ", ".join(sorted({topic for topic, _ in after.waiting}))
    if after.waiting and after.committed == before.committed:
        remedy = "no worker takes them: start one with dealpulse worker, or look at the log of the one that runs"
        return Finding("processing", False, f"records wait in {where}", remedy)
    return Finding("processing", True, f"records wait in {where}, and workers are at them" if where else "nothing waits")


def _attempt(check: str, examine: Callable[[], Finding]) -> Finding:
    try:
        return examine()
    except (CheckError, AdminError) as error:
        return Finding(check, False, str(error), "look at the broker's log")
    except KafkaException as error:
        return Finding(check, False, error.args[0].str(), "look at the broker's log")


def _print(listed: list[Variable], findings: list[Finding]) -> None:
    console = stdout()
    table = Table("variable", "value", "from", title="Settings")
    for one in listed:
        table.add_row(one.name, shown(one.value or "–"), one.source)
    print_table(table)
    for finding in findings:
        mark = "[green]ok   [/]" if finding.ok else "[red]wrong[/]"
        console.print(f"{mark} {finding.check}: {shown(finding.said)}")
        if finding.remedy:
            console.print(f"      → {shown(finding.remedy)}")
    wrong = sum(not one.ok for one in findings)
    console.print("Nothing is wrong." if not wrong else f"{wrong} thing{'s are' if wrong > 1 else ' is'} wrong.")
