"""Entropies of codes in bits, from counts (plug-in estimates)."""

from __future__ import annotations

import numpy as np

from ..core.errors import TokensError

__all__ = ["conditional_entropy", "conditional_entropy_of_pairs", "entropy", "perplexity"]

BLOCK = 1 << 20  # cells of a table that are worked on at a time


def entropy(counts: np.ndarray) -> float:
    """H = -sum_v p_v log2 p_v in bits, 0 to log2 V, of how often each code came: integers (V,), zeros allowed.

    This is the plug-in (maximum likelihood) estimate, which is too low when there are few tokens for a code. Raises
    `TokensError` when all counts are zero.
    """
    total = int(np.sum(counts))
    if not total:
        raise TokensError("no tokens to take the entropy of")
    return max(0.0, float(np.log2(total) - _weighted_log(counts) / total))


def perplexity(counts: np.ndarray) -> float:
    """2 ** `entropy`: 1 to V, the size of an evenly used codebook of the same entropy."""
    return float(2.0 ** entropy(counts))


def conditional_entropy(pairs: np.ndarray) -> float:
    """H(B | A) in bits, 0 to log2 of the columns, of a table of counts (A, B): rows are the context.

    The plug-in estimate is too low, often by much, when there are not many pairs for each cell in use. Raises
    `TokensError` when the table is empty.
    """
    rows = max(1, BLOCK // pairs.shape[1])
    joint = contexts = 0.0
    total = 0
    for first in range(0, len(pairs), rows):
        block = pairs[first : first + rows]
        sums = block.sum(1, dtype=np.int64)
        total += int(sums.sum())
        joint += _weighted_log(block.ravel())
        contexts += _weighted_log(sums)
    if not total:
        raise TokensError("no pairs of tokens to take the conditional entropy of")
    return max(0.0, (contexts - joint) / total)


def conditional_entropy_of_pairs(context: np.ndarray, code: np.ndarray, size: int) -> float:
    """The same, of pairs one by one: two integer arrays (N,), codes being below `size`. For tables too large to hold.

    Raises `TokensError` when there are no pairs.
    """
    if not len(code):
        raise TokensError("no pairs of tokens to take the conditional entropy of")
    keys, counts = np.unique(context.astype(np.int64) * size + code, return_counts=True)
    starts = np.flatnonzero(np.diff(keys // size, prepend=-1))
    return max(0.0, (_weighted_log(np.add.reduceat(counts, starts)) - _weighted_log(counts)) / len(code))


def _weighted_log(counts: np.ndarray) -> float:
    """sum n log2 n."""
    used = counts[counts > 0].astype(np.float64)
    return float(used @ np.log2(used))
