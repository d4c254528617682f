"""What does the demo feed?  The recorded CRM set, moved to the present by whole weeks, and the simulated part."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import orjson

from streams.cli import datasets, simulate
from streams.cli.lines import Outgoing, key_of
from streams.cli.settings import CheckError

Event = tuple[str, dict[str, Any]]  # topic, value
DATE = 10  # characters of YYYY-MM-DD

NOTE = (
    "Recorded data: CRM Sales Opportunities (Maven Analytics), pipeline default.  "
    "Simulated: pipeline inbound, its teams and reps (deals SIM-…), and a few activities."
)


@dataclass(frozen=True)
class Sample:
    """Everything to feed, in order of time; `now` is the present of this data."""

    records: list[Outgoing]
    definitions: dict[str, Any]
    now: datetime
    weeks: int
    recorded: int
    simulated: int
    simulated_leads: int


def sample(today: datetime, *, as_recorded: bool) -> Sample:
    """Make the demo's data, as it is at the instant `today`."""
    recorded = _recorded()
    last = max(date.fromisoformat(value["occurred_at"][:DATE]) for _, value in recorded)
    weeks = 0 if as_recorded else weeks_until_yesterday(last, today.date())
    recorded = [(topic, shifted(value, weeks)) for topic, value in recorded]
    now = datetime.combine(last + timedelta(days=1), datetime.min.time(), UTC) if as_recorded else today
    simulated = [*simulate.history(now), *simulate.activities_on(_closed(recorded))]
    leads = sum(value.get("to_stage") == "New" for _, value in simulated)
    records = [as_record(event) for event in sorted([*recorded, *simulated], key=_time)]
    return Sample(records, definitions(), now, weeks, len(recorded), len(simulated), leads)


def _recorded() -> list[Event]:
    try:
        return list(datasets.maven_events())
    except FileNotFoundError as error:
        raise CheckError(str(error)) from None


def _closed(events: list[Event]) -> list[dict[str, Any]]:
    """Return the closing events, each with the rep that its deal began with."""
    reps: dict[str, str] = {}
    for _, value in events:
        reps.setdefault(value["deal_id"], value.get("rep_id", ""))
    return [{**value, "rep_id": reps[value["deal_id"]]} for _, value in events if value["to_stage"] in {"Won", "Lost"}]


def _time(event: Event) -> str:
    # A date alone sorts before every time of its day, which is when it counts.
    return str(event[1]["occurred_at"])


def weeks_until_yesterday(last: date, today: date) -> int:
    """Return the largest number of whole weeks after which `last` is not later than yesterday."""
    return ((today - timedelta(days=1)) - last).days // 7


def shifted(value: dict[str, Any], weeks: int) -> dict[str, Any]:
    """Return the event with its dates moved; weekdays stay."""
    moved = {name: move(value[name], weeks) for name in ("occurred_at", "close_date") if value.get(name)}
    return {**value, **moved}


def move(said: str, weeks: int) -> str:
    """Move a date, or the date that a time begins with."""
    return (date.fromisoformat(said[:DATE]) + timedelta(weeks=weeks)).isoformat() + said[DATE:]


def as_record(event: Event) -> Outgoing:
    """Make a record of an event."""
    topic, value = event
    text = orjson.dumps(value)
    return Outgoing(topic, key_of(topic, text), text)


def definitions() -> dict[str, Any]:
    """Return the demo's dealpulse.yaml: that of the recorded set, and the simulated pipeline beside it."""
    recorded, simulated = datasets.maven_definitions(), simulate.definitions()
    return {
        **recorded,
        "pipelines": {**recorded["pipelines"], **simulated["pipelines"]},
        "reps": {**recorded["reps"], **simulated["reps"]},
        "sla": {"first_response": "1h"},
        "rules": [
            {"name": "conversion-drop", "kind": "conversion_drop", "cut": "stage"},
            {"name": "response-rise", "kind": "response_rise", "cut": "team"},
        ],
    }
