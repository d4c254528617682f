"""How is the state computed anew, without a gap for readers?  docs/rebuild.md."""

from __future__ import annotations

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
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from streams.cli import generation
from streams.cli.output import print_json, print_table, say, stderr
from streams.cli.read import Place
from streams.cli.send import Sender
from streams.cli.settings import CheckError, Settings, with_settings
from streams.cli.settle import Group, Look, is_settled
from streams.cli.stack import WorkerProcess, signals_end_it, worker_process
from streams.cli.switch import Switched, switch
from streams.kafka.admin import AdminError
from streams.kafka.embedded import free_port
from streams.kafka.flush import StartError
from streams.kafka.generations import StateGeneration
from streams.topics import ACTIVITY, DELTAS, MATURED, STAGE_CHANGE, TICKS

SOURCES = (STAGE_CHANGE, ACTIVITY)
INPUTS = (*SOURCES, TICKS, DELTAS, MATURED)
STOP_DEADLINE = 30.0
# Where events keep coming it is never quiet; by then everything up to the start has long been told.
MOST_TO_SETTLE = 30.0
_PAUSE = 0.5

Tell = Callable[[int, int], None]  # records read, of so many


@click.command("rebuild")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.option("--abandon", is_flag=True, help="Throw away what an interrupted rebuild has computed.")
@click.option("--from-what-is-left", is_flag=True, help="Go on although events are gone from the source topics.")
@with_settings
def command(settings: Settings, *, as_json: bool, abandon: bool, from_what_is_left: bool) -> None:
    """Compute the state anew from the source topics; readers keep the old values until the new ones are complete."""
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
    with generation.begun(settings, from_what_is_left=from_what_is_left) as one:
        if one.resumed:
            say(f"going on with generation {one.next.number}, which an earlier run began")
        events = _compute(settings, one.next, one.old_watermark)
        one.refuse_if_disturbed()
        try:
            switched: Switched = switch(settings.client, one.control, one.next, one.history)
        except KafkaException as error:
            raise CheckError(
                f"the switch failed, and nothing of it is visible ({error.args[0].str()}); run dealpulse rebuild again"
            ) from None
        left = one.clean_up()
    if left:
        say(f"these topics are not needed any more and could not be removed: {', '.join(left)}")
    return {
        "generation": one.next.number,
        "events": events,
        **switched._asdict(),
        "seconds": round(time.monotonic() - began, 3),
    }


def _compute(settings: Settings, following: StateGeneration, watermark: int | None) -> int:
    """Run a worker of the next generation until it has told everything; return how many source records there are."""
    environment = msgspec.structs.replace(settings.environment, web_port=free_port(), web_host="127.0.0.1", slot=None)
    inside = Settings(msgspec.structs.replace(settings.environment, app_id=following.name), settings.definitions)
    firsts, ends = generation.span(settings, SOURCES)
    with (
        tempfile.TemporaryDirectory(prefix="dealpulse-rebuild-") as folder,
        worker_process(environment, Path(folder), ticks=False, more=("--rebuild",)) as worker,
    ):
        worker.wait_until_ready()
        group = Group(inside, INPUTS)
        try:
            with _bar() as tell:
                _until_read(group, worker, firsts, ends, tell)
            if watermark is not None:
                _tick(settings, watermark)
            _until_told(group, worker)
        finally:
            group.close()
        _stop(worker)
    return sum(ends[place] - firsts[place] for place in ends)


def _until_read(group: Group, worker: WorkerProcess, firsts: dict[Place, int], ends: dict[Place, int], tell: Tell) -> None:
    """Wait until everything has been read that was in the source when we began."""
    total = sum(ends[place] - firsts[place] for place in ends)
    while True:
        worker.check()
        look = group.look()
        read = sum(max(0, min(look.committed[place], ends[place]) - firsts[place]) for place in ends)
        tell(read, total)
        # A producer's own transactions leave marks that nobody commits.
        if all(place not in look.waiting or look.committed[place] >= ends[place] for place in ends):
            tell(total, total)
            return
        time.sleep(_PAUSE)


def _tick(settings: Settings, watermark: int) -> None:
    """Let the clock of the new generation be where the readers' is."""
    sender = Sender(settings.client)
    for partition in range(settings.definitions.partitions):
        sender.tick(TICKS, partition, orjson.dumps({"time": watermark}))
    sender.confirm()


def _until_told(group: Group, worker: WorkerProcess) -> None:
    """Wait until nothing waits anywhere and the worker owes nothing; where events keep coming, until all has been through once."""
    end = time.monotonic() + MOST_TO_SETTLE
    through: set[Place] = set()
    while True:
        worker.check()
        before, look, after = worker.says(), group.look(), worker.says()
        through |= look.committed.keys() - look.waiting
        if is_settled(before, look, after):
            return
        if time.monotonic() > end and _all_through(look, through):
            return
        time.sleep(_PAUSE)


def _all_through(look: Look, through: set[Place]) -> bool:
    return through >= look.committed.keys()


def _stop(worker: WorkerProcess) -> None:
    """Let the worker commit what it has, and leave."""
    worker.process.terminate()
    code = worker.process.wait(STOP_DEADLINE)
    if code != 0:
        raise CheckError(
            f"the worker of the rebuild ended with exit code {code}; run dealpulse rebuild again:\n{worker.last_words()}"
        )


@contextmanager
def _bar() -> Iterator[Tell]:
    console = stderr()
    if not console.is_terminal:
        yield lambda _read, _total: None
        return
    columns = (TextColumn("reading"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("reading", total=None)
        yield lambda read, total: progress.update(task, completed=read, total=total)
