"""What does the kpis room hold of one partition that it owns?  Its entities, who has something to tell, and how far time is."""

from __future__ import annotations

import msgspec

from streams.kafka.room import StateTable
from streams.kpis.entity import Entity, parse_row_key
from streams.kpis.round import Round
from streams.panes import delta
from streams.panes.calendar import Calendar
from streams.panes.pane import DAY, DAYS_KEPT, FINE, GRAIN, pane
from streams.panes.windows import Now, now_at

_PROGRESS_KEY = b"\x00progress"


class _Kept(msgspec.Struct, array_like=True):
    """What the state knows of time."""

    progress: dict[int, delta.Progress]
    at: int  # µs: where the clock was in the last round, -1 before the first
    revision: int  # of the last round
    begun: int = -1  # µs: the clock of the last round that began, whether it ended or not


_encoder = msgspec.msgpack.Encoder()
_kept = msgspec.msgpack.Decoder(_Kept)


class Partition:
    """The entities of one owned partition."""

    def __init__(self, state: StateTable, first_revision: int) -> None:
        self.state = state
        self.revision = first_revision  # of the last round; every key is told at most once in one
        self.entities: dict[tuple[str, ...], Entity] = {}
        self.progress: dict[int, delta.Progress] = {}
        self.now: Now | None = None  # the clock of the last round
        self.begun = -1  # that of a round under way, µs: some were told as of it, so no later one is before it
        self.today = 0  # the day of the clock, also in a round under way: what changes a level later is of that day
        self.days_kept = 0  # the first day that still has a pane
        self.hot: set[Entity] = set()  # panes changed since the last flush
        self.warm: dict[Entity, None] = {}  # with decoded panes, those that changed last at the end
        self.changed: set[Entity] = set()  # something to tell
        self.held: dict[int, set[Entity]] = {}  # whom to visit again because something is held back, by slot of the clock
        self.held_born: dict[int, int] = {}  # slot → the oldest event behind who was told too recently to be told again
        self.fed = False  # did a change come in since the last look at the clock
        self.fed_at = 0  # when, µs of the wall clock
        self.behind_since = 0  # the begin of the first round of a catch-up; 0 when caught up
        self.parked: dict[int, set[Entity]] = {}  # instant when a window becomes final → whom to look at then
        self.by_fine: dict[int, set[Entity]] = {}
        self.by_day: dict[int, set[Entity]] = {}
        self.round: Round | None = None  # under way
        self.to_visit: list[Entity] = []
        self.told = 0
        self.born = 0
        self.round_born = 0
        self.next_round = 0
        self.next_in_catch_up = 0
        self.caught_up = False  # was everything, in the last round
        self.settled = False  # nothing has come in since a round told that no more is coming
        self.has_judged = True  # something, and not said yet that this was all; who takes over does not know

    # -------------------------------------------------------------- state

    def restore(self, calendar: Calendar) -> None:
        """Find the entities among the state rows; all of them may have something to tell."""
        row = self.state.get(_PROGRESS_KEY)
        if row is not None:
            kept = _kept.decode(row)
            self.progress, self.revision = kept.progress, max(self.revision, kept.revision)
            if kept.at >= 0:
                self.set_clock(now_at(calendar, kept.at))
            self.begun = max(kept.at, kept.begun)
            if self.begun >= 0:
                self.today = now_at(calendar, self.begun).day
        for key, value in self.state.items():
            if key[:1] == b"c":
                name, rest = parse_row_key(key)
                entity = self.entity(name)
                place = entity.restore(rest, value)
                if place is not None:
                    self.index(entity, place)
        for entity in self.entities.values():
            entity.restored()
            for number in entity.told_of(FINE):  # its panes may be gone, and the records have to go when their windows end
                self.index(entity, pane(FINE, number))
        self.changed.update(self.entities.values())

    def write_progress(self) -> None:
        """Write what is known of time into the state."""
        at = self.now.at if self.now else -1
        self.state.put(_PROGRESS_KEY, _encoder.encode(_Kept(self.progress, at, self.revision, self.begun)))

    # -------------------------------------------------------------- time

    def set_clock(self, now: Now) -> None:
        """Note where the clock is."""
        self.now = now
        self.today, self.days_kept = now.day, now.day - DAYS_KEPT

    def hear(self, source: int, progress: delta.Progress) -> None:
        """Take in how far a partition of the deals is; its watermark never goes back."""
        known = self.progress.get(source)
        if known is not None and known.watermark > progress.watermark:
            progress = delta.Progress(known.watermark, progress.caught_up, progress.settled)
        self.progress[source] = progress
        self.settled = self.settled and progress.settled

    def all_caught_up(self) -> bool:
        """Has all that is in the sources been read?"""
        return all(one.caught_up for one in self.progress.values())

    def all_settled(self) -> bool:
        """And is no more coming?"""
        return all(one.settled for one in self.progress.values())

    def has_just_settled(self) -> bool:
        """And has no round told so since something came in?"""
        return self.all_settled() and not self.settled

    # -------------------------------------------------------------- entities

    def entity(self, name: tuple[str, ...]) -> Entity:
        """Return the entity, new if need be."""
        found = self.entities.get(name)
        if found is None:
            found = self.entities[name] = Entity(name, self.state)
        return found

    def index(self, entity: Entity, place: int) -> None:
        """Remember which entities have a pane that will expire."""
        grain = place & GRAIN
        if grain == FINE:
            self.by_fine.setdefault(place >> 3, set()).add(entity)
        elif grain == DAY:
            self.by_day.setdefault(place >> 3, set()).add(entity)
