"""How does a history go through the same code as live events?  JSON lines into the topics.

With --embedded it brings its own broker and worker, waits until all is processed and writes the result.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from streams.cli import batch
from streams.cli.feed import STDIN, Feed, Pace
from streams.cli.lines import TOPICS
from streams.cli.output import print_json, print_table, say
from streams.cli.send import Sender
from streams.cli.settings import CheckError, Settings, with_settings
from streams.cli.stack import signals_end_it
from streams.cli.times import end_of_clock


class Speed(click.ParamType):
    """A factor of real time, or max."""

    name = "speed"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | None:
        """Return the factor, None for max."""
        if value is None or value == "max":
            return None
        try:
            factor = float(str(value).removesuffix("x"))
        except ValueError:
            factor = 0.0
        if not 0 < factor < float("inf"):
            self.fail(f"{value!r} is no speed; write a factor above 0, such as 60, or max", param, ctx)
        return factor


@click.command("replay")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--speed", type=Speed(), default="max", metavar="X|max", help="Pace by occurred_at: 60 = a minute a second.")
@click.option("--topic", type=click.Choice(TOPICS), help="Topic of bare events, and of lines that are no JSON.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.option("--embedded", is_flag=True, help="Use a broker and a worker of its own; nothing else is touched.")
@click.option("--out", type=click.Path(dir_okay=False, writable=True), help="With --embedded: write the result here.")
@click.option("--as-of", metavar="TIME", help="With --embedded: advance the clock to this time at the end.")
@with_settings
def command(  # noqa: PLR0913  # its options
    settings: Settings, *, files: tuple[str, ...], speed: float | None, topic: str | None, as_json: bool,
    embedded: bool, out: str | None, as_of: str | None,
) -> None:  # fmt: skip
    """Send JSON lines (optionally .gz; - is standard input) into the topics.

    Each line is {"topic": ..., "value": {...}}, or with --topic a bare event.
    """
    if files.count(STDIN) > 1:
        raise click.UsageError("standard input can be read once only")
    pace = None if speed is None else Pace(speed, settings.definitions)
    if embedded:
        _refuse_bad_place(out, files)
        wanted = batch.Wanted(
            files, topic, pace, end_of_clock(as_of, settings.definitions), None if out is None else Path(out)
        )
        found = batch.run(settings.raw, settings.environment.app_id, wanted)
    elif out or as_of:
        raise click.UsageError("--out and --as-of belong to --embedded; a running worker is read with dealpulse show")
    else:
        found = _into_broker(settings, files, topic, pace)
    _report(found, as_json=as_json)
    if not embedded and found["not_sent"] and not found["sent"]:
        raise CheckError("not one line could be sent; see above why, and dealpulse replay --help for what a line is")


def _into_broker(settings: Settings, files: tuple[str, ...], topic: str | None, pace: Pace | None) -> dict[str, Any]:
    began = time.monotonic()
    sender = Sender(settings.client)
    with signals_end_it():
        try:
            fed = Feed(sender, topic, pace).files(files)
        except BaseException:
            sender.abandon()
            raise
    if fed.refused:
        say(fed.refusals())
    return {"sent": fed.sent, "not_sent": dict(fed.refused), "seconds": round(time.monotonic() - began, 3)}


def _report(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    table = Table("", "", title="Replay", show_header=False)
    for name, value in found.items():
        if isinstance(value, dict):
            table.add_row(name.replace("_", " "), f"{sum(value.values()):,}")
            for reason, count in Counter(value).most_common():
                table.add_row(f"  {reason}", f"{count:,}")
        else:
            table.add_row(name, f"{value:,}")
    print_table(table)


def _refuse_bad_place(out: str | None, files: tuple[str, ...]) -> None:
    if out is None:
        return
    place = Path(out).absolute()
    if not place.parent.is_dir():
        raise click.UsageError(f"--out: there is no folder {place.parent}")
    if place.exists() and not os.access(place, os.W_OK):
        raise click.UsageError(f"--out: {place} cannot be written")
    folder = place.resolve().parent  # in which it is written beside its name, to take that when it is complete
    if not batch.is_written_as_it_is(place) and not os.access(folder, os.W_OK):
        raise click.UsageError(f"--out: in {folder} nothing can be written")
    if place.exists() and any(name != STDIN and place.samefile(name) for name in files):
        raise click.UsageError(f"--out: {out} is read, too; write to another file")
