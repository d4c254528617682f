"""Does a worker that cannot have its port say so in one sentence that names the setting, and what does one leave on disk?"""

from __future__ import annotations

import asyncio
import gc
import socket
import tempfile

import pytest

from streams import worker
from streams.app import build_app
from streams.config import Definitions
from streams.environment import Environment
from streams.kafka import edge
from streams.kafka.transaction import StartError


@pytest.fixture
def taken():
    """Return a port that another program listens at."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


@pytest.mark.parametrize(
    ("host", "sentence"),
    [
        ("127.0.0.1", "DEALPULSE_WEB_PORT: {port} cannot be had on 127.0.0.1 (Address already in use); write another"),
        ("nowhere.invalid", "DEALPULSE_WEB_HOST: 'nowhere.invalid' is no address"),
        ("a..b", "DEALPULSE_WEB_HOST: 'a..b' is no address"),
        ("192.0.2.1", "DEALPULSE_WEB_HOST: 192.0.2.1 is no address of this machine"),
    ],
)
def test_where_nobody_can_listen_is_named(taken, host, sentence):
    """The port, or the host."""
    with pytest.raises(StartError) as refused:
        worker._listen(Environment(web_host=host, web_port=taken))
    assert sentence.format(port=taken) in str(refused.value)


def test_a_worker_without_its_port_cannot_start(taken, monkeypatch, capsys):
    """Exit code 1, before it is connected to anything; and threads, of which there are none yet, share what they will free."""
    asked = []
    monkeypatch.setattr(worker, "few_arenas", lambda: asked.append(True))
    monkeypatch.setattr(worker, "begin_quietly", lambda _: None)
    monkeypatch.setattr(worker, "GC_THRESHOLDS", gc.get_threshold())
    monkeypatch.setattr(worker, "_generation", lambda *_, **__: object())
    assert worker.run(Environment(web_port=taken), Definitions()) == 1
    assert capsys.readouterr().err.startswith(f"dealpulse: DEALPULSE_WEB_PORT: {taken} cannot be had")
    assert asked == [True]


def test_a_worker_makes_no_folder(tmp_path, monkeypatch):
    """Faust would make one for tables on disk, and leave it there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    app = build_app(Environment(), Definitions(), [])
    asyncio.run(app.on_first_start())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("has_place", [False, True])
def test_a_worker_without_a_place_in_the_group_says_so(caplog, monkeypatch, has_place):
    """Now and then, while no broker coordinates the group: nothing else tells, and the worker is alive."""
    monkeypatch.setattr(edge, "LOOK_FOR_A_PLACE_EVERY", 0.001)
    monkeypatch.setattr(edge, "NO_PLACE", 5)
    ours = build_app(Environment(), Definitions(), []).edge
    ours.generation = object() if has_place else None
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(ours._look_for_a_place(), 0.3))
    words = [record.getMessage() for record in caplog.records]
    assert bool(words) is not has_place
    assert all(one.startswith("no place in the group for") and "dealpulse doctor" in one for one in words)
