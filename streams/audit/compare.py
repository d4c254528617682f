"""Do the published records say what they should?

What law 1 does not speak of must follow from the record's own watermark (beside.py).  Not compared: the numbers of snapshots
in the history (rolling windows of the past, levels of a day); records with n 0 and value 0 or null, which may be there or
not; days and weeks that are gone.  Percentiles may be 1 % off, as the published ones come from histograms; all else is exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypedDict

from streams.audit.beside import FLOAT_ERROR, Difference, Record, beside, micros, own_watermark, share_differences
from streams.audit.recompute import Expected, Key, is_gone
from streams.audit.tally import SHAPES, Number, Shape, age, average, durations, share, won_to_lost
from streams.audit.windows import CALENDAR, ROLLING
from streams.config import Definitions
from streams.kpis.catalogue import BY_ID, ENTITY_FIELDS

MAX_EXAMPLES = 20
PERCENTILE_ERROR = 0.01
# Counts and sums are exact, however large; what is divided may differ in the last bits, percentiles by 1 %.
VALUES_NEAR: dict[Shape | None, float] = {
    durations: PERCENTILE_ERROR,
    share: FLOAT_ERROR,
    won_to_lost: FLOAT_ERROR,
    average: FLOAT_ERROR,
}
STATS_NEAR = {"p50": PERCENTILE_ERROR, "p90": PERCENTILE_ERROR, "mean": FLOAT_ERROR}
# Without facts these may be 0 or null.
EMPTY_OR_NULL = ("value", "numerator", "denominator")


class Comparison(TypedDict):
    """How many records were compared, and what differs; `different` includes missing and unexpected ones."""

    compared: int
    different: int
    missing: int
    unexpected: int
    examples: list[dict[str, Any]]


def compare(
    expected: Mapping[Key, Expected],
    definitions: Definitions,
    published: Iterable[Record],
    latest: Iterable[Record] | None = None,
    as_of: int | None = None,
) -> Comparison:
    """Compare the last record of every key with what is expected.

    `published` may be of either KPI topic or both.  `latest` are records of the latest topic alone: it must hold the
    window at the watermark, and no snapshots and no other window.  `as_of`: that watermark, which what is expected says too,
    unless nothing is.
    """
    found = Comparison(compared=0, different=0, missing=0, unexpected=0, examples=[])
    published = list(published)
    as_of = next((one.as_of for one in expected.values()), as_of)
    watermark = latest_watermark(published) if as_of is None else as_of
    judge = Judge(expected, definitions, watermark, found)
    seen = {key for record in published if (key := judge.look_at(record))}
    current: set[Key] | None = None
    if latest is not None:
        current = {key for record in latest if (key := judge.look_at(record, in_latest=True))}
    for key, one in expected.items():
        if one.required and key not in (current if current is not None and holds(one) else seen):
            found["missing"] += 1
            _note(found, key, [("record", one.value, None)])
    return found


def latest_watermark(records: Iterable[Record]) -> int | None:
    """Return the highest watermark that a record names."""
    said = (own_watermark(one) for one in records if key_of(one))  # what others wrote is not of our time
    return max((at for at in said if at is not None), default=None)


def holds(one: Expected) -> bool:
    """Say whether an expected record is of a window that holds the watermark, as all of `latest` do."""
    return one.end is None or micros(one.end) > one.as_of


def key_of(record: Record) -> Key | None:
    """Return the key that a record's fields make; None if they make none."""
    try:
        fields, entity, window = ENTITY_FIELDS[record["cut"]], record["entity"], record["window"]
        if set(entity) != set(fields) or record["kpi"] not in BY_ID:
            return None
        values = tuple(entity[field] for field in fields)
        key = record["kpi"], record["cut"], values, window["name"], window["start"], record["currency"]
        hash(key)
        between = [micros(at) for at in (window["start"], window["end"]) if at is not None]
    except (KeyError, TypeError, ValueError):
        return None
    return None if len(between) == 1 else key


class Judge(NamedTuple):
    """What records are held to, and what was found."""

    expected: Mapping[Key, Expected]
    definitions: Definitions
    watermark: int | None
    found: Comparison

    def look_at(self, record: Record, *, in_latest: bool = False) -> Key | None:
        """Count one record; return its key if its numbers were compared."""
        key = key_of(record)
        if key is None:
            self._unexpected((record.get("kpi", record.get("key")), record.get("cut")), record)
            return None
        differing = list(beside(record, self.watermark, self.definitions))
        one = self.expected.get(key)
        if one:
            self.found["compared"] += 1
            differing += differences(key, one, record, in_latest=in_latest)
            differing += share_differences(record, one.mature, self.definitions)
        elif not is_outside(key, record, self.watermark, in_latest=in_latest):
            self._unexpected(key, record)
            return None
        _note(self.found, key, differing)
        return key if one else None

    def _unexpected(self, key: tuple[Any, ...], record: Record) -> None:
        self.found["unexpected"] += 1
        _note(self.found, key, [("record", None, record.get("value"))])


def is_outside(key: Key, record: Record, watermark: int | None, *, in_latest: bool) -> bool:
    """Say whether law 1 allows a record that is not expected: empty, gone, or a snapshot of the past."""
    kpi, _, _, window, start, _ = key
    if not record.get("n") and not record.get("value"):
        return True
    if watermark is None or start is None:
        return False
    if is_gone(window, micros(start), watermark):
        return True
    if in_latest:
        return False
    if BY_ID[kpi].base == "level":
        return window == "day"
    return window in ROLLING and micros(record["window"]["end"]) <= watermark


# ------------------------------------------------------------------ field by field


def differences(key: Key, one: Expected, record: Record, *, in_latest: bool) -> Iterator[Difference]:
    """Yield (field, expected, found) for every field of law 1 that differs."""
    if in_latest and record.get("n") and key[3] in CALENDAR and not holds(one):
        yield "window", "the one at the watermark", record["window"]
    value = _value_at(one, record) if key[0] == "oldest_waiting" else one.value
    near = VALUES_NEAR.get(SHAPES.get(key[0]), 0.0)
    for field, said, tells in (
        ("unit", one.unit, record.get("unit")),
        ("end", one.end, record["window"].get("end")),
        ("n", one.n, record.get("n")),
        ("value", value, record.get("value")),
        ("numerator", one.numerator, record.get("numerator")),
        ("denominator", one.denominator, record.get("denominator")),
        ("previous", one.previous, record.get("previous")),
    ):
        empty = one.n == 0 and field in EMPTY_OR_NULL and not tells
        if not empty and not is_same(said, tells, near if field in ("value", "previous") else 0.0):
            yield field, said, tells
    if one.n > 0:
        yield from _stats_differences(one.stats, record.get("stats"))


def _value_at(one: Expected, record: Record) -> Number | None:
    """Return the age of the oldest as of the record's own watermark: between two publications an age only grows."""
    try:
        return one.value if one.since is None else age(one.since, micros(record["watermark"]))
    except (KeyError, TypeError, ValueError):
        return one.value


def _stats_differences(said: Mapping[str, Any] | None, tells: Any) -> Iterator[Difference]:
    if said is None or not isinstance(tells, Mapping) or set(said) != set(tells):
        if said is not tells:
            yield "stats", said, tells
        return
    for name, number in said.items():
        if not is_same(number, tells[name], STATS_NEAR.get(name, 0.0)):
            yield f"stats.{name}", number, tells[name]


def is_same(said: Any, tells: Any, near: float = 0.0) -> bool:
    """Say whether two values agree: numbers within that part of what is expected, all else exactly."""
    if near and isinstance(said, (int, float)) and isinstance(tells, (int, float)):
        return abs(said - tells) <= near * abs(said)
    return bool(said == tells)


def _note(found: Comparison, key: tuple[Any, ...], differing: list[Difference]) -> None:
    """Count a record that differs, and keep the first examples."""
    found["different"] += bool(differing)
    for field, said, tells in differing:
        if len(found["examples"]) < MAX_EXAMPLES:
            found["examples"].append({"key": list(key), "field": field, "expected": said, "found": tells})
