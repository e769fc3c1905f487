"""How a codebook is used: how much of it, how soon, and how unevenly (Lorenz curve, Gini coefficient, shares, Zipf's law).

All take how often each code came, integers (V,). Dead codes (count 0) count as codes; for figures of imbalance without them,
which flatter a codebook that is half dead, give `counts[counts > 0]`. Shares are of occurrences, 0 to 1.
"""

from __future__ import annotations

import numpy as np

from ..core.errors import TokensError
from ._signals import need

__all__ = [
    "dead_codes",
    "expected_used",
    "gini",
    "growth",
    "lorenz",
    "share_of_most_used",
    "share_of_rarest",
    "usage",
    "zipf_slope",
]


def usage(counts: np.ndarray) -> float:
    """Share of the codes that came at least once: counts (V,), 0 to 1."""
    return float(np.count_nonzero(counts)) / len(counts)


def dead_codes(counts: np.ndarray) -> int:
    """Number of codes that never came."""
    return int(len(counts) - np.count_nonzero(counts))


def expected_used(counts: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Expected number of different codes among so many `tokens` drawn at random without replacement; float64, as `tokens`.

    This is vocabulary growth by interpolation (Baayen 2001; "rarefaction" in ecology): sum over codes of
    1 - C(N - n_v, t) / C(N, t), exact, and unlike a count along the corpus it does not depend on the order of clips. Raises
    `TokensError` for more tokens than there are, and `MissingExtraError` without scipy.
    """
    betaln = need("scipy.special").betaln
    used, codes = np.unique(counts[counts > 0].astype(np.int64), return_counts=True)
    total = int(used @ codes)
    if len(tokens) and not 0 <= np.min(tokens) <= np.max(tokens) <= total:
        raise TokensError(f"{np.min(tokens)} to {np.max(tokens)} tokens out of {total}; expected 0 to {total}")
    found = []
    for drawn in np.asarray(tokens, np.int64).tolist():
        left = used[used <= total - drawn] if drawn else used  # codes that may be missed altogether
        missed = betaln(total - drawn + 1, drawn) - betaln(total - left - drawn + 1, drawn) if drawn else np.zeros(len(left))
        found.append(codes.sum() - codes[: len(left)] @ np.exp(missed))
    return np.array(found, np.float64)


def growth(counts: np.ndarray, points: int = 60) -> list[list[float]]:
    """The curve of `expected_used` on a geometric grid from 1 token to all: [tokens, codes used], at most `points` of them."""
    total = int(np.sum(counts))
    grid = np.unique(np.geomspace(1, total, points).round().astype(np.int64)) if total else np.zeros(0, np.int64)
    return [[int(t), round(float(u), 3)] for t, u in zip(grid, expected_used(counts, grid), strict=True)]


# ---------------------------------------------------------------------- imbalance; all raise `TokensError` without tokens
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
