"""In what order did it happen, and what was known when?  A deal's stage events, put straight.

Closing entries dated less than a day before creation (dates without times) are moved directly behind it,
with all that they say.  Everything else about a deal reads this history.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

import msgspec

from streams.deals.record import StageEvent
from streams.deals.terms import StageMeaning, Terms
from streams.panes.calendar import DAY_US

DEFAULT_PIPELINE = "default"

# What the stage events said of whom a deal belongs to: rep, product, region, lead source.
Owner = tuple[str | None, str | None, str | None, str | None]


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One entry into a stage: the place of its event, its instant, and what the stage is."""

    place: int
    at: int
    pipeline: str
    stage: str
    meaning: StageMeaning


class History:
    """The stage events of one deal in the order that counts.  Instants in µs."""

    __slots__ = ("anomalies", "created", "entries", "events", "moved", "owners", "times")

    def __init__(self, events: list[StageEvent], terms: Terms) -> None:
        self.times = [event.at for event in events]
        self.events = events
        self.entries = _entries(events, self.times, terms)
        self.created = _created(self.entries)
        self.anomalies = 0
        self.moved = False
        self.owners: dict[tuple[int, int], Owner] = {}  # what was asked before: see contributions.py
        if self.created > 0:
            self._move_closings(terms)

    def _move_closings(self, terms: Terms) -> None:
        """Put the closing entries less than a day before creation directly behind it, in their order."""
        creating = self.entries[self.created]
        early = [entry.place for entry in self.entries[: self.created] if entry.at > creating.at - DAY_US]
        self.anomalies = self.created - len(early)
        if not early:
            return
        self.moved = True
        # Between the first of them and creation every stage that is said is a closing one: nothing else came before.
        moved = [at for at in range(early[0], creating.place) if self.events[at].to_stage is not None]
        kept = [at for at in range(creating.place + 1) if at not in moved]
        order = [*kept, *moved, *range(creating.place + 1, len(self.events))]
        instants = dict.fromkeys(moved, creating.at)
        self.times = [instants.get(at, self.times[at]) for at in order]
        self.events = [self.events[at] for at in order]
        self.entries = _entries(self.events, self.times, terms)
        self.created = _created(self.entries)

    # -------------------------------------------------------------- what was known

    def known(self, name: str, until: int, limit: int) -> Any:
        """Return the last word of the events before place `until`, else the first value said before `limit`."""
        events = self.events
        for place in range(until - 1, -1, -1):
            value = events[place].said.get(name)
            if value is not None or name in events[place].clear:
                return value
        for place in range(until, limit):
            value = events[place].said.get(name)
            if value is not None:
                return value
        return None

    def at_instant(self, name: str, at: int) -> Any:
        """Return what is known at an instant, events of that instant included, else the first value said later."""
        return self.known(name, bisect_right(self.times, at), len(self.events))

    def last(self, name: str, until: int) -> Any:
        """Return the last word of the events before place `until`; None when cleared or never said."""
        return self.known(name, until, until)

    def present(self, name: str) -> Any:
        """Return the last word; None when cleared or never said."""
        return self.last(name, len(self.events))

    # -------------------------------------------------------------- where it stands

    @property
    def deleted(self) -> bool:
        """Is the last word that the deal is deleted?"""
        for event in reversed(self.events):
            if event.deleted is not None:
                return event.deleted
        return False

    @property
    def was_only_closed(self) -> bool:
        """Is every entry a closing one, so that the deal may yet be created?"""
        return bool(self.entries) and not self.entries[self.created].meaning.begins

    def leaving(self, index: int) -> int:
        """Return the place of the event that left an entry's stage; behind the end when none did."""
        return self.entries[index + 1].place if index + 1 < len(self.entries) else len(self.events)

    def close(self) -> Entry | None:
        """Return the first entry of the last uninterrupted run of closing entries of the last one's kind."""
        if not self.entries or self.entries[-1].meaning.begins:
            return None
        kind = self.entries[-1].meaning.kind
        index = len(self.entries) - 1
        while index and self.entries[index - 1].meaning.kind == kind:
            index -= 1
        return self.entries[index]


def _entries(events: list[StageEvent], times: list[int], terms: Terms) -> list[Entry]:
    found: list[Entry] = []
    pipeline = stage = None
    for place, event in enumerate(events):
        if event.to_stage is None:
            continue
        into = event.pipeline or pipeline or DEFAULT_PIPELINE
        if into != pipeline or event.to_stage != stage:
            pipeline, stage = into, event.to_stage
            found.append(Entry(place, times[place], pipeline, stage, terms.stage(pipeline, stage)))
    return found


def _created(entries: list[Entry]) -> int:
    """Return the index of the first entry into a stage of kind lead or open, else of the first; -1: none."""
    for index, entry in enumerate(entries):
        if entry.meaning.begins:
            return index
    return 0 if entries else -1
