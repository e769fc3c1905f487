"""How many codes are in use, and how that number grows with the tokens seen."""

from __future__ import annotations

import numpy as np

from ..core.errors import TokensError

__all__ = ["dead_codes", "expected_used", "growth", "usage"]


def usage(counts: np.ndarray) -> float:
    """Share of the codes that came at least once: counts (V,), 0 to 1."""
    return float(np.count_nonzero(counts)) / len(counts)


def dead_codes(counts: np.ndarray) -> int:
    """Number of codes that never came."""
    return int(len(counts) - np.count_nonzero(counts))


def expected_used(counts: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """Expected number of different codes among so many `tokens` drawn at random without replacement; float64, as `tokens`.

    This is vocabulary growth by interpolation (Baayen 2001; "rarefaction" in ecology): sum over codes of
    1 - C(N - n_v, t) / C(N, t), exact, and unlike a count along the corpus it does not depend on the order of clips.
    """
    from scipy.special import betaln

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
