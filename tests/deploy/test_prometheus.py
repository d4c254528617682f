"""Does a real Prometheus understand what we show, and does every panel have something to draw?"""

from __future__ import annotations

import json
import math
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from tests.brokers.ports import reserved_port
from tests.deploy.sources import metrics_source
from tests.deploy.tools import program

DEPLOY = Path(__file__).parents[2] / "deploy"
BOARD = json.loads((DEPLOY / "grafana" / "dashboards" / "dealpulse.json").read_text(encoding="utf-8"))
REMEDY = "apt-get install prometheus"

CONFIG = """
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: dealpulse
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


def get(url: str, **parameters: object) -> str:
    query = f"?{urllib.parse.urlencode(parameters)}" if parameters else ""
    with urllib.request.urlopen(url + query, timeout=10) as answer:
        return answer.read().decode()


@pytest.fixture(scope="module")
def scraped(tmp_path_factory):
    """Give the URL of a Prometheus that scrapes a live /metrics each second, and the URL of that."""
    prometheus = program("prometheus", REMEDY)
    folder = tmp_path_factory.mktemp("prometheus")
    with metrics_source() as port:
        (folder / "prometheus.yml").write_text(CONFIG.format(port=port))
        own = reserved_port()
        command = [prometheus, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
        command += [f"--web.listen-address=127.0.0.1:{own}", "--log.level=error"]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield f"http://127.0.0.1:{own}", f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)


def drawn(prometheus: str, query: str) -> bool:
    """Return whether the query draws at least one number over the last half minute."""
    query = query.replace("$__rate_interval", "8s").replace("$instance", ".*")
    now = time.time()
    text = get(f"{prometheus}/api/v1/query_range", query=query, start=now - 30, end=now, step=2)
    series = json.loads(text)["data"]["result"]
    return any(not math.isnan(float(value)) for one in series for _, value in one["values"])


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_panel_draws_something_while_a_worker_works(scraped):
    """No panel of the board is empty while events flow."""
    prometheus, _ = scraped
    empty = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in BOARD["panels"]
        for target in panel.get("targets", [])
    }
    deadline = time.monotonic() + 180
    while empty and time.monotonic() < deadline:
        time.sleep(2)
        try:
            empty = {name: query for name, query in empty.items() if not drawn(prometheus, query)}
        except (urllib.error.URLError, ConnectionError):
            continue  # not listening yet
    assert empty == {}


@pytest.mark.slow
def test_the_choice_of_workers_has_the_worker_in_it(scraped):
    """The query behind the variable `instance` finds the scraped worker."""
    prometheus, source = scraped
    deadline = time.monotonic() + 30
    found: list[str] = []
    while not found and time.monotonic() < deadline:
        time.sleep(0.5)
        try:
            text = get(f"{prometheus}/api/v1/label/instance/values", **{"match[]": "dealpulse_build_info"})
        except (urllib.error.URLError, ConnectionError):
            continue
        found = json.loads(text)["data"]
    assert found == [source.removeprefix("http://")]


@pytest.mark.slow
def test_promtool_finds_nothing_wrong_with_the_names(scraped):
    """`promtool check metrics` accepts a live scrape without a word."""
    promtool = program("promtool", REMEDY)
    _, source = scraped
    done = subprocess.run([promtool, "check", "metrics"], input=get(f"{source}/metrics").encode(), capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "config", "prometheus/prometheus.yml"],
        ["check", "rules", "--lint=all", "--lint-fatal", "prometheus/rules.yml"],
        ["test", "rules", "../tests/deploy/rules_test.yml"],
    ],
    ids=["config", "rules", "rules fire and stay silent"],
)
def test_promtool_accepts(arguments):
    """The configuration parses, and each rule fires when it must and only then."""
    promtool = program("promtool", REMEDY)
    done = subprocess.run([promtool, *arguments], cwd=DEPLOY, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_board_without_workers_says_0_in_red(tmp_path):
    """Not "No data", which is never red: the query counts none of them, while other things are scraped, as 0."""
    promtool = program("promtool", REMEDY)
    (panel,) = [panel for panel in BOARD["panels"] if panel["title"] == "Workers"]
    query = panel["targets"][0]["expr"].replace("$instance", ".*")
    test = {
        "input_series": [{"series": 'up{job="other"}', "values": "1x4"}],
        "promql_expr_test": [{"expr": query, "eval_time": "1m", "exp_samples": [{"value": 0}]}],
    }
    (tmp_path / "test.yml").write_text(json.dumps({"tests": [test]}))
    done = subprocess.run([promtool, "test", "rules", tmp_path / "test.yml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"][0] == {"color": "red", "value": None}
