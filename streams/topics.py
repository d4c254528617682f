"""Which topics are there?  All of them, in flow order, with their cleanup policy."""

from __future__ import annotations

from dataclasses import dataclass, field

DAY_MS = 86_400_000

ACTIVITY = "crm.activity"
STAGE_CHANGE = "crm.deal-stage-change"
REFERENCE = "crm.reference"
DEAD_LETTER = "crm.dead-letter"
TICKS = "dealpulse.ticks"
DELTAS = "dealpulse.deltas"
KPI_LATEST = "dealpulse.kpi.latest.v1"
KPI_HISTORY = "dealpulse.kpi.history.v1"
MATURED = "dealpulse.matured"
ALERTS = "dealpulse.alerts.v1"
ALERT_EVENTS = "dealpulse.alert-events.v1"
JUDGED = "dealpulse.judged"  # up to when all is judged, and its alerts are told
GENERATIONS = "dealpulse.generations"
DLQ_REPLAYS = "dealpulse.dlq-replays"  # which dead letters were sent again

SOURCES = (STAGE_CHANGE, ACTIVITY)  # of events
ROOMS = ("deals", "kpis", "alerts", "notify")


@dataclass(frozen=True)
class Topic:
    """One topic as it must exist on the broker; every topic has the same number of partitions."""

    name: str
    cleanup: str
    settings: dict[str, str] = field(default_factory=dict)


_KEEP = {"retention.ms": "-1"}
_WEEK = {"retention.ms": str(7 * DAY_MS)}
_MONTH = {"retention.ms": str(30 * DAY_MS)}
_COMPACT = {"segment.bytes": str(64 << 20), "segment.ms": "600000"}
_LATEST = {**_COMPACT, "delete.retention.ms": str(7 * DAY_MS)}
# Tombstones and marks of transactions, which every restore reads, stay for so long after they were compacted: longer than any restore.
_CHANGELOG = {**_COMPACT, "delete.retention.ms": str(3_600_000)}


def changelog(app_id: str, room: str) -> str:
    """Return the name of a room's changelog topic."""
    return f"{app_id}-{room}-changelog"


def is_read_by_workers(name: str) -> bool:
    """Tell whether workers read the topic."""
    return name in (*SOURCES, TICKS, DELTAS, MATURED, ALERT_EVENTS, JUDGED, GENERATIONS) or name.endswith("-changelog")


def is_written_by_workers(name: str) -> bool:
    """Tell whether workers write to the topic, after the first of them has begun the first generation."""
    return name not in (*SOURCES, REFERENCE, GENERATIONS, DLQ_REPLAYS)


def shadow(name: str, topic: str) -> Topic:
    """Return where a generation that is being computed tells what others tell to a topic."""
    return Topic(f"{name}-shadow-{topic.removeprefix('dealpulse.')}", "compact", _COMPACT)


def all_topics(app_id: str) -> tuple[Topic, ...]:
    """Return every topic, sources first."""
    return (
        Topic(STAGE_CHANGE, "delete", _KEEP),
        Topic(ACTIVITY, "delete", _KEEP),
        Topic(REFERENCE, "compact", _COMPACT),
        # By the broker's clock: a tick is held against when it came, and its own worker's clock may be the wrong one.
        Topic(TICKS, "delete", {**_WEEK, "message.timestamp.type": "LogAppendTime"}),
        Topic(DEAD_LETTER, "delete", _MONTH),
        Topic(DELTAS, "delete", _WEEK),
        Topic(KPI_LATEST, "compact", _LATEST),
        Topic(KPI_HISTORY, "delete", _KEEP),
        Topic(MATURED, "delete", _KEEP),
        Topic(ALERTS, "compact", _LATEST),
        Topic(ALERT_EVENTS, "delete", _KEEP),
        Topic(JUDGED, "compact", _COMPACT),
        Topic(GENERATIONS, "compact", _COMPACT),
        Topic(DLQ_REPLAYS, "delete", _KEEP),
        *(Topic(changelog(app_id, room), "compact", _CHANGELOG) for room in ROOMS),
    )
