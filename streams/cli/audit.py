"""Is every published number right?  Recomputes all of them from the source topics with independent code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
import msgspec
import orjson

from streams import topics
from streams.cli.generation import first_offsets, gone_before
from streams.cli.output import print_json, say, stderr
from streams.cli.settings import CheckError, Settings, with_settings
from streams.kafka.generations import read, refuse_other
from streams.kafka.transaction import StartError


@click.command("audit")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_settings
def command(settings: Settings, *, as_json: bool) -> None:
    """Recompute every value from the source topics; exit 1 on any difference."""
    from streams.audit.read import AuditError, run_audit  # noqa: PLC0415  # no other command needs it

    refuse_other_definitions(settings)
    try:
        with _progress() as progress:
            found = run_audit(settings.client, settings.definitions, progress)
    except AuditError as error:
        raise CheckError(str(error)) from None
    if as_json:
        print_json(found)
    else:
        click.echo(f"compared {found['compared']:,} records, {found['different']:,} differ")
        for example in found["examples"]:
            click.echo(f"  {orjson.dumps(example).decode()}")
    if found["different"]:
        say(
            "what is still to be told counts as a difference, as does an event that arrived meanwhile: ask again when all workers are idle (/health/idle)"
        )
        places = ((topic, one) for topic in topics.SOURCES for one in range(settings.definitions.partitions))
        gone = gone_before(first_offsets(settings, places))
        if gone:
            say(f"{gone}: a number in which their events are counted is not recomputed with them, and may be right")
        click.get_current_context().exit(1)


def refuse_other_definitions(settings: Settings) -> None:
    """Raise CheckError when the numbers were computed with other definitions: nearly all of them would differ."""
    present = read(settings.environment).present
    if present is None:
        return
    whose = msgspec.structs.replace(settings.environment, app_id=present.app_id)  # which changes no number
    try:
        refuse_other(present, whose, settings.definitions)
    except StartError as error:
        raise CheckError(str(error)) from None


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None] | None]:
    console = stderr()
    if not console.is_terminal:
        yield None
        return
    with console.status("reading") as status:
        yield lambda what, done, of: status.update(f"{what}: {done:,} of {of:,}")
