"""How would the jobs be written in Faust as it comes?  Windowed tables, `group_by`, its own driver; memory store, at least once.

The idiom of Faust's documentation, as in bench/stock_faust.py, with panes of a minute and an output topic.
Its options come as a JSON object in BENCH_PEERS_OPTIONS, because Faust reads the command line itself.
"""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta

import faust

OPTIONS = json.loads(os.environ["BENCH_PEERS_OPTIONS"])
PARTITIONS = OPTIONS["partitions"]
PANE = 60.0

app = faust.App(
    OPTIONS["app"],
    broker=f"kafka://{OPTIONS['broker']}",
    store="memory://",
    topic_partitions=PARTITIONS,
    web_enabled=False,
    datadir=OPTIONS["state"],
)


class Event(faust.Record, serializer="json"):
    """What the jobs read of an event; `at` is set on the way."""

    deal_id: str
    rep_id: str
    occurred_at: str
    to_stage: str | None = None
    at: float = 0.0


class Entry(faust.Record, serializer="json"):
    """An entry into a stage, or an exit from it with the ms stayed."""

    stage: str
    entered: int
    left: int
    stay_ms: int
    at: float


def seconds(text: str) -> float:
    """Return an RFC 3339 time as seconds since 1970."""
    return datetime.fromisoformat(text).timestamp()


def windowed(name: str, kind: type[faust.Record]) -> faust.Table:
    """Return a table that counts in panes of the event's own time."""
    table = app.Table(name, default=int, partitions=PARTITIONS)
    # Faust drops panes by the clock on the wall; the events are older than any usual limit.
    return table.tumbling(PANE, expires=timedelta(days=36_500)).relative_to_field(kind.at)


def pane(whose: str, at: float) -> str:
    """Return the name of a pane."""
    return f"{whose}|{int(at // PANE)}"


out = app.topic(OPTIONS["out"], key_type=str, value_type=dict)
reps = windowed("reps", Event)
# Named, because group_by cannot name a topic after a stream of two.
regrouped = app.topic(f"{OPTIONS['app']}-by-rep", key_type=str, value_type=Event, partitions=PARTITIONS, internal=True)


async def count(events: faust.StreamT[Event], name: str) -> None:
    """Count per rep and pane; tell each change."""
    async for event in events.group_by(Event.rep_id, topic=regrouped):
        event.at = seconds(event.occurred_at)
        reps[event.rep_id] += 1
        await out.send(key=pane(event.rep_id, event.at), value={name: reps[event.rep_id].value()})


if OPTIONS["job"] == "j1":
    events = app.topic(OPTIONS["activity"], OPTIONS["stage"], key_type=str, value_type=Event)

    @app.agent(events)
    async def count_events(stream: faust.StreamT[Event]) -> None:
        """J1."""
        await count(stream, "events")

else:
    activities = app.topic(OPTIONS["activity"], key_type=str, value_type=Event)
    changes = app.topic(OPTIONS["stage"], key_type=str, value_type=Event)
    entries = app.topic(f"{OPTIONS['app']}-entries", key_type=str, value_type=Entry, partitions=PARTITIONS)
    deals = app.Table("deals", default=dict, partitions=PARTITIONS)
    entered, left, stay_ms = (windowed(name, Entry) for name in ("entered", "left", "stay-ms"))

    @app.agent(activities)
    async def count_activities(stream: faust.StreamT[Event]) -> None:
        """J2, reps."""
        await count(stream, "activities")

    @app.agent(changes)
    async def follow_deals(stream: faust.StreamT[Event]) -> None:
        """J2, deals: keep each one's stage; send what its change means."""
        async for event in stream:
            at, deal = seconds(event.occurred_at), deals[event.deal_id]
            stage, before = event.to_stage, deal.get("stage")
            if stage == before:
                continue
            if before is not None:
                stay = round((at - deal["since"]) * 1000)
                await entries.send(key=before, value=Entry(stage=before, entered=0, left=1, stay_ms=stay, at=at))
            deals[event.deal_id] = {"stage": stage, "since": at}
            await entries.send(key=stage, value=Entry(stage=stage, entered=1, left=0, stay_ms=0, at=at))

    @app.agent(entries)
    async def count_entries(stream: faust.StreamT[Entry]) -> None:
        """J2, stages."""
        async for entry in stream:
            found = {}
            for name, table in (("entered", entered), ("left", left), ("stay_ms", stay_ms)):
                table[entry.stage] += getattr(entry, name)
                found[name] = table[entry.stage].value()
            await out.send(key=pane(entry.stage, entry.at), value=found)


if __name__ == "__main__":
    app.main()
