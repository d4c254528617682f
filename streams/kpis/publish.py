"""How is a KPI written down?  Keys, records and headers of the two KPI topics, and nothing else.

The record is a fixed contract: schemas/kpi-record.v1.json.  `value` is null when there is nothing to divide by.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from xxhash import xxh3_64_hexdigest

from streams.kafka.room import Output
from streams.kpis.catalogue import ENTITY_FIELDS, Kpi
from streams.kpis.formulas import Number, Value

_encode = msgspec.json.Encoder().encode
_VERSION = ("ce_specversion", b"1.0")
_SOURCE = ("ce_source", b"/dealpulse/kpis")
_TYPE = ("ce_type", b"io.dealpulse.kpi.v1")
_JSON = ("content-type", b"application/json")


class Fragment(NamedTuple):
    """A part of many records, written once: as it stands in the record, and in the key."""

    record: msgspec.Raw
    key: bytes


class Page(NamedTuple):
    """One window of one entity on one topic: what all its records have in common."""

    topic: str
    cut: str
    entity: Fragment
    window: Fragment
    final: bool
    revision: int
    watermark: str


class _Record(msgspec.Struct, gc=False):
    kpi: str
    cut: str
    entity: msgspec.Raw
    window: msgspec.Raw
    value: Number | None
    unit: str
    n: int
    numerator: Number | None
    denominator: Number | None
    stats: dict[str, Number] | None
    previous: Number | None
    target: None
    attainment: None
    pace: None
    mature_share: float | None
    currency: str | None
    final: bool
    revision: int
    watermark: str


def entity_fragment(entity: tuple[str, ...]) -> Fragment:
    """Return how records name an entity: (cut, value, ...)."""
    fields = dict(zip(ENTITY_FIELDS[entity[0]], entity[1:], strict=True))
    return Fragment(msgspec.Raw(_encode(fields)), _encode([entity[0], entity[1:]])[1:-1])


def window_fragment(name: str, start: str | None, end: str | None) -> Fragment:
    """Return how records name a window."""
    record = msgspec.Raw(_encode({"name": name, "start": start, "end": end}))
    return Fragment(record, _encode([name, start])[1:-1])


def key(kpi: Kpi, entity: Fragment, window: Fragment, currency: str | None) -> bytes:
    """Return the record key: [kpi, cut, [entity values], window, start, currency] as compact JSON."""
    return b'["%b",%b,%b,%b]' % (
        kpi.id.encode(),
        entity.key,
        window.key,
        b'"%b"' % currency.encode() if currency else b"null",
    )


def record(  # noqa: PLR0913  # the fields of a contract
    page: Page, kpi: Kpi, value: Value, previous: Number | None, mature_share: float | None, currency: str | None
) -> Output:
    """Return the record of one KPI with CloudEvents 1.0 headers (binary mode); their id makes a repeat recognisable."""
    name = key(kpi, page.entity, page.window, currency)
    data = _Record(
        kpi.id, page.cut, page.entity.record, page.window.record, value.value, kpi.unit, value.n, value.numerator,
        value.denominator, value.stats, previous, None, None, None, mature_share, currency, page.final, page.revision,
        page.watermark,
    )  # fmt: skip
    event_id = f"{xxh3_64_hexdigest(name)}-{page.revision}".encode()
    headers = [_VERSION, ("ce_id", event_id), _SOURCE, _TYPE, ("ce_time", page.watermark.encode()), _JSON]
    return page.topic, -1, name, _encode(data), headers
