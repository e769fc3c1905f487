"""Runs: stretches of equal codes, which de-duplication makes one."""

from __future__ import annotations

import numpy as np

__all__ = ["boundaries", "run_lengths"]


def boundaries(lengths: np.ndarray) -> np.ndarray:
    """Where clips of these lengths, put one after the other, meet: sorted int64 positions, without 0 and the end."""
    ends = np.cumsum(lengths, dtype=np.int64)
    if not len(ends):
        return ends
    inner = np.unique(ends[:-1])
    return inner[(inner > 0) & (inner < ends[-1])]


def run_lengths(codes: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
    """Lengths of the runs of equal codes in clips that are put one after the other; a run ends with its clip.

    Args:
        codes: integers (N,).
        lengths: of the clips, summing to N; None: one clip.

    Returns:
        int64 (R,), R being the number of tokens after de-duplication.
    """
    if not len(codes):
        return np.zeros(0, np.int64)
    starts = np.ones(len(codes) + 1, bool)
    np.not_equal(codes[1:], codes[:-1], out=starts[1:-1])
    if lengths is not None:
        starts[boundaries(lengths)] = True
    return np.diff(np.flatnonzero(starts))
