"""How would the jobs be written in Quix Streams?  `group_by`, tumbling windows told at every change, RocksDB, at least once.

Run: python job_quix.py OPTIONS, a JSON object (systems.py says which), in the environment of quix.txt.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime, timedelta
from typing import Any

from quixstreams import Application, State
from quixstreams.dataframe import StreamingDataFrame
from quixstreams.dataframe.windows import Count, Sum
from quixstreams.models import Topic

MINUTE = timedelta(minutes=1)
# Partitions of a replay are read at different speeds: nothing that is a day late is too late.
GRACE = timedelta(days=2)


def milliseconds(event: Any, _headers: Any, _timestamp: float, _kind: Any) -> int:
    """Return the event's own time."""
    return round(datetime.fromisoformat(event["occurred_at"]).timestamp() * 1000)


class Jobs:
    """The application and its topics."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.app = Application(
            broker_address=options["broker"],
            consumer_group=options["app"],
            auto_offset_reset="earliest",
            state_dir=options["state"],
            loglevel="WARNING",
        )
        self.out = self.app.topic(options["out"], key_serializer="str", value_serializer="json")

    def source(self, name: str) -> Topic:
        """Return one of the source topics."""
        return self.app.topic(
            self.options[name], key_deserializer="str", value_deserializer="json", timestamp_extractor=milliseconds
        )

    def count_reps(self, events: StreamingDataFrame, name: str) -> None:
        """Count per rep and minute."""
        events = events[["rep_id"]].group_by("rep_id", key_serializer="str", key_deserializer="str")
        self.tell(events.tumbling_window(MINUTE, GRACE, name="reps").agg(**{name: Count()}).current())

    def count_stages(self, changes: StreamingDataFrame) -> None:
        """Follow the deals; add up per stage and minute."""
        moves = changes.apply(follow, stateful=True, expand=True, metadata=True)
        moves = moves.group_by("stage", key_serializer="str", key_deserializer="str")
        sums = {name: Sum(name) for name in ("entered", "left", "stay_ms")}
        self.tell(moves.tumbling_window(MINUTE, GRACE, name="stages").agg(**sums).current())

    def tell(self, panes: StreamingDataFrame) -> None:
        """Write each change of a pane."""
        panes.apply(named, metadata=True).to_topic(self.out, key=lambda row: row.pop("pane"))


def named(row: dict[str, Any], key: str, _timestamp: int, _headers: Any) -> dict[str, Any]:
    """Put the name of the pane in the place of its start and end."""
    del row["end"]
    return {"pane": f"{key}|{row.pop('start') // 60_000}", **row}


def follow(change: dict[str, Any], _key: str, at: int, _headers: Any, state: State) -> list[dict[str, Any]]:
    """Keep a deal's stage and since when; return what its change adds to stages."""
    stage, before = change["to_stage"], state.get("deal")
    if before is not None and before[0] == stage:
        return []
    state.set("deal", [stage, at])
    entry = {"stage": stage, "entered": 1, "left": 0, "stay_ms": 0}
    if before is None:
        return [entry]
    return [{"stage": before[0], "entered": 0, "left": 1, "stay_ms": at - before[1]}, entry]


def main() -> None:
    """Run one job until ended."""
    jobs = Jobs(json.loads(sys.argv[1]))
    activities, changes = (jobs.app.dataframe(jobs.source(name)) for name in ("activity", "stage"))
    if jobs.options["job"] == "j1":
        jobs.count_reps(activities.concat(changes), "events")
    else:
        jobs.count_reps(activities, "activities")
        jobs.count_stages(changes)
    jobs.app.run()


if __name__ == "__main__":
    main()
