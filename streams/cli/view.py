"""How does the demo look?  The live terminal view, drawn from the KPI topics and the worker's metrics."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from operator import itemgetter

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from streams.cli import wording
from streams.cli.output import shown
from streams.cli.watch import Record, Watch
from streams.config import Definitions
from streams.panes.text import printable
from streams.topics import KPI_LATEST

BAR = 30
FUNNEL = 40  # columns that one needs beside another, with a bar to look at
NAME = 20  # columns of a name; what is longer is cut when numbers need the room
_FRAME, _GAP = 4, 2  # columns that a panel takes, and each column of a table
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
    measured: float = -math.inf  # when, in seconds; before the first time there is no rate


@dataclass(frozen=True)
class Scene:
    """Everything that one picture shows."""

    definitions: Definitions
    watch: Watch
    broker: str
    metrics_url: str
    note: str
    progress: Progress = field(default_factory=Progress)


def picture(scene: Scene, width: int) -> RenderableType:
    """Draw the whole view, in so many columns of the terminal: what does not fit side by side goes below each other."""
    names = tuple(scene.definitions.pipelines)
    across = len(names) if width // len(names) >= FUNNEL else 1
    funnels = [funnel(scene, name, width // across) for name in names]
    teams = ranking(scene.watch, "team", TEAM_COLUMNS, "By team", 12)
    reps = ranking(scene.watch, "rep", REP_COLUMNS, f"Top {TOP_REPS} reps by revenue", TOP_REPS)
    beside = max(teams.least, reps.least) <= width // 2
    rankings = [one.drawn(width // 2 if beside else width) for one in (teams, reps)]
    return Group(
        header(scene), *_rows(funnels, across), alerts(scene.watch), *_rows(rankings, 2 if beside else 1), footer(scene)
    )


def _rows(panels: list[Panel], across: int) -> list[RenderableType]:
    if across == 1:
        return list(panels)
    grid = Table.grid(expand=True)
    for _ in range(across):
        grid.add_column(ratio=1)
    grid.add_row(*panels)
    return [grid]


def header(scene: Scene) -> RenderableType:
    """Draw how far everything is."""
    found = scene.progress
    line = (
        f"[bold]dealpulse[/]   sent {found.sent:,}   accepted {found.accepted:,}   rejected {found.rejected:,}   "
        f"{found.rate:,.0f} events/s   {found.waiting:,} records waiting"
    )
    return Panel(Group(Text.from_markup(line), Text(scene.note, style="dim")))


def funnel(scene: Scene, pipeline: str, width: int) -> Panel:
    """Draw the stages of a pipeline: how many deals ever entered, and how many are there now."""
    entered = {one["entity"]["stage"]: one for one in _of_pipeline(scene.watch, "stage_entered", "all", pipeline)}
    present = {one["entity"]["stage"]: one for one in _of_pipeline(scene.watch, "active_deals", "now", pipeline)}
    most = max((one["value"] or 0 for one in entered.values()), default=0)
    rows = []
    for stage in scene.definitions.pipelines[pipeline].stages:
        count = (entered.get(stage.name) or {}).get("value") or 0
        now = (present.get(stage.name) or {}).get("value")
        rows.append((stage.name, count, "" if now is None else f"{now:,}"))
    # A bar that were cut would be of another length than its number.
    texts = [("stage", "entered", "now"), *((printable(name), f"{count:,}", now) for name, count, now in rows)]
    room = width - _FRAME - 4 * _GAP - sum(max(map(cell_len, column)) for column in zip(*texts, strict=True))
    table = Table("stage", "entered", "", "now", expand=True, box=None)
    for name, count, now in rows:
        table.add_row(shown(name), f"{count:,}", bar(count, most, max(0, min(BAR, room))), now)
    return Panel(table, title=f"Funnel: {pipeline}")


def _of_pipeline(watch: Watch, kpi: str, window: str, pipeline: str) -> list[Record]:
    return [one for one in watch.records(kpi, "stage", window) if one["entity"]["pipeline"] == pipeline]


def bar(value: float, most: float, width: int = BAR) -> str:
    """Draw a bar of up to `width` characters, to an eighth of one."""
    whole, eighths = divmod(round(width * 8 * value / most) if most else 0, 8)
    return "█" * whole + _EIGHTHS[eighths].strip()


@dataclass(frozen=True)
class Ranking:
    """The KPIs of some entities as text: their names, then a column for each KPI."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def least(self) -> int:
        """Return how many columns of the terminal it needs, so that no number is cut and no word of a heading."""
        return _FRAME + sum(_GAP + one for one in self._least())

    def drawn(self, width: int) -> Panel:
        """Draw it; where not all KPIs fit, the last ones are left out."""
        room, least = width - _FRAME, self._least()
        while len(least) > 2 and sum(least) + _GAP * len(least) > room:  # a name and one KPI
            least.pop()
        texts = [[*row[: len(least)]] for row in (self.headings, *self.rows)]
        natural = [max(map(cell_len, column)) for column in zip(*texts, strict=True)]
        widths: list[int | None] = [None] * len(least)
        if sum(natural) + _GAP * len(least) > room:
            name = min(natural[0], room - sum(least[1:]) - _GAP * len(least))
            widths = [max(name, 1), *least[1:]]
        table = Table(expand=True, box=None)
        for at, heading in enumerate(texts[0]):
            table.add_column(heading, justify="right" if at else "left", no_wrap=not at, width=widths[at])
        for name_of, *cells in texts[1:]:
            table.add_row(shown(name_of), *cells)
        return Panel(table, title=self.title)

    def _least(self) -> list[int]:
        columns = zip(*self.rows, strict=True) if self.rows else [()] * len(self.headings)
        names, *numbers = (
            max(map(cell_len, (*heading.split(), *cells)))
            for heading, cells in zip(self.headings, columns, strict=True)
        )  # fmt: skip
        return [min(names, NAME), *numbers]


def ranking(watch: Watch, cut: str, columns: tuple[tuple[str, str, str], ...], title: str, most: int) -> Ranking:
    """Return the KPIs of the entities of a cut, those with most revenue first."""
    found = {kpi: _by_entity(watch.records(kpi, cut, window)) for _, kpi, window in columns}
    names = sorted({name for rows in found.values() for name in rows})
    revenue = found.get("revenue", {})
    names.sort(key=lambda name: -(revenue.get(name, {}).get("value") or 0))
    rows = []
    for name in names[:most]:
        cells = (found[kpi].get(name) for _, kpi, _ in columns)
        rows.append((printable(name), *(wording.NOTHING if one is None else wording.value(one) for one in cells)))
    return Ranking(title, (cut, *(heading for heading, _, _ in columns)), tuple(rows))


def _by_entity(records: list[Record]) -> dict[str, Record]:
    return {wording.entity(one): one for one in sorted(records, key=lambda one: one["n"])}


def alerts(watch: Watch) -> RenderableType:
    """Draw the last alert events, in the order of their times: of several partitions they come in any."""
    last = sorted(watch.alerts, key=itemgetter("at"))[-LAST_ALERTS:]
    lines = [Text(alert_line(one), style="red" if is_firing(one) else "green") for one in last]
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
    return Panel(Text("\n".join([*lines, "Ctrl-C ends everything"]), overflow="fold"))
