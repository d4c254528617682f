"""What does one worker do?  All rooms in flow order, the metrics they fill, and the process around them.

crm.* → deals → dealpulse.deltas → kpis → dealpulse.kpi.*
                                    └→ dealpulse.matured → alerts → dealpulse.alert* → notify → Slack
"""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import socket
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from streams import metrics, topics
from streams.alerts.room import AlertsRoom
from streams.app import CANNOT_START, begin_quietly, or_say_why_not, run_worker
from streams.config import Definitions
from streams.deals.room import DealsRoom
from streams.environment import Environment
from streams.health import Answer, idleness, liveness, readiness
from streams.kafka import generations
from streams.kafka.admin import check_broker
from streams.kafka.allocator import few_arenas
from streams.kafka.flush import FlushReport
from streams.kafka.generations import StateGeneration, by_place
from streams.kafka.room import Room
from streams.kafka.signs import waiting
from streams.kafka.transaction import StartError
from streams.kpis.room import KpisRoom
from streams.notify.room import NotifyRoom
from streams.notify.transports import transport_for
from streams.rebuild.shadow import InTheShadow, shadow_topics, undisturbed

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

    from streams.app import App

_LOOK_EVERY = 1.0  # seconds
_ANSWER_DEADLINE = 1.0
# Records come and go by the hundred thousand and cycles are rare: whoever looks sooner than a flush ends visits each of them once
# (2 of 30 µs an event with the whole catalogue). Half a million newcomers take 0.15 s, which a worker meets once in minutes.
GC_THRESHOLDS = (500_000, 2, 50)
log = logging.getLogger("dealpulse.worker")


def run(
    environment: Environment, definitions: Definitions, *, ticks: bool = True, rebuild: bool = False, **options: Any
) -> int:
    """Run a worker until SIGTERM or SIGINT; return its exit code.

    `ticks=False`: the clock is the data's alone, as in a replay.  `rebuild`: compute the next generation of the
    state, and tell nobody.
    """
    gc.set_threshold(*GC_THRESHOLDS)
    few_arenas()
    metrics.declare_known_labels()
    begin_quietly(environment)
    generation = or_say_why_not(lambda: _generation(environment, definitions, rebuild=rebuild))
    if generation is None:
        return CANNOT_START
    server = or_say_why_not(lambda: _listen(environment))
    if server is None:
        return CANNOT_START
    options["form"] = generation.digest.encode()
    options["refuse_to_work"] = partial(_refuse_another, generation, environment, definitions, rebuild=rebuild)
    environment = msgspec.structs.replace(environment, app_id=generation.name)
    if rebuild:
        definitions = undisturbed(definitions)
    kpis = KpisRoom(definitions, generation.first_revision)
    rooms: list[Room] = [
        DealsRoom(definitions, ticks=ticks and not rebuild),
        kpis,
        AlertsRoom(definitions, generation.first_revision),
        NotifyRoom(definitions, transport_for(environment, definitions)),
    ]
    if rebuild:
        rooms = [InTheShadow(room, generation.name, generation.told) for room in rooms[:-1]]
        options |= {"topics": shadow_topics(environment.app_id), "until": by_place(generation.until), "one_worker": True}
    return run_worker(
        environment,
        definitions,
        rooms,
        prepare=lambda app: _watch(app, environment, server),
        on_report=lambda report: _report(report, kpis),
        **options,
    )


def _generation(environment: Environment, definitions: Definitions, *, rebuild: bool) -> StateGeneration:
    """Return the generation of the state to work on; without one nothing may be computed.  Raises StartError, AdminError."""
    if rebuild:
        return generations.for_rebuild(environment, definitions)
    found = generations.for_worker(environment, definitions)
    if found is None:
        problems = check_broker(environment, definitions, transactions=False)
        raise StartError("; ".join(problems) or "the topics have only just become right; start the worker again")
    return found


def _refuse_another(
    generation: StateGeneration, environment: Environment, definitions: Definitions, *, rebuild: bool
) -> None:
    """Raise StartError when this is not the generation to work on any more.  Raises AdminError, too."""
    if _generation(environment, definitions, rebuild=rebuild) != generation:
        raise StartError("another generation of the state has taken over; start the worker again")


def _report(report: FlushReport, kpis: KpisRoom) -> None:
    """Count a committed flush."""
    metrics.TRANSACTIONS.inc()
    metrics.FLUSH.observe(report.produce_seconds + report.commit_seconds)
    for topic in (topics.KPI_LATEST, topics.KPI_HISTORY):
        metrics.KPI_RECORDS.labels(topic).inc(report.produced.get(topic, 0))
    events = sum(count for (room, topic), count in report.handled.items() if room == "deals" and topic != topics.TICKS)
    if events:
        metrics.PROCESSING.observe(report.compute_seconds / events, events)
    for born in kpis.take_born():
        metrics.DELAY.observe(max(0.0, report.at - born / 1_000_000))


def _listen(environment: Environment) -> WSGIServer:
    """Take the port of the metrics, before anything is connected.  Raises StartError."""
    host, port = environment.web_host, environment.web_port
    try:
        return metrics.listen(host, port)
    except (socket.gaierror, UnicodeError):
        raise StartError(
            f"DEALPULSE_WEB_HOST: {host!r} is no address; write one of this machine, such as 127.0.0.1"
        ) from None
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            raise StartError(
                f"DEALPULSE_WEB_HOST: {host} is no address of this machine; write for example 127.0.0.1"
            ) from None
        raise StartError(
            f"DEALPULSE_WEB_PORT: {port} cannot be had on {host} ({error.strerror}); write another, or 0 for a free one"
        ) from None


def _watch(app: App, environment: Environment, server: WSGIServer) -> None:
    """Serve the metrics, and look at the edge once a second."""
    metrics.serve(server, _health(app, environment))
    log.warning("metrics on http://%s:%d/metrics", environment.web_host, server.server_port)

    @app.task
    async def look() -> None:
        seen: dict[str, set[tuple[str, int]]] = {"": set()}
        generation, restored = 0, 0
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            status = app.edge.status()
            metrics.RECOVERING.set(status.recovering)
            metrics.REBALANCES.inc(status.generation - generation)
            generation = status.generation
            total = app.edge.restored_in_all()
            metrics.RESTORED_RECORDS.inc(total - restored)
            restored = total
            _show_lags(app, seen)
            for room, keys in app.edge.keys().items():
                metrics.TABLE_KEYS.labels(room).set(keys)


def _show_lags(app: App, seen: dict[str, set[tuple[str, int]]]) -> None:
    shown = set()
    for lag in app.edge.lags():
        metrics.LAG_RECORDS.labels(lag.topic, lag.partition).set(lag.records)
        metrics.LAG_SECONDS.labels(lag.topic, lag.partition).set(lag.seconds)
        shown.add((lag.topic, lag.partition))
    for topic, partition in seen[""] - shown:
        metrics.forget_partition(topic, partition)
    seen[""] = shown


def _health(app: App, environment: Environment) -> dict[str, Callable[[], Answer]]:
    return {
        "live": lambda: liveness(app.watchdog.stuck),
        "ready": lambda: readiness(app.edge.status(), waiting(app.edge), environment.ready_lag, app.watchdog.stuck),
        "idle": lambda: idleness(app.edge.ask_owing(_ANSWER_DEADLINE)),
    }
