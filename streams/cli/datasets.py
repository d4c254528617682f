"""How do two public data sets read as CRM events?  Generators of (topic, value), ordered by time, ids stable.

maven_crm is the fictional hardware firm that the demo shows (data/maven_crm); bpi2012 is the loan funnel of a Dutch
bank (BPI Challenge 2012, doi:10.4121/uuid:3926db30-f712-4394-aebc-75976070e91f), whose licence keeps it out of the project.
"""

from __future__ import annotations

import csv
import gzip
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from streams.topics import ACTIVITY, STAGE_CHANGE

Value = dict[str, Any]
Row = dict[str, str]

# ------------------------------------------------------------------ maven_crm

# Prospecting deals have no date; the set ends on this day.
MAVEN_LAST_DAY = "2017-12-31"
# The pipeline's spelling of a product, and the product table's.
MAVEN_PRODUCTS = {"GTXPro": "GTX Pro"}
MAVEN_COUNTRIES = {"Philipines": "Philippines"}
MAVEN_FOLDERS = (
    Path(__file__).resolve().parents[2] / "data" / "maven_crm",  # a checkout
    Path(sys.prefix) / "share" / "dealpulse" / "data" / "maven_crm",  # an installed wheel
)


def maven_folder() -> Path:
    """Return where the files are.  Raises FileNotFoundError."""
    for folder in MAVEN_FOLDERS:
        if folder.is_dir():
            return folder
    raise FileNotFoundError(f"the sample data is at none of {', '.join(map(str, MAVEN_FOLDERS))}")


def maven_events(folder: Path | str | None = None) -> Iterator[tuple[str, Value]]:
    """Yield the stage events: Engaging when engaged, Won or Lost when closed, Prospecting on the last day."""
    folder = folder or maven_folder()
    countries = {row["account"]: row["office_location"] for row in _rows(Path(folder) / "accounts.csv")}
    events = [event for row in _rows(Path(folder) / "sales_pipeline.csv") for event in _maven_deal(row, countries)]
    for event in sorted(events, key=lambda one: (one["occurred_at"], one["event_id"])):
        yield STAGE_CHANGE, event


def _maven_deal(row: Row, countries: dict[str, str]) -> Iterator[Value]:
    deal, stage, account = row["opportunity_id"], row["deal_stage"], row["account"]
    country = countries.get(account, "")
    said = {
        "deal_id": deal,
        "rep_id": row["sales_agent"],
        "product": MAVEN_PRODUCTS.get(row["product"], row["product"]),
        "customer_id": account or None,
        "region": MAVEN_COUNTRIES.get(country, country) or None,
        "currency": "USD",
    }
    first = "Prospecting" if stage == "Prospecting" else "Engaging"
    known = {field: value for field, value in said.items() if value is not None}
    yield {"event_id": f"{deal}-1", "occurred_at": row["engage_date"] or MAVEN_LAST_DAY, "to_stage": first, **known}
    if row["close_date"]:
        yield {
            "event_id": f"{deal}-2",
            "occurred_at": row["close_date"],
            "deal_id": deal,
            "from_stage": "Engaging",
            "to_stage": stage,
            "amount": int(row["close_value"]),
        }


def maven_definitions(folder: Path | str | None = None) -> Value:
    """Return the settings of the firm in the form of dealpulse.yaml; the team of an agent is the regional office."""
    return {
        "currency": "USD",
        "business": {"zone": "UTC"},
        "pipelines": {
            "default": {
                "maturity_days": 120,
                "stages": [
                    {"name": "Prospecting", "kind": "lead"},
                    {"name": "Engaging", "kind": "open", "qualified": True, "opportunity": True},
                    {"name": "Won", "kind": "won"},
                    {"name": "Lost", "kind": "lost"},
                ],
            }
        },
        "reps": {
            row["sales_agent"]: {"team": row["regional_office"], "manager": row["manager"]}
            for row in _rows(Path(folder or maven_folder()) / "sales_teams.csv")
        },
    }


# ------------------------------------------------------------------ bpi2012

BPI_STAGES = (
    ("A_SUBMITTED", "lead"),
    ("A_PARTLYSUBMITTED", "open"),
    ("A_PREACCEPTED", "open"),
    ("A_ACCEPTED", "open"),
    ("A_FINALIZED", "open"),
    ("O_SENT", "open"),
    ("O_SENT_BACK", "open"),
    ("A_APPROVED", "won"),
    ("A_REGISTERED", "won"),
    ("A_ACTIVATED", "won"),
    ("A_DECLINED", "lost"),
    ("A_CANCELLED", "lost"),
)
# Work that is done on the phone; the rest is work on the file.
BPI_CALLS = ("W_Afhandelen leads", "W_Nabellen offertes", "W_Nabellen incomplete dossiers")


def bpi_events(file: Path | str) -> Iterator[tuple[str, Value]]:
    """Yield stage events (A_* and the offer's way to the customer and back) and activities (a W_* that starts).

    The other offer events say nothing about the application's outcome and are left out.
    """
    with gzip.open(file, "rt", encoding="utf-8", newline="") as lines:
        rows = list(enumerate(csv.DictReader(lines)))
    rows.sort(key=lambda one: (datetime.fromisoformat(one[1]["time:timestamp"]), one[0]))
    stages = {name for name, _ in BPI_STAGES}
    begun: set[str] = set()
    for number, row in rows:
        event = {
            "event_id": f"{number:06}",  # zero-padded: events of one instant keep the order of the file
            "occurred_at": row["time:timestamp"],
            "deal_id": row["case_id"],
        }
        if row["org:resource"]:
            event["rep_id"] = row["org:resource"]
        name, step = row["concept:name"], row["lifecycle:transition"]
        if step == "COMPLETE" and name in stages:
            yield STAGE_CHANGE, event | _bpi_stage(row, first=row["case_id"] not in begun)
            begun.add(row["case_id"])
        elif step == "START" and name.startswith("W_"):
            yield ACTIVITY, event | ({"type": "call", "direction": "outbound"} if name in BPI_CALLS else {"type": "other"})


def _bpi_stage(row: Row, *, first: bool) -> Value:
    stage: Value = {"to_stage": row["concept:name"]}
    if row["concept:name"] in {"A_DECLINED", "A_CANCELLED"}:
        stage["lost_reason"] = row["concept:name"].removeprefix("A_").lower()
    return stage | {"amount": row["AMOUNT_REQ"]} if first else stage


def bpi_definitions() -> Value:
    """Return the bank's settings in the form of dealpulse.yaml."""
    return {
        "currency": "EUR",
        "business": {"zone": "Europe/Amsterdam"},
        "pipelines": {"default": {"stages": [{"name": name, "kind": kind} for name, kind in BPI_STAGES]}},
    }


def _rows(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8", newline="") as lines:
        yield from csv.DictReader(lines)
