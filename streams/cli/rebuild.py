"""How is the state computed anew, without a gap for readers?  docs/rebuild.md."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import msgspec
import orjson
from confluent_kafka import KafkaException
from rich.table import Table

from streams.cli import generation
from streams.cli.leftovers import clean_up, ended_after_its_switch
from streams.cli.output import counted, print_json, print_table, say
from streams.cli.send import Sender
from streams.cli.settings import CheckError, Settings, with_settings
from streams.cli.settle import Look, settle, wait_until_read
from streams.cli.stack import WorkerProcess, observer, signals_end_it, worker_process
from streams.cli.switch import Switched, switch
from streams.kafka.admin import AdminError
from streams.kafka.embedded import free_port
from streams.kafka.generations import StateGeneration, by_place
from streams.kafka.inbox import TopicPart
from streams.kafka.transaction import StartError
from streams.topics import DELTAS, MATURED, SOURCES, TICKS

INPUTS = (*SOURCES, TICKS, DELTAS, MATURED)
STOP_DEADLINE = 30.0
AGAIN = "run dealpulse rebuild again"


@click.command("rebuild")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.option("--abandon", is_flag=True, help="Give up an interrupted rebuild that has computed nothing yet.")
@click.option("--from-what-is-left", is_flag=True, help="Go on although events are gone from the source topics.")
@with_settings
def command(settings: Settings, *, as_json: bool, abandon: bool, from_what_is_left: bool) -> None:
    """Compute the state anew from the source topics; readers keep the old values until the new ones are complete."""
    if abandon and (as_json or from_what_is_left):
        raise click.UsageError("--abandon takes no other option")
    try:
        with signals_end_it():
            if abandon:
                number = generation.abandon(settings)
                say(f"generation {number} is thrown away; workers may start" if number else "there is nothing to throw away")
                return
            found = rebuild(settings, from_what_is_left=from_what_is_left)
    except (StartError, AdminError) as error:
        raise CheckError(str(error)) from None
    if as_json:
        print_json(found)
        return
    table = Table("", "", title="Rebuilt", show_header=False)
    for name, value in found.items():
        table.add_row(name.replace("_", " "), f"{value:,}")
    print_table(table)


def rebuild(settings: Settings, *, from_what_is_left: bool = False) -> dict[str, Any]:
    """Compute the next generation and let it take over; return the summary.  Raises CheckError, StartError, AdminError."""
    began = time.monotonic()
    ended = ended_after_its_switch(settings)
    if ended is not None and not _say_what_is_left(clean_up(settings, ended)):
        say(f"generation {ended.number} took over in an earlier run; what that run left is removed now")
        return _summary(ended, 0, Switched(0, 0, 0, 0, 0), began)
    with generation.begun(settings, from_what_is_left=from_what_is_left) as one:
        if one.resumed:
            say(f"going on with generation {one.next.number}, which an earlier run began")
        events = _compute(settings, one.next, one.old_watermark)
        one.refuse_if_disturbed()
        try:
            switched = switch(settings.client, one.control, one.next, one.history)
        except KafkaException as error:
            raise CheckError(
                f"whether generation {one.next.number} has taken over is unknown ({error.args[0].str()}); run dealpulse rebuild "
                "again: it goes on with what is there"
            ) from None
        _say_what_is_left(clean_up(settings, one.next))
    return _summary(one.next, events, switched, began)


def _say_what_is_left(topics: list[str]) -> bool:
    if topics:
        say(f"these topics are not needed any more and could not be removed: {', '.join(topics)}")
    return bool(topics)


def _summary(present: StateGeneration, events: int, switched: Switched, began: float) -> dict[str, Any]:
    seconds = round(time.monotonic() - began, 3)
    return {"generation": present.number, "events": events, **switched._asdict(), "seconds": seconds}


def _compute(settings: Settings, following: StateGeneration, watermark: int | None) -> int:
    """Run a worker of the next generation until it has told everything; return how many source records there are."""
    environment = msgspec.structs.replace(settings.environment, web_port=free_port(), web_host="127.0.0.1", slot=None)
    inside = Settings(msgspec.structs.replace(settings.environment, app_id=following.name), settings.definitions)
    until = by_place(following.until)
    firsts = generation.first_offsets(settings, until)
    with (
        tempfile.TemporaryDirectory(prefix="dealpulse-rebuild-") as folder,
        worker_process(environment, Path(folder), ticks=False, more=("--rebuild",)) as worker,
        _bar(firsts, until) as progress,
    ):
        worker.wait_until_ready()
        observed = observer([worker], progress)
        wait_until_read(inside, observed, until)
        if watermark is not None:
            _tick(settings, watermark)
        settle(inside, observed, INPUTS, until)
        _stop(worker)
    return sum(max(0, end - firsts[place]) for place, end in until.items())


def _tick(settings: Settings, watermark: int) -> None:
    """Let the clock of the new generation be where the readers' is."""
    sender = Sender(settings.client)
    for partition in range(settings.definitions.partitions):
        sender.tick(TICKS, partition, orjson.dumps({"time": watermark}))
    sender.confirm()


def _stop(worker: WorkerProcess) -> None:
    """Let the worker commit what it has, and leave."""
    worker.process.terminate()
    try:
        code = worker.process.wait(STOP_DEADLINE)
    except subprocess.TimeoutExpired:
        raise CheckError(f"the worker of the rebuild does not end within {STOP_DEADLINE:.0f} s; {AGAIN}") from None
    if code != 0:
        raise CheckError(f"the worker of the rebuild ended with exit code {code}; {AGAIN}:\n{worker.last_words()}")


@contextmanager
def _bar(firsts: dict[TopicPart, int], until: dict[TopicPart, int]) -> Iterator[Callable[[Look], None]]:
    """Show how much of the source is read."""
    total = sum(max(0, end - firsts[place]) for place, end in until.items())
    with counted("reading", total) as advance:

        def show(look: Look) -> None:
            read = sum(max(0, min(look.committed[place], end) - firsts[place]) for place, end in until.items())
            # A producer's own transactions leave marks that nobody commits.
            advance(read if look.waiting else total)

        yield show
