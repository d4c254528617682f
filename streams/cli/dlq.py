"""Which events were refused, and why, and how are they sent once more?

`list` prints the dead-letter topic, newest last.  `replay` sends the records of letters again, each with a mark in a topic
of its own, in one transaction: whatever ends it, what was sent is marked and what is marked was sent.
"""

from __future__ import annotations

import itertools
import re
import sys
import time
from base64 import b64decode
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import click
from confluent_kafka import Message
from rich.table import Table

from streams.cli.audit import refuse_other_definitions
from streams.cli.letters import Choice, Letter, Plan, Skip, again, fields_of, plan, read_letter
from streams.cli.output import counted, print_json, print_table, say, shown
from streams.cli.read import Place, Strangers, every_record
from streams.cli.send import Sender
from streams.cli.settings import CheckError, Settings, with_settings
from streams.cli.stack import signals_end_it
from streams.cli.times import instant_of
from streams.events.contract import Limits, Reason, received_at
from streams.topics import DEAD_LETTER, DLQ_REPLAYS

_SHOWN = 120  # characters of a value in the table
_TOGETHER = 1000  # letters in one transaction, each of 64 KiB at most: larger ones are not accepted by any worker
_ORIGIN = re.compile(r"[A-Za-z0-9._-]+/\d+@\d+", re.ASCII)
_REASONS = click.Choice([reason.value for reason in Reason])
_WHY = {
    Skip.SENT_ALREADY: "were sent again before",
    Skip.STILL_REFUSED: "would be refused again",
    Skip.TRUNCATED: "are cut; the whole record is at its origin",
    Skip.OTHER_TOPIC: "are of another topic",
}


@click.group("dlq")
def group() -> None:
    """Look at refused events, and send them again."""


@group.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print the dead letters as JSON lines.")
@click.option("--reason", type=_REASONS, help="Only this reason.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many, the newest.")
@with_settings
def list_letters(settings: Settings, *, as_json: bool, reason: str | None, limit: int) -> None:
    """Print refused events with their reason and origin."""
    messages = every_record(settings.client, DEAD_LETTER, decided=False)
    strangers = Strangers()
    kept, counts = newest(_ours(messages, strangers), reason, limit)
    if as_json:
        for letter in kept:
            print_json(letter)
    elif kept:
        print_table(as_table(kept))
    total = ", ".join(f"{name} {count:,}" for name, count in counts.most_common())
    say(f"{counts.total():,} dead letters: {total}" if counts else "no event was refused")
    _say_who_else(strangers)


def _ours(messages: Iterable[Message], strangers: Strangers) -> Iterator[dict[str, Any]]:
    """Yield the letters, and count what is none."""
    for message in messages:
        letter = fields_of(message.value())
        if letter is None:
            strangers.note(_where(message))
        else:
            yield letter


def _where(message: Message) -> str:
    return f"{message.topic()}/{message.partition()}@{message.offset()}"


def _say_who_else(strangers: Strangers) -> None:
    if strangers.count:
        say(strangers.said(DEAD_LETTER, "dead letter"))


def newest(letters: Iterable[dict[str, Any]], reason: str | None, limit: int) -> tuple[list[dict[str, Any]], Counter[str]]:
    """Return the newest letters of the reason, oldest first, and how many there are of each reason."""
    # Partitions come interleaved, so the newest of each origin partition are kept and sorted at the end.
    kept: dict[tuple[str, int], deque[dict[str, Any]]] = {}
    counts: Counter[str] = Counter()
    for letter in letters:
        counts[letter["reason"]] += 1
        if reason in (None, letter["reason"]):
            kept.setdefault((letter["topic"], letter["partition"]), deque(maxlen=limit)).append(letter)
    found = sorted((one for some in kept.values() for one in some), key=lambda one: one["timestamp"])
    return found[-limit:], counts


def as_table(letters: list[dict[str, Any]]) -> Table:
    """Lay the letters out for people."""
    table = Table("received", "origin", "reason", "detail", "key", "value", title="Dead letters")
    for letter in letters:
        at = received_at(letter["timestamp"])
        received = "-" if at < 0 else datetime.fromtimestamp(at / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S")
        origin = f"{letter['topic']}/{letter['partition']}@{letter['offset']}"
        detail, key, value = letter["detail"], _text(letter["key_base64"]), _text(letter["value_base64"])
        table.add_row(received, origin, letter["reason"], shown(detail), shown(key), shown(value))
    return table


def _text(data: str | None) -> str:
    if data is None:
        return "–"
    text = b64decode(data).decode(errors="replace")
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


# ------------------------------------------------------------------ send again


def _place(ctx: click.Context, option: click.Parameter, said: str | None) -> str | None:
    """Refuse what names no place, before any broker is asked."""
    del ctx, option
    if said is not None and not _ORIGIN.fullmatch(said):
        raise click.BadParameter(f"{said!r} is no place; write TOPIC/PARTITION@OFFSET as dealpulse dlq list does")
    return said


@group.command("replay")
@click.option("--reason", type=_REASONS, help="Only this reason.")
@click.option("--since", metavar="TIME", help="Only records that were received then or later.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many, the newest.")
@click.option("--origin", metavar="TOPIC/PARTITION@OFFSET", callback=_place, help="Only the record that stands there.")
@click.option("--yes", is_flag=True, help="Do not ask before all of them are sent.")
@click.option("--dry-run", is_flag=True, help="Print what would be sent, send nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@with_settings
def replay(  # noqa: PLR0913  # its options
    settings: Settings, *, reason: str | None, since: str | None, limit: int | None, origin: str | None,
    yes: bool, dry_run: bool, as_json: bool,
) -> None:  # fmt: skip
    """Send refused events once more, after the reason is gone.

    Those that would be refused again stay where they are, and so do those that were sent again before.
    """
    choice = Choice(reason, instant_of("--since", since, settings.definitions), origin, limit)
    asks = choice.is_everything and not yes and not dry_run
    if asks and not sys.stdin.isatty():
        raise click.UsageError(
            "this would send every refused event that is accepted now; say --yes, or choose: --reason, --since, --limit, --origin"
        )
    refuse_other_definitions(settings)
    began = time.monotonic()
    with signals_end_it():
        # Before anything is read: another one that is sending is shut out, and what it has sent is marked.
        sender = None if dry_run else Sender(settings.client, f"{settings.environment.app_id}-dlq-replay")
        strangers = Strangers()
        planned = _planned(settings, choice, strangers)
        _say_who_else(strangers)
        if not as_json:
            _show(planned)
        sent = 0
        if sender is not None and planned.places and (not asks or click.confirm("Send them?", err=True)):
            sent = _send(settings, sender, planned)
    if not as_json:
        say("nothing was sent: this was a dry run" if dry_run else f"sent again: {sent:,}")
        return
    by_reason, skipped = dict(planned.by_reason), {why.value: count for why, count in planned.skipped.items()}
    would = {"would_send": len(planned.places)} if dry_run else {}
    seconds = round(time.monotonic() - began, 3)
    print_json({"sent": sent, **would, "skipped": skipped, "by_reason": by_reason, "seconds": seconds})


def _planned(settings: Settings, choice: Choice, strangers: Strangers) -> Plan:
    """Look at every letter.  Raises CheckError when the one that is wanted is not there."""
    sent = {(message.key() or b"", message.value() or b"") for message in every_record(settings.client, DLQ_REPLAYS)}
    limits = Limits(round(settings.definitions.max_future * 1_000_000), settings.definitions.zone)
    found = plan(_letters(settings, strangers), choice, sent, limits, time.time_ns() // 1000)
    if choice.origin is not None and not found.places and not found.skipped:
        raise CheckError(f"there is no such dead letter of {choice.origin}; see: dealpulse dlq list")
    return found


def _letters(settings: Settings, strangers: Strangers) -> Iterator[tuple[Place, Letter]]:
    """Yield the letters, and count what is none; no worker has refused what names a partition that there is not."""
    for message in every_record(settings.client, DEAD_LETTER):
        letter = read_letter(message.value())
        if letter is None or letter.partition >= settings.definitions.partitions:
            strangers.note(_where(message))
        else:
            yield (message.partition(), message.offset()), letter


def _send(settings: Settings, sender: Sender, planned: Plan) -> int:
    """Send what is planned, many letters in one transaction; return how many.  Raises CheckError."""
    letters = (letter for place, letter in _letters(settings, Strangers()) if place in planned.places)
    sent = 0
    with counted("sending", len(planned.places)) as advance:
        try:
            while some := list(itertools.islice(letters, _TOGETHER)):
                with sender.together():
                    for letter in some:
                        for record in again(letter):
                            sender.send(record)
                sent += len(some)
                advance(sent)
        except CheckError as error:
            raise CheckError(
                f"sent again: {sent:,}, then {error}; run it again (not two at a time): it goes on with what is left"
            ) from None
    return sent


def _show(planned: Plan) -> None:
    if planned.places:
        table = Table("reason", "topic", "letters", title="To be sent again")
        for (reason, topic), count in planned.counts.most_common():
            table.add_row(reason, topic, f"{count:,}")
        print_table(table)
    for why, count in planned.skipped.most_common():
        first = f"; the first: {planned.first_refusal}" if why is Skip.STILL_REFUSED else ""
        say(f"not sent: {count:,} {_WHY[why]}{first}")
