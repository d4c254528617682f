"""Are the topics there as they must be?  Creates what is missing, or says what is wrong."""

from __future__ import annotations

import click

from streams.cli.exits import FAILED
from streams.cli.output import print_json
from streams.cli.settings import CheckError, Settings, with_settings
from streams.kafka.admin import check_topics, create_topics, wrong_topics
from streams.kafka.generations import in_force


@click.group("topics")
def group() -> None:
    """Create or check the topics."""


_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@group.command("create")
@_json
@with_settings
def create(settings: Settings, *, as_json: bool) -> None:
    """Create the topics that are missing; create nothing if one that is there is wrong."""
    environment = in_force(settings.environment)
    # Whatever is created beside a wrong topic would be of a count that may have to change.
    wrong = wrong_topics(environment, settings.definitions)
    if wrong:
        _end(wrong, [], "nothing was created, since topics are there that are not as they must be:", as_json=as_json)
        return
    made = create_topics(environment, settings.definitions)
    if not as_json:
        for name in made:
            click.echo(f"created {name}")
        if not made:
            click.echo("nothing to create")
    _end(check_topics(environment, settings.definitions), made, as_json=as_json)


@group.command("check")
@_json
@with_settings
def check(settings: Settings, *, as_json: bool) -> None:
    """Refuse missing topics, wrong partition counts, replication and cleanup policies."""
    _end(check_topics(in_force(settings.environment), settings.definitions), as_json=as_json)


def _end(
    wrong: list[str], made: list[str] | None = None, what: str = "the topics are not as they must be:", *, as_json: bool
) -> None:
    """Say how the topics are; exit 1, or raise CheckError with one line for each thing that is wrong."""
    if as_json:
        print_json({"ok": not wrong, **({} if made is None else {"created": made}), "wrong": wrong})
        if wrong:
            click.get_current_context().exit(FAILED)
    elif wrong:
        raise CheckError("\n".join([what, *(f"  {one}" for one in wrong)]))
    else:
        click.echo("all topics are right")
