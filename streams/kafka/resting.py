"""How are rows kept that nobody has touched for a while?  Packed, by what such rows have in common.

Rows of a room resemble each other and hardly themselves: with a dictionary learned from some of them zstd halves a
deal's record, without one it saves a fifth.  The dictionary lives as long as the process; nothing packed leaves it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from zstandard import (
    DICT_TYPE_RAWCONTENT,
    FRAME_HEADER,
    ZstdCompressionDict,
    ZstdCompressor,
    ZstdDecompressor,
    ZstdError,
    train_dictionary,
)

DICTIONARY_BYTES = 4096
SAMPLES = 1500  # from 500 a packed record has four bytes more, and learning takes 35 ms instead of 100
SAMPLE_BYTES = 1024  # of each row at most, so that learning takes no longer from long ones
_LEVEL = 1  # 6 packs 3 % denser, and takes five times as long
_FIRST = len(FRAME_HEADER)  # every packed row begins with it
# Python keeps objects of 512 bytes at most in pools of their own.  A larger one goes wherever the C library has room, that
# is where rows have been, and keeps all of the page from being given back.
_LAST = _FIRST + 512 - sys.getsizeof(b"")


class Packer:
    """Packs rows that are like those that it has learned from."""

    def __init__(self) -> None:
        self.has_learned = False

    def learn(self, rows: Sequence[bytes]) -> None:
        """Learn what rows have in common, once.  Takes 0.1 s, and lets other threads work meanwhile."""
        samples: list[Any] = [row[:SAMPLE_BYTES] for row in rows]
        dictionary = _learned(samples) or ZstdCompressionDict(
            b"".join(samples)[:DICTIONARY_BYTES], dict_type=DICT_TYPE_RAWCONTENT
        )
        dictionary.precompute_compress(_LEVEL)
        self._compress = ZstdCompressor(_LEVEL, dictionary, write_dict_id=False).compress
        self._decompress = ZstdDecompressor(dictionary).decompress
        self.has_learned = True

    def pack(self, row: bytes) -> tuple[bytes, bytes]:
        """Return the row packed: as much as goes into a small object, and the rest."""
        # zstandard hands out bytes with room behind them for what could not be compressed: slices have none.
        packed = self._compress(row)
        return packed[_FIRST:_LAST], packed[_LAST:]

    def unpack(self, packed: bytes, rest: bytes) -> bytes:
        """Return the row that was packed."""
        return self._decompress(FRAME_HEADER + packed + rest)


def _learned(samples: list[Any]) -> ZstdCompressionDict | None:
    """Return a dictionary of what the samples have in common; None when there is too little in them."""
    # Of some ten bytes in all zstd's training is no error but the end of the process (SIGSEGV or SIGFPE).
    if sum(map(len, samples)) < DICTIONARY_BYTES:
        return None
    try:
        return train_dictionary(DICTIONARY_BYTES, samples)
    except ZstdError:
        return None


class Resting:
    """The rows of one table that were not touched lately, by key: first as they are, then packed."""

    __slots__ = ("_packed", "_rests", "packer", "waiting")

    def __init__(self, packer: Packer) -> None:
        self.packer = packer
        self.waiting: dict[bytes, bytes] = {}  # to be packed
        # Of bytes alone, which the garbage collector does not visit.
        self._packed: dict[bytes, bytes] = {}
        self._rests: dict[bytes, bytes] = {}  # of what is too large for one small object

    def pop(self, key: bytes) -> bytes | None:
        """Take a row out, if it is here."""
        row = self.waiting.pop(key, None)
        if row is None:
            packed = self._packed.pop(key, None)
            if packed is not None:
                row = self.packer.unpack(packed, self._rests.pop(key, b""))
        return row

    def pack(self, size: int) -> list[bytes]:
        """Pack waiting rows until they were so many bytes, or none waits; return them as they were."""
        waiting, packed, rests, pack = self.waiting, self._packed, self._rests, self.packer.pack
        rows: list[bytes] = []
        while waiting and size > 0:
            key, row = waiting.popitem()
            packed[key], rest = pack(row)
            if rest:
                rests[key] = rest
            rows.append(row)
            size -= len(row)
        if not waiting:
            self.waiting = {}  # an emptied dict keeps its places
        return rows

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield every key and row."""
        yield from self.waiting.items()
        for key, packed in self._packed.items():
            yield key, self.packer.unpack(packed, self._rests.get(key, b""))

    def count(self) -> int:
        """Return how many rows there are."""
        return len(self.waiting) + len(self._packed)
