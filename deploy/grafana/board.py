"""Which panels does the board have?  One row each; running this file writes dashboards/dealpulse.json.

    python deploy/grafana/board.py

The JSON is committed, and a test compares it with this file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

TARGET = Path(__file__).parent / "dashboards" / "dealpulse.json"
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
ME = 'instance=~"$instance"'
RED_ABOVE_0 = ((None, "green"), (1, "red"))


class Panel(NamedTuple):
    """One panel: queries are (PromQL, legend); a stat shows the present, a timeseries the range."""

    title: str
    description: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    kind: str = "timeseries"
    width: int = 8
    thresholds: tuple[tuple[float | None, str], ...] = ((None, "green"),)
    stacked: bool = False


def rate(metric: str, by: str = "", **labels: str) -> str:
    """Return the PromQL of a counter per second, over all workers."""
    chosen = ",".join([ME, *(f'{name}="{value}"' for name, value in labels.items())])
    return f"sum{f' by ({by})' if by else ''} (rate(dealpulse_{metric}_total{{{chosen}}}[$__rate_interval]))"


def increase(metric: str, by: str) -> str:
    """Return the PromQL of how much a counter grew within each step."""
    return f"sum by ({by}) (increase(dealpulse_{metric}_total{{{ME}}}[$__rate_interval]))"


def quarter_hour(metric: str) -> str:
    """Return the PromQL of how much a counter grew in 15 minutes, over all workers."""
    return f"sum(increase(dealpulse_{metric}_total{{{ME}}}[15m]))"


def quantiles(metric: str, *shares: float) -> tuple[tuple[str, str], ...]:
    """Return queries for quantiles of a histogram, over all workers."""
    buckets = f"sum by (le) (rate(dealpulse_{metric}_seconds_bucket{{{ME}}}[$__rate_interval]))"
    return tuple((f"histogram_quantile({share}, {buckets})", f"p{share * 100:g}") for share in shares)


ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "Now",
        (
            Panel(
                "Workers", "Workers that can be scraped.", "none",
                ((f"count(dealpulse_build_info{{{ME}}}) or vector(0)", ""),), "stat", 4, ((None, "red"), (1, "green")),
            ),
            Panel(
                "Events", "Source events accepted each second.", "cps",
                ((rate("events_accepted"), ""),), "stat", 4,
            ),
            Panel(
                "Lag in time", "How long ago the last record came that a room has handled, where others wait, or since when it has handled none: the greatest of all partitions; 0 when all is read.",
                "s", ((f"max(dealpulse_consumer_lag_seconds{{{ME}}})", ""),), "stat", 4,
                ((None, "green"), (10, "orange"), (300, "red")),
            ),
            Panel(
                "Delay", "From an event's arrival in Kafka to its visible KPI records: what nine of ten rounds stay below, by their oldest event.",
                "s", ((quantiles("event_delay", 0.9)[0][0], ""),), "stat", 4, ((None, "green"), (5, "orange"), (60, "red")),
            ),
            Panel(
                "Refused", "Share of the events read in the last quarter of an hour that were refused.", "percentunit",
                ((f"{quarter_hour('events_rejected')} / {quarter_hour('events_consumed')}", ""),), "stat", 4, ((None, "green"), (0.02, "orange"), (0.2, "red")),
            ),
            Panel(
                "Alerts firing", "Sales alerts that are firing now.", "none",
                ((f'sum(dealpulse_alerts{{{ME},state="firing"}})', ""),), "stat", 4, RED_ABOVE_0,
            ),
        ),
    ),
    (
        "Events",
        (
            Panel(
                "Events by outcome", "What became of the source events.", "cps",
                (
                    (rate("events_accepted"), "accepted"), (rate("events_rejected"), "rejected"),
                    (rate("events_duplicate"), "duplicate"),
                ), width=12,
            ),
            Panel(
                "Events by topic", "Records read from the source topics.", "cps",
                ((rate("events_consumed", "topic"), "{{topic}}"),), width=12, stacked=True,
            ),
            Panel(
                "Refused by reason", "Why events were refused; each is on crm.dead-letter.", "cps",
                ((rate("events_rejected", "reason"), "{{reason}}"),), stacked=True,
            ),
            Panel(
                "Dead letters by reason", "Records written to crm.dead-letter.", "cps",
                ((rate("dead_letters", "reason"), "{{reason}}"),), stacked=True,
            ),
            Panel(
                "Doubts about the data",
                "Accepted, but worth a look: a from_stage that does not fit, stages missing in dealpulse.yaml, "
                "closes before the creation, events that a full record let go of.", "cps",
                (
                    (rate("stage_mismatch"), "from_stage does not fit"),
                    (rate("unconfigured_stage"), "stage not configured"),
                    (rate("anomalies", "kind"), "{{kind}}"), (rate("settled_events"), "settled"),
                ),
            ),
        ),
    ),
    (
        "Time",
        (
            Panel(
                "Unread records", "Records between the position and the end, by topic.", "short",
                ((f"sum by (topic) (dealpulse_consumer_lag_records{{{ME}}})", "{{topic}}"),),
            ),
            Panel(
                "Lag in time", "How long ago the last record came that was handled, where others wait, or since when none was: the greatest of a topic's partitions; 0 when all is read.", "s",
                ((f"max by (topic) (dealpulse_consumer_lag_seconds{{{ME}}})", "{{topic}}"),),
            ),
            Panel(
                "Distance to the present",
                "How far event time and the newest record are behind the clock. The record's grows when no events come; event time "
                "follows the clock then. In a replay of history event time is years behind.", "s",
                (
                    (f"time() - min(dealpulse_watermark_timestamp_seconds{{{ME}}} > 0)", "watermark"),
                    (f"time() - max(dealpulse_last_event_timestamp_seconds{{{ME}}} > 0)", "newest record"),
                ),
            ),
            Panel(
                "Delay, end to end", "From the arrival in Kafka of the oldest event behind a round to the commit that made its KPI records visible.",
                "s", quantiles("event_delay", 0.5, 0.9, 0.99), width=12,
            ),
            Panel(
                "Work on one event", "Time in the rooms, without waiting for Kafka.", "s",
                quantiles("event_processing", 0.5, 0.9, 0.99), width=12,
            ),
        ),
    ),
    (
        "Worker",
        (
            Panel(
                "Flush", "From the begin of a transaction to its commit.", "s", quantiles("flush", 0.5, 0.99),
            ),
            Panel(
                "Transactions", "Committed transactions.", "ops", ((rate("transactions"), "committed"),),
            ),
            Panel(
                "KPI records", "KPI records made visible.", "cps", ((rate("kpi_records", "topic"), "{{topic}}"),),
            ),
            Panel(
                "Recovery", "Workers that restore state, and the changelog records they read each second.", "none",
                (
                    (f"sum(dealpulse_recovering{{{ME}}})", "workers recovering"),
                    (rate("restored_records"), "records restored per second"),
                ),
            ),
            Panel(
                "Rebalances", "Assignments of partitions to workers.", "short",
                ((increase("rebalances", "instance"), "{{instance}}"),),
            ),
            Panel(
                "CPU", "Cores in use, by worker.", "none",
                ((f'rate(process_cpu_seconds_total{{{ME},job="dealpulse"}}[$__rate_interval])', "{{instance}}"),),
            ),
            Panel(
                "Memory", "Resident memory, by worker.", "bytes",
                ((f'process_resident_memory_bytes{{{ME},job="dealpulse"}}', "{{instance}}"),),
            ),
        ),
    ),
    (
        "Alerts",
        (
            Panel(
                "Firing, by rule", "Sales alerts that are firing.", "none",
                ((f'sum by (rule) (dealpulse_alerts{{{ME},state="firing"}})', "{{rule}}"),), stacked=True,
            ),
            Panel(
                "Changes of state", "Alerts that began to fire or were resolved.", "short",
                ((increase("alert_transitions", "rule, to"), "{{rule}} {{to}}"),),
            ),
            Panel(
                "Notifications", "Attempts to tell somebody, by transport and outcome.", "short",
                ((increase("notifications", "transport, outcome"), "{{transport}} {{outcome}}"),),
            ),
            Panel(
                "What is running", "Version of each worker.", "none",
                ((f"max by (instance, version, python, faust) (dealpulse_build_info{{{ME}}})", ""),), "table", 24,
            ),
        ),
    ),
)  # fmt: skip


def panel_json(panel: Panel, number: int, x: int, y: int) -> dict[str, Any]:
    """Return one panel as Grafana wants it."""
    steps = [{"color": colour, "value": value} for value, colour in panel.thresholds]
    defaults: dict[str, Any] = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}}
    options: dict[str, Any] = {}
    if panel.kind == "timeseries":
        defaults["min"] = 0
        fill = {"fillOpacity": 30, "stacking": {"mode": "normal", "group": "A"}} if panel.stacked else {"fillOpacity": 5}
        defaults["custom"] = {"drawStyle": "line", "lineWidth": 1, "showPoints": "never", **fill}
        options = {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}
    elif panel.kind == "stat":
        options = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "colorMode": "value"}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": 4 if panel.kind == "stat" else 8},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [
            {
                "refId": "ABCDEFGH"[at],
                "datasource": DATASOURCE,
                "expr": query,
                "legendFormat": legend or "__auto",
                "range": panel.kind == "timeseries",
                "instant": panel.kind != "timeseries",
                **({"format": "table"} if panel.kind == "table" else {}),
            }
            for at, (query, legend) in enumerate(panel.queries)
        ],
    }


def board() -> dict[str, Any]:
    """Return the whole board."""
    panels: list[dict[str, Any]] = []
    y = 0
    for title, row in ROWS:
        panels.append(
            {
                "id": len(panels) + 1,
                "type": "row",
                "title": title,
                "collapsed": False,
                "gridPos": {"x": 0, "y": y, "w": 24, "h": 1},
                "panels": [],
            }
        )
        x, y, height = 0, y + 1, 0
        for panel in row:
            if x + panel.width > 24:
                x, y = 0, y + height
            panels.append(panel_json(panel, len(panels) + 1, x, y))
            x, height = x + panel.width, panels[-1]["gridPos"]["h"]
        y += height
    return {
        "uid": "dealpulse",
        "title": "dealpulse",
        "description": "Is the pipeline well? Sales numbers are on the KPI topics; these are the workers that make them.",
        "schemaVersion": 41,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "tags": ["dealpulse"],
        "templating": {
            "list": [
                {
                    "name": "datasource",
                    "label": "Data source",
                    "type": "datasource",
                    "query": "prometheus",
                    "current": {"text": "Prometheus", "value": "dealpulse-prometheus"},
                },
                {
                    "name": "instance",
                    "label": "Worker",
                    "type": "query",
                    "datasource": DATASOURCE,
                    "query": {"query": "label_values(dealpulse_build_info, instance)", "refId": "instance"},
                    "definition": "label_values(dealpulse_build_info, instance)",
                    "includeAll": True,
                    "multi": True,
                    "allValue": ".*",
                    "current": {"text": "All", "value": "$__all"},
                    "refresh": 2,
                },
            ]
        },
        "annotations": {"list": []},
        "links": [],
        "panels": panels,
    }


def main() -> None:
    """Write the board."""
    TARGET.write_text(json.dumps(board(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
