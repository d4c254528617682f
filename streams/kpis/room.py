"""What do readers have to be told?  Deltas in, KPI records out.

Deltas are added as they come.  Telling happens in rounds: each round moves the clock to the watermark, lets
windows slide, and publishes what changed, so a key is written at most once per round however much came in.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import msgspec
from confluent_kafka import Message

from streams import metrics, topics
from streams.config import Definitions
from streams.kafka.room import Moment, Output, StateTable
from streams.kpis.cohorts import Cohorts
from streams.kpis.entity import Entity
from streams.kpis.partition import Partition
from streams.kpis.round import Round, Teller
from streams.panes import cell as cells
from streams.panes import delta
from streams.panes.calendar import DAY_US, FINE_US, Calendar
from streams.panes.cell import Cell, Measure
from streams.panes.pane import DAY, DAYS_CORRECTED, FINE, FINE_KEPT, FINE_SENT, GRAIN, LEVEL, LIFE, MONTH, WAIT, pane
from streams.panes.text import iso
from streams.panes.windows import WINDOWS, Now, Window, now_at, number_of_day, numbers_at

# While catching up, a round may take at most one part in this many of the time.
_CATCH_UP_SHARE = 10
# Of how many entities panes stay decoded: some 10 KB each.
_WARM_ENTITIES = 5_000
# Nothing is held back when nothing has changed for so many flushes, or when a catch-up took so many publish_intervals.
_QUIET = 2
_LONG = 10
# What is held back is told at most this part of a publish_interval too late.
_SLOTS = 10
_RECORD_US = 12  # to work out, write down and send one record
# One flush is one transaction: this bounds its memory and how long readers wait for it.
_RECORDS_PER_FLUSH = 20_000
_WAITING = 1 << Measure.WAITING
_CALENDAR_WINDOWS: tuple[tuple[int, Window], ...] = tuple((at, one) for at, one in enumerate(WINDOWS) if not one.rolling)


class KpisRoom:
    """Deltas to KPI records."""

    name = "kpis"
    sources: tuple[str, ...] = (topics.DELTAS,)

    def __init__(self, definitions: Definitions, first_revision: int = 0) -> None:
        self._first_revision = first_revision  # every revision told is greater
        self._partitions_in = definitions.partitions
        self._interval = round(definitions.publish_interval * 1_000_000)
        self._slot = max(1, self._interval // _SLOTS)
        self._quiet = _QUIET * max(self._interval, round(definitions.flush_every * 1_000_000))
        self.calendar = Calendar(definitions.zone)
        self._cohorts = Cohorts(definitions, self.calendar)
        self._teller = Teller(definitions, self.calendar, self._cohorts)
        self._calendar_windows = [(at, one) for at, one in _CALENDAR_WINDOWS if one.name in definitions.windows]
        self._owned: dict[int, Partition] = {}
        self._born: list[int] = []  # of the events whose numbers were told since take_born

    # -------------------------------------------------------------- ownership

    def open(self, partition: int, state: StateTable) -> None:
        """Start to own a partition: find its entities among the state rows."""
        owned = self._owned[partition] = Partition(state, self._first_revision)
        owned.restore(self.calendar)
        self._show_watermark()

    def close(self, partition: int) -> None:
        """Stop to own a partition."""
        self._owned.pop(partition, None)
        self._show_watermark()

    def _show_watermark(self) -> None:
        """Set the gauge to where the partition stands that is furthest behind; 0 where none is owned that has a clock."""
        clocks = [owned.now.at for owned in self._owned.values() if owned.now is not None]
        metrics.WATERMARK.set(min(clocks, default=0) / 1_000_000)

    # -------------------------------------------------------------- deltas in

    def handle(self, partition: int, topic: str, run: Sequence[Message]) -> int:
        """Add a run of deltas."""
        del topic  # there is one
        owned = self._owned[partition]
        size = 0
        for message in run:
            value = message.value()
            size += len(value)
            change = delta.decode(value)
            for source, progress in change.progress.items():
                owned.hear(source, progress)
            if change.born:
                owned.born = min(owned.born or change.born, change.born)
            fine_kept = self._fine_kept(owned)
            if change.entities:
                owned.fed, owned.settled = True, False
            for packed in change.entities:
                one = delta.decode_entity(packed)
                self._add(owned, owned.entity(one.entity), one.panes, fine_kept)
        return size

    def _add(self, owned: Partition, entity: Entity, panes: dict[int, Cell], fine_kept: int) -> None:
        owned.hot.add(entity)
        owned.changed.add(entity)
        days: dict[int, Cell] = {}
        for place, cell in panes.items():
            grain, index = place & GRAIN, place >> 3
            if grain == FINE:
                if index >= fine_kept:
                    entity.change(place, cell)
                    owned.index(entity, place)
                cells.add(days.setdefault(self.calendar.day_of_fine(index), {}), cell)
            elif grain == DAY:
                cells.add(days.setdefault(index, {}), cell)
            elif grain == LEVEL:
                entity.change(pane(LEVEL, max(index, owned.today)), cell)
                entity.level_mask |= cells.kinds(cell)
            elif grain == WAIT:
                entity.wait(place, cell)
                entity.level_mask |= _WAITING  # another may be the oldest, though as many wait
        self._add_days(owned, entity, days)

    def _add_days(self, owned: Partition, entity: Entity, days: dict[int, Cell]) -> None:
        is_added_up_before = max(entity.head.added_up, owned.days_kept)
        for day, cell in days.items():
            if not cell:
                continue  # what changed finer panes of it cancels out: windows of days have nothing to tell
            month = self.calendar.month_of_day(day)
            if day >= owned.days_kept:
                place = pane(DAY, day)
                entity.change(place, cell)
                owned.index(entity, place)
            if day < is_added_up_before:
                entity.change(pane(MONTH, month), cell)
                entity.change(pane(LIFE, 0), cell)
            self._mark(entity, day, month, cells.kinds(cell))

    def _mark(self, entity: Entity, day: int, month: int, mask: int) -> None:
        """Note which calendar windows a change concerns: those that hold the day, and those after them.

        Whether these have begun, or are gone, is asked when the entity is visited: a round under way, or one that another worker
        did not end, may have told them already.
        """
        untold = entity.untold
        for at, window in self._calendar_windows:
            number = number_of_day(window, day, month)
            own, previous = untold.get((at, number), (0, 0))
            untold[at, number] = (own | mask, previous)
            if window.grain != LIFE:
                own, previous = untold.get((at, number + 1), (0, 0))
                untold[at, number + 1] = (own, previous | mask)

    @staticmethod
    def _fine_kept(owned: Partition) -> int:
        """Return the first fine pane that `1h` and `24h` can still need."""
        newest = max((one.watermark for one in owned.progress.values()), default=-1)
        kept = newest // FINE_US - FINE_SENT
        return max(kept, owned.now.fine - FINE_KEPT) if owned.now else kept

    # -------------------------------------------------------------- rounds

    def due(self, moment: Moment) -> bool:
        """Is there a round to make?"""
        return any(
            owned.round is not None or self._is_due(owned, moment) or self._judged_up_to(owned) is not None
            for owned in self._owned.values()
        )

    def owes(self, moment: Moment) -> bool:
        """Is a round under way or to come, or is something held back?"""
        return any(
            owned.round is not None or self._owes(owned, moment) or self._judged_up_to(owned) is not None
            for owned in self._owned.values()
        )

    def _owes(self, owned: Partition, moment: Moment) -> bool:
        watermark = self._watermark(owned)
        return watermark is not None and (bool(owned.held) or self._has_news(owned, watermark, moment))

    def _is_due(self, owned: Partition, moment: Moment) -> bool:
        watermark = self._watermark(owned)
        if watermark is None or not self._has_news(owned, watermark, moment):
            return False
        if moment.now < owned.next_round and self._concerns_all(owned, watermark, moment):
            return False
        return moment.now >= owned.next_in_catch_up or owned.all_caught_up()

    def _has_news(self, owned: Partition, watermark: int, moment: Moment) -> bool:
        if owned.changed or owned.now is None or owned.has_just_settled():
            return True
        if owned.held and (self._is_quiet(owned, moment) or min(owned.held) <= moment.now // self._slot):
            return True
        if owned.behind_since and (owned.held or owned.parked) and owned.all_caught_up():
            return True
        return watermark // FINE_US != owned.now.fine or watermark - owned.now.at >= self._teller.age_every

    def drain(self, moment: Moment) -> list[Output]:
        """Make the rounds that are due, and write every changed pane into the state."""
        output: list[Output] = []
        for partition, owned in self._owned.items():
            if owned.fed:
                owned.fed, owned.fed_at = False, moment.now
            if owned.round is None and self._is_due(owned, moment):
                self._begin(owned, partition, moment)
            if len(output) < _RECORDS_PER_FLUSH:
                output.extend(self._go_on(owned, moment))
            output.extend(self._that_was_all(owned, partition))
            if owned.hot:
                self._write(owned)
                owned.write_progress()
        return output

    def _write(self, owned: Partition) -> None:
        """Write what changed into the state; of the entities that changed last the panes stay decoded."""
        for entity in owned.hot:
            entity.write()
            if entity.head_is_old:
                entity.write_head()
            owned.warm.pop(entity, None)
            owned.warm[entity] = None
        owned.hot.clear()
        for entity in list(islice(owned.warm, max(0, len(owned.warm) - _WARM_ENTITIES // len(self._owned)))):
            del owned.warm[entity]
            entity.warm.clear()

    def take_born(self) -> list[int]:
        """Return the Kafka timestamps, in µs, of the oldest events behind what was told since the last call."""
        born, self._born = self._born, []
        return born

    def _watermark(self, owned: Partition) -> int | None:
        """Return the minimum over the partitions that are not idle; None while one has not spoken."""
        if len(owned.progress) < self._partitions_in:
            return None
        running = [one.watermark for one in owned.progress.values() if not (one.settled or one.is_empty)]
        lowest = min(running) if running else max(one.watermark for one in owned.progress.values())
        if lowest < 0:
            return None
        return max(lowest, owned.begun)

    def _is_quiet(self, owned: Partition, moment: Moment) -> bool:
        """Has nothing changed for a while?  Then nothing is held back."""
        return moment.now - owned.fed_at >= self._quiet and owned.all_caught_up()

    def _begin(self, owned: Partition, partition: int, moment: Moment) -> None:
        """Set the clock to the watermark, and line up whom to visit."""
        watermark = self._watermark(owned)
        if watermark is None:
            return
        now, before = now_at(self.calendar, watermark), owned.now
        owned.revision += 1
        owned.begun = watermark
        newest = max(one.watermark for one in owned.progress.values())
        just_settled = owned.has_just_settled()
        caught_up = owned.all_caught_up()
        owned.round = Round(
            partition=partition,
            output=[],
            revision=owned.revision,
            wall=moment.now,
            at_once=self._is_quiet(owned, moment) or just_settled or self._caught_up_at_last(owned, moment),
            now=now,
            numbers=numbers_at(now),
            watermark=iso(watermark),
            new_day=before is None or now.day != before.day,
            judges=before is None or self._judges(watermark, before),
            corrected_from=before.at - DAYS_CORRECTED * DAY_US if before else 0,
            caught_up=caught_up,
            fine=watermark >= newest - (FINE_SENT - FINE_KEPT) * FINE_US,
            copy_open=just_settled,
        )
        owned.today = now.day
        owned.has_judged = owned.has_judged or owned.round.judges
        owned.round_born, owned.born = owned.born, 0
        owned.to_visit = self._to_visit(owned, owned.round, before)
        owned.settled = owned.all_settled()
        owned.behind_since = 0 if caught_up else owned.behind_since or moment.now

    def _go_on(self, owned: Partition, moment: Moment) -> list[Output]:
        """Visit entities until enough is told for one transaction; the rest waits for the next flush."""
        round_ = owned.round
        if round_ is None:
            return []
        while owned.to_visit and len(round_.output) < _RECORDS_PER_FLUSH:
            entity = owned.to_visit.pop()
            until = self._teller.visit(entity, round_)
            if until is not None:
                self._hold(owned, entity, until)
            owned.hot.add(entity)
            self._park(owned, entity, round_.now)
        output = round_.output[:]
        round_.output.clear()
        owned.told += len(output)
        if not owned.to_visit:
            self._end(owned, round_, moment)
        return output

    def _end(self, owned: Partition, round_: Round, moment: Moment) -> None:
        before = owned.now
        owned.round, owned.caught_up = None, round_.caught_up
        owned.set_clock(round_.now)
        if before is None or round_.now.fine != before.fine:
            self._expire(owned)
        if owned.round_born and owned.told:  # where all that came in is held back, nobody can read it yet
            self._born.append(owned.round_born)
        owned.write_progress()
        self._show_watermark()
        self._pace(owned, moment, caught_up=round_.caught_up, told=owned.told)
        owned.told = 0

    def _pace(self, owned: Partition, moment: Moment, *, caught_up: bool, told: int) -> None:
        """Set when the next round may be; while catching up, the rounds of all partitions may take only a part of the time."""
        cost = told * _RECORD_US * len(self._owned) * _CATCH_UP_SHARE
        owned.next_round = moment.now + self._interval
        # Who has only just fallen behind is often a few records behind a steady flow: its readers do not wait for the interval.
        at_least = self._interval if self._is_long_behind(owned, moment) else 0
        owned.next_in_catch_up = moment.now if caught_up else moment.now + max(at_least, cost)

    def _judged_up_to(self, owned: Partition) -> int | None:
        """Return up to when all is judged, if everything in the sources has been read and nobody has said so; else None."""
        if not owned.has_judged or owned.now is None or not owned.all_caught_up():
            return None
        watermark = self._watermark(owned)
        return None if watermark is None or self._judges(watermark, owned.now) else watermark

    def _that_was_all(self, owned: Partition, partition: int) -> list[Output]:
        """Tell the alerts, behind the panes, that they have all that is complete: a pane of no rule."""
        at = self._judged_up_to(owned)
        if at is None:
            return []
        owned.has_judged = False
        fields = {"rule": "", "entity": [], "day": 0, "n": 0, "k": 0, "at": at}
        return [(topics.MATURED, partition, None, msgspec.json.encode(fields), None)]

    def _concerns_all(self, owned: Partition, watermark: int, moment: Moment) -> bool:
        """Will the round visit everybody?  Then it waits until nobody has been told within the interval."""
        if owned.now is None or owned.has_just_settled():
            return True
        if self.calendar.day_of(watermark) != owned.now.day or self._judges(watermark, owned.now):
            return True
        return self._caught_up_at_last(owned, moment)

    def _judges(self, watermark: int, before: Now) -> bool:
        """May cohorts have become complete since the round before?"""
        return self._cohorts.judged_on(watermark) != self._cohorts.judged_on(before.at)

    def _caught_up_at_last(self, owned: Partition, moment: Moment) -> bool:
        """Does a catch-up end?  A moment in which a partition was not read to its end is none."""
        return owned.all_caught_up() and self._is_long_behind(owned, moment)

    def _is_long_behind(self, owned: Partition, moment: Moment) -> bool:
        """Had the last rounds, for long, not all that is in the sources?"""
        return owned.behind_since > 0 and moment.now - owned.behind_since > _LONG * self._interval

    def _hold(self, owned: Partition, entity: Entity, until: int) -> int:
        slot = until // self._slot + 1
        owned.held.setdefault(slot, set()).add(entity)
        return slot

    def _to_visit(self, owned: Partition, round_: Round, before: Now | None) -> list[Entity]:
        now, changed = round_.now, owned.changed
        owned.changed = set()
        if round_.new_day or round_.copy_open:
            for born in owned.held_born.values():
                owned.round_born = _earlier(owned.round_born, born)
            owned.held.clear()
            owned.held_born.clear()
            return list(owned.entities.values())
        visit = changed
        present = round_.wall // self._slot
        for slot in [slot for slot in owned.held if round_.at_once or slot <= present]:
            visit |= owned.held.pop(slot)
            owned.round_born = _earlier(owned.round_born, owned.held_born.pop(slot, 0))
        if round_.caught_up and not owned.caught_up:
            visit = visit.union(*owned.parked.values())
        if before is not None and now.fine != before.fine:
            for entities in owned.by_fine.values():
                visit |= entities
        for instant in [instant for instant in owned.parked if instant <= now.at]:
            visit |= owned.parked.pop(instant)
        if before is not None and now.at // self._teller.age_every != before.at // self._teller.age_every:
            visit.update(entity for entity in owned.entities.values() if entity.may_wait)
        found = self._without_told(owned, visit, round_)
        if round_.judges:
            judged = (entity for entity in owned.entities.values() if entity.name[0] in self._cohorts.judged_cuts)
            found = list({*found, *judged})
        return found

    def _without_told(self, owned: Partition, visit: set[Entity], round_: Round) -> list[Entity]:
        """Return those that may be told; who was told a moment ago is held back, unless nothing is."""
        if round_.at_once or not any(entity.not_before > round_.wall for entity in visit):
            return list(visit)
        found = []
        for entity in visit:
            if entity.not_before > round_.wall:
                slot = self._hold(owned, entity, entity.not_before)
                owned.held_born[slot] = _earlier(owned.held_born.get(slot, 0), owned.round_born)
            else:
                found.append(entity)
        return found

    def _park(self, owned: Partition, entity: Entity, now: Now) -> None:
        instant = self._teller.next_final(entity, now)
        if instant is not None:
            owned.parked.setdefault(instant, set()).add(entity)

    def _expire(self, owned: Partition) -> None:
        for index, grain, first in (
            (owned.by_fine, FINE, self._fine_kept(owned)),
            (owned.by_day, DAY, owned.days_kept),
        ):
            for old in [one for one in index if one < first]:
                for entity in index.pop(old):
                    if grain == DAY:  # who came in the course of the round was not visited in it
                        entity.add_up_days(first, self.calendar.month_of_day)
                        owned.hot.add(entity)  # its sums are written with what goes
                    entity.drop(pane(grain, old))


def _earlier(born: int, other: int) -> int:
    """Return the earlier of two instants; 0 is none."""
    return min(born, other) if born and other else born or other
