"""What came out of the demo?  Read from the KPI topics like any subscriber would."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from streams.cli import simulate, view, wording
from streams.cli.batch import rejections
from streams.cli.sample import NOTE, Sample
from streams.cli.stack import Stack
from streams.cli.watch import Record, Watch

RECORDED = "default"
DAY = 86_400

# KPI, cut, window
HEADLINES = (
    ("win_rate", "pipeline", "all"),
    ("revenue", "pipeline", "all"),
    ("active_deals", "pipeline", "now"),
    ("lead_conversion", "pipeline", "28d"),
    ("stage_conversion", "stage", "28d"),
    ("first_response_time", "team", "7d"),
    ("first_response_within_sla", "team", "7d"),
    ("win_rate", "team", "90d"),
    ("revenue", "team", "90d"),
    ("activities", "team", "7d"),
)


def summary(found: Sample, watch: Watch, stack: Stack, seconds: float) -> dict[str, Any]:
    """Return the summary as plain data."""
    series = stack.worker.counted()
    return {
        "events": {
            "sent": len(found.records),
            "accepted": int(series.get(("dealpulse_events_accepted_total", ""), 0)),
            "rejected": dict(sorted(rejections(series).items())),
            "duplicates": int(series.get(("dealpulse_events_duplicate_total", ""), 0)),
        },
        "seconds": round(seconds, 3),
        "reference": reference(watch),
        "kpis": headlines(watch),
        "alerts": sorted(watch.alerts, key=itemgetter("at")),
        "simulated": {
            "pipeline": simulate.PIPELINE,
            "teams": list(simulate.TEAMS),
            "events": found.simulated,
            "leads": found.simulated_leads,
            "note": NOTE,
        },
        "recorded": {"pipeline": RECORDED, "events": found.recorded, "weeks_shifted": found.weeks},
        "metrics_url": stack.worker.metrics_url,
        "broker": stack.settings.environment.broker,
    }


def reference(watch: Watch) -> dict[str, Any]:
    """Return what is known of the recorded set from elsewhere, as the KPI topics say it."""

    def of_pipeline(kpi: str, window: str = "all") -> Record:
        return watch.record(kpi, "pipeline", (RECORDED,), window) or {}

    rate, revenue = of_pipeline("win_rate"), of_pipeline("revenue")
    closed, won = rate.get("denominator"), rate.get("numerator")
    return {
        "won": won,
        "lost": None if closed is None or won is None else closed - won,
        "win_rate": rate.get("value"),
        "revenue": revenue.get("value"),
        "currency": revenue.get("currency"),
        "active": of_pipeline("active_deals", "now").get("value"),
        "won_cycle_days_mean": _mean_days(of_pipeline("sales_cycle")),
        "closed_cycle_days_mean": _mean_days(of_pipeline("closed_cycle")),
    }


def _mean_days(record: Record) -> float | None:
    stats = record.get("stats")
    return None if not stats else stats["mean"] / DAY


def headlines(watch: Watch) -> list[Record]:
    """Return the records that the summary shows."""
    found = [one for kpi, cut, window in HEADLINES for one in watch.records(kpi, cut, window)]
    return sorted(found, key=lambda one: HEADLINES.index((one["kpi"], one["cut"], one["window"]["name"])))


def tables(result: dict[str, Any]) -> RenderableType:
    """Lay the summary out for people."""
    events = result["events"]
    first = Table("", "", title="Processed", show_header=False)
    for name, value in (
        ("sent", f"{events['sent']:,}"),
        ("accepted", f"{events['accepted']:,}"),
        ("rejected", f"{sum(events['rejected'].values()):,}"),
        ("duplicates", f"{events['duplicates']:,}"),
        ("seconds", f"{result['seconds']:.1f}"),
    ):
        first.add_row(name, value)
    return Group(first, _reference_table(result["reference"]), _kpi_table(result["kpis"]), *_alert_lines(result), NOTE)


def _reference_table(found: dict[str, Any]) -> Table:
    table = Table("", "", title="Recorded pipeline, all time", show_header=False)
    units = {"win_rate": "ratio", "revenue": "money"}
    for name, value in found.items():
        if name.endswith("_days_mean"):
            table.add_row(name.removesuffix("_days_mean").replace("_", " ") + ", mean", wording.duration((value or 0) * DAY))
        elif name != "currency":
            table.add_row(name.replace("_", " "), wording.amount(value, units.get(name, "count"), found["currency"]))
    return table


def _kpi_table(records: list[Record]) -> Table:
    table = Table("KPI", "entity", "window", title="KPIs")
    table.add_column("value", justify="right")
    table.add_column("n", justify="right")
    table.add_column("previous", justify="right")
    for one in records:
        previous = wording.value(one, "previous")
        table.add_row(one["kpi"], wording.entity(one), one["window"]["name"], wording.value(one), f"{one['n']:,}", previous)
    return table


def _alert_lines(result: dict[str, Any]) -> list[str]:
    return [f"Alerts: {len(result['alerts'])}", *(f"  {view.alert_line(one)}" for one in result["alerts"])]
