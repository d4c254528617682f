"""A flow in memory whose clock runs, and which notes what was told when."""

from __future__ import annotations

from typing import Any

from streams.config import Definitions
from streams.kafka.room import Moment, Output
from streams.topics import KPI_HISTORY, KPI_LATEST
from tests.audit.tables import change, settings
from tests.in_memory import InMemory

SECOND = 1_000_000


class Live(InMemory):
    """A flow whose wall clock moves by a quarter of a second with each look, and which notes what was told when."""

    def __init__(self, definitions: Definitions) -> None:
        super().__init__(definitions)
        self.step = SECOND // 4
        self.clock = 1_000 * SECOND
        self.told: list[tuple[int, str, dict[str, Any] | None]] = []
        self.leads = 0

    def _receive(self, output: Output) -> None:
        before = self.latest.get(output[2] or b"")
        super()._receive(output)
        if output[0] in (KPI_LATEST, KPI_HISTORY):
            after = self.latest.get(output[2] or b"") if output[0] == KPI_LATEST else self.history.get(output[2] or b"")
            one = after or before or {}
            if (one.get("kpi"), one.get("cut")) == ("new_leads", "all"):
                self.told.append((self.clock, one["window"]["name"], after))

    def lead(self, at: str = "2024-03-01 10:00", **said: Any) -> None:
        """One more deal; each makes every window's count greater by one."""
        self.leads += 1
        self.feed([change(f"e{self.leads}", at, "New", deal_id=f"d{self.leads}")], **said)

    def leads_for(self, seconds: float) -> None:
        """A new lead at every look."""
        for _ in range(round(seconds * SECOND / self.step)):
            self.lead()

    def wait(self, seconds: float, **said: Any) -> None:
        """Nothing comes in."""
        for _ in range(round(seconds * SECOND / self.step)):
            self.feed([], **said)

    def counts(self) -> dict[str, int]:
        """Return what a reader of latest sees at present, by window."""
        return {
            one["window"]["name"]: one["value"]
            for one in self.latest.values()
            if (one["kpi"], one["cut"]) == ("new_leads", "all")
        }

    def owes(self) -> bool:
        """Will more be told although nothing comes in?"""
        return self.kpis.owes(Moment(self.clock, frozenset((0,))))

    def instants(self, window: str) -> list[int]:
        """Return when a window was told."""
        return [at for at, name, _ in self.told if name == window]


def live(**changed: Any) -> Live:
    """Return a flow under these settings."""
    return Live(settings(partitions=1, **changed))
