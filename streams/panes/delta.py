"""What travels between the rooms?  What changed in one flush: cells by entity and pane, and how far time is.

Deltas are added, never overwritten; each is read exactly once.  MessagePack.
"""

from __future__ import annotations

from typing import TypeVar
from zlib import crc32

import msgspec

from streams.panes.cell import Cell, narrow, widen

T = TypeVar("T")

MAX_BYTES = 256 * 1024


class Progress(msgspec.Struct, array_like=True, frozen=True):
    """How far a source partition is.  `watermark` in µs, -1 before its first event."""

    watermark: int
    caught_up: bool  # everything that is in the source has been read
    settled: bool  # and no more is coming: the clock may pass this partition

    @property
    def is_empty(self) -> bool:
        """Has it been read to its end without an event?"""
        return self.caught_up and self.watermark < 0


class Delta(msgspec.Struct, array_like=True):
    """One record on the deltas topic."""

    progress: dict[int, Progress]
    born: int  # Kafka timestamp in µs of the oldest event in it, 0 without events
    entities: list[msgspec.Raw]  # of EntityDelta


class EntityDelta(msgspec.Struct, array_like=True):
    """What changed for one entity: (cut, value, ...), and {pane: {measure: change}}."""

    entity: tuple[str, ...]
    panes: dict[int, Cell]


class _WideEntityDelta(msgspec.Struct, array_like=True):
    entity: tuple[str, ...]
    panes: dict[int, dict[int, int | bytes]]


_encoder = msgspec.msgpack.Encoder()
_delta = msgspec.msgpack.Decoder(Delta)
_entity = msgspec.msgpack.Decoder(EntityDelta)
_wide_entity = msgspec.msgpack.Decoder(_WideEntityDelta)
_PANES_AT_ONCE = 500  # of one entity in one piece, or fewer; a cell is rarely over 100 bytes


def partition_of(entity: tuple[str, ...], partitions: int) -> int:
    """Return the partition that owns an entity."""
    return crc32("\x1f".join(entity).encode()) % partitions


def encode(progress: dict[int, Progress], born: int, entities: list[tuple[tuple[str, ...], dict[int, Cell]]]) -> list[bytes]:
    """Return the records that carry these changes, none much over MAX_BYTES."""
    packed = [part for entity, panes in entities for part in _parts(entity, panes)]
    records: list[bytes] = []
    batch: list[msgspec.Raw] = []
    size = 0
    for one in packed:
        if size + len(one) > MAX_BYTES and batch:
            records.append(_encoder.encode(Delta(progress, born, batch)))
            batch, size = [], 0
        batch.append(msgspec.Raw(one))
        size += len(one)
    records.append(_encoder.encode(Delta(progress, born, batch)))
    return records


def _parts(entity: tuple[str, ...], panes: dict[int, Cell]) -> list[bytes]:
    """Return the changes of an entity in pieces of MAX_BYTES at most; of a large pane in several, which add up."""
    if len(panes) <= _PANES_AT_ONCE:
        packed = _pack(entity, panes)
        if len(packed) <= MAX_BYTES:
            return [packed]
    if len(panes) == 1:
        [(place, cell)] = panes.items()
        parts = [{place: one} for one in _cut(cell, len(cell) // 2)]
    else:
        parts = _cut(panes, min(_PANES_AT_ONCE, len(panes) // 2))
    return [packed for part in parts for packed in _parts(entity, part)]


def _cut(whole: dict[int, T], at_once: int) -> list[dict[int, T]]:
    items = list(whole.items())
    return [dict(items[at : at + at_once]) for at in range(0, len(items), at_once)]


def _pack(entity: tuple[str, ...], panes: dict[int, Cell]) -> bytes:
    try:
        return _encoder.encode((entity, panes))
    except OverflowError:
        return _encoder.encode((entity, {place: narrow(cell) for place, cell in panes.items()}))


def decode(data: bytes) -> Delta:
    """Return the delta of bytes."""
    return _delta.decode(data)


def decode_entity(data: msgspec.Raw) -> EntityDelta:
    """Return one entity's changes."""
    try:
        return _entity.decode(data)
    except msgspec.ValidationError:
        wide = _wide_entity.decode(data)
        return EntityDelta(wide.entity, {place: widen(cell) for place, cell in wide.panes.items()})
