"""How many µs of CPU does one record take to decode?  Run: python -m bench.decode [--seconds N]."""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from streams.events.contract import ACTIVITY_TYPES, OUTCOMES, Rejection
from streams.events.decode import Limits, decode_activity, decode_stage_change

START = datetime(2024, 1, 1, tzinfo=UTC)
RECEIVED = int(datetime(2025, 6, 1, tzinfo=UTC).timestamp() * 1e6)
LIMITS = Limits(max_future=300_000_000, zone=ZoneInfo("Europe/Kyiv"))
SLICE = 200
Record = tuple[bytes, bytes]


def moment(chance: random.Random, place: int, spec: str) -> str:
    """Return the time of an event; in order but for an hour of delay, a million a year, as a CRM sends them."""
    at = START + timedelta(seconds=place * 31.5, microseconds=chance.randrange(3_600_000_000))
    return at.isoformat(timespec=spec).replace("+00:00", "Z")


def record(event: dict[str, Any], size: int, *, compact: bool) -> Record:
    """Return key and value, padded with an unknown field to the size."""
    separators = (",", ":") if compact else (", ", ": ")
    missing = size - len(json.dumps(event, separators=separators)) - 12
    if missing > 0:
        event["note"] = "x" * missing
    return event["deal_id"].encode(), json.dumps(event, separators=separators).encode()


def activity(chance: random.Random, place: int, spec: str) -> Record:
    """Return one activity of 300 bytes."""
    event = {
        "event_id": f"a-{chance.randrange(10**9):09}",
        "occurred_at": moment(chance, place, spec),
        "deal_id": f"deal-{chance.randrange(100_000):06}",
        "type": chance.choice(ACTIVITY_TYPES),
        "rep_id": f"rep-{chance.randrange(200)}",
        "customer_id": f"cust-{chance.randrange(30_000)}",
        "direction": chance.choice(("inbound", "outbound")),
        "outcome": chance.choice(OUTCOMES[1:]),
        "duration_s": chance.randrange(3600),
        "automated": False,
    }
    return record(event, 300, compact=False)


def stage_change(chance: random.Random, place: int, spec: str) -> Record:
    """Return one stage change with ten things said."""
    event = {
        "event_id": f"s-{chance.randrange(10**9):09}",
        "occurred_at": moment(chance, place, spec),
        "deal_id": f"deal-{chance.randrange(100_000):06}",
        "from_stage": "Qualified",
        "to_stage": chance.choice(("Meeting", "Proposal", "Won")),
        "pipeline": "default",
        "rep_id": f"rep-{chance.randrange(200)}",
        "customer_id": f"cust-{chance.randrange(30_000)}",
        "product": f"GTX {chance.randrange(40)}",
        "region": "EU",
        "lead_source": chance.choice(("web", "referral", "event")),
        "amount": chance.randrange(10_000_000) / 100,
        "currency": "EUR",
        "close_date": "2025-09-30",
    }
    return record(event, 380, compact=False)


def typical(decode: Callable[..., object], records: list[Record], seconds: float) -> float:
    """Return the CPU µs per record: the mean over slices of the records of each slice's best round.

    A first round fills the caches; short slices make the figure stand still on a machine that does other work.
    """
    for key, value in records:
        found = decode(key, value, RECEIVED, LIMITS)
        if isinstance(found, Rejection):
            raise SystemExit(f"refused: {found} {value!r}")
    slices = [records[start : start + SLICE] for start in range(0, len(records), SLICE)]
    best = [float("inf")] * len(slices)
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        for place, part in enumerate(slices):
            start = time.thread_time()
            for key, value in part:
                decode(key, value, RECEIVED, LIMITS)
            best[place] = min(best[place], time.thread_time() - start)
    return sum(best) / len(records) * 1e6


def main() -> None:
    """Print one line per kind of record and precision of its times."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.decode", description="How many µs of CPU does one record take to decode?"
    )
    parser.add_argument("--seconds", type=float, default=2.0, metavar="N", help="for each line (default: %(default)s)")
    seconds = parser.parse_args().seconds
    chance = random.Random(7)  # sample data, no secret
    for name, make, decode in (
        ("activity", activity, decode_activity),
        ("stage change", stage_change, decode_stage_change),
    ):
        for spec in ("seconds", "milliseconds", "microseconds"):
            records = [make(chance, place, spec) for place in range(20_000)]
            size = sum(len(value) for _, value in records) / len(records)
            took = typical(decode, records, seconds)
            print(f"{name:12}  {spec:12}  {size:4.0f} bytes  {took:5.2f} µs")


if __name__ == "__main__":
    main()
