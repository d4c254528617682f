"""What can an operator see?  Every Prometheus series, declared once, and the server that shows them.

Names, units and label values stand here and nowhere else; the board in deploy/grafana is checked against
this file.  One worker is one target: counters are per process and summed in PromQL.  Samples carry the
time of the scrape; what happened when is on the KPI topics.
"""

from __future__ import annotations

import contextlib
import platform
import socket
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import version
from itertools import accumulate
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import orjson
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Info,
    ProcessCollector,
    disable_created_metrics,
    make_wsgi_app,
)
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from streams.events.contract import Reason
from streams.topics import KPI_HISTORY, KPI_LATEST, ROOMS, SOURCES

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from streams.health import Answer

disable_created_metrics()  # type: ignore[no-untyped-call]  # _created doubles the series and says nothing that a counter's reset does not

REGISTRY = CollectorRegistry()

ANOMALIES = ("closed_before_created",)
ALERT_STATES = ("firing", "resolved")
TRANSPORTS = ("slack", "webhook", "log")
OUTCOMES = ("sent", "retried", "failed", "silenced")


class Distribution(Collector):
    """A classic histogram whose `observe` can count many equal observations at once.

    A run of records is measured as a whole; the library's own histogram would need a call per record.
    Each one is written by one thread.
    """

    def __init__(self, name: str, documentation: str, buckets: tuple[float, ...]) -> None:
        self.name, self.documentation, self.buckets = name, documentation, buckets
        self._counts = [0] * (len(buckets) + 1)
        self._sum = 0.0
        REGISTRY.register(self)

    def observe(self, value: float, times: int = 1) -> None:
        """Count `times` observations of `value`; a bucket's upper edge is inclusive."""
        self._counts[bisect_left(self.buckets, value)] += times
        self._sum += value * times

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Yield the present state."""
        edges = [*map(floatToGoString, self.buckets), "+Inf"]
        cumulated = [float(count) for count in accumulate(self._counts)]
        family = HistogramMetricFamily(self.name, self.documentation)
        family.add_metric([], list(zip(edges, cumulated, strict=True)), self._sum)
        yield family


def _counter(name: str, documentation: str, labels: tuple[str, ...] = ()) -> Counter:
    return Counter(f"dealpulse_{name}", documentation, labels, registry=REGISTRY)


def _gauge(name: str, documentation: str, labels: tuple[str, ...] = ()) -> Gauge:
    return Gauge(f"dealpulse_{name}", documentation, labels, registry=REGISTRY)


# ------------------------------------------------------------------ events

EVENTS_CONSUMED = _counter("events_consumed", "Records read from the source topics.", ("topic",))
EVENTS_ACCEPTED = _counter("events_accepted", "Events that were accepted and applied; repeats are not among them.")
EVENTS_REJECTED = _counter("events_rejected", "Events that were refused, by reason.", ("reason",))
EVENTS_DUPLICATE = _counter("events_duplicate", "Events dropped because their event_id was known.")
EVENTS_LATE = _counter("events_late", "Accepted events older than the newest one of their deal.")
DEAD_LETTERS = _counter("dead_letters", "Records written to the dead-letter topic, by reason.", ("reason",))
EVENTS_SETTLED = _counter("settled_events", "Events that left a full deal record and can no longer be corrected.")
STAGE_MISMATCH = _counter("stage_mismatch", "Accepted events whose from_stage is not the stage before them.")
ANOMALY = _counter("anomalies", "Accepted histories that cannot be as they were said, by kind.", ("kind",))
UNCONFIGURED_STAGE = _counter("unconfigured_stage", "Entries into a stage that is not in dealpulse.yaml.")

# ------------------------------------------------------------------ time

LAG_RECORDS = _gauge("consumer_lag_records", "Records between the position and the end.", ("topic", "partition"))
LAG_SECONDS = _gauge(
    "consumer_lag_seconds",
    "Age of the last record handled where others wait, or, where none was, of the taking over of the partition; 0 when all is read.",
    ("topic", "partition"),
)
WATERMARK = _gauge(
    "watermark_timestamp_seconds", "Event time up to which windows are judged, since 1970; 0 where no partition is owned."
)
LAST_EVENT = _gauge("last_event_timestamp_seconds", "Kafka timestamp of the newest source record read, since 1970.")
PROCESSING = Distribution(
    "dealpulse_event_processing_seconds",
    "Work of the rooms for a flush with source events, taken in and computed, divided by their number.",
    (1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0),
)
DELAY = Distribution(
    "dealpulse_event_delay_seconds",
    "End to end, of the oldest event behind a round that told something: from its Kafka timestamp to the commit that made this visible.",
    (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0),
)

# ------------------------------------------------------------------ the worker

FLUSH = Distribution(
    "dealpulse_flush_seconds",
    "One flush: from the begin of its transaction to the commit.",
    (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
)
TRANSACTIONS = _counter("transactions", "Committed transactions.")
KPI_RECORDS = _counter("kpi_records", "KPI records made visible, by topic.", ("topic",))
REBALANCES = _counter("rebalances", "Assignments of partitions to this worker.")
TABLE_KEYS = _gauge("table_keys", "Keys in the state tables of this worker, by room.", ("table",))
RECOVERING = _gauge("recovering", "1 while state is being restored, else 0.")
RESTORED_RECORDS = _counter("restored_records", "Changelog records read to restore state.")

# ------------------------------------------------------------------ alerts

ALERTS = _gauge("alerts", "Alerts of this worker's partitions, by rule and state.", ("rule", "state"))
ALERT_TRANSITIONS = _counter("alert_transitions", "Changes of an alert's state, by rule and new state.", ("rule", "to"))
NOTIFICATIONS = _counter(
    "notifications",
    "Attempts to tell somebody, and what was not told since it was history, by transport and outcome.",
    ("transport", "outcome"),
)

Info("dealpulse_build", "What is running.", registry=REGISTRY).info(
    {"version": version("dealpulse"), "python": platform.python_version(), "faust": version("faust-streaming")}
)
ProcessCollector(registry=REGISTRY)  # process_cpu_seconds_total, process_resident_memory_bytes, ...


def declare_known_labels() -> None:
    """Make every label set that is known beforehand exist at 0, so that rates begin at the first event."""
    for topic in SOURCES:
        EVENTS_CONSUMED.labels(topic)
    for reason in Reason:
        EVENTS_REJECTED.labels(reason)
        DEAD_LETTERS.labels(reason)
    for kind in ANOMALIES:
        ANOMALY.labels(kind)
    for topic in (KPI_LATEST, KPI_HISTORY):
        KPI_RECORDS.labels(topic)
    for room in ROOMS:
        TABLE_KEYS.labels(room)
    for transport in TRANSPORTS:
        for outcome in OUTCOMES:
            NOTIFICATIONS.labels(transport, outcome)


def declare_rules(rules: Iterable[str]) -> None:
    """Make the series of the configured alert rules exist at 0."""
    for rule in rules:
        for state in ALERT_STATES:
            ALERT_TRANSITIONS.labels(rule, state)
        ALERTS.labels(rule, "firing")


def forget_partition(topic: str, partition: int) -> None:
    """Take away the lag of a partition that another worker owns now."""
    LAG_RECORDS.remove(topic, str(partition))
    LAG_SECONDS.remove(topic, str(partition))


declare_known_labels()

# ------------------------------------------------------------------ the server


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 64  # of the library's 5 the seventh at once waits for a second, in which many a probe gives up


class _ServerOnIPv6(_Server):
    address_family = socket.AF_INET6


class _Quiet(WSGIRequestHandler):
    timeout = 10  # seconds that a silent client may hold a thread

    def handle(self) -> None:
        """Answer one request; a client that stays silent, or is gone, is no fault of ours to show in the log."""
        with contextlib.suppress(OSError):
            super().handle()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the library's name
        """Say nothing: a scrape every few seconds is no news."""


def application(health: Mapping[str, Callable[[], Answer]]) -> WSGIApplication:
    """Return the web application; `health` answers below /health/."""
    metrics: WSGIApplication = make_wsgi_app(REGISTRY)

    def answer(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            return metrics(environ, start)
        ask = health.get(path.removeprefix("/health/")) if path.startswith("/health/") else None
        if ask is None:
            start("404 Not Found", [("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store")])
            return [f"see {', '.join(['/metrics', *(f'/health/{name}' for name in health)])}\n".encode()]
        ok, body = ask()
        status = "200 OK" if ok else "503 Service Unavailable"
        start(status, [("Content-Type", "application/json"), ("Cache-Control", "no-store")])
        return [orjson.dumps(body, option=orjson.OPT_APPEND_NEWLINE)]

    return answer


def listen(host: str, port: int) -> WSGIServer:
    """Return a server that has its port (0: a free one) and answers nothing yet.

    Raises OSError when the port is taken or the host is none of this machine, UnicodeError when it is no name at all.
    """
    kind = _ServerOnIPv6 if ":" in host else _Server
    return make_server(host, port, application({}), server_class=kind, handler_class=_Quiet)


def serve(server: WSGIServer, health: Mapping[str, Callable[[], Answer]]) -> None:
    """Serve /metrics and /health/... in a thread; `server.shutdown()` and `server.server_close()` end it."""
    server.set_app(application(health))
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
