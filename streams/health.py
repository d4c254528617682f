"""Is this worker alive, does it do its work, is it done with it?  What /health/... answers, as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from streams.kafka.edge import Owing, Status


class Answer(NamedTuple):
    """Yes or no, and what else there is to say."""

    ok: bool
    body: dict[str, Any]


def liveness(stuck: str | None) -> Answer:
    """Answer whether it is worth waiting for this worker; `stuck` is what the watchdog would end it for."""
    return Answer(stuck is None, {"live": stuck is None, "stuck": stuck})


def readiness(status: Status, lags: Mapping[str, int], lag_limit: int, stuck: str | None) -> Answer:
    """Answer whether all that this worker owns is restored and nearly up to date; `missing` says what is not.

    `lags` are the records that wait, by room; those that wait for the outside world do not count.  A worker that owns
    no partition, because others own them all, is ready to take over.
    """
    lag = sum(lags.values()) if status.ready else None
    missing = list(_missing(status, lag, lag_limit))
    if stuck is not None:
        missing.append(f"stuck: {stuck}")
    return Answer(
        not missing,
        {
            "ready": not missing,
            "missing": missing,
            "generation": status.generation,
            "assigned": status.assigned,
            "restored": status.ready,
            "partitions": {"restored": status.restored_partitions, "assigned": status.partitions},
            "restored_records": status.restored_records,
            "restore_seconds": status.restore_seconds,
            "lag": lag,
            "lag_by_room": dict(lags) if status.ready else {},
            "lag_limit": lag_limit,
        },
    )


def idleness(owing: Owing | None) -> Answer:
    """Answer whether everything is out that follows from the records which this worker has taken in.

    Two such answers with the same number of commits, and between them no record that waits in a topic, say that all is told;
    what stands behind a transaction that is still open is seen by nobody yet.
    `owing` names what is not out yet; None when the main loop does not answer.
    """
    if owing is None:
        return Answer(ok=False, body={"idle": False, "owing": ["answer"], "commits": None})
    return Answer(not owing.by, {"idle": not owing.by, "owing": sorted(owing.by), "commits": owing.commits})


def _missing(status: Status, lag: int | None, lag_limit: int) -> list[str]:
    if status.recovering:
        restored = f"{status.restored_partitions} of {status.partitions} partitions of state are restored"
        return [f"{restored} ({status.restored_records:,} records so far)"]
    if not status.ready:
        return ["no place in the group: not joined yet, or its partitions are being given up"]
    if lag is not None and lag > lag_limit:
        return [f"{lag:,} records wait, more than DEALPULSE_READY_LAG={lag_limit}"]
    return []
