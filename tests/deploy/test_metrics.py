"""Do the metrics say what they promise, and does the server answer?"""

from __future__ import annotations

import contextlib
import math
import socket
import struct
import time
import urllib.error
import urllib.request

import pytest

from streams import metrics
from streams.events.contract import Reason
from streams.health import Answer


def value(name: str, **labels: str) -> float | None:
    return metrics.REGISTRY.get_sample_value(name, labels)


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.fixture(scope="module")
def server():
    """Give the base URL of a server, and the list whose last element is whether it is ready.  It takes half a second to end."""
    ready = [False]
    health = {"live": lambda: Answer(True, {"live": True}), "ready": lambda: Answer(ready[-1], {"ready": ready[-1]})}
    server = metrics.listen("127.0.0.1", 0)
    metrics.serve(server, health)
    yield f"http://127.0.0.1:{server.server_port}", ready
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_its_series_from_the_start(reason):
    assert value("dealpulse_events_rejected_total", reason=reason.value) is not None
    assert value("dealpulse_dead_letters_total", reason=reason.value) is not None


def test_names_carry_our_prefix_or_are_those_of_every_process():
    for family in metrics.REGISTRY.collect():
        assert family.name.startswith(("dealpulse_", "process_")), family.name
        assert family.documentation
        assert not any(sample.name.endswith("_created") for sample in family.samples)


def test_rules_have_their_series_before_they_fire():
    metrics.declare_rules(["a-rule"])
    assert value("dealpulse_alerts", rule="a-rule", state="firing") == 0
    assert value("dealpulse_alert_transitions_total", rule="a-rule", to="resolved") == 0


def test_lag_goes_with_its_partition():
    metrics.LAG_RECORDS.labels("a", "7").set(3)
    metrics.LAG_SECONDS.labels("a", "7").set(1)
    metrics.forget_partition("a", 7)
    assert value("dealpulse_consumer_lag_records", topic="a", partition="7") is None
    assert value("dealpulse_consumer_lag_seconds", topic="a", partition="7") is None


def test_forgetting_a_partition_that_never_had_lag_is_fine():
    metrics.forget_partition("a", 8)


def test_distribution_counts_a_run_at_once_and_its_upper_edges_are_inclusive():
    seen = metrics.Distribution("dealpulse_test_seconds", "For this test.", (0.1, 1.0))
    try:
        seen.observe(0.1, 5)
        seen.observe(0.5)
        seen.observe(7.0, 2)
        counts = {le: value("dealpulse_test_seconds_bucket", le=le) for le in ("0.1", "1.0", "+Inf")}
        total, count = value("dealpulse_test_seconds_sum"), value("dealpulse_test_seconds_count")
    finally:
        metrics.REGISTRY.unregister(seen)
    assert counts == {"0.1": 5, "1.0": 6, "+Inf": 8}
    assert count == 8
    assert math.isclose(total, 15.0)


def test_scrape_shows_what_is_running(server):
    status, text = get(f"{server[0]}/metrics")
    assert status == 200
    assert 'dealpulse_build_info{faust="0.15.3",' in text


def test_a_worker_is_alive_before_it_is_ready(server):
    url, ready = server
    assert get(f"{url}/health/live") == (200, '{"live":true}\n')
    assert get(f"{url}/health/ready") == (503, '{"ready":false}\n')
    ready.append(True)
    assert get(f"{url}/health/ready") == (200, '{"ready":true}\n')


def test_other_paths_are_not_found(server):
    for path in ("/", "/health/", "/health/fine", "/ready"):
        assert get(server[0] + path) == (404, "see /metrics, /health/live, /health/ready\n")


def test_many_may_ask_at_once():
    """Also while the worker is too busy to look: whose connection is not queued comes again only after a second."""
    server = metrics.listen("127.0.0.1", 0)  # nobody looks
    with contextlib.ExitStack() as asking:
        asking.callback(server.server_close)
        for _ in range(30):
            asking.enter_context(socket.create_connection(server.server_address, timeout=0.5))


def test_port_that_is_taken_is_refused(server):
    with pytest.raises(OSError, match="in use"):
        metrics.listen("127.0.0.1", int(server[0].rpartition(":")[2]))


def test_a_client_that_stays_silent_or_is_gone_is_not_in_the_log(server, monkeypatch, capfd):
    """Port scanners and balancers are; no traceback of them hides what a worker has to say."""
    monkeypatch.setattr(metrics._Quiet, "timeout", 0.1)
    host, port = server[0].removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as silent:
        assert silent.recv(1) == b""  # it is hung up on
    with socket.create_connection((host, int(port)), timeout=5) as gone:
        gone.sendall(b"GET /metr")
        gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closes with a reset
    assert get(f"{server[0]}/health/live")[0] == 200
    time.sleep(0.2)
    assert capfd.readouterr().err == ""
