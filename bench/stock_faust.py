"""How would J2 be written in Faust as it comes?  Tables, windows and group_by, over aiokafka; memory store.

The idiom of Faust's own documentation: models, a table per thing that is counted, `relative_to_field` so that
the event's own time chooses the window, `group_by` to bring a rep's activities together, a topic of its own
for entries by stage.  At least once, which is its default.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta

import faust

PARTITIONS = 4
APP = "bench-faust"
ACTIVITIES, CHANGES, ENTRIES = "bench.faust.activity", "bench.faust.stage-change", "bench.faust.entries"
PANE = 300.0
TABLES = {"activities": "activities-by-rep", "entered": "entered", "left": "left", "stay_ms": "stay-ms"}

app = faust.App(
    APP,
    broker=os.environ.get("BENCH_FAUST_BROKER", "kafka://127.0.0.1:9092"),
    store="memory://",
    topic_partitions=PARTITIONS,
    web_enabled=False,
    datadir=os.environ.get("BENCH_FAUST_DATA"),
)


class Activity(faust.Record, serializer="json"):
    """One activity; fields that J2 does not count are left out."""

    event_id: str
    deal_id: str
    rep_id: str
    occurred_at: str
    at: float = 0.0


class Change(faust.Record, serializer="json"):
    """One stage change."""

    event_id: str
    deal_id: str
    to_stage: str
    occurred_at: str


class Entry(faust.Record, serializer="json"):
    """An entry into a stage, and what was left for it."""

    stage: str
    left: str | None
    stay: float
    at: float


def seconds(text: str) -> float:
    """Return an RFC 3339 time as seconds since 1970."""
    return datetime.fromisoformat(text).timestamp()


activities = app.topic(ACTIVITIES, key_type=str, value_type=Activity)
changes = app.topic(CHANGES, key_type=str, value_type=Change)
entries = app.topic(ENTRIES, key_type=str, value_type=Entry, partitions=PARTITIONS)


def windowed(name: str, kind: type[faust.Record]) -> faust.Table:
    """Return a table that counts in panes of the event's own time."""
    table = app.Table(name, default=int, partitions=PARTITIONS)
    # Faust drops panes by the clock on the wall; the events are older than any usual limit.
    return table.tumbling(PANE, expires=timedelta(days=36_500)).relative_to_field(kind.at)


deals = app.Table("deals", default=dict, partitions=PARTITIONS)
by_rep = windowed(TABLES["activities"], Activity)
entered = windowed(TABLES["entered"], Entry)
left = windowed(TABLES["left"], Entry)
stay_ms = windowed(TABLES["stay_ms"], Entry)


@app.agent(activities)
async def count_activities(stream: faust.StreamT[Activity]) -> None:
    """Count per rep and pane."""
    async for event in stream.group_by(Activity.rep_id):
        event.at = seconds(event.occurred_at)
        by_rep[event.rep_id] += 1


@app.agent(changes)
async def follow_deals(stream: faust.StreamT[Change]) -> None:
    """Keep each deal's stage; send an entry when it changes."""
    async for event in stream:
        at, deal = seconds(event.occurred_at), deals[event.deal_id]
        if deal.get("stage") == event.to_stage:
            continue
        entry = Entry(stage=event.to_stage, left=deal.get("stage"), stay=at - deal.get("since", at), at=at)
        deals[event.deal_id] = {"stage": event.to_stage, "since": at}
        await entries.send(key=event.to_stage, value=entry)


@app.agent(entries)
async def count_entries(stream: faust.StreamT[Entry]) -> None:
    """Count entries, exits and time per stage and pane."""
    async for entry in stream:
        entered[entry.stage] += 1
        if entry.left is not None:
            left[entry.left] += 1
            stay_ms[entry.left] += round(entry.stay * 1000)
