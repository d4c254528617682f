"""How does a whole history become numbers in one go?  A broker and a worker of its own, until nothing moves."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import orjson

from streams.cli.feed import Fed, Feed, Pace
from streams.cli.output import say, stderr
from streams.cli.read import every_record, last_of_every_key
from streams.cli.send import Sender
from streams.cli.settings import CheckError
from streams.cli.settle import Look, settle, wait_until_read
from streams.cli.stack import Series, Stack, embedded_stack, observer
from streams.topics import ALERT_EVENTS, KPI_HISTORY, KPI_LATEST, TICKS


@dataclass(frozen=True)
class Wanted:
    """What to replay, and what to do at the end; `as_of` in µs since 1970 UTC."""

    files: tuple[str, ...]
    topic: str | None
    pace: Pace | None
    as_of: int | None
    out: Path | None


def run(definitions: dict[str, Any], app_id: str, wanted: Wanted) -> dict[str, Any]:
    """Replay, wait, write the result; return the summary.  Raises CheckError."""
    began = time.monotonic()
    with embedded_stack(definitions, app_id=app_id) as stack:
        fed = replayed(stack, wanted)
        if fed.refused:
            say(fed.refusals())
        process_all(stack, wanted.as_of)
        series = stack.worker.counted()
        records = 0 if wanted.out is None else write_result(stack.client, wanted.out)
    rejected = rejections(series) + fed.refused
    return {
        "accepted": int(series.get(("dealpulse_events_accepted_total", ""), 0)),
        "rejected": dict(sorted(rejected.items())),
        "duplicates": int(series.get(("dealpulse_events_duplicate_total", ""), 0)),
        "records": records,
        "seconds": round(time.monotonic() - began, 3),
    }


def replayed(stack: Stack, wanted: Wanted) -> Fed:
    """Send the files to the embedded broker."""
    sender = Sender(stack.client)
    try:
        return Feed(sender, wanted.topic, wanted.pace, stack.worker.check).files(wanted.files)
    except BaseException:
        sender.abandon()
        raise


def process_all(stack: Stack, as_of: int | None) -> None:
    """Wait until the events are processed, let the clock end, and wait until its effects are out too."""
    with _spinner("processing") as progress:
        stack.worker.wait_until_ready()
        observed = observer([stack.worker], progress)
        wait_until_read(stack.settings, observed)
        end_clock(stack, as_of)
        settle(stack.settings, observed)


def end_clock(stack: Stack, as_of: int | None) -> None:
    """Tell every partition that nothing more comes: the time is `as_of`, or that of the last accepted event."""
    sender = Sender(stack.client)
    tick = {"settle": True} if as_of is None else {"time": as_of, "settle": True}
    for partition in range(stack.settings.definitions.partitions):
        sender.tick(TICKS, partition, orjson.dumps(tick))
    sender.confirm()


def rejections(series: Series) -> Counter[str]:
    """Return how many events were refused, by reason."""
    name = "dealpulse_events_rejected_total"
    return Counter({label: int(value) for (found, label), value in series.items() if found == name and value})


def write_result(client: dict[str, Any], out: Path) -> int:
    """Write the last record of every KPI key and all alert events as JSON lines; return how many."""
    with _complete_or_not_at_all(out) as file:
        return sum(
            _write(file, topic, rows)
            for topic, rows in (
                (KPI_LATEST, sorted(last_of_every_key(client, KPI_LATEST).items())),
                (KPI_HISTORY, sorted(last_of_every_key(client, KPI_HISTORY).items())),
                (ALERT_EVENTS, _alert_events(client)),
            )
        )


@contextmanager
def _complete_or_not_at_all(out: Path) -> Iterator[IO[bytes]]:
    """Write a file that has its name only when all is in it; a pipe or a device is written as it is.  Raises CheckError."""
    try:
        if is_written_as_it_is(out):
            with out.open("wb") as file:
                yield file
            return
        whole = out.resolve()  # what a link points to
        part = whole.with_name(f"{whole.name}.part")
        try:
            with part.open("wb") as file:
                yield file
            part.replace(whole)
        finally:
            part.unlink(missing_ok=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise CheckError(f"--out: {out} cannot be written: {error.strerror or error}") from None


def is_written_as_it_is(out: Path) -> bool:
    """Is this a pipe or a device, or one of the names by which the system calls what is open, such as /dev/stdout?"""
    return (out.exists() and not out.is_file()) or out.absolute().parts[1:2] in (("dev",), ("proc",))


def _alert_events(client: dict[str, Any]) -> Iterator[tuple[bytes, bytes]]:
    for message in every_record(client, ALERT_EVENTS):
        yield message.key() or b"", message.value() or b"null"


def _write(file: IO[bytes], topic: str, rows: Iterable[tuple[bytes, bytes]]) -> int:
    # The value goes through as it is, so that the file holds exactly what subscribers get.
    head = b'{"topic":' + json.dumps(topic).encode() + b',"key":'
    count = 0
    for key, value in rows:
        file.write(head + orjson.dumps(key.decode()) + b',"value":' + value + b"}\n")
        count += 1
    return count


@contextmanager
def _spinner(what: str) -> Iterator[Callable[[Look], None]]:
    console = stderr()
    if not console.is_terminal:
        yield lambda _look: None
        return
    with console.status(what) as status:
        yield lambda look: status.update(f"{what}: records wait in {len(look.waiting)} partitions" if look.waiting else what)
