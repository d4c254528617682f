"""The notify room without a broker, and what it is given: alert events, and how far the alerts are."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import orjson

from streams import topics
from streams.config import DEFAULT_RULES, Definitions
from streams.environment import Secret
from streams.kafka.room import StateTable
from streams.notify.room import NotifyRoom
from streams.notify.transports import Bot, Webhook
from tests.in_memory import delivered
from tests.notify.slack import HOOK, TOKEN, FakeSlack

NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)
KINDS = ("bot", "webhook")
RULES = (msgspec.structs.replace(DEFAULT_RULES[0], name="drop"),)


def transport(kind: str, slack: FakeSlack) -> Any:
    return Bot(Secret(TOKEN), "#sales", f"{slack.url}/api/") if kind == "bot" else Webhook(Secret(slack.url + HOOK))


class Office:
    """The notify room with waits that take no time; of so many partitions it owns those that it has tables of."""

    def __init__(self, sender: Any, *tables: StateTable, partitions: int = 1) -> None:
        self.tables = tables or (StateTable(),)
        self.state = self.tables[0]
        self.waits: list[float] = []
        self.room = NotifyRoom(Definitions(partitions=partitions, rules=RULES), sender, sleep=self._wait)
        for partition, table in enumerate(self.tables):
            self.room.open(partition, table)

    async def _wait(self, pause: float) -> None:
        self.waits.append(pause)

    async def tell(self, *events: dict[str, Any], written: datetime = NOW, partition: int = 0) -> None:
        """Deliver alert events, one after the other."""
        await self._deliver(partition, topics.ALERT_EVENTS, events, written)

    async def judged(self, *alerts: int, at: datetime = NOW, written: datetime = NOW, partition: int = 0) -> None:
        """Deliver that these partitions of the alerts (the first one unless said) have judged all up to an instant."""
        said = [{"partition": one, "at": round(at.timestamp() * 1_000_000)} for one in alerts or (0,)]
        await self._deliver(partition, topics.JUDGED, said, written)

    async def _deliver(self, partition: int, topic: str, values: Iterable[dict[str, Any]], written: datetime) -> None:
        for one in values:
            await self.room.deliver(partition, topic, delivered(orjson.dumps(one), written.timestamp()))


def event(revision: int = 1, fingerprint: str = "drop-1", **changed: Any) -> dict[str, Any]:
    """Return an alert event of an hour ago: fired, then resolved, then fired again."""
    transition = "fired" if revision % 2 else "resolved"
    at = NOW - timedelta(hours=1)
    return {
        "transition": transition, "fingerprint": fingerprint, "rule": "drop", "kind": "conversion_drop",
        "cut": "stage", "text": f"Conversion {transition}", "since": at.isoformat(), "at": at.isoformat(), "n": 100, "k": 10, "baseline": 0.2,
        "revision": revision,
    } | changed  # fmt: skip


def days(count: float) -> str:
    """Return an instant so many days before now."""
    return (NOW - timedelta(days=count)).isoformat()
