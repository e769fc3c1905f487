"""How unevenly the codes of a codebook are used: Lorenz curve, Gini coefficient, shares, Zipf's law.

All take how often each code came, integers (V,). Dead codes (count 0) count as codes; for the same figures without them,
which flatter a codebook that is half dead, give `counts[counts > 0]`. Shares are of occurrences, 0 to 1. All raise
`TokensError` when there are no tokens.
"""

from __future__ import annotations

import numpy as np

from ..core.errors import TokensError

__all__ = ["gini", "lorenz", "share_of_most_used", "share_of_rarest", "zipf_slope"]


def lorenz(counts: np.ndarray, fractions: np.ndarray) -> np.ndarray:
    """Lorenz curve (Lorenz 1905): the share of occurrences held by the rarest `fractions` (0 to 1) of the codes.

    The curve goes straight from one point (k/V, share of the k rarest codes) to the next. Even use gives the diagonal.
    """
    shares = np.concatenate([[0.0], np.cumsum(np.sort(_checked(counts)))])
    return np.interp(fractions, np.linspace(0.0, 1.0, len(shares)), shares / shares[-1])


def share_of_rarest(counts: np.ndarray, fraction: float = 0.2) -> float:
    """L(fraction): the share held by the rarest codes. Even use gives `fraction` itself."""
    return float(lorenz(counts, np.array([fraction]))[0])


def share_of_most_used(counts: np.ndarray, fraction: float = 0.2) -> float:
    """1 - L(1 - fraction): the share held by the most used codes."""
    return 1.0 - share_of_rarest(counts, 1.0 - fraction)


def gini(counts: np.ndarray) -> float:
    """Gini coefficient 2 sum_i i p_(i) / V - (V + 1) / V, p_(1) the rarest: 0 for even use, (V - 1) / V for a single code.

    It is twice the area between the diagonal and the Lorenz curve.
    """
    shares = np.sort(_checked(counts))
    size = len(shares)
    return float(2.0 * (np.arange(1, size + 1) @ shares) / (size * shares.sum()) - (size + 1) / size)


def zipf_slope(counts: np.ndarray) -> float | None:
    """Slope of log count on log rank, by least squares over the ranks 1 to U of the U codes in use; about -1 for words.

    None when fewer than three codes are in use.
    """
    used = np.sort(_checked(counts))[::-1]
    used = used[used > 0]
    if len(used) < 3:
        return None
    rank = np.log(np.arange(1, len(used) + 1))
    rank -= rank.mean()
    return float(rank @ np.log(used) / (rank @ rank))


def _checked(counts: np.ndarray) -> np.ndarray:
    counts = np.asarray(counts, np.float64)
    if counts.ndim != 1 or not counts.sum() > 0 or counts.min() < 0:
        raise TokensError(f"counts of shape {counts.shape} with sum {counts.sum():g}; expected (V,) with at least one token")
    return counts
