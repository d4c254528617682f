"""Do liveness and readiness tell the truth?"""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from streams.environment import Environment
from streams.health import idleness, liveness, readiness
from streams.kafka.edge import Owing, Status
from streams.worker import _health

OWNS = Status(
    generation=2, assigned=24, ready=True, recovering=False, partitions=12, restored_partitions=12, restored_records=500,
    restore_seconds=0.5, last_commit=1.0, committing=False,
)  # fmt: skip


def status(**changes: object) -> Status:
    return Status(**{**{name: getattr(OWNS, name) for name in Status.__slots__}, **changes})


RESTORING = status(ready=False, recovering=True, restored_partitions=3, restored_records=1234)
NOWHERE = status(assigned=0, ready=False, partitions=0, restored_partitions=0)
SPARE = status(assigned=0, partitions=0, restored_partitions=0, restored_records=0)
NO_PLACE = "no place in the group: not joined yet, or its partitions are being given up"


@pytest.mark.parametrize(
    ("shown", "lags", "stuck", "missing"),
    [
        pytest.param(OWNS, {"deals": 60, "kpis": 40}, None, [], id="at the limit"),
        pytest.param(OWNS, {"deals": 61, "kpis": 40}, None, ["101 records wait, more than DEALPULSE_READY_LAG=100"], id="over the limit"),
        pytest.param(
            RESTORING, {}, None, ["3 of 12 partitions of state are restored (1,234 records so far)"], id="restoring"
        ),
        pytest.param(NOWHERE, {}, None, [NO_PLACE], id="not joined yet, or after a revoke"),
        pytest.param(SPARE, {}, None, [], id="others own everything"),
        pytest.param(OWNS, {}, "the main loop does not answer for 60 s", ["stuck: the main loop does not answer for 60 s"], id="stuck"),
    ],
)  # fmt: skip
def test_readiness_says_what_is_missing(shown, lags, stuck, missing):
    """Nothing missing is ready."""
    ok, body = readiness(shown, lags, 100, stuck)
    assert (ok, body["ready"], body["missing"]) == (not missing, not missing, missing)


def test_readiness_has_the_numbers():
    """How much is restored of what is assigned, and how far behind."""
    _, body = readiness(OWNS, {"deals": 60, "kpis": 40}, 100, None)
    assert body["partitions"] == {"restored": 12, "assigned": 12}
    assert (body["restored_records"], body["lag"], body["lag_limit"]) == (500, 100, 100)
    _, body = readiness(RESTORING, {}, 100, None)
    assert body["partitions"] == {"restored": 3, "assigned": 12}
    assert (body["restored"], body["lag"]) == (False, None)


def test_what_the_watchdog_would_end_it_for_is_not_alive():
    """Also while the watchdog is switched off."""
    assert liveness(None) == (True, {"live": True, "stuck": None})
    assert liveness("a commit does not end for 60 s") == (False, {"live": False, "stuck": "a commit does not end for 60 s"})


@pytest.mark.parametrize(
    ("owing", "ok", "body"),
    [
        (Owing(7, frozenset()), True, {"idle": True, "owing": [], "commits": 7}),
        (Owing(7, frozenset({"kpis", "flush"})), False, {"idle": False, "owing": ["flush", "kpis"], "commits": 7}),
        (None, False, {"idle": False, "owing": ["answer"], "commits": None}),
    ],
)
def test_idle_is_who_owes_nothing(owing, ok, body):
    """Whoever does not answer may owe anything."""
    assert idleness(owing) == (ok, body)


def test_a_worker_answers_from_its_edge_and_its_watchdog():
    """A room that waits for the outside world is not what makes it late."""
    rooms = {"deals": object(), "notify": SimpleNamespace(deliver=None)}
    lags = [SimpleNamespace(room="deals", records=7), SimpleNamespace(room="notify", records=99)]
    edge = SimpleNamespace(status=lambda: OWNS, lags=lambda: lags, plan=SimpleNamespace(by_name=rooms))
    app = SimpleNamespace(edge=edge, watchdog=SimpleNamespace(stuck=None))
    answers = _health(app, Environment(ready_lag=10))
    assert (answers["live"]().ok, answers["ready"]().ok, answers["ready"]().body["lag"]) == (True, True, 7)
    app.watchdog.stuck = "it hangs"
    assert (answers["live"]().ok, answers["ready"]().body["missing"]) == (False, ["stuck: it hangs"])
