"""Counts of pairs of codes: neighbours in a stream, or codes of two streams at one time."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from .runs import boundaries

__all__ = ["PairTable", "Pairs", "across_streams", "plan_tables", "within_stream"]

TABLE_CELLS = 1 << 24  # a codebook of 4096 followed by itself
ALL_CELLS = 1 << 26  # of all tables: 256 MB

Pairs = tuple[np.ndarray, np.ndarray]  # context and code, integers (N,) each


class PairTable:
    """A table of counts (contexts, codes), filled as pairs come."""

    def __init__(self, contexts: int, codes: int) -> None:
        self.counts: np.ndarray = np.zeros((contexts, codes), np.uint32)
        self.pairs = 0

    def add(self, context: np.ndarray, code: np.ndarray, meets: np.ndarray | None = None) -> None:
        """Count pairs, integers (N,) each; those numbered `meets` (distinct) are not pairs and are left out."""
        keys = context.astype(np.intp)
        keys *= self.counts.shape[1]
        keys += code
        self._make_room(self.pairs + len(keys))
        flat = self.counts.reshape(-1)
        one = self.counts.dtype.type(1)
        np.add.at(flat, keys, one)
        if meets is not None:
            np.subtract.at(flat, keys[meets], one)
            self.pairs -= len(meets)
        self.pairs += len(keys)

    def merge(self, other: PairTable) -> None:
        """Add the counts of another table of this shape."""
        self._make_room(self.pairs + other.pairs)
        self.counts += other.counts.astype(self.counts.dtype, copy=False)
        self.pairs += other.pairs

    def _make_room(self, pairs: int) -> None:
        if pairs >= 1 << 32:
            self.counts = self.counts.astype(np.uint64, copy=False)


def plan_tables(shapes: Sequence[tuple[int, int]]) -> list[bool]:
    """Which tables of these shapes are held whole: each within `TABLE_CELLS`, and in order as long as all fit `ALL_CELLS`."""
    kept, cells = [], 0
    for contexts, codes in shapes:
        size = contexts * codes
        fits = size <= TABLE_CELLS and cells + size <= ALL_CELLS
        cells += size if fits else 0
        kept.append(fits)
    return kept


def within_stream(codes: np.ndarray, lengths: np.ndarray) -> tuple[Pairs, np.ndarray]:
    """Neighbours (z_{t-1}, z_t) in clips that follow each other, and the numbers of those that are of two clips."""
    return (codes[:-1], codes[1:]), boundaries(lengths) - 1


def across_streams(
    lower: np.ndarray, lower_lengths: np.ndarray, upper: np.ndarray, upper_lengths: np.ndarray, ratio: Fraction
) -> Pairs:
    """Codes of two streams at one time: frame t of the upper stream with frame floor(t * ratio) of the lower.

    Args:
        lower, upper: codes of all clips one after the other.
        lower_lengths, upper_lengths: int64 (clips,), frames of each clip.
        ratio: frame rate of the lower stream over that of the upper.

    Returns:
        (lower, upper) codes (N,) each. Frames of the upper stream past the end of the lower are left out.
    """
    if ratio == 1 and np.array_equal(lower_lengths, upper_lengths):
        return lower, upper
    starts = np.cumsum(upper_lengths) - upper_lengths
    frame = np.arange(len(upper)) - np.repeat(starts, upper_lengths)
    frame = frame * ratio.numerator // ratio.denominator
    inside = frame < np.repeat(lower_lengths, upper_lengths)
    frame += np.repeat(np.cumsum(lower_lengths) - lower_lengths, upper_lengths)
    return lower[frame[inside]], upper[inside]
