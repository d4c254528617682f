"""How is a history written by hand?  Short makers of events, and the one record that a test looks at."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from streams.audit.recompute import Expected, recompute
from streams.config import Definitions, definitions_from
from streams.events.contract import ACTIVITY_TYPES, DIRECTIONS, OUTCOMES, Activity, Event, StageChange

DEFAULT_STAGES = [
    {"name": "New", "kind": "lead"},
    {"name": "Qualified", "kind": "open"},
    {"name": "Proposal", "kind": "open"},
    {"name": "Won", "kind": "won"},
    {"name": "Lost", "kind": "lost"},
]
RENEWAL_STAGES = [{"name": "Due", "kind": "open"}, {"name": "Won", "kind": "won"}, {"name": "Paid", "kind": "won"}]
REPS = {"anna": {"team": "Central", "region": "EU"}, "borys": {"team": "West"}, "cleo": {}}


def settings(**changed: Any) -> Definitions:
    """Return two pipelines and three reps in UTC, changed as said."""
    pipelines = {"default": {"stages": DEFAULT_STAGES}, "renewals": {"stages": RENEWAL_STAGES}}
    return definitions_from({"business": {"zone": "UTC"}, "pipelines": pipelines, "reps": REPS} | changed)


def us(text: str) -> int:
    """Read "2024-03-04 10:00" (UTC) in µs."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


def change(event_id: str, at: str, stage: str | None = None, **said: Any) -> StageChange:
    """Make a stage event of deal d; pipeline, clear, deleted and deal_id by name, the rest is what it says."""
    deal_id, pipeline = said.pop("deal_id", "d"), said.pop("pipeline", None)
    clear, deleted = tuple(said.pop("clear", ())), said.pop("deleted", None)
    return StageChange(event_id, us(at), deal_id, stage, None, pipeline, said, clear, deleted)


def act(event_id: str, at: str, kind: str = "call", direction: str | None = None, **more: Any) -> Activity:
    """Make an activity of deal d."""
    return Activity(
        event_id, us(at), more.get("deal_id", "d"), more.get("rep_id"), None, ACTIVITY_TYPES.index(kind),
        DIRECTIONS.index(direction), OUTCOMES.index(more.get("outcome")), more.get("duration_ms", -1),
        more.get("automated", False), more.get("planned", False),
    )  # fmt: skip


class Numbers:
    """Everything that a history makes at a watermark."""

    def __init__(
        self, events: Iterable[Event], watermark: str = "2024-06-15 12:00", definitions: Definitions | None = None
    ) -> None:
        self.records = recompute(events, definitions or settings(), us(watermark))

    def one(self, kpi: str, cut: str = "all", entity: tuple[str, ...] = (), **at: str | None) -> Expected | None:
        """Return one record (window `all` unless said; start as "2024-03-01 00:00" UTC), None if there is none."""
        begin = at.get("start")
        start = None if begin is None else f"{begin.replace(' ', 'T')}:00+00:00"
        return self.records.get((kpi, cut, entity, at.get("window") or "all", start, at.get("currency")))

    def value(self, kpi: str, cut: str = "all", entity: tuple[str, ...] = (), **at: str | None) -> Any:
        """Return the value of one record, None if there is none."""
        found = self.one(kpi, cut, entity, **at)
        return found.value if found else None

    def share(self, kpi: str, cut: str = "all", entity: tuple[str, ...] = (), **at: str | None) -> Any:
        """Return (numerator, denominator) of one record, None if there is none."""
        found = self.one(kpi, cut, entity, **at)
        return (found.numerator, found.denominator) if found else None

    def entities(self, kpi: str, cut: str, window: str = "all") -> dict[tuple[str, ...], Any]:
        """Return the values of all entities of a cut."""
        return {key[2]: one.value for key, one in self.records.items() if key[:2] == (kpi, cut) and key[3] == window}


_HOUR = 3_600_000  # ms
# Office hours of which the clock is put forward over a part, where a day begins, and how much of its first 23 hours is office time.
GAPS = [
    ("Europe/Kyiv", "Mon-Sun 00:00-03:30", "2024-03-30 22:00", 3 * _HOUR),  # there is no 03:00 to 04:00
    ("Europe/Kyiv", "Mon-Sun 03:15-03:45", "2024-03-30 22:00", 0),
    ("Europe/Kyiv", "Mon-Sun 00:00-03:30, Mon-Sun 04:00-24:00", "2024-03-30 22:00", 23 * _HOUR),
    ("Europe/Kyiv", "Mon-Sun 03:30-05:00", "2024-03-30 22:00", 1 * _HOUR),
    ("Australia/Lord_Howe", "Mon-Sun 02:10-03:00", "2024-10-05 13:30", _HOUR // 2),  # nor 02:00 to 02:30
    ("Pacific/Apia", "Mon-Sun 09:00-18:00", "2011-12-30 10:00", 9 * _HOUR),  # nor 30 December: the 31st alone
]
