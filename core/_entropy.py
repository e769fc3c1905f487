"""Entropy coding of codes in integers only, so that a file decodes the same on any machine.

A model is V integer counts >= 1 that sum to 2^24. The coder is a range coder (`constriction`'s, 64-bit state, 32-bit words):

    lower = 0, range = 2^64 - 1;  for each symbol with counts c:
        scale = range >> 24;  lower += scale * sum(c[:symbol]);  range = scale * c[symbol]
        if range < 2^32: write the top 32 bits of lower (carries run back into words written before), shift both left by 32

What is written is the number in [lower, lower + range) with the most zero bytes at its end, big-endian, without those bytes; a
decoder reads zeros past the end. `constriction` takes probabilities as floating-point numbers: it gets the integers c - 1,
which sum to its own scale of 2^24 - V, so that its factor is exactly 1 and every product and sum exact.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .errors import MissingExtraError, TokensError

__all__ = [
    "LARGEST",
    "AdaptiveModel",
    "Counts",
    "StaticModel",
    "Steps",
    "cost",
    "decode",
    "encode",
    "integer_counts",
    "pack_table",
    "unpack_table",
]

LARGEST = 1 << 16  # codes of larger codebooks are packed
TOTAL = 1 << 24
BLOCK = 16  # codes between two updates of an adaptive model
STEP = 2  # what a code seen adds to its count of 1
NOVEL, REPEATED = 12, 1  # counts to start with
LEVELS = 49


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


# What a model makes of one stream: symbols (int64) and the counts they are coded with, step by step.
Steps = Iterable[tuple[np.ndarray, Counts]]


def integer_counts(weights: np.ndarray) -> np.ndarray:
    """V counts >= 1 that sum to 2^24 from non-negative integers: 1 + floor(w * (2^24 - V) / sum(w)), the rest to the first
    of the largest."""
    weights = weights.astype(np.int64)
    counts = 1 + weights * (TOTAL - len(weights)) // max(1, int(weights.sum()))
    counts[int(weights.argmax())] += TOTAL - int(counts.sum())
    return counts


class StaticModel:
    """One table of counts for a whole file, kept as a level for each code: 0 for a code that is not there, else l for a weight
    of 256 * 2^((l - 1) / 2), rounded down: half octaves."""

    def __init__(self, levels: np.ndarray) -> None:
        even = np.where(levels % 2 == 1, 256, 362) << (np.maximum(levels, 1) - 1) // 2
        self.counts = Counts(np.where(levels > 0, even, 0))

    @staticmethod
    def levels(histogram: np.ndarray) -> np.ndarray:
        """int64 (V,), the nearest levels of counted codes (V,)."""
        nearest = np.rint(2 * np.log2(np.maximum(histogram, 1))).astype(np.int64) + 1
        return np.where(histogram > 0, np.minimum(nearest, LEVELS - 1), 0)

    def encoding(self, codes: np.ndarray) -> Steps:
        """All codes at once."""
        yield codes, self.counts

    def decoding(self, decoder: Any, count: int) -> np.ndarray:
        """The inverse of `encoding`."""
        return _decode(decoder, self.counts, count)


class AdaptiveModel:
    """Counts that follow the codes of one chunk, brought up to date every 16 codes.

    For each block: first, for each code, whether it repeats the one before (counts of 12 and 1 at first, 1 more for each
    code seen; a chunk's first code never does); then the codes that do not (1 each at first, 2 more when seen so).
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def encoding(self, codes: np.ndarray) -> Steps:
        """Two steps for each block."""
        state = _State(self.size)
        previous = np.concatenate([[-1], codes[:-1]]) if len(codes) else codes
        for i in range(0, len(codes), BLOCK):
            block = codes[i : i + BLOCK]
            repeats = block == previous[i : i + BLOCK]
            yield repeats.astype(np.int64), Counts(state.kinds)
            yield block[~repeats], Counts(state.weights)
            state.update(repeats, block[~repeats])

    def decoding(self, decoder: Any, count: int) -> np.ndarray:
        """The inverse of `encoding`."""
        state, out = _State(self.size), np.full(count + 1, -1, np.int64)  # the first stands for what is before the chunk
        for i in range(0, count, BLOCK):
            repeats = _decode(decoder, Counts(state.kinds), min(BLOCK, count - i)) == 1
            if i == 0 and repeats[0]:
                raise TokensError("it repeats a code before there is one")
            novel = _decode(decoder, Counts(state.weights), int((~repeats).sum()))
            block = np.concatenate([out[i : i + 1], novel])
            out[i + 1 : i + 1 + len(repeats)] = block[np.cumsum(~repeats)]
            state.update(repeats, novel)
        return out[1:]


class _State:
    def __init__(self, size: int) -> None:
        self.weights, self.kinds = np.ones(size, np.int64), np.array([NOVEL, REPEATED])

    def update(self, repeats: np.ndarray, novel: np.ndarray) -> None:
        self.kinds += [int((~repeats).sum()), int(repeats.sum())]
        np.add.at(self.weights, novel, STEP)


def cost(steps: Steps) -> float:
    """Bits that these steps will take, to within a byte or two."""
    return float(sum(24 * len(symbols) - np.log2(counts.values[symbols]).sum() for symbols, counts in steps))


def encode(steps: Steps) -> bytes:
    """The range coder's bytes. Raises `MissingExtraError` without `constriction`."""
    encoder = _stream().queue.RangeEncoder()
    for symbols, counts in steps:
        if len(symbols):
            encoder.encode(symbols.astype(np.int32), counts.coder)
    return _sealed(encoder)


def decode(data: bytes, models: Sequence[StaticModel | AdaptiveModel], counts: Sequence[int]) -> list[np.ndarray]:
    """Codes of several streams, each with its model. Raises `TokensError` for bytes that no encoder writes."""
    words = np.frombuffer(data + bytes(-len(data) % 4), ">u4").astype(np.uint32)
    decoder = _stream().queue.RangeDecoder(words)
    return [model.decoding(decoder, count) for model, count in zip(models, counts, strict=True)]


def _decode(decoder: Any, counts: Counts, count: int) -> np.ndarray:
    if not count:
        return np.zeros(0, np.int64)
    try:
        return np.asarray(decoder.decode(counts.coder, count), np.int64)
    except (AssertionError, ValueError) as error:
        raise TokensError(f"its codes cannot be told: {error}") from None


def _sealed(encoder: Any) -> bytes:
    """What the coder wrote, cut to the fewest bytes that still decode (it closes with whole words of its own)."""
    words = encoder.get_compressed()
    if not len(words):
        return b""
    lower, span = encoder.pos()[1]
    closing = (lower + (1 << 32) - 1) % (1 << 64) >> 32  # the word it closes with; another, zero, follows at times
    follows = (lower + span) % (1 << 64) >> 32 == closing
    value = int.from_bytes(words.astype(">u4").tobytes(), "big") << (0 if follows else 32)
    first = value - ((closing << 32) - lower) % (1 << 64)
    zeros = next(n for n in range(8, -1, -1) if -(-first >> 8 * n) << 8 * n < first + span)
    size = 4 * len(words) + (0 if follows else 4) - zeros
    return (-(-first >> 8 * zeros)).to_bytes(size, "big").rstrip(b"\0")


def _stream() -> Any:
    try:
        import constriction
    except ImportError:
        raise MissingExtraError("constriction", "bitstream") from None
    return constriction.stream


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
    table = np.frombuffer(levels, np.uint8).astype(np.int64)
    if len(table) != size or int(table.max()) >= LEVELS:
        raise TokensError(f"a table of counts is not {size} levels below {LEVELS}")
    return table
