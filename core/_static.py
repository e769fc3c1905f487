"""The static coder: one table of counts for each stream of a file, written in its header.

A table holds a level for each code: 0 for a code that is not there, else l for a weight of 256 * 2^((l - 1) / 2), rounded down:
half octaves. Weights become counts as in `_range_coder.py`. Codes are coded stream after stream; those of a stream without a
table as one of V alike.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from ._range_coder import Counts, RangeDecoder, RangeEncoder
from .errors import TokensError

__all__ = ["counts_of", "decode", "encode", "pack_table", "table", "unpack_table"]

LEVELS = 49


def encode(codes: Sequence[np.ndarray], sizes: Sequence[int], tables: Sequence[Counts | None]) -> bytes:
    """Codes of K streams, int64 (N_k,), of sizes up to 2^16. Raises `MissingExtraError`."""
    coder = RangeEncoder()
    for found, size, counts in zip(codes, sizes, tables, strict=True):
        if counts is None:
            coder.alike(found, np.full(len(found), size))
        else:
            coder.counted(found, counts)
    return coder.to_bytes()


def decode(data: bytes, numbers: Sequence[int], sizes: Sequence[int], tables: Sequence[Counts | None]) -> list[np.ndarray]:
    """The inverse of `encode` for `numbers[k]` codes of each stream. Raises `TokensError`, `MissingExtraError`."""
    coder = RangeDecoder(data)
    return [
        coder.alike(np.full(number, size)) if counts is None else coder.counted(number, counts)
        for number, size, counts in zip(numbers, sizes, tables, strict=True)
    ]


def table(codes: np.ndarray, size: int) -> np.ndarray | None:
    """Levels (V,) for these codes, or None where writing them takes more than they save."""
    if size == 1 or not len(codes):
        return None
    histogram = np.bincount(codes, minlength=size)
    nearest = np.rint(2 * np.log2(np.maximum(histogram, 1))).astype(np.int64) + 1
    levels = np.where(histogram > 0, np.minimum(nearest, LEVELS - 1), 0)
    coded = 8 * len(pack_table(levels)) + float((histogram * (24 - np.log2(counts_of(levels).values))).sum())
    return levels if coded < len(codes) * np.log2(size) else None


def counts_of(levels: np.ndarray) -> Counts:
    """The counts that levels (V,) stand for."""
    weights = np.where(levels % 2 == 1, 256, 362) << (np.maximum(levels, 1) - 1) // 2
    return Counts(np.where(levels > 0, weights, 0))


def pack_table(levels: np.ndarray) -> bytes:
    """Levels (V,) as deflated bytes."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return deflate.compress(levels.astype(np.uint8).tobytes()) + deflate.flush()


def unpack_table(data: bytes, size: int) -> np.ndarray:
    """The inverse of `pack_table`. Raises `TokensError` unless there are `size` levels that are in use."""
    try:
        levels = zlib.decompressobj(-15).decompress(data, size + 1)
    except zlib.error as error:
        raise TokensError(f"a table of counts is damaged: {error}") from None
    found = np.frombuffer(levels, np.uint8).astype(np.int64)
    if len(found) != size or int(found.max()) >= LEVELS:
        raise TokensError(f"a table of counts is not {size} levels below {LEVELS}")
    return found
