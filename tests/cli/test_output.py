"""Does text from outside stay text, wherever it is shown?"""

from __future__ import annotations

import base64
import io
import re
import sys
from zoneinfo import ZoneInfo

import orjson
import pytest
from rich.console import Console
from rich.table import Table

from streams.cli import dlq, output, show

WILD = "[bold]a[/b] [/y] \x1b]0;gone\x07 \x1b[2J b\nc"
TAME = "[bold]a[/b] [/y]  ]0;gone   [2J b c"


@pytest.fixture
def printed(monkeypatch):
    """Return a function: what printing a table shows."""

    def of(table: Table) -> str:
        monkeypatch.setattr(sys, "stdout", io.StringIO())
        output.print_table(table)
        return sys.stdout.getvalue()

    return of


def test_a_customer_cannot_speak_to_the_terminal(printed, kpi):
    """Neither in markup nor in control characters."""
    _, record = kpi("win_rate", "customer", {"customer_id": WILD})
    assert TAME in printed(show.as_table([orjson.loads(record)], ZoneInfo("UTC")))


def test_a_refused_record_cannot_either(printed):
    """Its bytes are anybody's."""
    data = base64.b64encode(WILD.encode()).decode()
    letter = {
        "timestamp": 0, "topic": "crm.activity", "partition": 0, "offset": 7, "reason": "not_json", "detail": WILD,
        "key_base64": data, "value_base64": data,
    }  # fmt: skip
    found = printed(dlq.as_table([letter]))
    assert "\x1b" not in found
    assert found.count("[bold]") == 3


@pytest.fixture
def narrow(monkeypatch):
    """Return a function: what printing a table shows on a terminal of so many columns, as one text for each column."""

    def of(table: Table, width: int) -> list[str]:
        console = Console(file=io.StringIO(), width=width)
        monkeypatch.setattr(output, "stdout", lambda: console)
        output.print_table(table)
        lines = [line for line in console.file.getvalue().splitlines() if line.startswith(("│", "┃"))]
        return [
            "".join(cells).replace(" ", "") for cells in zip(*(re.split("[│┃]", line)[1:-1] for line in lines), strict=True)
        ]

    return of


@pytest.mark.parametrize("width", [60, 80, 100])
def test_where_a_refused_record_stands_is_not_cut(narrow, width):
    """The option --origin of dlq replay asks for it: of 80 columns crm.deal-s… was left."""
    letter = {
        "reason": "time_out_of_range", "detail": "occurred_at: '2026-11-28T19:00:45.114551+00:00' is too late", "topic": "crm.deal-stage-change",
        "partition": 2, "offset": 121, "timestamp": 1_772_020_800_000, "key_base64": "ZC0x", "value_base64": "ZC0x",
    }  # fmt: skip
    columns = narrow(dlq.as_table([letter]), width)
    assert (columns[1], columns[2]) == ("origincrm.deal-stage-change/2@121", "reasontime_out_of_range")


@pytest.mark.parametrize("width", [80, 100])
def test_a_value_is_not_cut_and_neither_is_what_it_is_of(narrow, kpi, width):
    """Of 80 columns 1,08… was left."""
    _, record = kpi("pipeline_value", "pipeline", {"pipeline": "default"}, "now", 1_082_038, "money", currency="EUR", n=198)
    columns = narrow(show.as_table([orjson.loads(record)], ZoneInfo("UTC")), width)
    assert columns[:5] == ["KPIpipeline_value", "cutpipeline", "entitydefault", "windownow", "value1,082,038EUR"]


def test_a_number_that_has_no_room_says_that_it_is_cut(narrow):
    """It does not go on in the next line: 1.4 and 5 are not 1.45."""
    table = Table("what")
    table.add_column("value", justify="right")
    table.add_row("words that need room", "1,234,567,890")
    assert narrow(table, 18)[1].endswith("…")
