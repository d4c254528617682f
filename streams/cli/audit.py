"""Is every published number right?  Recomputes all of them from the source topics with independent code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
import orjson

from streams.cli.output import print_json, stderr
from streams.cli.settings import Settings, with_settings


@click.command("audit")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_settings
def command(settings: Settings, *, as_json: bool) -> None:
    """Recompute every value from the source topics; exit 1 on any difference."""
    from streams.audit.read import run_audit  # noqa: PLC0415  # no other command needs it

    with _progress() as progress:
        found: dict[str, Any] = run_audit(settings.client, settings.definitions, progress)
    if as_json:
        print_json(found)
    else:
        click.echo(f"compared {found['compared']:,} values, {found['different']:,} differ")
        for example in found["examples"]:
            click.echo(f"  {orjson.dumps(example).decode()}")
    if found["different"]:
        click.get_current_context().exit(1)


@contextmanager
def _progress() -> Iterator[Callable[..., None]]:
    console = stderr()
    if not console.is_terminal:
        yield lambda *_said: None
        return
    with console.status("reading") as status:
        yield lambda *said: status.update(" ".join(str(one) for one in said))
