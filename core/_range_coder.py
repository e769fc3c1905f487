"""A range coder in integers only, so that a file decodes the same on any machine.

A symbol is coded with V integer counts >= 1 that sum to 2^24. State of 64 bits, words of 32:

    lower = 0, range = 2^64 - 1;  for each symbol with counts c:
        scale = range >> 24;  lower += scale * sum(c[:symbol]);  range = scale * c[symbol]
        if range < 2^32: write the top 32 bits of lower (carries run back into words written before), shift both left by 32

What is written is the number in [lower, lower + range) with the most zero bytes at its end, big-endian, without those bytes; a
decoder reads zeros past the end. The counts come from non-negative integer weights w: 1 + floor(w * (2^24 - V) / sum(w)), the
rest to the first of the largest. A symbol that is one of V alike has counts floor(2^24 / V), the last one also the rest.

The work is done by `constriction`. It takes probabilities as floating-point numbers: it gets the integers c - 1, which sum to
its own scale of 2^24 - V, so that its factor is exactly 1 and every product and sum exact.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from .errors import MissingExtraError, TokensError

__all__ = ["TOTAL", "Counts", "RangeDecoder", "RangeEncoder", "integer_counts"]

TOTAL = 1 << 24


class Counts:
    """V counts, as the range coder takes them.

    Attributes:
        values: int64 (V,), each >= 1, that sum to 2^24.
    """

    def __init__(self, weights: np.ndarray) -> None:
        self.values = integer_counts(weights)

    @functools.cached_property
    def coder(self) -> Any:
        """`constriction`'s form; every number in it is a whole one. Raises `MissingExtraError` without it."""
        return _stream().model.Categorical((self.values - 1).astype(np.float64), perfect=False)


def integer_counts(weights: np.ndarray) -> np.ndarray:
    """V counts >= 1 that sum to 2^24 from V non-negative integers, as the head of this file tells."""
    weights = weights.astype(np.int64)
    counts = 1 + weights * (TOTAL - len(weights)) // max(1, int(weights.sum()))
    counts[int(weights.argmax())] += TOTAL - int(counts.sum())
    return counts


class RangeEncoder:
    """Takes symbols (integers) one array after another. Raises `MissingExtraError` without `constriction`."""

    def __init__(self) -> None:
        self.coder = _stream().queue.RangeEncoder()
        self.uniform = _uniform()

    def counted(self, symbols: np.ndarray, counts: Counts) -> None:
        """Symbols that have the same counts."""
        if len(symbols):
            self.coder.encode(symbols.astype(np.int32), counts.coder)

    def alike(self, symbols: np.ndarray, sizes: np.ndarray) -> None:
        """Symbols each of which is one of `sizes`, 1 to 2^24, equally likely; a size of 1 takes nothing."""
        told = sizes > 1
        self.coder.encode(symbols[told].astype(np.int32), self.uniform, sizes[told].astype(np.int32))

    def to_bytes(self) -> bytes:
        """What was written, cut to the fewest bytes that still decode (the library closes with whole words of its own)."""
        words = self.coder.get_compressed()
        if not len(words):
            return b""
        lower, span = self.coder.pos()[1]
        closing = (lower + (1 << 32) - 1) % (1 << 64) >> 32  # the word it closes with; another, zero, follows at times
        follows = (lower + span) % (1 << 64) >> 32 == closing
        value = int.from_bytes(words.astype(">u4").tobytes(), "big") << (0 if follows else 32)
        first = value - ((closing << 32) - lower) % (1 << 64)
        zeros = next(n for n in range(8, -1, -1) if -(-first >> 8 * n) << 8 * n < first + span)
        size = 4 * len(words) + (0 if follows else 4) - zeros
        return (-(-first >> 8 * zeros)).to_bytes(size, "big").rstrip(b"\0")


class RangeDecoder:
    """Gives back what a `RangeEncoder` took, asked in the same order.

    Raises `TokensError` for bytes that no encoder writes, `MissingExtraError` without `constriction`.
    """

    def __init__(self, data: bytes) -> None:
        words = np.frombuffer(data + bytes(-len(data) % 4), ">u4").astype(np.uint32)
        self.coder = _stream().queue.RangeDecoder(words)
        self.uniform = _uniform()

    def counted(self, count: int, counts: Counts) -> np.ndarray:
        """So many symbols, int64."""
        return self._decode(counts.coder, count) if count else np.zeros(0, np.int64)

    def alike(self, sizes: np.ndarray) -> np.ndarray:
        """One symbol, int64, for each size."""
        told = sizes > 1
        if told.all():
            return self._decode(self.uniform, sizes.astype(np.int32))
        out = np.zeros(len(sizes), np.int64)
        out[told] = self._decode(self.uniform, sizes[told].astype(np.int32))
        return out

    def _decode(self, *what: Any) -> np.ndarray:
        try:
            return np.asarray(self.coder.decode(*what), np.int64)
        except (AssertionError, ValueError) as error:
            raise TokensError(f"its codes cannot be told: {error}") from None


def _stream() -> Any:
    try:
        import constriction
    except ImportError:
        raise MissingExtraError("constriction", "bitstream") from None
    return constriction.stream


@functools.lru_cache(1)
def _uniform() -> Any:
    return _stream().model.Uniform()
