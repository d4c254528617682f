"""Do the rooms stay apart, and is the middle plain code?  What import-linter cannot see."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

STREAMS = Path(__file__).parents[1] / "streams"
FILES = sorted(STREAMS.rglob("*.py"))
PURE_ROOMS = ("events", "deals", "panes", "kpis")
# Rooms and their agents talk to the edge; the edge hands them the time.
EDGE_FILES = {"agent.py", "room.py"}
PURE = [path for path in FILES if path.parent.name in PURE_ROOMS and path.name not in EDGE_FILES]
NO_CLOCK = [path for path in FILES if path.parent.name in {*PURE_ROOMS, "alerts"}]

CLOCKS = {
    ("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today"),
    ("time", "time"), ("time", "time_ns"), ("time", "monotonic"), ("time", "perf_counter"),
}  # fmt: skip
FORBIDDEN = {
    "asyncio", "confluent_kafka", "faust", "kafka", "mode", "os", "prometheus_client", "random", "secrets",
    "slack_sdk", "socket", "subprocess", "threading", "time",
}  # fmt: skip


def named(path: Path) -> str:
    return str(path.relative_to(STREAMS))


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def calls(path: Path) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            yield (owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")), node.func.attr


@pytest.mark.parametrize("path", PURE, ids=named)
def test_pure_file_imports_no_framework_no_broker_and_no_clock(path):
    found = {name.split(".")[0] for name in imports(path)}
    assert not found & FORBIDDEN


@pytest.mark.parametrize("path", NO_CLOCK, ids=named)
def test_rooms_read_no_clock(path):
    assert not set(calls(path)) & CLOCKS


@pytest.mark.parametrize("path", FILES, ids=named)
def test_only_agents_the_app_and_the_edges_know_faust(path):
    knows = {name.split(".")[0] for name in imports(path)} & {"faust", "mode"}
    assert not knows or path.name in {"agent.py", "app.py", "worker.py"} or path.parent.name == "kafka"


@pytest.mark.parametrize("path", FILES, ids=named)
def test_environment_is_read_in_one_place(path):
    reads = re.findall(r"os\.environ(?:\.get|\[)|os\.getenv", path.read_text(encoding="utf-8"))
    assert not reads or named(path) == "environment.py"


@pytest.mark.parametrize("path", FILES, ids=named)
def test_every_module_says_which_question_it_answers(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
