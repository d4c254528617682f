"""What happened to one deal?  Its events in order, its entries, its creation and its close.

Follows design section 5 sentence by sentence.  The bounds of the online record (64 stage events, 512
activities) are ignored: here a deal may have any number of events.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from streams.audit.windows import SECOND
from streams.config import LEAD, LOST, OPEN, WON, Definitions, Stage
from streams.events.contract import Activity, StageChange

DAY_AND_NIGHT = 24 * 3600 * SECOND
CLOSING = (WON, LOST)
ACTIVE = (LEAD, OPEN)


class Placed(NamedTuple):
    """A stage event and the instant at which it counts."""

    at: int
    event: StageChange


class Entry(NamedTuple):
    """An entry into a stage; `place` is that of its event among the deal's stage events."""

    place: int
    at: int
    pipeline: str
    stage: str
    kind: str


@dataclass(frozen=True)
class Deal:
    """One deal as the definitions see it."""

    events: Sequence[Placed]
    entries: Sequence[Entry]
    activities: Sequence[Activity]
    deleted: bool

    @property
    def created(self) -> Entry:
        """Return the first entry into a stage of kind lead or open, else the first entry."""
        return creating(self.entries) or self.entries[0]

    @property
    def close(self) -> Entry | None:
        """Return the first entry of the last uninterrupted run of closing entries of the last one's kind."""
        last = self.entries[-1]
        if last.kind not in CLOSING:
            return None
        first = last
        for entry in reversed(self.entries):
            if entry.kind != last.kind:
                break
            first = entry
        return first

    def entry_after(self, entry: Entry) -> Entry | None:
        """Return the entry that ended the stay which `entry` began."""
        at = self.entries.index(entry) + 1
        return self.entries[at] if at < len(self.entries) else None

    def stage_at(self, at: int) -> Entry | None:
        """Return the stay at an instant, entries of that instant included; None before the first."""
        found = [entry for entry in self.entries if entry.at <= at]
        return found[-1] if found else None


def read_deal(changes: Iterable[StageChange], activities: Iterable[Activity], definitions: Definitions) -> Deal:
    """Order the events of one deal (repeats already dropped) and find its entries."""
    events = in_order(changes, definitions)
    words = [placed.event.deleted for placed in events if placed.event.deleted is not None]
    return Deal(
        events=events,
        entries=find_entries(events, definitions),
        activities=sorted(activities, key=lambda act: (act.at, act.event_id.encode(), act.planned)),
        deleted=bool(words) and words[-1],
    )


def stage_of(pipeline: str, name: str, definitions: Definitions) -> Stage | None:
    """Return the configured stage, None if there is none."""
    found = definitions.pipelines.get(pipeline)
    return next((stage for stage in found.stages if stage.name == name), None) if found else None


def kind_of(pipeline: str, name: str, definitions: Definitions) -> str:
    """Return the kind of a stage; one that is not configured is open."""
    stage = stage_of(pipeline, name, definitions)
    return stage.kind if stage else OPEN


def rank_of(pipeline: str, name: str, definitions: Definitions) -> int | None:
    """Return the place of a stage in its pipeline; lost stages and those not configured have none."""
    stage = stage_of(pipeline, name, definitions)
    if stage is None or stage.kind == LOST:
        return None
    return definitions.pipelines[pipeline].stages.index(stage)


def find_entries(events: Sequence[Placed], definitions: Definitions) -> list[Entry]:
    """Return the stage events whose (pipeline, stage) differs from the one before.

    The pipeline is read only beside to_stage; not said, it is the deal's, else `default`.
    """
    entries: list[Entry] = []
    for index, (at, event) in enumerate(events):
        if event.to_stage is None:
            continue
        before = entries[-1] if entries else None
        pipeline = event.pipeline or (before.pipeline if before else "default")
        if before is None or (pipeline, event.to_stage) != (before.pipeline, before.stage):
            kind = kind_of(pipeline, event.to_stage, definitions)
            entries.append(Entry(index, at, pipeline, event.to_stage, kind))
    return entries


def creating(entries: Sequence[Entry]) -> Entry | None:
    """Return the first entry into a stage of kind lead or open."""
    return next((entry for entry in entries if entry.kind in ACTIVE), None)


def in_order(changes: Iterable[StageChange], definitions: Definitions) -> list[Placed]:
    """Order by (occurred_at, event_id as UTF-8 bytes), then let early closings follow the creation.

    A closing entry less than 24 hours before creation counts at that instant, directly after the creating event,
    several in their order.  Creation and early closings are found once, in the order as said.
    """
    said = [Placed(change.at, change) for change in sorted(changes, key=lambda one: (one.at, one.event_id.encode()))]
    entries = find_entries(said, definitions)
    creation = creating(entries)
    if creation is None:
        return said
    moved = early_closings(said, entries, creation)
    before = [placed for placed in said[: creation.place] if placed.event.event_id not in moved]
    closings = [Placed(creation.at, placed.event) for placed in said if placed.event.event_id in moved]
    return [*before, said[creation.place], *closings, *said[creation.place + 1 :]]


def early_closings(said: Sequence[Placed], entries: Sequence[Entry], creation: Entry) -> set[str]:
    """Return the ids of the closing entries less than 24 hours before creation, and of the repeats that follow them.

    An event that only repeats the stage of one that moves would else become an entry where it stands.
    """
    early = [one.place for one in entries if one.place < creation.place and creation.at - one.at < DAY_AND_NIGHT]
    first = min(early, default=creation.place)
    return {one.event.event_id for one in said[first : creation.place] if one.event.to_stage is not None}
