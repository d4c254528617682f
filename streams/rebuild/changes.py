"""What has to be told when a new generation takes over?  The difference between what readers have and what is right now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any

import msgspec

from streams.kpis.catalogue import BY_ID

# What of a record may differ without anybody having to be told again.
_ASIDE = ("revision", "watermark", "mature_share", "pace")
_ROLLING = frozenset(("1h", "24h", "7d", "28d", "90d"))

Record = dict[str, Any]
_Key = tuple[str, str, list[str], str, str | None, str | None]


def essence(value: bytes) -> bytes:
    """Return a short mark of all of a KPI record that matters: equal marks, nothing to tell.

    What others wrote has one that no record has.
    """
    record = _object(value)
    if record is None:
        return b""
    for name in _ASIDE:
        record.pop(name, None)
    return blake2b(msgspec.json.encode(record, order="sorted"), digest_size=12).digest()


def is_snapshot(key: bytes) -> bool:
    """Is it in history as a snapshot of a closed day, which is never restated?"""
    try:
        kpi, _, _, window, _, _ = msgspec.convert(msgspec.json.decode(key), _Key)
    except (ValueError, RecursionError):  # a key of others
        return False
    return window in _ROLLING or (kpi in BY_ID and BY_ID[kpi].base == "level")


def _object(value: bytes) -> Record | None:
    """Return the JSON object that a record is; None for one that others wrote."""
    try:
        found = msgspec.json.decode(value)
    except (ValueError, RecursionError):  # of JSON, of UTF-8; of what is nested too deeply
        return None
    return found if isinstance(found, dict) else None


# ------------------------------------------------------------------ alerts


def alert_changes(
    told: Mapping[bytes, bytes], judged: Mapping[bytes, bytes], revision: int, watermark: str
) -> Iterator[tuple[bytes, bytes | None, bytes | None]]:
    """Yield (fingerprint, alert or None for gone, alert event or None) of every alert, told or judged.

    `told` is what readers have, `judged` what the new generation found.  An event only where the state differs: firing
    now but not before, or no longer firing.  It is as of the watermark: the change is of now, whatever day was judged, and
    people are not told of history.
    """
    for mark in sorted(told.keys() | judged.keys()):
        before = _alert(told.get(mark))
        now = msgspec.json.decode(judged[mark]) if mark in judged else None
        fired_before = before is not None and before["state"] == "firing"
        if now is None:
            gone = _gone(before, revision, watermark) if before is not None and fired_before else (None, None)
            yield (mark, *gone)
        elif (now["state"] == "firing") != fired_before:
            event = {"transition": "resolved" if fired_before else "fired", **now, "at": max(now["at"], watermark)}
            yield mark, judged[mark], msgspec.json.encode(event)
        else:
            yield mark, judged[mark], None


def _alert(value: bytes | None) -> Record | None:
    """Return an alert that readers have; None for what others wrote under its key."""
    found = None if value is None else _object(value)
    is_one = found is not None and isinstance(found.get("state"), str) and isinstance(found.get("entity"), dict)
    return found if is_one else None


def _gone(before: Record, revision: int, watermark: str) -> tuple[bytes, bytes]:
    """Return the end of an alert that nothing speaks for any more."""
    who = ", ".join(f"{field} {value}" for field, value in before["entity"].items()) or "everybody"
    text = f"Resolved: {who}: no alert by the present definitions."
    alert = {**before, "state": "resolved", "at": watermark, "since": watermark, "text": text, "revision": revision}
    return msgspec.json.encode(alert), msgspec.json.encode({"transition": "resolved", **alert})
