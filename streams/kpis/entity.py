"""What adds up for one entity?  Its panes, the totals of its windows, and what readers were last told.

An entity is one (cut, values).  Its panes are state rows of their own, so a change writes only what it
touches; totals of rolling windows are kept by adding what changed and subtracting what left.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

import msgspec

from streams.kafka.room import StateTable
from streams.kpis.publish import entity_fragment
from streams.panes import cell as cells
from streams.panes.cell import Cell, Measure
from streams.panes.pane import DAY, DAYS_KEPT, FINE, LEVEL, WAIT, pane
from streams.panes.windows import WINDOWS, Window, first_pane

ALL = -1  # a mask with every kind

_encoder = msgspec.msgpack.Encoder()
_EntityDecoder = msgspec.msgpack.Decoder(tuple[str, ...])
_GRAIN = 7
_NOW, _BEFORE, _EITHER = 1, 2, 3
ROLLING = tuple((at, window) for at, window in enumerate(WINDOWS) if window.rolling)
_MINOR_BYTES = 8


class Head(msgspec.Struct, array_like=True):
    """What readers were told, and what they still have to be told."""

    revision: int = 0
    # window's place → [number, keys]; a key is the KPI's row << 16 | currency code + 1
    published: dict[int, tuple[int, set[int]]] = {}
    # calendar windows that changed since they were told: [place, number]
    untold: list[tuple[int, int]] = []
    # calendar windows that history holds with nothing in them, because their facts were taken back
    emptied: set[tuple[int, int]] = set()
    currencies: set[int] = set()  # codes of the currencies that a reader was ever told a value in
    judged: dict[str, int] = {}  # rule → the last day given to the alerts


_head = msgspec.msgpack.Decoder(Head)


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

    __slots__ = ("before", "grain", "last", "now", "panes")

    def __init__(self, window: Window, last: int) -> None:
        self.grain, self.panes, self.last = window.grain, window.panes, last
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
        "age_told", "ended", "head", "hot", "level_mask", "levels", "name", "prefix", "rolled", "rolling", "rows", "state", "text",
        "told_early", "untold", "waiting",
    )  # fmt: skip

    def __init__(self, name: tuple[str, ...], state: StateTable) -> None:
        self.name = name
        self.text = entity_fragment(name)
        self.prefix = row_prefix(name)
        self.state = state
        self.rows: dict[int, bytes] = {}
        self.hot: dict[int, Cell] = {}  # decoded and changed since the last flush
        self.rolling: dict[int, Rolling] = {}
        self.rolled: dict[int, tuple[int, int]] = {}  # place → masks of what changed in the window, and before it
        self.untold: dict[tuple[int, int], tuple[int, int]] = {}  # the same for calendar windows
        self.levels: set[int] = set()
        self.ended: set[tuple[int, int]] = set()  # calendar windows that ended and are not yet told as final
        self.told_early: set[tuple[int, int]] = set()  # those told before they were final
        self.level_mask = 0
        self.waiting: list[int] = []  # heap of fine panes that may hold somebody who waits
        self.age_told = -1
        self.head = Head()

    # -------------------------------------------------------------- state

    def restore(self, rest: bytes, value: bytes) -> int | None:
        """Take in one state row; return its pane, None for the head."""
        if rest == b"h":
            self.head = _head.decode(value)
            self.untold = dict.fromkeys(self.head.untold, (ALL, ALL))
            self.level_mask = ALL
            self.ended = set(self.untold)
            if self.untold:
                self.rolled = {at: (ALL, ALL) for at, _ in ROLLING}
            return None
        place = int.from_bytes(rest, "big")
        self.rows[place] = value
        if place & _GRAIN == WAIT:
            self.waiting.append(place >> 3)
        elif place & _GRAIN == LEVEL:
            self.levels.add(place)
        return place

    def restored(self) -> None:
        """Finish a restore."""
        heapify(self.waiting)

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
        self.hot.clear()

    @property
    def head_is_old(self) -> bool:
        """Is there more to tell than the state knows of?"""
        return len(self.head.untold) != len(self.untold) or any(one not in self.untold for one in self.head.untold)

    def write_head(self) -> None:
        """Write what readers were told into the state."""
        self.head.untold = sorted(self.untold)
        self.state.put(self.prefix + b"h", _encoder.encode(self.head))

    def drop(self, place: int) -> None:
        """Forget a pane that no window can need."""
        self.hot.pop(place, None)
        if self.rows.pop(place, None) is not None:
            self.state.delete(self.prefix + place.to_bytes(_MINOR_BYTES, "big"))

    # -------------------------------------------------------------- panes

    def cell(self, place: int) -> Cell | None:
        """Return the cell of a pane to read."""
        found = self.hot.get(place)
        if found is not None:
            return found
        data = self.rows.get(place)
        return None if data is None else cells.unpack(data)

    def change(self, place: int, cell: Cell) -> None:
        """Add a change to a pane."""
        total = self.hot.get(place)
        if total is None:
            data = self.rows.get(place)
            total = self.hot[place] = {} if data is None else cells.unpack(data)
        cells.add(total, cell)
        grain = place & _GRAIN
        if grain in (DAY, FINE):
            self._roll(grain, place >> 3, cell)
        elif grain == LEVEL:
            self.levels.add(place)
        elif grain == WAIT:
            heappush(self.waiting, place >> 3)

    def _roll(self, grain: int, index: int, cell: Cell) -> None:
        mask = cells.kinds(cell)
        for at, window in ROLLING:
            if window.grain == grain:
                rolling = self.rolling.get(at)
                # Totals that were not worked out since a restart may hold the pane in either window.
                hit = rolling.change(index, cell) if rolling else _EITHER
                if hit:
                    own, before = self.rolled.get(at, (0, 0))
                    self.rolled[at] = (own | (mask if hit & _NOW else 0), before | (mask if hit & _BEFORE else 0))

    def oldest(self) -> int | None:
        """Return the creation, in µs, of the lead that waits longest."""
        while self.waiting:
            cell = self.cell(pane(WAIT, self.waiting[0]))
            if cell:
                return min(cell)
            heappop(self.waiting)
        return None

    # -------------------------------------------------------------- totals

    def total(self, window: Window, number: int) -> Cell:
        """Return the sum of a calendar window."""
        first = first_pane(window, number)
        if window.panes == 1:
            return self.cell(pane(window.grain, first)) or {}
        total: Cell = {}
        for index in range(first, first + window.panes):
            cell = self.cell(pane(window.grain, index))
            if cell:
                cells.add(total, cell)
        return total

    def roll_to(self, at: int, window: Window, last: int) -> Rolling:
        """Return the totals of a rolling window that ends with pane `last`."""
        rolling = self.rolling.get(at)
        if rolling is None or not 0 <= last - rolling.last <= 2 * window.panes:
            rolling = self.rolling[at] = Rolling(window, last)
            self._fill(rolling, window)
        while rolling.last < last:
            self._step(rolling, window)
        return rolling

    def _fill(self, rolling: Rolling, window: Window) -> None:
        for back in range(2 * window.panes):
            cell = self.cell(pane(window.grain, rolling.last - back))
            if cell:
                cells.add(rolling.now if back < window.panes else rolling.before, cell)

    def _step(self, rolling: Rolling, window: Window) -> None:
        rolling.last += 1
        enters = self.cell(pane(window.grain, rolling.last))
        if enters:
            cells.add(rolling.now, enters)
        leaves = self.cell(pane(window.grain, rolling.last - window.panes))
        if leaves:
            cells.add(rolling.now, leaves, -1)
            cells.add(rolling.before, leaves)
        gone = self.cell(pane(window.grain, rolling.last - 2 * window.panes))
        if gone:
            cells.add(rolling.before, gone, -1)

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
        first = max(first, last - DAYS_KEPT)
        days = ((day, self.cell(pane(DAY, day))) for day in range(first, last + 1))
        return [(day, cell) for day, cell in days if cell]

    def immature(self, measure: Measure, first_day: int, last_day: int) -> int:
        """Return the cohort entries of the days from first to last."""
        entries = 0
        for day in range(first_day, last_day + 1):
            cell = self.cell(pane(DAY, day))
            if cell:
                entries += cell.get(measure << 16, 0)
        return entries
