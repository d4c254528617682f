"""Is the board sound, and does every query name a series that the product declares?"""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import promql_parser
import pytest
import yaml

from streams import metrics

DEPLOY = Path(__file__).parents[2] / "deploy"
BOARD = json.loads((DEPLOY / "grafana" / "dashboards" / "dealpulse.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
QUERIES = [
    pytest.param(target["expr"], id=f"{panel['title']}-{target['refId']}") for panel in PANELS for target in panel["targets"]
]
every_panel = pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
every_query = pytest.mark.parametrize("query", QUERIES)

# From the outside, not from a worker's registry.
FOREIGN_LABELS = {"instance", "job"}


def declared() -> dict[str, tuple[str, set[str]]]:
    """Return the type and the labels of every sample name that a worker can show."""
    metrics.declare_rules(["some-rule"])
    metrics.LAG_RECORDS.labels("t", "0")
    metrics.LAG_SECONDS.labels("t", "0")
    found: dict[str, tuple[str, set[str]]] = {}
    for family in metrics.REGISTRY.collect():
        for sample in family.samples:
            found.setdefault(sample.name, (family.type, set()))[1].update(sample.labels)
    metrics.forget_partition("t", 0)
    return found


def without_macros(query: str) -> str:
    return query.replace("$__rate_interval", "5m").replace("$instance", ".*")


def selectors(query: str) -> list[tuple[promql_parser.VectorSelector, str | None]]:
    """Return every selector with the function that is applied to it directly."""
    found: list[tuple[promql_parser.VectorSelector, str | None]] = []

    def visit(node: object, function: str | None) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            found.append((node, function))
        elif isinstance(node, promql_parser.MatrixSelector):
            visit(node.vector_selector, function)
        elif isinstance(node, promql_parser.Call):
            for argument in node.args:
                visit(argument, node.func.name)
        elif isinstance(node, promql_parser.BinaryExpr):
            visit(node.lhs, None)
            visit(node.rhs, None)
        elif hasattr(node, "expr"):
            visit(node.expr, None)

    visit(promql_parser.parse(without_macros(query)), None)
    return found


def test_committed_board_is_what_board_py_makes():
    spec = importlib.util.spec_from_file_location("board", DEPLOY / "grafana" / "board.py")
    board = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(board)
    assert board.board() == BOARD, "run: python deploy/grafana/board.py"


def test_board_is_for_reading_and_of_a_recent_schema():
    assert BOARD["editable"] is False
    assert BOARD["schemaVersion"] >= 41
    assert BOARD["uid"] == "dealpulse"


def test_ids_differ_and_panels_do_not_overlap():
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert sorted(set(ids)) == sorted(ids)
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells


def test_data_source_is_a_variable_that_begins_with_the_provisioned_one():
    provisioned = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())
    (variable,) = [one for one in BOARD["templating"]["list"] if one["type"] == "datasource"]
    assert variable["current"]["value"] == provisioned["datasources"][0]["uid"]


@every_panel
def test_panel_says_what_it_shows(panel):
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"]["uid"] == "${datasource}"


@every_panel
def test_panel_has_queries_with_names_of_their_own(panel):
    names = [target["refId"] for target in panel["targets"]]
    assert names
    assert names == list("ABCDEFGH"[: len(names)])
    assert all(target["datasource"]["uid"] == "${datasource}" for target in panel["targets"])


@every_query
def test_query_asks_only_for_declared_series_and_labels(query):
    known = declared()
    found = selectors(query)
    assert found
    for selector, _ in found:
        assert selector.name in known, f"{selector.name} is not declared in streams/metrics.py"
        labels = {matcher.name for matcher in selector.matchers.matchers}
        assert labels <= known[selector.name][1] | FOREIGN_LABELS
        assert "instance" in labels, f"{selector.name} does not follow the choice of the worker"


@every_query
def test_counters_and_buckets_are_read_as_rates_and_gauges_are_not(query):
    known = declared()
    for selector, function in selectors(query):
        grows = known[selector.name][0] in {"counter", "histogram"}
        assert grows == (function in {"rate", "increase"}), selector.name


@every_query
def test_query_over_the_range_leaves_the_interval_to_grafana(query):
    for span in re.findall(r"\[([^]]+)\]", query):
        assert span in {"$__rate_interval", "15m"}


@every_query
def test_sums_are_grouped_by_labels_that_exist(query):
    known = {label for _, labels in declared().values() for label in labels} | FOREIGN_LABELS
    for labels in re.findall(r"by \(([^)]*)\)", query):
        assert {label.strip() for label in labels.split(",")} <= known


# Declared and 0 for ever, until somebody fills them; not on the board.
NOT_FILLED_YET = {"EVENTS_LATE", "TABLE_KEYS"}


def test_every_declared_series_is_filled_by_the_product():
    source = "\n".join(path.read_text(encoding="utf-8") for path in (DEPLOY.parent / "streams").rglob("*.py"))
    declared_names = {
        name
        for name, one in vars(metrics).items()
        if name.isupper() and isinstance(one, (metrics.Counter, metrics.Gauge, metrics.Distribution))
    }
    filled = {name for name in declared_names if f"metrics.{name}" in source}
    assert declared_names - filled <= NOT_FILLED_YET


def test_board_shows_nothing_that_is_not_filled():
    shown = {selector.name for query in QUERIES for selector, _ in selectors(query.values[0])}
    assert not shown & {"dealpulse_events_late_total", "dealpulse_table_keys"}
