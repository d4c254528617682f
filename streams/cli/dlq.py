"""Which events were refused, and why?  The dead-letter topic, newest last."""

from __future__ import annotations

from base64 import b64decode
from collections import Counter, deque
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import click
import orjson
from rich.markup import escape
from rich.table import Table

from streams.cli.output import print_json, print_table, say
from streams.cli.read import every_record
from streams.cli.settings import Settings, with_settings
from streams.events.contract import Reason
from streams.topics import DEAD_LETTER

_SHOWN = 120  # characters of a value in the table


@click.group("dlq")
def group() -> None:
    """Look at refused events."""


@group.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print the dead letters as JSON lines.")
@click.option("--reason", type=click.Choice([reason.value for reason in Reason]), help="Only this reason.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many, the newest.")
@with_settings
def list_letters(settings: Settings, *, as_json: bool, reason: str | None, limit: int) -> None:
    """Print refused events with their reason and origin."""
    letters = (orjson.loads(message.value()) for message in every_record(settings.client, DEAD_LETTER, decided=False))
    kept, counts = newest(letters, reason, limit)
    if as_json:
        for letter in kept:
            print_json(letter)
    elif kept:
        print_table(as_table(kept))
    total = ", ".join(f"{name} {count:,}" for name, count in counts.most_common())
    say(f"{counts.total():,} dead letters: {total}" if counts else "no event was refused")


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
        received = datetime.fromtimestamp(letter["timestamp"] / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
        origin = f"{letter['topic']}/{letter['partition']}@{letter['offset']}"
        detail, key, value = letter["detail"], _text(letter["key_base64"]), _text(letter["value_base64"])
        table.add_row(received, origin, letter["reason"], escape(detail), escape(key), escape(value))
    return table


def _text(data: str | None) -> str:
    if data is None:
        return "–"
    text = b64decode(data).decode(errors="replace")
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
