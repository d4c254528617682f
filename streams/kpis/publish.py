"""How is a KPI written down?  Keys, records and headers of the two KPI topics, and nothing else.

The record is a fixed contract: schemas/kpi.  `value` is null when there is nothing to divide by.
"""

from __future__ import annotations

from typing import Any

import msgspec
from xxhash import xxh3_64_hexdigest

from streams.kafka.room import Headers
from streams.kpis.catalogue import Kpi
from streams.kpis.formulas import Number, Value

_TYPE = b"io.dealpulse.kpi.v1"


def key(kpi: Kpi, entity: tuple[str, ...], window: str, start: str | None, currency: str | None) -> bytes:
    """Return the record key: [kpi, cut, [entity values], window, start, currency] as compact JSON."""
    return msgspec.json.encode((kpi.id, entity[0], entity[1:], window, start, currency))


def record(  # noqa: PLR0913  # the fields of a contract
    kpi: Kpi, cut: str, entity: dict[str, str], window: dict[str, Any], value: Value, previous: Number | None,
    mature_share: float | None, currency: str | None, *, final: bool, revision: int, watermark: str,
) -> bytes:  # fmt: skip
    """Return the record of one KPI, entity and window."""
    return msgspec.json.encode(
        {
            "kpi": kpi.id,
            "cut": cut,
            "entity": entity,
            "window": window,
            "value": value.value,
            "unit": kpi.unit,
            "n": value.n,
            "numerator": value.numerator,
            "denominator": value.denominator,
            "stats": value.stats,
            "previous": previous,
            "target": None,
            "attainment": None,
            "pace": None,
            "mature_share": mature_share,
            "currency": currency,
            "final": final,
            "revision": revision,
            "watermark": watermark,
        }
    )


def headers(record_key: bytes, revision: int, watermark: str) -> Headers:
    """Return the CloudEvents 1.0 headers (binary mode); the id makes a repeat recognisable."""
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", f"{xxh3_64_hexdigest(record_key)}-{revision}".encode()),
        ("ce_source", b"/dealpulse/kpis"),
        ("ce_type", _TYPE),
        ("ce_time", watermark.encode()),
        ("content-type", b"application/json"),
    ]
