"""Is exactly the difference told at a switch?"""

from __future__ import annotations

import orjson
import pytest

from streams.rebuild.changes import alert_changes, essence, is_snapshot
from tests.flow.schemas import checker

RECORD = {
    "kpi": "win_rate", "cut": "team", "entity": {"team": "Central"},
    "window": {"name": "month", "start": "2017-06-01T00:00:00+00:00", "end": "2017-07-01T00:00:00+00:00"},
    "value": 0.5, "unit": "ratio", "n": 4, "numerator": 2, "denominator": 4, "stats": None, "previous": 0.63,
    "target": None, "attainment": None, "pace": None, "mature_share": None, "currency": None, "final": True,
    "revision": 3, "watermark": "2017-07-02T08:00:00+00:00",
}  # fmt: skip
ALERT = {
    "fingerprint": "drop-1", "rule": "drop", "kind": "conversion_drop", "cut": "stage",
    "entity": {"pipeline": "default", "stage": "New"}, "state": "firing", "since": "2026-03-10T14:05:00+00:00",
    "at": "2026-03-10T14:05:00+00:00", "n": 118, "k": 11, "ratio": 0.09, "baseline": 0.2, "evidence": 9.4,
    "threshold": 9.2, "text": "Conversion dropped", "revision": 1,
}  # fmt: skip
AS_OF = "2026-04-01T00:00:00+00:00"


def test_a_record_is_the_same_but_for_revision_watermark_and_shares_of_time():
    """What law 1 does not speak of makes no news."""
    told_again = {**RECORD, "revision": 9, "watermark": AS_OF, "mature_share": 0.5}
    assert essence(orjson.dumps(told_again)) == essence(orjson.dumps(RECORD))


@pytest.mark.parametrize("field", ["value", "n", "numerator", "denominator", "previous", "final"])
def test_anything_else_makes_news(field):
    """Each field alone."""
    assert essence(orjson.dumps({**RECORD, field: 77})) != essence(orjson.dumps(RECORD))


@pytest.mark.parametrize(
    ("kpi", "window", "snapshot"),
    [("win_rate", "month", False), ("win_rate", "28d", True), ("active_deals", "day", True), ("calls", "day", False)],
)
def test_snapshots_are_rolling_windows_and_levels(kpi, window, snapshot):
    """The rest of history is correctable."""
    assert is_snapshot(orjson.dumps([kpi, "all", [], window, "2017-06-01T00:00:00+00:00", None])) is snapshot


FOREIGN = [b"no json", b"\xff", b"[1]", b'"text"', b"[" * 3000 + b"]" * 3000]


@pytest.mark.parametrize("foreign", FOREIGN)
def test_what_others_wrote_is_no_record_no_snapshot_and_no_alert(foreign):
    """It is of a key that is gone, or another is told under it."""
    assert essence(foreign) != essence(orjson.dumps(RECORD))
    assert not is_snapshot(foreign)
    for value in (foreign, b"{}", b'{"state": "firing"}'):
        assert list(alert_changes({b"x": value}, {}, 50, AS_OF)) == [(b"x", None, None)]
        [(_, alert, event)] = alert_changes({b"x": value}, {b"x": orjson.dumps(ALERT)}, 50, AS_OF)
        assert (orjson.loads(alert), orjson.loads(event)["transition"]) == (ALERT, "fired")


def changes(told: dict | None, judged: dict | None) -> tuple[dict | None, dict | None]:
    rows = [{b"drop-1": orjson.dumps(one)} if one else {} for one in (told, judged)]
    [(mark, alert, event)] = alert_changes(*rows, 50, AS_OF)
    assert mark == b"drop-1"
    return tuple(orjson.loads(one) if one else None for one in (alert, event))


RESOLVED = {**ALERT, "state": "resolved"}
JUDGED = {**ALERT, "revision": 51, "n": 120}


def test_an_alert_that_fires_as_before_is_told_to_nobody():
    """Its record is renewed, without an event."""
    assert changes(ALERT, JUDGED) == (JUDGED, None)


def test_a_resolved_alert_of_the_past_is_told_to_nobody():
    """Whether it was told then or not."""
    for told in (RESOLVED, None):
        assert changes(told, {**JUDGED, "state": "resolved"}) == ({**JUDGED, "state": "resolved"}, None)


@pytest.mark.parametrize("told", [RESOLVED, None], ids=["resolved", "never"])
def test_an_alert_that_fires_now_but_not_before_is_told(told):
    """Once, as of the switch: what the present definitions saw long ago is news now."""
    assert changes(told, JUDGED) == (JUDGED, {"transition": "fired", **JUDGED, "at": AS_OF})


def test_an_alert_that_no_longer_fires_is_told():
    """As resolved."""
    now = {**JUDGED, "state": "resolved"}
    assert changes(ALERT, now) == (now, {"transition": "resolved", **now, "at": AS_OF})


def test_an_alert_that_nothing_speaks_for_any_more_is_resolved_and_says_why():
    """It would fire for ever otherwise."""
    alert, event = changes(ALERT, None)
    assert (alert["state"], alert["revision"], event) == ("resolved", 50, {"transition": "resolved", **alert})
    assert alert["text"] == "Resolved: pipeline default, stage New: no alert by the present definitions."
    for value, name in ((alert, "alert.v1"), (event, "alert-event.v1")):
        assert list(checker(name).iter_errors(value)) == []


def test_an_alert_that_was_over_and_that_nothing_speaks_for_is_taken_away():
    """By a tombstone, without an event."""
    assert changes(RESOLVED, None) == (None, None)
