"""What are the numbers now?  The current records of dealpulse.kpi.latest.v1."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from zoneinfo import ZoneInfo

import click
import msgspec
import orjson
from rich.table import Table

from streams import config
from streams.cli import wording
from streams.cli.output import print_json, print_table, say, shown
from streams.cli.read import Strangers, last_of_every_key
from streams.cli.settings import Settings, with_settings
from streams.kpis.catalogue import BY_ID
from streams.panes.text import printable
from streams.topics import KPI_LATEST

Record = dict[str, Any]
# kpi, cut, entity values, window name, start, currency.
Key = tuple[str, str, list[str], str, str | None, str | None]
_WINDOWS = ("now", *config.WINDOWS)


@click.command("show")
@click.argument("kpi", required=False)
@click.option("--by", "cut", metavar="CUT", help=f"Only this cut: {', '.join(config.CUTS)}.")
@click.option("--window", metavar="W", help=f"Only this window: {', '.join(_WINDOWS)}.")
@click.option("--json", "as_json", is_flag=True, help="Print the records as JSON lines.")
@with_settings
def command(settings: Settings, *, kpi: str | None, cut: str | None, window: str | None, as_json: bool) -> None:
    """Print current values from the KPI topic."""
    for said, known, what in ((kpi, BY_ID, "KPI"), (cut, config.CUTS, "cut"), (window, _WINDOWS, "window")):
        _refuse_unknown(said, known, what)
    rows = last_of_every_key(settings.client, KPI_LATEST, lambda key: _wanted(key, kpi, cut, window), decided=False)
    strangers = Strangers()
    found = in_order(_ours(rows, strangers))
    if as_json:
        for record in found:
            print_json(record)
    elif found:
        print_table(as_table(found, settings.definitions.zone))
    if not found:
        say(_nothing(kpi, cut, window))
    if strangers.count:
        say(strangers.said(KPI_LATEST, "KPI record"))


def _refuse_unknown(said: str | None, known: Iterable[str], what: str) -> None:
    if said is None or said in known:
        return
    near = difflib.get_close_matches(said, list(known), n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
    raise click.UsageError(f"unknown {what} {said!r}; {hint}")


def _wanted(key: bytes, kpi: str | None, cut: str | None, window: str | None) -> bool:
    """Is it what was asked for, or a record of others, which is named whatever was asked for?"""
    found = _key(key)
    return found is None or (kpi in (None, found[0]) and cut in (None, found[1]) and window in (None, found[3]))


def _key(key: bytes) -> Key | None:
    try:
        found: Key = msgspec.convert(orjson.loads(key), Key)
    except ValueError:  # of JSON, of its form
        return None
    return found


class _Window(msgspec.Struct):
    name: str
    start: str | None


class _Form(msgspec.Struct):
    """What of a KPI record is shown (schemas/kpi-record.v1.json)."""

    kpi: str
    cut: str
    entity: dict[str, str]
    window: _Window
    value: float | None
    unit: str
    n: int
    currency: str | None
    previous: float | None = None
    target: float | None = None


def _ours(rows: Mapping[bytes, bytes], strangers: Strangers) -> Iterator[Record]:
    """Yield the KPI records, and count what is none or does not go with its key: others may write to the topic, too."""
    for key, value in rows.items():
        try:
            record: Record = orjson.loads(value)
            form = msgspec.convert(record, _Form)
        except ValueError:  # of JSON, of its form
            form = None
        if form is None or _key(key) != _key_of(form):
            strangers.note(f"key {printable(key.decode(errors='replace'))}")
        else:
            yield record


def _key_of(form: _Form) -> Key:
    return form.kpi, form.cut, list(form.entity.values()), form.window.name, form.window.start, form.currency


def in_order(records: Iterable[Record]) -> list[Record]:
    """Sort as the catalogue, the cuts and the windows are listed, entities by name."""
    kpis, cuts = {one: at for at, one in enumerate(BY_ID)}, {one: at for at, one in enumerate(config.CUTS)}
    windows = {one: at for at, one in enumerate(_WINDOWS)}

    def place(record: Record) -> tuple[Any, ...]:
        name = record["window"]["name"]
        return (
            kpis.get(record["kpi"], len(kpis)), cuts.get(record["cut"], len(cuts)), windows.get(name, len(windows)),
            wording.entity(record), record["currency"] or "",
        )  # fmt: skip

    return sorted(records, key=place)


def as_table(records: list[Record], zone: ZoneInfo) -> Table:
    """Lay the records out for people, to whom days begin in the business zone."""
    table = Table("KPI", "cut", "entity", "window", title="Current values")
    for heading in ("value", "n", "previous", "target"):
        table.add_column(heading, justify="right")
    for record in records:
        cells = (
            record["kpi"], record["cut"], wording.entity(record), wording.window(record, zone),
            wording.value(record), f"{record['n']:,}", wording.value(record, "previous"),
            wording.value(record, "target"),
        )  # fmt: skip
        table.add_row(*map(shown, cells))
    return table


def _nothing(kpi: str | None, cut: str | None, window: str | None) -> str:
    row = BY_ID.get(kpi or "")
    if row and cut and cut not in row.cuts:
        return f"{kpi} has no cut {cut}; it has: {', '.join(row.cuts)}"
    if row and window and (window == "now") != (row.base == "level"):
        return f"{kpi} is a {row.base} KPI; its window is {'now' if row.base == 'level' else 'one of the others'}"
    return "no value matches; is the worker running, and did events arrive?  dealpulse doctor tells"
