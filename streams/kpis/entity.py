"""What adds up for one entity?  Its panes, the totals of its windows, and what readers were last told.

An entity is one (cut, values).  Its panes are state rows of their own, so a change writes only what it
touches; totals of rolling windows are kept by adding what changed and subtracting what left.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from heapq import heapify, heappop, heappush

import msgspec

from streams.kafka.room import StateTable
from streams.kpis.publish import entity_fragment
from streams.panes import cell as cells
from streams.panes.cell import Cell
from streams.panes.pane import CROWD, CROWD_US, DAY, FINE, GRAIN, LEVEL, LIFE, MONTH, WAIT, pane
from streams.panes.windows import WINDOWS, Window, first_pane

ALL = -1  # a mask with every kind

_encoder = msgspec.msgpack.Encoder()
_EntityDecoder = msgspec.msgpack.Decoder(tuple[str, ...])
_NOW, _BEFORE, _EITHER = 1, 2, 3
ROLLING = tuple((at, window) for at, window in enumerate(WINDOWS) if window.rolling)
_ROLLING_OF = {grain: tuple(one for one in ROLLING if one[1].grain == grain) for grain in (FINE, DAY)}
_MINOR_BYTES = 8
_ROW_OF_WAITS = 4_000  # keys of some 10 bytes: two thirds of what a row may hold
_FEW = 16  # entries of a heap that are not worth a look
_WARM = 24  # cells: a few panes of each grain; a window of 90 days that was worked out anew is let go


class Head(msgspec.Struct, array_like=True):
    """What readers were told, and what they still have to be told."""

    # window's place → [number, keys]; a key is the KPI's row << 16 | currency code + 1
    published: dict[int, tuple[int, set[int]]] = {}
    # calendar windows that may have changed since they were told: [place, number]
    untold: set[tuple[int, int]] = set()
    # calendar windows that history holds with nothing in them, because their facts were taken back
    emptied: set[tuple[int, int]] = set()
    currencies: set[int] = set()  # codes of the currencies that a reader was ever told a value in
    judged: dict[str, int] = {}  # rule → the last day given to the alerts
    held: bool = False  # may a rolling window have something to tell
    added_up: int = 0  # days before it are also in the panes of their month and of all time; later ones only in their own


_head = msgspec.msgpack.Decoder(Head)
_NOTHING_TOLD: tuple[int, AbstractSet[int]] = (-1, frozenset())


def row_prefix(entity: tuple[str, ...]) -> bytes:
    """Return what every state key of an entity begins with."""
    name = _encoder.encode(entity)
    return b"c" + len(name).to_bytes(2, "big") + name


def parse_row_key(key: bytes) -> tuple[tuple[str, ...], bytes]:
    """Return the entity of a state key and the rest of it."""
    end = 3 + int.from_bytes(key[1:3], "big")
    return _EntityDecoder.decode(key[3:end]), key[end:]


class Rolling:
    """The totals of a rolling window and of the equal one before it, up to pane `last`."""

    __slots__ = ("before", "last", "now", "panes")

    def __init__(self, window: Window, last: int) -> None:
        self.panes, self.last = window.panes, last
        self.now: Cell = {}
        self.before: Cell = {}

    def change(self, index: int, cell: Cell) -> int:
        """Take in a change of a pane; return _NOW when it lies in the window, _BEFORE when in the one before, else 0."""
        back = self.last - index
        if 0 <= back < self.panes:
            cells.add(self.now, cell)
            return _NOW
        if self.panes <= back < 2 * self.panes:
            cells.add(self.before, cell)
            return _BEFORE
        return 0


class Entity:
    """One entity of one partition of the kpis room."""

    __slots__ = (
        "age_told", "answered", "crowds", "ended", "head", "head_changed", "held", "hot", "level_mask", "levels", "name", "not_before", "paced", "prefix", "rolled",
        "rolling", "rows", "state", "text", "told_early", "untold", "waiting", "warm", "young",
    )  # fmt: skip

    def __init__(self, name: tuple[str, ...], state: StateTable) -> None:
        self.name = name
        self.text = entity_fragment(name)
        self.prefix = row_prefix(name)
        self.state = state
        self.rows: dict[int, bytes] = {}
        self.hot: dict[int, Cell] = {}  # decoded and changed since the last flush
        self.warm: dict[int, Cell] = {}  # decoded and as they stand in the state
        self.held: dict[int, list[int]] = {FINE: [], DAY: []}  # the panes there may be of the grains that windows slide over
        self.rolling: dict[int, Rolling] = {}
        self.rolled: dict[int, tuple[int, int]] = {}  # place → masks of what changed in the window, and before it
        self.untold: dict[tuple[int, int], tuple[int, int]] = {}  # the same for calendar windows
        self.levels: set[int] = set()
        self.ended: set[tuple[int, int]] = set()  # calendar windows that ended and are not yet told as final
        self.told_early: set[tuple[int, int]] = set()  # those told before they were final
        self.level_mask = 0
        self.young: dict[tuple[int, int, int], int] = {}  # what `of_days` found since the last flush
        self.waiting: list[int] = []  # heap of WAIT panes that may hold somebody who waits
        self.crowds: list[int] = []  # the same of CROWD panes
        self.answered = 0  # in so many of these nobody waits any more, since the heaps were made
        self.age_told = -1
        self.not_before = 0  # µs of the wall clock: it was told so recently that the next round must not be before
        self.paced: dict[int, int] = {}  # the same for windows that are told at a slower pace, by their place
        self.head = Head()
        self.head_changed = False

    # -------------------------------------------------------------- state

    def restore(self, rest: bytes, value: bytes) -> int | None:
        """Take in one state row; return its pane, None for the head."""
        if rest == b"h":
            self.head = _head.decode(value)
            self.untold = dict.fromkeys(self.head.untold, (ALL, ALL))
            self.level_mask = ALL  # it may have been told a level that has gone since
            self.ended = set(self.untold)
            if self.untold or self.head.held:
                self.rolled = {at: (ALL, ALL) for at, _ in ROLLING}
            return None
        place = int.from_bytes(rest, "big")
        self.rows[place] = value
        grain = place & GRAIN
        if grain in self.held:
            self.held[grain].append(place >> 3)
        elif grain >= WAIT:
            self._heap(grain).append(place >> 3)
        elif grain == LEVEL:
            self.levels.add(place)
        return place

    def restored(self) -> None:
        """Finish a restore."""
        if self.levels:
            self.level_mask = ALL  # what was flushed may not have been told
        heapify(self.waiting)
        heapify(self.crowds)
        for indexes in self.held.values():
            indexes.sort()

    def write(self) -> None:
        """Write every changed pane into the state."""
        for place, cell in self.hot.items():
            key = self.prefix + place.to_bytes(_MINOR_BYTES, "big")
            if cell:
                data = self.rows[place] = cells.pack(cell)
                self.state.put(key, data)
            else:
                self.rows.pop(place, None)
                self.state.delete(key)
                self.answered += place & GRAIN >= WAIT
        if 2 * self.answered > len(self.waiting) + len(self.crowds) + _FEW:
            # Only its top leaves a heap by itself: behind one lead that nobody ever answers all others would stay.
            self.answered = 0
            for grain in (WAIT, CROWD):
                heap = self._heap(grain)
                heap[:] = [place >> 3 for place in self.rows if place & GRAIN == grain]
                heapify(heap)
        # What changes now will most likely change again, and so will what was read for it.
        if len(self.warm) > _WARM:
            self.warm.clear()
        self.warm.update((place, cell) for place, cell in self.hot.items() if cell)
        self.hot.clear()
        self.young.clear()

    @property
    def head_is_old(self) -> bool:
        """Does the state know too little, or of something to tell where there is nothing?

        That it still has windows as untold while others are is not worth a row: who takes over tells them once more.
        """
        head, untold = self.head, self.untold.keys()
        if self.head_changed or not untold <= head.untold or (self.rolled and not head.held):
            return True
        return not untold and not self.rolled and (bool(head.untold) or head.held)

    def write_head(self) -> None:
        """Write what readers were told into the state."""
        self.head.untold, self.head.held = set(self.untold), bool(self.rolled)
        self.state.put(self.prefix + b"h", _encoder.encode(self.head))
        self.head_changed = False

    # -------------------------------------------------------------- what readers were told

    def told(self, place: int) -> tuple[int, AbstractSet[int]]:
        """Return the number of the window that readers of latest were told of last, and the marks of the keys."""
        return self.head.published.get(place, _NOTHING_TOLD)

    def tell(self, place: int, number: int, marks: set[int]) -> None:
        """Note the marks of all that latest now holds of a window."""
        if self.head.published.get(place) != (number, marks):
            self.head.published[place] = (number, marks)
            self.head_changed = True

    def take_back(self, place: int) -> tuple[int, AbstractSet[int]]:
        """Note that latest holds nothing of a window any more; return what it held."""
        found = self.told(place)
        if self.head.published.pop(place, None) is not None:
            self.head_changed = True
        return found

    def empty(self, place: int, number: int) -> None:
        """Note that history holds a calendar window with nothing in it."""
        if (place, number) not in self.head.emptied:
            self.head.emptied.add((place, number))
            self.head_changed = True

    def name_currencies(self, codes: AbstractSet[int]) -> None:
        """Note in which currencies readers are told a value."""
        if not codes <= self.head.currencies:
            self.head.currencies |= codes
            self.head_changed = True

    def judge(self, rule: str, day: int) -> None:
        """Note the last day that was given to the alerts."""
        if day > self.head.judged.get(rule, 0):
            self.head.judged[rule] = day
            self.head_changed = True

    def told_of(self, grain: int) -> list[int]:
        """Return the numbers of the windows of a grain that latest was told last."""
        published = self.head.published
        return [number for at, (number, _) in published.items() if at < len(WINDOWS) and WINDOWS[at].grain == grain]

    def drop(self, place: int) -> None:
        """Forget a pane that no window can need."""
        self.hot.pop(place, None)
        self.warm.pop(place, None)
        if self.rows.pop(place, None) is not None:
            self.state.delete(self.prefix + place.to_bytes(_MINOR_BYTES, "big"))
        grain, index = place & GRAIN, place >> 3
        indexes = self.held.get(grain, [])
        at = bisect_left(indexes, index)
        del indexes[at : at + (index in indexes[at : at + 1])]
        for at, window in _ROLLING_OF.get(grain, ()):
            # Totals that were not moved on for a while may still hold it; they are worked out anew.
            if at in self.rolling and index > self.rolling[at].last - 2 * window.panes:
                del self.rolling[at]

    # -------------------------------------------------------------- panes

    def cell(self, place: int) -> Cell | None:
        """Return the cell of a pane, to be read only."""
        found = self.hot.get(place)
        if found is None:
            found = self.warm.get(place)
            if found is None and place in self.rows:
                found = self.warm[place] = cells.unpack(self.rows[place])
        return found

    def between(self, grain: int, first: int, last: int) -> list[Cell]:
        """Return the cells of the panes from first to last, to be read only."""
        indexes = self.held[grain]
        part = indexes[bisect_left(indexes, first) : bisect_right(indexes, last)]
        return [cell for index in part if (cell := self.cell(pane(grain, index)))]

    def change(self, place: int, cell: Cell) -> None:
        """Add a change to a pane."""
        total = self.hot.get(place)
        if total is None:
            data = self.rows.get(place)
            if data is None:
                total = {}
                self._begin(place)
            elif place in self.warm:
                total = self.warm.pop(place)
            else:
                total = cells.unpack(data)
            self.hot[place] = total
        elif not total:
            self._begin(place)  # whoever looked for it since it was empty has forgotten it
        cells.add(total, cell)
        windows = _ROLLING_OF.get(place & GRAIN)
        if windows:
            kinds = cells.kinds(cell)
            for at, _ in windows:
                self._roll(at, place >> 3, cell, kinds)

    def wait(self, place: int, changes: Cell) -> None:
        """Add who waits, or waits no more, of a WAIT pane; whom its row has no room for goes into the pane of the second."""
        row, crowds = self.cell(place) or {}, dict[int, Cell]()
        here, room = Cell(), _ROW_OF_WAITS - len(row)
        for at, count in changes.items():
            crowd = pane(CROWD, at // CROWD_US)
            if at in row or (room > 0 and at not in (self.cell(crowd) or ())):
                here[at] = count
                room -= at not in row
            else:
                crowds.setdefault(crowd, {})[at] = count
        for where, cell in (*crowds.items(), (place, here)):
            if cell:
                self.change(where, cell)

    def _begin(self, place: int) -> None:
        """Note a pane that was not there."""
        grain, index = place & GRAIN, place >> 3
        if grain in self.held:
            indexes = self.held[grain]
            at = bisect_left(indexes, index)
            if indexes[at : at + 1] != [index]:
                indexes.insert(at, index)
        elif grain == LEVEL:
            self.levels.add(place)
        elif grain >= WAIT:
            heappush(self._heap(grain), index)

    def _roll(self, at: int, index: int, cell: Cell, kinds: int) -> None:
        rolling = self.rolling.get(at)
        # Totals that were not worked out since a restart may hold the pane in either window.
        hit = rolling.change(index, cell) if rolling else _EITHER
        if hit:
            own, before = self.rolled.get(at, (0, 0))
            self.rolled[at] = (own | (kinds if hit & _NOW else 0), before | (kinds if hit & _BEFORE else 0))

    def oldest(self) -> int | None:
        """Return the creation, in µs, of the lead that waits longest."""
        found = [at for grain in (WAIT, CROWD) if (at := self._oldest_of(grain)) is not None]
        return min(found, default=None)

    @property
    def may_wait(self) -> bool:
        """May somebody wait?"""
        return bool(self.waiting or self.crowds)

    def _heap(self, grain: int) -> list[int]:
        return self.waiting if grain == WAIT else self.crowds

    def _oldest_of(self, grain: int) -> int | None:
        heap = self._heap(grain)
        while heap:
            cell = self.cell(pane(grain, heap[0]))
            if cell:
                return min(cell)
            heappop(heap)
        return None

    # -------------------------------------------------------------- totals

    def total(self, window: Window, number: int, first_day: int, last_day: int) -> Cell:
        """Return the sum of a calendar window, which begins with `first_day` and ends with `last_day`, to be read only."""
        first = first_pane(window, number)
        found = [self.cell(pane(window.grain, index)) for index in range(first, first + window.panes)]
        if window.grain != DAY:
            found += self.between(DAY, max(first_day, self.head.added_up), last_day)
        if len(found) == 1:
            return found[0] or {}
        total: Cell = {}
        for cell in found:
            if cell:
                cells.add(total, cell)
        return total

    def add_up_days(self, until: int, month_of_day: Callable[[int], int]) -> None:
        """Add the days before day `until` that are not yet in the panes of their month and of all time to these.

        Once a day is enough, and a change of today then writes its own panes alone.
        """
        indexes = self.held[DAY]
        for day in indexes[bisect_left(indexes, self.head.added_up) : bisect_left(indexes, until)]:
            cell = self.cell(pane(DAY, day))
            if cell:
                self.change(pane(MONTH, month_of_day(day)), cell)
                self.change(pane(LIFE, 0), cell)
                self.head.added_up, self.head_changed = until, True

    def roll_to(self, at: int, window: Window, last: int) -> Rolling:
        """Return the totals of a rolling window that ends with pane `last`."""
        rolling = self.rolling.get(at)
        if rolling is None or not 0 <= last - rolling.last < window.panes:
            rolling = self.rolling[at] = self._work_out(window, last)
        elif rolling.last < last:
            self._slide(rolling, window, last)
        return rolling

    def may_hold(self, at: int, window: Window, last: int) -> bool:
        """May a rolling window that ends with pane `last` hold what its totals were never asked for, ahead of the clock till now?"""
        rolling, indexes = self.rolling.get(at), self.held[window.grain]
        first = max(last - window.panes, rolling.last if rolling else 0) + 1
        return bisect_left(indexes, first) < bisect_right(indexes, last)

    def _work_out(self, window: Window, last: int) -> Rolling:
        rolling = Rolling(window, last)
        middle = last - window.panes
        for cell in self.between(window.grain, middle + 1, last):
            cells.add(rolling.now, cell)
        for cell in self.between(window.grain, middle - window.panes + 1, middle):
            cells.add(rolling.before, cell)
        return rolling

    def _slide(self, rolling: Rolling, window: Window, last: int) -> None:
        """Add the panes that enter, and take away those that leave."""
        grain, first, panes = window.grain, rolling.last + 1, window.panes
        for cell in self.between(grain, first, last):
            cells.add(rolling.now, cell)
        for cell in self.between(grain, first - panes, last - panes):
            cells.add(rolling.now, cell, -1)
            cells.add(rolling.before, cell)
        for cell in self.between(grain, first - 2 * panes, last - 2 * panes):
            cells.add(rolling.before, cell, -1)
        rolling.last = last

    def level(self) -> Cell:
        """Return the levels at present."""
        total: Cell = {}
        for place in self.levels:
            cells.add(total, self.cell(place) or {})
        return total

    def close_levels(self, day: int) -> list[tuple[int, Cell]]:
        """Fold the level changes of days before `day` into the base; return each such day with its closing level."""
        base = pane(LEVEL, 0)
        closed: list[tuple[int, Cell]] = []
        for place in sorted(self.levels):
            if place == base or place >> 3 >= day:
                continue
            cell = self.cell(place) or {}
            self.change(base, cell)
            closed.append((place >> 3, dict(self.hot[base])))
            self.levels.discard(place)
            self.drop(place)
        return closed

    def days_between(self, first: int, last: int) -> list[tuple[int, Cell]]:
        """Return the days from first to last that hold facts, in order."""
        indexes = self.held[DAY]
        days = indexes[bisect_left(indexes, first) : bisect_right(indexes, last)]
        return [(day, cell) for day in days if (cell := self.cell(pane(DAY, day)))]

    def of_days(self, key: int, first_day: int, last_day: int) -> int:
        """Return what the days from first to last hold of a measure; asked for again and again between two flushes."""
        asked = (key, first_day, last_day)
        entries = self.young.get(asked)
        if entries is None:
            entries = self.young[asked] = sum(cell.get(key, 0) for cell in self.between(DAY, first_day, last_day))
        return entries
