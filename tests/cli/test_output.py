"""Does text from outside stay text, wherever it is shown?"""

from __future__ import annotations

import base64
import io
import sys
from zoneinfo import ZoneInfo

import orjson
import pytest
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
