"""Are the alert rules as the operator meant them?  Validates the configuration and prints them; backtest.py tries them out."""

from __future__ import annotations

import click
import msgspec
from rich.table import Table

from streams.alerts.judge import LEAST_DAYS
from streams.cli import backtest
from streams.cli.output import print_json, print_table, say, shown
from streams.cli.settings import Settings, with_settings
from streams.config import Rule
from streams.panes.text import percent


@click.group("rules")
def group() -> None:
    """Look at the alert rules."""


group.add_command(backtest.command)


@group.command("check")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_settings
def check(settings: Settings, *, as_json: bool) -> None:
    """Validate dealpulse.yaml and print the alert rules in force."""
    rules = settings.definitions.rules
    if as_json:
        print_json([msgspec.structs.asdict(rule) for rule in rules])
        return
    if not rules:
        say(backtest.NO_RULE)
        return
    table = Table("rule", "kind", "by", "false alarms of each, at most", "baseline", title="Alert rules")
    for rule in rules:
        table.add_row(shown(rule.name), rule.kind, rule.cut, budget(rule), baseline(rule))
    print_table(table)


def budget(rule: Rule) -> str:
    """Say how often the rule is wrong of one of those that it judges; of all of them together it is as many times as often."""
    return f"one in {_days(rule.budget_days)}, on average"


def baseline(rule: Rule) -> str:
    """Say what the rule compares with."""
    if rule.baseline is not None:
        return percent(rule.baseline)
    entries = f"{rule.min_entries} matured {'entry' if rule.min_entries == 1 else 'entries'}"
    return f"learned from at least {entries} and {_days(LEAST_DAYS)}"


def _days(count: int) -> str:
    return f"{count} day{'s' if count > 1 else ''}"
