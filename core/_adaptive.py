"""The adaptive coder: what a chunk's own codes tell of each other, found anew in each chunk.

Each code of a stream is of one kind:

    0 new    its code is told, one of V alike
    1 again  one of the new codes of this stream and chunk before it: told which, in the order they were new, of those alike
    2 held   the same as the code before it

The range coder takes, of streams with V > 1 alone (in others all codes are 0):

    for each stream, one of 2 alike: whether kinds are told; if not (0), all of its codes are new
    for each stream with kinds (of N codes), two of N + 1 alike each: how many codes are held, and how many again
    for each stream with kinds, the kind of each code, counts from the weights (new, again, held): how many there are
    stream after stream, each code that is not held: one of V, or of the new ones so far (nothing where there is only one)
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ._packing import split
from ._range_coder import Counts, RangeDecoder, RangeEncoder
from .errors import TokensError

__all__ = ["decode", "encode"]

NEW, AGAIN, HELD = 0, 1, 2


@dataclass(frozen=True)
class _Row:
    """Codes of several streams in one row.

    Attributes:
        numbers, sizes: int64 (K,), codes of each stream and its V.
        stream: int64 (N,), the stream of each code.
        first: int64 (N,), where that stream begins.
    """

    numbers: np.ndarray
    sizes: np.ndarray
    stream: np.ndarray
    first: np.ndarray

    @classmethod
    def of(cls, numbers: Sequence[int], sizes: Sequence[int]) -> _Row:
        """Of so many codes of each stream."""
        found = np.array(numbers, np.int64)
        stream = np.repeat(np.arange(len(found)), found)
        return cls(found, np.array(sizes, np.int64), stream, (np.cumsum(found) - found)[stream])

    def told(self, kinds: np.ndarray) -> np.ndarray:
        """Of how many alike each code is: int64 (N,), 1 for held ones."""
        before = _before(kinds == NEW)
        return np.where(kinds == NEW, self.sizes[self.stream], np.where(kinds == AGAIN, before - before[self.first], 1))


def encode(codes: Sequence[np.ndarray], sizes: Sequence[int]) -> bytes:
    """Codes of K streams, int64 (N_k,), of sizes up to 2^16. Raises `MissingExtraError`."""
    kept = [k for k, size in enumerate(sizes) if size > 1]
    row = _Row.of([len(codes[k]) for k in kept], [sizes[k] for k in kept])
    values = np.concatenate([codes[k] for k in kept]) if kept else np.zeros(0, np.int64)
    kinds, which = _kinds(row, values)
    weights = np.bincount(3 * row.stream + kinds, minlength=3 * len(kept)).reshape(-1, 3)
    chosen = _worth(row, kinds, weights)
    kinds = np.where(chosen[row.stream], kinds, NEW)
    coder = RangeEncoder()
    coder.alike(chosen, np.full(len(kept), 2))
    coder.alike(weights[chosen][:, [HELD, AGAIN]].reshape(-1), np.repeat(row.numbers[chosen] + 1, 2))
    parts = split(kinds, row.numbers.tolist())
    for k in np.flatnonzero(chosen):
        coder.counted(parts[k], _counts(*weights[k].tolist()))
    coder.alike(np.where(kinds == AGAIN, which, values), row.told(kinds))
    return coder.to_bytes()


def decode(data: bytes, numbers: Sequence[int], sizes: Sequence[int]) -> list[np.ndarray]:
    """The inverse of `encode` for `numbers[k]` codes of each stream. Raises `TokensError`, `MissingExtraError`."""
    kept = [k for k, size in enumerate(sizes) if size > 1]
    row = _Row.of([numbers[k] for k in kept], [sizes[k] for k in kept])
    coder = RangeDecoder(data)
    kinds = _read_kinds(coder, row)
    told, new = coder.alike(row.told(kinds)), kinds == NEW
    if not new[row.first].all():
        raise TokensError("it begins with a code that comes again")
    news = told[new]
    values = np.where(new, told, 0)
    again = np.flatnonzero(kinds == AGAIN)
    values[again] = news[_before(new)[row.first[again]] + told[again]]
    values = values[np.maximum.accumulate(np.where(kinds == HELD, 0, np.arange(len(values))))]
    out = [np.zeros(number, np.int64) for number in numbers]
    for k, found in zip(kept, split(values, row.numbers.tolist()), strict=True):
        out[k] = found
    return out


def _read_kinds(coder: RangeDecoder, row: _Row) -> np.ndarray:
    chosen = np.flatnonzero(coder.alike(np.full(len(row.sizes), 2)))
    held, again = coder.alike(np.repeat(row.numbers[chosen] + 1, 2)).reshape(-1, 2).T
    new = row.numbers[chosen] - held - again
    if (new < 0).any():
        raise TokensError("it says that more codes come again than there are")
    kinds = np.zeros(len(row.stream), np.int64)
    parts = split(kinds, row.numbers.tolist())  # views
    for k, *weights in zip(chosen.tolist(), new.tolist(), again.tolist(), held.tolist(), strict=True):
        parts[k][:] = coder.counted(len(parts[k]), _counts(*weights))
    return kinds


def _kinds(row: _Row, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The kind of each code, and which of its stream's new ones it is."""
    at = np.arange(len(values))
    key = values + (np.cumsum(row.sizes) - row.sizes)[row.stream]
    held = np.zeros(len(values), bool)
    held[1:] = key[1:] == key[:-1]
    place = np.empty(int(row.sizes.sum()), np.int64)
    place[key[::-1]] = at[::-1]  # the first place of each code: the last one written stays
    origin = place[key]
    before = _before(origin == at)
    kinds = np.where(origin == at, NEW, np.where(held, HELD, AGAIN))
    return kinds, before[origin] - before[row.first]


@functools.lru_cache(1 << 12)
def _counts(new: int, again: int, held: int) -> Counts:
    """Of kinds, kept: short chunks have the same ones again and again."""
    return Counts(np.array([new, again, held]))


def _before(marks: np.ndarray) -> np.ndarray:
    """How many are marked before each."""
    return np.cumsum(marks) - marks


def _worth(row: _Row, kinds: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """bool (K,): whether telling a stream's kinds, of which there are `weights` (K, 3), saves more bits than it takes."""
    n = row.numbers
    left = np.bincount(row.stream, np.log2(row.told(kinds)), minlength=len(n))
    taken = n * np.log2(np.maximum(n, 1)) - (weights * np.log2(np.maximum(weights, 1))).sum(1) + 2 * np.log2(n + 1)
    return np.asarray(left + taken < n * np.log2(row.sizes))
