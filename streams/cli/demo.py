"""How does somebody see dealpulse run within a minute?  A broker inside, sample data, a live view.

With --once everything is processed, a summary is printed, and that is all.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import click
from rich.console import RenderableType
from rich.live import Live

from streams import config
from streams.cli import simulate, summary, view
from streams.cli.batch import process_all, rejections
from streams.cli.output import print_json, print_table, say, stdout
from streams.cli.sample import NOTE, Sample, as_record, sample
from streams.cli.send import Sender
from streams.cli.settings import CheckError
from streams.cli.stack import Stack, WorkerProcess, embedded_stack
from streams.cli.watch import watching

APP_ID = "dealpulse-demo"
REFRESH = 0.25  # seconds between two pictures
MEASURE = 1.0  # seconds between two looks at the metrics, and between two live events
TOLD = 5.0  # seconds between two plain lines
# Of its one event a second every window is told as often as the levels, or what has entered and what is there would not go together for minutes.
PACE = dict.fromkeys(config.PACE, config.PACE["now"])


@click.command("demo")
@click.option("--once", is_flag=True, help="Process all, print a summary, and end.")
@click.option("--json", "as_json", is_flag=True, help="With --once: print the summary as JSON.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the metrics; a free one by default.")
@click.option("--as-recorded", is_flag=True, help="Keep the dates of the recorded data (2016 to 2017).")
def command(*, once: bool, as_json: bool, port: int | None, as_recorded: bool) -> None:
    """Run an embedded broker, sample CRM data and a live view of its KPIs and alerts."""
    if as_json and not once:
        raise click.UsageError("--json belongs to --once")
    _refuse_taken(port)
    began = time.monotonic()
    found = sample(datetime.now(UTC), as_recorded=as_recorded)
    # The recorded year has its own clock; ticks would bring today's.
    live_clock = not once and not as_recorded
    try:
        with embedded_stack({**found.definitions, "pace": PACE}, app_id=APP_ID, port=port, ticks=live_clock) as stack:
            if once:
                _once(stack, found, began, as_json=as_json)
            else:
                _live(stack, found)
    except KeyboardInterrupt:
        if once:
            raise
        say("ended")


def _refuse_taken(port: int | None) -> None:
    if port is None:
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise CheckError(f"port {port} is taken; choose another with --port") from None


def _send_all(stack: Stack, found: Sample, sender: Sender) -> None:
    for record in found.records:
        sender.send(record)
    sender.confirm()
    stack.worker.check()


def _once(stack: Stack, found: Sample, began: float, *, as_json: bool) -> None:
    sender = Sender(stack.client)
    _send_all(stack, found, sender)
    process_all(stack, round(found.now.timestamp() * 1e6))
    with watching(stack.client) as watch:
        watch.read_all()
        result = summary.summary(found, watch, stack, time.monotonic() - began)
    if as_json:
        print_json(result)
    else:
        print_table(summary.tables(result))


def _live(stack: Stack, found: Sample) -> None:
    sender = Sender(stack.client)
    with watching(stack.client) as watch:
        scene = view.Scene(
            stack.settings.definitions, watch, stack.settings.environment.broker, stack.worker.metrics_url, NOTE
        )
        with _shown(scene) as show:
            _send_all(stack, found, sender)
            scene.progress.sent = sender.sent
            _follow(stack, scene, Present(found.now, sender), show)


@dataclass
class Present:
    """The clock of the data, and the simulated events that happen on it."""

    start: datetime
    sender: Sender

    def __post_init__(self) -> None:
        """Start the clock."""
        self._began = time.monotonic()
        self._trickle = simulate.Trickle()

    def happen(self) -> None:
        """Let one event happen now."""
        now = self.start + timedelta(seconds=time.monotonic() - self._began)
        self.sender.send(as_record(self._trickle.event(now)))
        self.sender.poll(0)


def _follow(stack: Stack, scene: view.Scene, present: Present, show: Callable[[], None]) -> None:
    progress, looked, caught_up = scene.progress, -MEASURE, False
    while True:
        scene.watch.refresh(REFRESH)
        stack.worker.check()
        if time.monotonic() - looked >= MEASURE:
            looked = time.monotonic()
            measure(stack.worker, progress, present.sender.sent, looked)
            caught_up = caught_up or (progress.accepted + progress.rejected >= progress.sent and not progress.waiting)
            if caught_up:  # the present begins when the past is done
                present.happen()
        show()


def measure(worker: WorkerProcess, progress: view.Progress, sent: int, now: float) -> None:
    """Look at what the worker has counted at `now`, in seconds; what it said last stands while it does not answer."""
    progress.sent = sent
    series = worker.metrics()
    if not series:
        return
    accepted = int(series.get(("dealpulse_events_accepted_total", ""), 0))
    progress.rate = max(accepted - progress.accepted, 0) / (now - progress.measured)
    progress.accepted, progress.measured = accepted, now
    progress.rejected = rejections(series).total()
    # Of partitions that it does not own yet a worker says nothing.
    progress.waiting = max(worker.lag(), sent - accepted - progress.rejected)


@contextlib.contextmanager
def _shown(scene: view.Scene) -> Iterator[Callable[[], None]]:
    """Show the view on a terminal that can, plain lines elsewhere; the block calls what it gets as often as it likes."""
    console = stdout()
    if not console.is_terminal or console.is_dumb_terminal:  # on a dumb one nothing can be drawn anew: it would stay empty
        yield Lines(scene).tell
        return

    def picture() -> RenderableType:
        return view.picture(scene, console.width)  # which changes with the window

    with Live(console=console, screen=False, auto_refresh=False, get_renderable=picture) as live:
        yield live.refresh


class Lines:
    """The demo without a terminal: a line now and then, and one for every alert."""

    def __init__(self, scene: view.Scene) -> None:
        """Say where everything can be reached."""
        self._scene, self._told, self._alerts = scene, -TOLD, 0
        for line in (scene.note, f"metrics {scene.metrics_url}", f"broker {scene.broker}"):
            click.echo(line)
        for line in view.subscribe_lines(scene.broker):
            click.echo(f"subscribe: {line}")

    def tell(self) -> None:
        """Print what is new."""
        alerts, progress = self._scene.watch.alerts, self._scene.progress
        for alert in alerts[self._alerts :]:
            click.echo(f"alert: {view.alert_line(alert)}")
        self._alerts = len(alerts)
        if time.monotonic() - self._told >= TOLD:
            self._told = time.monotonic()
            click.echo(
                f"sent {progress.sent:,}, accepted {progress.accepted:,}, rejected {progress.rejected:,}, "
                f"{progress.rate:,.0f} events/s, {progress.waiting:,} records waiting"
            )
