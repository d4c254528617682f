"""What does a command learn from a worker that ends while it answers?  Nothing, and that is no error."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from streams.cli import stack
from streams.cli.settings import CheckError
from streams.cli.stack import WorkerProcess
from tests.brokers.ports import reserved_port

METRICS = b'dealpulse_consumer_lag_records{topic="a"} 40\ndealpulse_consumer_lag_records{topic="b"} 2\n'
IDLE = b'{"idle": true, "commits": 7}'


def answer(body: bytes, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.0 %b\r\nDate: today\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


@pytest.fixture
def answering(tmp_path) -> Iterator:
    """Return a function: a worker that answers the next question with these bytes, and hangs up."""
    with socket.create_server(("127.0.0.1", reserved_port())) as server:

        def with_bytes(said: bytes) -> WorkerProcess:
            def serve() -> None:
                one, _ = server.accept()
                with one:
                    one.recv(65_536)
                    one.sendall(said)

            threading.Thread(target=serve, daemon=True).start()
            return WorkerProcess(None, tmp_path / "worker.log", server.getsockname()[1])  # type: ignore[arg-type]  # not asked

        yield with_bytes


def test_a_whole_answer_is_understood(answering):
    """Metrics, and what it says of its health: no, too, is an answer."""
    assert answering(answer(METRICS)).lag() == 42
    assert answering(answer(IDLE)).says() == (7, True)
    assert answering(answer(b'{"ready": false}', b"503 Service Unavailable")).readiness() == {"ready": False}


@pytest.mark.parametrize("cut", range(0, len(answer(METRICS)), 7))
def test_half_of_the_metrics_is_none(answering, cut):
    """Some of the lags would be taken for all of them."""
    assert answering(answer(METRICS)[:cut]).metrics() == {}


@pytest.mark.parametrize("cut", range(0, len(answer(IDLE)), 5))
def test_half_an_answer_is_none(answering, cut):
    """Wherever it ends: in the status line, in the headers, in the body."""
    assert answering(answer(IDLE)[:cut]).says() is None


def test_where_nobody_listens_there_is_no_answer(tmp_path):
    """As before a worker has begun."""
    assert WorkerProcess(None, tmp_path / "worker.log", reserved_port()).readiness() == {}  # type: ignore[arg-type]  # not asked


def test_who_counts_waits_for_an_answer(monkeypatch, tmp_path):
    """No answer is no zero: it is asked again, and in the end it is an error."""
    (tmp_path / "worker.log").write_text("busy")
    answers = iter([{}, {}, {("dealpulse_events_accepted_total", ""): 5.0}])
    monkeypatch.setattr(WorkerProcess, "metrics", lambda _self: next(answers, {}))
    monkeypatch.setattr(stack, "READY_DEADLINE", 0.3)
    worker = WorkerProcess(SimpleNamespace(poll=lambda: None), tmp_path / "worker.log", 1)  # type: ignore[arg-type]  # only polled
    assert worker.counted() == {("dealpulse_events_accepted_total", ""): 5.0}
    with pytest.raises(CheckError, match="has not said for 0 s what it has counted:\nbusy"):
        worker.counted()
    ended = WorkerProcess(SimpleNamespace(poll=lambda: 70), tmp_path / "worker.log", 1)  # type: ignore[arg-type]  # only polled
    with pytest.raises(CheckError, match="the worker ended with exit code 70"):
        ended.counted()
