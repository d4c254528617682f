"""Has what all other figures are told relative to done its work?"""

import json
from types import SimpleNamespace

import pytest

from bench import raw


def measured(monkeypatch, events, refused):
    """Return what is made of a process that says this, where the sources hold 10 events."""
    said = json.dumps({"events": events, "refused": refused, "seconds": 2.0, "cpu": 1.0}).encode()
    monkeypatch.setattr(raw.subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=said))
    monkeypatch.setattr(raw, "ends", lambda *_: {("one", 0): 4, ("two", 0): 6}, raising=False)
    ground = SimpleNamespace(client={"bootstrap.servers": "nowhere"}, definitions=SimpleNamespace(partitions=1))
    return raw.measure(ground)


def test_all_events_read_are_what_is_measured(monkeypatch):
    assert measured(monkeypatch, 10, 0)["rate"] == 5.0


@pytest.mark.parametrize(("events", "refused", "said"), [(9, 0, "9 of 10 events"), (10, 3, "refused 3")])
def test_what_read_too_little_or_refused_something_is_no_limit(monkeypatch, events, refused, said):
    with pytest.raises(SystemExit, match=said):
        measured(monkeypatch, events, refused)
