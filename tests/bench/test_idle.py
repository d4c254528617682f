"""Is a worker called cheap that does not work?"""

import contextlib
import itertools
import os
from types import SimpleNamespace

import pytest

from bench import idle

CONSUMED = ("dealpulse_events_consumed_total", "crm.activity")


def measured(monkeypatch, taken):
    """Measure a worker that takes so many of 30,000 events."""
    said = itertools.chain(({CONSUMED: 0.0}, {CONSUMED: taken}), itertools.repeat({CONSUMED: taken}))
    worker = SimpleNamespace(process=SimpleNamespace(pid=os.getpid()), metrics=lambda: next(said), check=lambda: None)
    monkeypatch.setattr(idle, "load", lambda *_: 0)
    monkeypatch.setattr(idle, "started", lambda *_, **__: contextlib.nullcontext(SimpleNamespace(worker=worker)))
    monkeypatch.setattr(idle, "_wait_until_calm", lambda *_: None)
    monkeypatch.setattr(idle, "_feed", lambda _ground, _stream, rate, seconds: round(rate * seconds))
    return idle.measure(SimpleNamespace(client={}))


def test_what_is_under_way_may_be_missing(monkeypatch):
    assert [one["events"] for one in measured(monkeypatch, 29_900.0)] == [30_000, 0]


def test_a_worker_that_does_not_read_is_not_measured(monkeypatch):
    with pytest.raises(SystemExit, match="took 0 of 30,000"):
        measured(monkeypatch, 0.0)
