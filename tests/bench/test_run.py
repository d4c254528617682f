"""Does the bench say so when a number of ours is wrong?"""

import contextlib
import json
import sys
from types import SimpleNamespace

import pytest

from bench import run


@pytest.mark.parametrize(("differences", "code"), [(0, None), (2, 1)])
def test_numbers_that_were_wrong_before_a_restart_are_told(monkeypatch, capsys, differences, code):
    """The worker that is killed must have counted rightly, or what the next one restores is worth nothing."""
    monkeypatch.setattr(sys, "argv", ["bench.run", "--job", "restore", "--events", "50", "--runs", "1", "--json"])
    monkeypatch.setattr(run, "fresh", lambda *_: contextlib.nullcontext(SimpleNamespace(client={})))
    monkeypatch.setattr(run, "load", lambda *_: 50)
    monkeypatch.setattr(run.restore, "measure", lambda *_: {"records": 1})
    monkeypatch.setattr(run.restore, "restart", lambda *_: {"records": 1})
    monkeypatch.setattr(run.worker, "measure", lambda *_: {"numbers": 9, "differences": differences})
    ended = pytest.raises(SystemExit) if code else contextlib.nullcontext()
    with ended as found:
        run.main()
    assert code is None or found.value.code == code
    assert {one["job"] for one in json.loads(capsys.readouterr().out)} == {"restore", "restart"}
