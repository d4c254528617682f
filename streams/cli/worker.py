"""How does one worker of the group run?"""

from __future__ import annotations

import sys

import click

from streams.cli.settings import Settings, with_settings


@click.command("worker")
@click.option("--no-ticks", is_flag=True, hidden=True, help="Take the time from the data only.")
@click.option("--rebuild", is_flag=True, hidden=True, help="Compute the next generation of the state, and tell nobody.")
@with_settings
def command(settings: Settings, *, no_ticks: bool, rebuild: bool) -> None:
    """Run one worker of the group until SIGTERM."""
    from streams.worker import run  # noqa: PLC0415  # Faust takes a second to import, which no other command needs

    sys.exit(run(settings.environment, settings.definitions, ticks=not no_ticks, rebuild=rebuild))
