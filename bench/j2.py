"""What is job J2?  A million CRM events of about 300 bytes, and the settings that count them.

50,000 deals, 200 reps, 7 stages, 20 % stage changes, 80 % activities, in time order, over 24 hours.
Per-deal state with changelog, per-rep and per-stage panes, repartition, output.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from streams import topics

DEALS = 50_000
REPS = 200
CUSTOMERS = 9_000
STAGES = ("New", "Contacted", "Qualified", "Meeting", "Proposal", "Won", "Lost")
START = datetime(2024, 3, 4, tzinfo=UTC)
SPAN = timedelta(hours=24)
STAGE_SHARE = 0.2
SEED = 20240304
_TYPES = ("call", "email", "meeting", "message", "note", "task")
_PAD = "x" * 256


def definitions(*, narrow: bool, reps: int = REPS) -> dict[str, Any]:
    """Return dealpulse.yaml of the job: `narrow` counts per rep and per stage, else the whole catalogue."""
    stages = [
        {"name": name, "kind": "lead" if name == "New" else name.lower() if name in ("Won", "Lost") else "open"}
        for name in STAGES
    ]
    found: dict[str, Any] = {
        "currency": "USD",
        "partitions": 4,
        "flush_interval": "500ms",  # the last events of a run wait as long for more
        "pipelines": {"default": {"stages": stages}},
        "reps": {f"rep-{n:03d}": {"team": f"team-{n % 8}", "region": f"region-{n % 4}"} for n in range(reps)},
    }
    if narrow:
        on = {"activities", "stage_entered", "stage_left", "time_in_stage"}
        found["cuts"] = ["rep", "stage"]
        found["windows"] = ["1h", "24h", "day"]
        found["kpis"] = {name: name in on for name in _catalogue()}
        found["rules"] = []
    return found


def _catalogue() -> list[str]:
    from streams.kpis.catalogue import CATALOGUE  # noqa: PLC0415  # the generator itself needs no package

    return [kpi.id for kpi in CATALOGUE]


def events(
    count: int,
    seed: int = SEED,
    when: Callable[[int], datetime] | None = None,
    deals: int = DEALS,
    customers: int = CUSTOMERS,
) -> Iterator[tuple[str, bytes, bytes]]:
    """Yield (topic, key, value) in time order; the same seed gives the same bytes.

    `when` gives the time of the event of a number; by default they fill one day.
    """
    rng = random.Random(seed)  # data, not secrets
    at_stage: dict[int, int] = {}
    step = SPAN / count
    for number in range(count):
        deal = rng.randrange(deals)
        moment = START + number * step if when is None else when(number)
        if deal not in at_stage or rng.random() < STAGE_SHARE - 0.05:
            stage = at_stage[deal] = min(at_stage.get(deal, -1) + 1, len(STAGES) - 1)
            topic, said = topics.STAGE_CHANGE, move(deal, stage, customers)
        else:
            topic, said = topics.ACTIVITY, activity(rng)
        key = f"deal-{deal:06d}"
        yield topic, key.encode(), event(number, moment, key, f"rep-{deal % REPS:03d}", said)


def move(deal: int, stage: int, customers: int = CUSTOMERS) -> dict[str, Any]:
    """Return what a deal's stage event says."""
    return {"to_stage": STAGES[stage], "customer_id": f"customer-{deal % customers:05d}", "product": f"product-{deal % 12}",
            "lead_source": f"source-{deal % 6}", "amount": 100 + deal % 9000, "currency": "USD"}  # fmt: skip


def activity(rng: random.Random) -> dict[str, Any]:
    """Return what an activity says."""
    return {
        "type": rng.choice(_TYPES),
        "direction": rng.choice(("inbound", "outbound")),
        "duration_s": rng.randrange(900),
    }


def event(number: int, moment: datetime, deal: str, rep: str, said: dict[str, Any]) -> bytes:
    """Return an event of about 300 bytes."""
    at = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    fields = {"event_id": f"evt-{number:012d}", "occurred_at": at, "deal_id": deal, "rep_id": rep, **said}
    value = json.dumps(fields, separators=(",", ":"))
    return (value[:-1] + ',"pad":"' + _PAD[: max(0, 290 - len(value))] + '"}').encode()
