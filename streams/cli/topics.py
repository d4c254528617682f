"""Are the topics there as they must be?  Creates what is missing, or says what is wrong."""

from __future__ import annotations

import click

from streams.cli.settings import CheckError, Settings, with_settings
from streams.environment import Environment
from streams.kafka.admin import check_topics, create_topics, wrong_topics
from streams.kafka.generations import in_force


@click.group("topics")
def group() -> None:
    """Create or check the topics."""


@group.command("create")
@with_settings
def create(settings: Settings) -> None:
    """Create the topics that are missing; create nothing if one that is there is wrong."""
    environment = in_force(settings.environment)
    # Whatever is created beside a wrong topic would be of a count that may have to change.
    _refuse(
        "nothing was created, since topics are there that are not as they must be:",
        wrong_topics(environment, settings.definitions),
    )
    made = create_topics(environment, settings.definitions)
    for name in made:
        click.echo(f"created {name}")
    _refuse_wrong(environment, settings)
    click.echo("all topics are right" if made else "nothing to create; all topics are right")


@group.command("check")
@with_settings
def check(settings: Settings) -> None:
    """Refuse missing topics, wrong partition counts, replication and cleanup policies."""
    _refuse_wrong(in_force(settings.environment), settings)
    click.echo("all topics are right")


def _refuse_wrong(environment: Environment, settings: Settings) -> None:
    _refuse("the topics are not as they must be:", check_topics(environment, settings.definitions))


def _refuse(sentence: str, wrong: list[str]) -> None:
    """Raise CheckError with one line for each thing that is wrong."""
    if wrong:
        raise CheckError("\n".join([sentence, *(f"  {one}" for one in wrong)]))
