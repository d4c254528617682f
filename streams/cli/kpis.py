"""Which KPIs are there, and what does each mean?  Prints the catalogue."""

from __future__ import annotations

from typing import Any

import click
from rich.table import Table

from streams import config
from streams.cli.output import print_json, print_table
from streams.kpis.catalogue import CATALOGUE, Kpi

LEVEL_WINDOW = "now"


@click.command("kpis")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(*, as_json: bool) -> None:
    """Print the catalogue: id, meaning, unit, formula, time base, cuts, windows."""
    if as_json:
        print_json([described(kpi) for kpi in CATALOGUE])
        return
    table = Table("id", "name", "meaning", "unit", "formula", "base", "cuts", "windows", title="KPIs")
    for kpi in CATALOGUE:
        windows = LEVEL_WINDOW if kpi.base == "level" else "all windows"
        table.add_row(kpi.id, kpi.en, kpi.meaning, kpi.unit, kpi.formula, kpi.base, " ".join(kpi.cuts), windows)
    table.caption = f"all windows: {' '.join(config.WINDOWS)}"
    print_table(table)


def described(kpi: Kpi) -> dict[str, Any]:
    """Return one row of the catalogue as plain data."""
    return {
        "id": kpi.id,
        "names": {"en": kpi.en, "ru": kpi.ru, "uk": kpi.uk},
        "meaning": kpi.meaning,
        "unit": kpi.unit,
        "formula": kpi.formula,
        "base": kpi.base,
        "better": kpi.better,
        "cuts": list(kpi.cuts),
        "windows": [LEVEL_WINDOW] if kpi.base == "level" else list(config.WINDOWS),
    }
