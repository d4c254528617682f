"""What would the alert rules have said?  A history through the rooms of a worker, in this process; nothing is sent or written."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import click
from rich.table import Table

from streams.backtest.judge import Alert, Backtest, Span, Verdict
from streams.backtest.wired import Record
from streams.cli.feed import STDIN, Fed, Source, bar, lines, occurred_at, opened
from streams.cli.in_step import in_step, topics_in_step
from streams.cli.lines import TOPICS, Outgoing
from streams.cli.output import print_json, print_table, say, shown, stdout
from streams.cli.settings import Settings, with_settings
from streams.cli.times import end_of_clock, instant_of, latest
from streams.cli.wording import NOTHING, duration
from streams.config import Definitions
from streams.panes.text import iso, percent
from streams.topics import SOURCES

NO_RULE = "no alert rule is in force: none is configured, or no default rule has anything to judge in these cuts and KPIs"
_WIDE = 140  # characters of a terminal; on narrower ones columns are left out that the text repeats
_COLUMNS = ("rule", "entity", "fired at", "resolved at", "duration", "k of n", "share", "baseline", "text")
_REPEATED = ("entity", "k of n", "share", "baseline")
_EVERY = 2_000  # events between two looks at the terminal


@dataclass(frozen=True)
class History:
    """Where the events come from: files, with the topic of bare events; without files the topics of the broker."""

    files: tuple[str, ...]
    topic: str | None


@click.command("backtest")
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--topic", type=click.Choice(TOPICS), help="Topic of bare events, and of lines that are no JSON.")
@click.option("--from", "first", metavar="TIME", help="Report alerts that fired at this time or later.")
@click.option("--to", "end", metavar="TIME", help="Report alerts that fired before this time.")
@click.option("--as-of", metavar="TIME", help="Let the clock end here instead of at the last event.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@with_settings
def command(  # noqa: PLR0913  # its options
    settings: Settings, *, files: tuple[str, ...], topic: str | None, first: str | None, end: str | None,
    as_of: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Say which alerts the rules would have raised, over FILES or what the broker holds; nobody is told.

    FILES are JSON lines as for replay (optionally .gz; - is standard input), each in the order in which its events came.
    All of the history is judged, whatever --from and --to choose.
    """
    definitions = settings.definitions
    span = Span(instant_of("--from", first, definitions), instant_of("--to", end, definitions))
    _refuse_wrong_usage(files, topic, span)
    until = end_of_clock(as_of, definitions)
    if not definitions.rules:
        say(NO_RULE)
    began = time.monotonic()
    backtest, rejected = Backtest(definitions), Counter[str]()
    if definitions.rules:
        rejected = judge(backtest, settings, History(files, topic), until)
    report = Report(backtest, span, rejected, time.monotonic() - began)
    if as_json:
        print_json(report.as_json())
    elif definitions.rules:
        report.show()


def _refuse_wrong_usage(files: tuple[str, ...], topic: str | None, span: Span) -> None:
    if files.count(STDIN) > 1:
        raise click.UsageError("standard input can be read once only")
    if topic and not files:
        raise click.UsageError("--topic belongs to FILES; without them what the broker holds is judged")
    if span.first is not None and span.end is not None and span.first >= span.end:
        raise click.UsageError("--from must be before --to")


# ------------------------------------------------------------------ the history


def judge(backtest: Backtest, settings: Settings, history: History, as_of: int | None) -> Counter[str]:
    """Let the rules judge a history; return what was refused, by reason.  Raises CheckError, AdminError."""
    fed = Fed()
    now = time.time()
    with ExitStack() as stack:
        advance = stack.enter_context(bar(history.files or (STDIN,), "judging"))
        if history.files:
            sources = [stack.enter_context(opened(name)) for name in history.files]
            events = _of_files(sources, history.topic, fed, settings.definitions, now)
            _take(backtest, events, lambda: advance(sum(source.position() for source in sources), backtest.taken))
        else:
            _take(backtest, _of_broker(settings), lambda: advance(0, backtest.taken))
        backtest.end(as_of, round(now * 1000))
    if fed.refused:
        say(fed.refusals("judged"))
    return backtest.rejected + fed.refused


def _take(backtest: Backtest, events: Iterator[tuple[int | None, Any]], look: Callable[[], None]) -> None:
    for at, record in events:
        backtest.take(record, at)
        if backtest.taken % _EVERY == 0:
            look()
    look()


def _of_files(
    sources: list[Source], topic: str | None, fed: Fed, definitions: Definitions, now: float
) -> Iterator[tuple[int | None, Record]]:
    zone, end, received = definitions.zone, latest(now, definitions), round(now * 1000)

    def when(one: Outgoing) -> int | None:
        at = occurred_at(one.value, zone)
        return at if at is None or at <= end else None  # it will be refused

    streams = [(one for one in lines(source, topic, fed) if one and one.topic in SOURCES) for source in sources]
    for at, one in in_step(streams, when):
        yield at, Record(one.topic, one.value, one.key, received)


def _of_broker(settings: Settings) -> Iterator[tuple[int | None, Any]]:
    zone, definitions = settings.definitions.zone, settings.definitions

    def when(message: Any) -> int | None:
        at = occurred_at(message.value() or b"", zone)
        return at if at is None or at <= latest(message.timestamp()[1] / 1000, definitions) else None

    return topics_in_step(settings.client, SOURCES, when)


# ------------------------------------------------------------------ the report


@dataclass(frozen=True)
class Report:
    """What is printed."""

    backtest: Backtest
    span: Span
    rejected: Counter[str]
    seconds: float

    @property
    def events(self) -> int:
        """Return how many events were judged, repeats among them."""
        return self.backtest.taken - self.backtest.rejected.total()

    def as_json(self) -> dict[str, Any]:
        """Return all of it; alerts in the fields of schemas/alert.v1.json."""
        return {
            "events": self.events,
            "rejected": dict(sorted(self.rejected.items())),
            "late": self.backtest.late,
            "watermark": iso(self.backtest.watermark) if self.backtest.watermark >= 0 else None,
            "alerts": [_alert(one) for one in self.backtest.told(self.span)],
            "rules": [_verdict(one) for one in self.backtest.verdicts(self.span)],
            "seconds": round(self.seconds, 3),
        }

    def show(self) -> None:
        """Print the tables, and say what was read."""
        alerts = self.backtest.told(self.span)
        if alerts:
            print_table(self._alerts(alerts))
        print_table(self._verdicts())
        watermark = self.backtest.watermark
        until = f", up to {_minute(iso(watermark))} UTC" if watermark >= 0 else ""
        rate = self.events / max(self.seconds, 1e-3)
        say(f"{self.events:,} events judged{until}, in {self.seconds:.1f} s ({rate:,.0f}/s); nobody was told")
        if self.rejected:
            reasons = ", ".join(f"{reason} {count:,}" for reason, count in self.rejected.most_common())
            say(f"{self.rejected.total():,} events were refused: {reasons}")
        if self.backtest.late:
            say(
                f"{self.backtest.late:,} events come more than a day behind a later one, and days that were judged are not judged "
                "again, as in a live run; if they did not come in this order, sort the files by occurred_at"
            )

    def _alerts(self, alerts: list[Alert]) -> Table:
        is_wide = stdout().width >= _WIDE
        table = Table(title="Alerts that the rules would have raised (UTC)", show_lines=not is_wide)
        columns = [name for name in _COLUMNS if is_wide or name not in _REPEATED]
        for name in columns:
            table.add_column(name, ratio=1 if name == "text" else None, no_wrap=name in {"rule", "fired at", "k of n"})
        for one in alerts:
            cells = dict(zip(_COLUMNS, self._cells(one), strict=True))
            table.add_row(*(shown(cells[name]) for name in columns))
        return table

    def _cells(self, one: Alert) -> tuple[str, ...]:
        fired = one.fired
        if one.resolved is None:
            ended, took = "still firing", f"{duration((self.backtest.watermark - one.fired_at) / 1e6)} so far"
        else:
            ended, took = _minute(one.resolved["at"]), duration(one.duration or 0)
        return (
            fired["rule"], " / ".join(fired["entity"].values()) or "all", _minute(fired["at"]), ended, took,
            f"{fired['k']:,} of {fired['n']:,}", percent(fired["ratio"] or 0.0), percent(fired["baseline"]), fired["text"],
        )  # fmt: skip

    def _verdicts(self) -> Table:
        table = Table(title="Rules: how many entities they judge, and alerts in a year of one of them")
        table.add_column("rule", no_wrap=True)
        table.add_column("by")
        for name in (
            "judged", "still learning", "cannot get worse", "fired", "firing", "median duration", "fired a year",
            "false, at most",
        ):  # fmt: skip
            table.add_column(name, justify="right")
        for one in self.backtest.verdicts(self.span):
            table.add_row(
                shown(one.rule.name), one.rule.cut, f"{one.judged:,}", f"{one.learning:,}", f"{one.hopeless:,}",
                f"{one.fired:,}", f"{one.firing:,}",
                NOTHING if one.median_seconds is None else duration(one.median_seconds),
                NOTHING if one.per_year is None else f"{one.per_year:.2f}",
                f"{one.promised:.2f}",
            )  # fmt: skip
        return table


def _alert(one: Alert) -> dict[str, Any]:
    ended = one.resolved
    return {
        **one.fired,
        "state": "firing" if ended is None else "resolved",
        "resolved_at": None if ended is None else ended["at"],
        "resolved_text": None if ended is None else ended["text"],
        "duration_s": one.duration,
    }


def _verdict(one: Verdict) -> dict[str, Any]:
    return {
        "rule": one.rule.name,
        "kind": one.rule.kind,
        "cut": one.rule.cut,
        "budget_days": one.rule.budget_days,
        "judged": one.judged,
        "learning": one.learning,
        "cannot_get_worse": one.hopeless,
        "fired": one.fired,
        "firing": one.firing,
        "median_duration_s": one.median_seconds,
        "entity_years": one.years,
        "fired_per_entity_year": one.per_year,
        "promised_per_entity_year": one.promised,
    }


def _minute(at: str) -> str:
    return at[:16].replace("T", " ")
