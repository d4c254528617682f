"""How does the demo look?  The live terminal view, drawn from the KPI topics and the worker's metrics."""

from __future__ import annotations

from dataclasses import dataclass, field

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from streams.cli import wording
from streams.cli.output import shown
from streams.cli.watch import Record, Watch
from streams.config import Definitions
from streams.topics import KPI_LATEST

BAR = 30
TOP_REPS = 5
LAST_ALERTS = 6
_EIGHTHS = " ▏▎▍▌▋▊▉"

# heading, KPI, window
TEAM_COLUMNS = (
    ("win rate 90d", "win_rate", "90d"),
    ("revenue 90d", "revenue", "90d"),
    ("conversion 28d", "lead_conversion", "28d"),
    ("first response 7d", "first_response_time", "7d"),
    ("activities 7d", "activities", "7d"),
)
REP_COLUMNS = (
    ("win rate", "win_rate", "all"),
    ("revenue", "revenue", "all"),
    ("conversion", "lead_conversion", "all"),
    ("activities 28d", "activities", "28d"),
)


@dataclass
class Progress:
    """How far feed and processing are."""

    sent: int = 0
    accepted: int = 0
    rejected: int = 0
    waiting: int = 0
    rate: float = 0.0


@dataclass(frozen=True)
class Scene:
    """Everything that one picture shows."""

    definitions: Definitions
    watch: Watch
    broker: str
    metrics_url: str
    note: str
    progress: Progress = field(default_factory=Progress)


def picture(scene: Scene) -> RenderableType:
    """Draw the whole view."""
    pipelines = Table.grid(expand=True)
    names = tuple(scene.definitions.pipelines)
    for _ in names:
        pipelines.add_column(ratio=1)
    pipelines.add_row(*(funnel(scene, name) for name in names))
    tables = Table.grid(expand=True)
    tables.add_column(ratio=1)
    tables.add_column(ratio=1)
    tables.add_row(
        entities(scene.watch, "team", TEAM_COLUMNS, "By team", 12),
        entities(scene.watch, "rep", REP_COLUMNS, f"Top {TOP_REPS} reps by revenue", TOP_REPS),
    )
    return Group(header(scene), pipelines, alerts(scene.watch), tables, footer(scene))


def header(scene: Scene) -> RenderableType:
    """Draw how far everything is."""
    found = scene.progress
    line = (
        f"[bold]dealpulse[/]   sent {found.sent:,}   accepted {found.accepted:,}   rejected {found.rejected:,}   "
        f"{found.rate:,.0f} events/s   {found.waiting:,} records waiting"
    )
    return Panel(Group(Text.from_markup(line), Text(scene.note, style="dim")))


def funnel(scene: Scene, pipeline: str) -> RenderableType:
    """Draw the stages of a pipeline: how many deals ever entered, and how many are there now."""
    entered = {one["entity"]["stage"]: one for one in _of_pipeline(scene.watch, "stage_entered", "all", pipeline)}
    present = {one["entity"]["stage"]: one for one in _of_pipeline(scene.watch, "active_deals", "now", pipeline)}
    most = max((one["value"] or 0 for one in entered.values()), default=0)
    table = Table("stage", "entered", "", "now", expand=True, box=None)
    for stage in scene.definitions.pipelines[pipeline].stages:
        count = (entered.get(stage.name) or {}).get("value") or 0
        now = (present.get(stage.name) or {}).get("value")
        table.add_row(shown(stage.name), f"{count:,}", bar(count, most), "" if now is None else f"{now:,}")
    return Panel(table, title=f"Funnel: {pipeline}")


def _of_pipeline(watch: Watch, kpi: str, window: str, pipeline: str) -> list[Record]:
    return [one for one in watch.records(kpi, "stage", window) if one["entity"]["pipeline"] == pipeline]


def bar(value: float, most: float, width: int = BAR) -> str:
    """Draw a bar of up to `width` characters, to an eighth of one."""
    whole, eighths = divmod(round(width * 8 * value / most) if most else 0, 8)
    return "█" * whole + _EIGHTHS[eighths].strip()


def entities(watch: Watch, cut: str, columns: tuple[tuple[str, str, str], ...], title: str, most: int) -> RenderableType:
    """Draw the KPIs of the entities of a cut, those with most revenue first."""
    found = {kpi: _by_entity(watch.records(kpi, cut, window)) for _, kpi, window in columns}
    names = sorted({name for rows in found.values() for name in rows})
    revenue = found.get("revenue", {})
    names.sort(key=lambda name: -(revenue.get(name, {}).get("value") or 0))
    table = Table(expand=True, box=None)
    table.add_column(cut, no_wrap=True)
    for heading, _, _ in columns:
        table.add_column(heading, justify="right")
    for name in names[:most]:
        cells = (found[kpi].get(name) for _, kpi, _ in columns)
        table.add_row(shown(name), *(wording.NOTHING if one is None else wording.value(one) for one in cells))
    return Panel(table, title=title)


def _by_entity(records: list[Record]) -> dict[str, Record]:
    return {wording.entity(one): one for one in sorted(records, key=lambda one: one["n"])}


def alerts(watch: Watch) -> RenderableType:
    """Draw the last alert events."""
    lines = [Text(alert_line(one), style="red" if is_firing(one) else "green") for one in watch.alerts[-LAST_ALERTS:]]
    return Panel(Group(*lines) if lines else Text("none so far", style="dim"), title=f"Alerts ({len(watch.alerts)})")


def is_firing(alert: Record) -> bool:
    """Does the event say that something is wrong, not that it is over?"""
    return bool(alert["state"] == "firing")


def alert_line(alert: Record) -> str:
    """Say one alert event in a line."""
    at = alert["at"][:16].replace("T", " ")
    return f"{at}  {alert['transition']}  {alert['rule']}  {alert['text']}"


def subscribe_lines(broker: str) -> tuple[str, ...]:
    """Say how anybody can read along."""
    address = broker.removeprefix("kafka://")
    return (
        f"dealpulse --broker {broker} show win_rate --by team",
        f"kcat -b {address} -t {KPI_LATEST} -C -X isolation.level=read_committed",
    )


def footer(scene: Scene) -> RenderableType:
    """Draw where everything can be reached."""
    lines = [f"metrics    {scene.metrics_url}", f"broker     {scene.broker}"]
    lines += [f"subscribe  {line}" for line in subscribe_lines(scene.broker)]
    return Panel(Text("\n".join([*lines, "Ctrl-C ends everything"]), no_wrap=True))
